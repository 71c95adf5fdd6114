"""Apps that a person adds: which folders they have, what they hold, and what can be no app."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from model_librarian.core.errors import ConflictError, InvalidRequestError
from model_librarian.core.importing import ImportRequest
from model_librarian.core.librarian import Librarian
from model_librarian.core.library import ModelQuery
from model_librarian.core.linking import LinkChoice, NewApp
from model_librarian.core.linking.extra_paths import read_extra_paths
from model_librarian.core.settings import app_of_models_folder


@pytest.fixture
def other(tmp_path) -> Path:
    """The folder of another ComfyUI, with a kind of models that only a custom node knows."""
    root = tmp_path / "other"
    for name in ("comfy", "models/loras", "models/clip", "models/ipadapter"):
        (root / name).mkdir(parents=True)
    (root / "folder_paths.py").touch()
    return root


@pytest.fixture
def imported(librarian, finished, make_model, downloads):
    """Import a model of a name; answers its id."""

    def run(name: str, **metadata) -> str:
        item = {"paths": [str(make_model(downloads / name))], "metadata": metadata}
        job = finished(librarian.imports.start(ImportRequest.model_validate({"items": [item]})))
        return job.result["imported"][0]

    return run


def folders(report, kind: str, root: Path) -> list[str]:
    """An app's folders for a kind, below a root where they lie there."""
    return [os.path.relpath(path, root) for path in report.folders.get(kind, [])]


def extra(root: Path, text: str) -> Path:
    path = root / "extra_model_paths.yaml"
    path.write_text(text, encoding="utf-8")
    return path


# extra_model_paths.yaml


def test_another_comfyui_has_the_folders_of_its_extra_paths(librarian, other, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SHARED", "store")
    extra(
        other,
        f"""
a111:
    base_path: {tmp_path}/webui/
    checkpoints: models/Stable-diffusion
    loras: |
         models/Lora
         models/LyCORIS
    clip: models/CLIP
central:
    base_path: ~/$SHARED
    is_default: true
    vae: vae
    custom_nodes: nodes
    configs: configs
    diffusers: pipelines
beside:
    embeddings: more/embeddings
    upscale_models: {tmp_path}/upscalers
relative:
    base_path: ../far
    loras: loras
empty:
""",
    )
    app = librarian.links.add_app(NewApp(root=other))
    assert app.problems == []
    assert folders(app, "checkpoints", tmp_path)[:2] == [
        "other/models/checkpoints",
        "webui/models/Stable-diffusion",
    ]
    assert folders(app, "loras", tmp_path)[:4] == [
        "other/models/loras",
        "webui/models/Lora",
        "webui/models/LyCORIS",
        "far/loras",
    ]
    assert folders(app, "text_encoders", tmp_path)[:3] == [
        "other/models/text_encoders",
        "other/models/clip",
        "webui/models/CLIP",
    ]
    assert folders(app, "vae", tmp_path)[:2] == ["home/store/vae", "other/models/vae"]
    assert folders(app, "embeddings", tmp_path) == ["other/models/embeddings", "other/more/embeddings"]
    assert folders(app, "upscale_models", tmp_path)[1:] == ["upscalers"]
    assert folders(app, "ipadapter", tmp_path) == ["other/models/ipadapter"]
    assert not {"custom_nodes", "configs", "diffusers", "clip", "base_path"} & set(app.folders)
    assert librarian.linker.app(app.app).directories[0] == tmp_path / "home/store/pipelines"


def test_links_go_where_the_extra_paths_want_new_models(librarian, other, imported, tmp_path):
    (tmp_path / "central" / "Loras").mkdir(parents=True)
    extra(other, f"c:\n  base_path: {tmp_path}/central\n  is_default: yes\n  loras: Loras\n")
    imported("a.safetensors", subtype="loras")
    imported("b.safetensors", subtype="vae")
    app = librarian.links.add_app(NewApp(root=other))
    plan = librarian.links.preview(app=app.app)
    assert {link.target for link in plan.to_create} == {
        str(tmp_path / "central" / "Loras" / "a.safetensors"),
        str(other / "models" / "vae" / "b.safetensors"),
    }
    assert plan.errors == []


def test_of_folders_that_are_no_default_only_indexing_hears(librarian, other, imported, tmp_path):
    (tmp_path / "central" / "loras").mkdir(parents=True)
    extra(other, f"c:\n  loras: {tmp_path}/central/loras\n")
    imported("a.safetensors", subtype="loras")
    app = librarian.links.add_app(NewApp(root=other))
    plan = librarian.links.preview(app=app.app)
    assert [link.target for link in plan.to_create] == [str(other / "models" / "loras" / "a.safetensors")]
    assert tmp_path / "central" / "loras" in [folder.path for folder in librarian.places.indexed_in_place()]


def test_a_change_of_the_file_is_seen_at_once(librarian, other):
    path = extra(other, "c:\n  loras: one\n")
    app = librarian.links.add_app(NewApp(root=other))
    assert "one" in {Path(folder).name for folder in app.folders["loras"]}
    path.write_text("c:\n  loras: another\n")
    [_, again] = librarian.links.apps()
    assert "another" in {Path(folder).name for folder in again.folders["loras"]}
    path.unlink()
    [_, again] = librarian.links.apps()
    assert not {"one", "another"} & {Path(folder).name for folder in again.folders["loras"]}


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("c:\n  loras: [a\n", 3, "is not YAML"),
        ("c:\n\tloras: a\n", 2, "is not YAML"),
        ("c: !!python/object/apply:os.system ['true']\n", 1, "is not YAML"),
        ("- a\n", None, "not a list of sections"),
        ("just text", None, "not a list of sections"),
        ("[" * 5000, None, "is not YAML"),
        ("c:\n  loras: a\x00b\n", None, "is not YAML"),
        ("#" * 70_000, None, "larger than 64 KB"),
        ("c:\n  vae: good\nd: text\n", 3, "«d»"),
        ("c:\n  vae: good\n  loras:\n    - a\n    - b\n", 3, "«loras» of «c»"),
        ("c:\n  vae: good\n  loras: 5\n", 3, "«loras» of «c»"),
        ("c:\n  vae: good\n  loras:\n", 3, "«loras» of «c»"),
        ("c:\n  vae: good\nd:\n  base_path: [x]\n  loras: y\n", 4, "«base_path» of «d»"),
        ("c:\n  vae: good\n  loras: /\n", 3, "is a whole drive"),
        ("c:\n  vae: good\nd:\n  base_path: /usr\n  loras: ../\n", 5, "is a whole drive"),
        ('c:\n  vae: good\n  loras: "a\\0b"\n', 3, "«loras» of «c»"),
        ('c:\n  vae: good\n  loras: "a\\ud800b"\n', 3, "«loras» of «c»"),
    ],
)
def test_what_cannot_be_used_is_named_with_its_line_and_stops_only_itself(
    librarian, other, imported, text, line, said
):
    path = extra(other, text)
    imported("a.safetensors", subtype="loras")
    app = librarian.links.add_app(NewApp(root=other))
    [problem] = app.problems
    assert str(path) in problem
    assert re.search(said, problem)
    if line is not None:
        assert f"line {line}" in problem
    assert any(Path(folder).name == "good" for folder in app.folders["vae"]) is ("vae: good" in text)
    plan = librarian.links.preview(app=app.app)
    assert problem in plan.errors
    assert [link.target for link in plan.to_create] == [str(other / "models" / "loras" / "a.safetensors")]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_told(tmp_path):
    path = extra(tmp_path, "c:\n  loras: a\n")
    path.chmod(0)
    assert "cannot be read" in read_extra_paths(path).problems[0]


def test_what_is_no_file_is_told_and_waited_for_by_nobody(tmp_path):
    os.mkfifo(tmp_path / "extra_model_paths.yaml")
    assert "is no file" in read_extra_paths(tmp_path / "extra_model_paths.yaml").problems[0]


def test_names_that_stand_for_each_other_do_not_run_away(tmp_path):
    levels = "\n".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 12))
    path = extra(tmp_path, f"l0: &l0 [x]\n{levels}\nc:\n  loras: a\n")
    assert [folder.path for folder in read_extra_paths(path).folders] == [tmp_path / "a"]


# What an added app holds


def test_what_a_new_app_holds_is_found_at_once(librarian, other, make_model):
    make_model(other / "models" / "loras" / "theirs.safetensors")
    app = librarian.links.add_app(NewApp(root=other))
    librarian.jobs.wait(librarian.scans.last().id)
    [found] = librarian.models.search(ModelQuery(q="theirs")).models
    assert (found.subtype, found.storage) == ("loras", "in-place")
    librarian.links.uninstall(app.app)
    librarian.jobs.wait(librarian.scans.last().id)
    assert librarian.models.search(ModelQuery(q="theirs")).models == []
    assert (other / "models" / "loras" / "theirs.safetensors").is_file()


def test_its_folders_are_watched_from_then_on(librarian, other, make_model):
    librarian.start()
    app = librarian.links.add_app(NewApp(root=other))
    assert other / "models" / "loras" in librarian._watcher._folders
    librarian.links.uninstall(app.app)
    assert other / "models" / "loras" not in librarian._watcher._folders


def test_an_app_whose_root_is_gone_says_so(librarian, other):
    app = librarian.links.add_app(NewApp(root=other))
    assert app.ghost is False
    other.rename(other.with_name("elsewhere"))
    assert [(known.app, known.ghost) for known in librarian.links.apps()] == [
        ("comfyui", False),
        (app.app, True),
    ]


# The same app twice, and what is none


def test_a_known_app_is_refused_however_its_path_is_spelled(librarian, other, tmp_path, models_folder):
    librarian.links.add_app(NewApp(root=other))
    (tmp_path / "link").symlink_to(other)
    spelled = [
        other,
        Path(f"{other}/"),
        Path(f"{other}/models/.."),
        tmp_path / "link",
        models_folder.parent,
    ]
    for root in spelled:
        with pytest.raises(ConflictError, match="knows already"):
            librarian.links.add_app(NewApp(root=root))
    assert len(librarian.links.apps()) == 2


def test_another_case_is_the_same_app_where_case_says_nothing(librarian, other, tmp_path, monkeypatch):
    """As on macOS and Windows: two spellings are one folder."""
    librarian.links.add_app(NewApp(root=other))
    shouted = tmp_path / "OTHER"
    shouted.mkdir()
    monkeypatch.setattr(Path, "samefile", lambda one, two: str(one).casefold() == str(two).casefold())
    with pytest.raises(ConflictError, match="knows already"):
        librarian.links.add_app(NewApp(root=shouted))


def test_a_folder_of_a_known_app_is_no_app(librarian, models_folder):
    for root in (models_folder, models_folder / "loras"):
        with pytest.raises(ConflictError, match="«ComfyUI»"):
            librarian.links.add_app(NewApp(root=root))
    inside = models_folder / "loras" / "deeper"
    inside.mkdir()
    with pytest.raises(ConflictError):
        librarian.links.add_app(NewApp(root=inside))


def test_an_app_inside_another_one_is_an_app(librarian, tmp_path):
    """SwarmUI brings a ComfyUI of its own."""
    swarm, inner = tmp_path / "SwarmUI", tmp_path / "SwarmUI" / "dlbackend" / "ComfyUI"
    (swarm / "src").mkdir(parents=True)
    (swarm / "src" / "SwarmUI.csproj").touch()
    (inner / "comfy").mkdir(parents=True)
    (inner / "folder_paths.py").touch()
    kinds = [librarian.links.add_app(NewApp(root=root)).kind for root in (swarm, inner)]
    assert kinds == ["swarmui", "comfyui"]


def test_the_library_is_no_app(librarian, imported):
    model_id = imported("a.safetensors", subtype="loras")
    for root in (librarian.library.root, librarian.library.root / model_id):
        with pytest.raises(InvalidRequestError, match="lies in the library"):
            librarian.links.add_app(NewApp(root=root))


def test_a_new_name_keeps_the_variant(librarian, other):
    librarian.links.add_app(NewApp(root=other, variant="small"))
    librarian.links.add_app(NewApp(root=other, name="Second"))
    [app] = librarian.linker.apps[1:]
    assert (app.name, app.variant) == ("Second", "small")


def test_two_apps_that_share_a_folder_share_its_links(librarian, other, imported, models_folder, finished):
    """A second ComfyUI that takes the models of the first one."""
    extra(other, f"c:\n  base_path: {models_folder.parent}\n  is_default: true\n  loras: models/loras\n")
    app = librarian.links.add_app(NewApp(root=other))
    imported("a.safetensors", subtype="loras")
    for _ in range(2):
        finished(librarian.links.apply(LinkChoice(plan_id=librarian.links.preview().plan_id)))
    plan = librarian.links.preview()
    assert (plan.total_actions, plan.conflicts, plan.errors) == (0, [], [])
    assert (models_folder / "loras" / "a.safetensors").is_file()
    assert librarian.links.health().status == "healthy"
    librarian.links.uninstall(app.app)
    assert (models_folder / "loras" / "a.safetensors").is_file()


def test_where_a_folder_has_two_names_the_newer_one_gets_the_links(tmp_path):
    for name in ("clip", "text_encoders", "unet"):
        (tmp_path / "models" / name).mkdir(parents=True)
    app = app_of_models_folder(tmp_path / "models")
    assert app.link_folder("text_encoders") == tmp_path / "models" / "text_encoders"
    assert app.link_folder("diffusion_models") == tmp_path / "models" / "unet"
    assert app.link_folder("loras") is None


def test_an_app_of_another_process_is_refused_here_too(librarian, surroundings, other):
    second = Librarian(surroundings)
    second.links.add_app(NewApp(root=other))
    with pytest.raises(ConflictError):
        librarian.links.add_app(NewApp(root=other))
    second.close()
