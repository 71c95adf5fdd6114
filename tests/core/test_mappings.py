"""Mappings: which models belong where, as data; and the apps that they are for."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from model_librarian.core.errors import InvalidRequestError, NotFoundError
from model_librarian.core.importing import ImportRequest
from model_librarian.core.library import Model
from model_librarian.core.linking import LinkChoice, Mapping, NewApp
from model_librarian.core.linking.apps import kind_of
from model_librarian.core.linking.mappings import PRESETS, SCHEMA, Filters, Rule, json_schema, read_mapping


@pytest.fixture
def imported(librarian, finished, make_model, downloads):
    """Import a model of a name; answers its id."""

    def run(name: str = "up.safetensors", **metadata) -> str:
        item = {"paths": [str(make_model(downloads / name))], "metadata": metadata}
        job = finished(librarian.imports.start(ImportRequest.model_validate({"items": [item]})))
        return job.result["imported"][0]

    return run


@pytest.fixture
def put(librarian):
    """Write a mapping for this ComfyUI: rules as (folder, filters, more)."""

    def run(*rules, app="comfyui", version="*", variant="default"):
        mapping = Mapping.model_validate(
            {
                "app": app,
                "version": version,
                "variant": variant,
                "rules": [
                    {"name": f"rule {number}", "target_subdir": folder, "filters": filters, **more}
                    for number, (folder, filters, more) in enumerate(rules)
                ],
            }
        )
        return librarian.links.put_mapping(mapping.name, mapping)

    return run


def places(librarian, root: Path, **more) -> list[str]:
    plan = librarian.links.preview(**more)
    return sorted(Path(link.target).relative_to(root).as_posix() for link in plan.to_create)


def model(**fields) -> Model:
    known = {"model_id": "a/b/c", "official_name": "c", "cleaned_name": "c", "size_bytes": 5_000_000}
    return Model.model_validate({**known, **fields})


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ({}, True),
        ({"subtype": ["loras"]}, True),
        ({"subtype": "LORAS"}, True),
        ({"subtype": ["vae", "loras"]}, True),
        ({"subtype": ["vae"]}, False),
        ({"families": ["FLUX"]}, True),
        ({"families": ["sdxl"]}, False),
        ({"base_model": ["flux.1-dev"]}, True),
        ({"base_model": ["flux.1"]}, False),
        ({"model_type": ["vision"]}, False),
        ({"tags": ["style", "anime"]}, True),
        ({"tags": ["photo"]}, False),
        ({"exclude_tags": ["ANIME"]}, False),
        ({"tags": ["anime"], "exclude_tags": ["anime"]}, False),
        ({"min_size_mb": 5}, True),
        ({"min_size_mb": 5.1}, False),
        ({"max_size_mb": 5}, True),
        ({"max_size_mb": 4}, False),
    ],
)
def test_filters(filters, wanted):
    lora = model(
        subtype="loras", family="flux", base_model="Flux.1-dev", model_type="diffusion", tags=["Anime"]
    )
    assert Filters.model_validate(filters).want(lora) is wanted


def test_legacy_names_of_folders_mean_the_same():
    assert Filters(subtype=["unet"]).want(model(subtype="diffusion_models"))
    assert Filters(subtype=["text_encoders"]).want(model(subtype="clip"))


def test_patterns_are_globs_for_the_files_name():
    rule = Rule(name="r", target_subdir="x", patterns=["*_fp8*", "flux?.gguf"])
    assert rule.want(model(), "wan_FP8_scaled.safetensors")
    assert rule.want(model(), "Flux1.gguf")
    assert not rule.want(model(), "flux11.gguf")


@pytest.mark.parametrize("folder", ["/abs", "../up", "a/../../b", "C:/x", "\\\\server\\x", "a\0b", ""])
def test_a_folder_outside_the_app_is_refused(folder):
    with pytest.raises(ValueError, match=r"target_subdir"):
        Rule(name="r", target_subdir=folder)


def test_a_discovered_folder_gets_only_its_own_kind(librarian, imported, models_folder):
    imported("up.safetensors")
    imported("lora.safetensors", subtype="loras")
    imported("big.safetensors", subtype="diffusion_models")
    assert places(librarian, models_folder) == [
        "diffusion_models/big.safetensors",
        "loras/lora.safetensors",
        "upscale_models/up.safetensors",
    ]


def test_a_rule_of_a_person_replaces_the_default_for_its_folder(librarian, imported, put, tmp_path):
    imported("a.safetensors", subtype="loras", tags=["anime"])
    imported("b.safetensors", subtype="loras")
    root = tmp_path / "ComfyUI"
    put(("models/loras", {"subtype": "loras", "tags": "anime"}, {}))
    assert places(librarian, root) == ["models/loras/a.safetensors"]
    put(("models/loras", {}, {"enabled": False}))
    assert places(librarian, root) == []
    librarian.links.delete_mapping("comfyui_*_default")
    assert places(librarian, root) == ["models/loras/a.safetensors", "models/loras/b.safetensors"]


def test_the_highest_priority_gets_the_model(librarian, imported, put, tmp_path):
    imported("a.safetensors", subtype="loras", tags=["wan"])
    imported("b.safetensors", subtype="loras")
    put(
        ("models/loras/wan", {"tags": "wan"}, {"priority": 1}),
        ("models/vae", {"tags": "wan"}, {"priority": 1}),
    )
    assert places(librarian, tmp_path / "ComfyUI") == [
        "models/loras/b.safetensors",
        "models/loras/wan/a.safetensors",
        "models/vae/a.safetensors",
    ]


def test_the_more_specific_mapping_counts_for_a_folder(librarian, imported, put, tmp_path):
    imported("a.safetensors", subtype="loras")
    linker = librarian.linker
    app = linker._apps["comfyui"]
    linker._apps["comfyui"] = app.model_copy(update={"version": "0.30.1", "variant": "small"})
    levels = [("*", "default"), ("*", "small"), ("0.30.1", "default"), ("0.30.1", "small")]
    for number, (version, variant) in enumerate(levels):
        put(
            ("models/loras", {"subtype": "loras"}, {"patterns": [f"not-{number}"]}),
            (f"models/own{number}", {"subtype": "loras"}, {}),
            version=version,
            variant=variant,
        )
        wishes, _ = librarian.linker.mappings.wishes(linker.apps[0])
        [loras] = [wish for wish in wishes.all if wish.folder.name == "loras"]
        assert loras.rule.patterns == [f"not-{number}"]
    put(("models/loras", {}, {"patterns": ["never"]}), version="0.29", variant="small")
    put(("models/loras", {}, {"patterns": ["never"]}), version="0.30.1", variant="other")
    wishes, _ = linker.mappings.wishes(linker.apps[0])
    assert [wish.rule.patterns for wish in wishes.all if wish.folder.name == "loras"] == [["not-3"]]
    assert {wish.folder.name for wish in wishes.all} >= {"own0", "own1", "own2", "own3"}


def test_a_mapping_of_the_presets_name_replaces_it_folder_by_folder(librarian, imported, put, tmp_path):
    root = make_app(tmp_path / "a1111", "a1111")
    app = librarian.links.add_app(NewApp(root=root)).app
    assert app == "a1111"
    imported("a.safetensors", subtype="loras", tags=["anime"])
    imported("b.safetensors", subtype="loras")
    imported("v.safetensors", subtype="vae")
    put(("models/Lora", {"subtype": "loras", "tags": "anime"}, {}), app="a1111")
    assert places(librarian, root, app=app) == ["models/Lora/a.safetensors", "models/VAE/v.safetensors"]
    named = [(one.name, one.source) for one in librarian.links.mappings().mappings]
    assert [one for one in named if one[0] == "a1111_*_default"] == [
        ("a1111_*_default", "person"),
        ("a1111_*_default", "preset"),
    ]
    assert librarian.links.mapping("a1111_*_default").source == "person"
    put(("models/VAE", {}, {"enabled": False}), app="a1111", variant="default", version="*")
    assert places(librarian, root, app=app) == ["models/Lora/a.safetensors", "models/Lora/b.safetensors"]
    librarian.links.delete_mapping("a1111_*_default")
    assert librarian.links.mapping("a1111_*_default").source == "preset"
    assert len(places(librarian, root, app=app)) == 3


def test_a_mapping_of_one_version_leaves_the_presets_other_folders(librarian, imported, put, tmp_path):
    root = make_app(tmp_path / "webui", "a1111")
    app = librarian.links.add_app(NewApp(root=root, variant="big")).app
    imported("a.safetensors", subtype="loras")
    imported("v.safetensors", subtype="vae")
    put(("models/Lora", {}, {"enabled": False}), app="a1111", variant="big")
    put(("models/Lora", {"subtype": "loras"}, {"patterns": ["a*"]}), app=app)
    assert places(librarian, root, app=app) == ["models/VAE/v.safetensors"]
    put(("models/Lora", {"subtype": "loras"}, {}), app="a1111", version="1.10.1", variant="big")
    assert places(librarian, root, app=app) == ["models/VAE/v.safetensors"], "another version"


@pytest.mark.parametrize(
    ("text", "key", "reason"),
    [
        ("{", "", "not JSON"),
        ("[]", "", "not a JSON object"),
        ('{"rules": [{"name": "x"}]}', "rules.0.target_subdir", "required"),
        ('{"rules": [{"name": "x", "target_subdir": "../x"}]}', "rules.0.target_subdir", "below the app"),
        ('{"rules": [{"name": "x", "target_subdir": "x", "filter": {}}]}', "rules.0.filter", "not permitted"),
        ('{"rules": [], "app": "forge"}', "app", "file's name"),
    ],
)
def test_an_invalid_mapping_names_file_key_and_reason_and_stops_only_itself(
    librarian, imported, surroundings, put, tmp_path, text, key, reason
):
    imported("a.safetensors", subtype="loras")
    put(("models/other", {"subtype": "loras"}, {}), variant="default")
    bad = surroundings.data_dir / "mappings" / "comfyui_0.9_default.json"
    bad.write_text(text)
    [problem] = librarian.links.mappings().problems
    assert (problem.file, problem.key) == (bad.name, key)
    assert reason in problem.reason
    plan = librarian.links.preview()
    assert any(bad.name in error and reason in error for error in plan.errors)
    assert {Path(link.target).parent.name for link in plan.to_create} == {"loras", "other"}
    with pytest.raises(InvalidRequestError, match=bad.name):
        librarian.links.mapping("comfyui_0.9_default")
    librarian.links.delete_mapping("comfyui_0.9_default")
    assert librarian.links.mappings().problems == []


def test_names_of_mappings(librarian, put, surroundings):
    put(("models/x", {}, {}))
    assert os.listdir(surroundings.data_dir / "mappings") == ["comfyui_any_default.json"]
    for name in ("comfyui_*_default", "comfyui_any_default"):
        assert librarian.links.mapping(name).source == "person"
    hand_made = surroundings.data_dir / "mappings" / "comfyui_*_mine.json"
    hand_made.write_text('{"rules": []}')
    assert librarian.links.mapping("comfyui_*_mine").mapping.version == "*"
    with pytest.raises(InvalidRequestError):
        librarian.links.put_mapping("other_*_default", Mapping(app="comfyui", rules=[]))
    with pytest.raises(NotFoundError):
        librarian.links.mapping("none_*_default")
    with pytest.raises(NotFoundError):
        librarian.links.delete_mapping("a1111_*_default")
    for app in ("../up", "a/b", ".hidden", ""):
        with pytest.raises(ValueError, match="app"):
            Mapping(app=app, rules=[])


def test_the_schema_that_ships_is_current():
    assert SCHEMA.read_text() == json_schema(), "python -m model_librarian.core.linking.mappings"


@pytest.mark.parametrize("path", sorted(PRESETS.glob("*.json")), ids=lambda path: path.stem)
def test_presets_are_valid_and_give_each_kind_one_folder(path):
    mapping = read_mapping(path)
    subtypes = [subtype for rule in mapping.rules for subtype in rule.filters.subtype]
    assert len(subtypes) == len(set(subtypes))
    assert {"checkpoints", "loras"} <= set(subtypes)


# Overrides


@pytest.mark.parametrize(
    ("content", "linked", "said"),
    [
        ({"comfyui": ">=0.3"}, True, None),
        ({"version_ranges": {"comfyui": ">=0.3,<1"}}, True, None),
        ({"comfyui": ">=1"}, False, None),
        ({"a1111": ">=99"}, True, None),
        ({"comfyui": "about 3"}, False, "PEP 440"),
        ({"a1111": "nonsense"}, False, "PEP 440"),
        (["comfyui"], False, "version ranges"),
        ("{", False, "not JSON"),
    ],
)
def test_overrides_limit_the_versions_of_an_app(librarian, imported, content, linked, said):
    model_id = imported()
    app = librarian.linker._apps["comfyui"]
    librarian.linker._apps["comfyui"] = app.model_copy(update={"version": "0.30.1"})
    text = content if isinstance(content, str) else json.dumps(content)
    (librarian.library.root / model_id / "overrides.json").write_text(text)
    plan = librarian.links.preview()
    assert bool(plan.to_create) is linked
    assert [said in error and "overrides.json" in error for error in plan.errors] == ([True] if said else [])


def test_a_version_that_is_not_known_fits(librarian, imported):
    model_id = imported()
    (librarian.library.root / model_id / "overrides.json").write_text('{"comfyui": ">=9"}')
    assert len(librarian.links.preview().to_create) == 1


# Models of more than one file


def owned(librarian, finished, name: str, files: list[str], **fields) -> Path:
    """A model laid out in the library by hand, as metadata.json says."""
    folder = librarian.library.root / "diffusion" / "flux" / name
    for number, file in enumerate(files):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(b"%d" % number)
    metadata = model(
        model_id=f"diffusion/flux/{name}",
        official_name=name,
        cleaned_name=name,
        files=[{"name": file, "size": 1} for file in files if not file.endswith(".index.json")],
        **fields,
    )
    (folder / "metadata.json").write_text(metadata.model_dump_json(by_alias=True))
    finished(librarian.scans.start("deep"))
    return folder


SHARDS = [f"big-0000{n}-of-00003.safetensors" for n in (1, 2, 3)]


def test_every_shard_and_the_index_lie_side_by_side(librarian, finished, models_folder):
    index = "big.safetensors.index.json"
    owned(
        librarian, finished, "big", [*SHARDS, index], model_format="sharded-set", subtype="diffusion_models"
    )
    finished(librarian.links.apply(LinkChoice(plan_id=librarian.links.preview().plan_id)))
    folder = models_folder / "diffusion_models"
    assert sorted(os.listdir(folder)) == sorted([*SHARDS, index])
    assert all((folder / name).is_file() for name in [*SHARDS, index])
    assert librarian.links.preview().total_actions == 0


def test_a_set_of_which_one_name_is_taken_moves_into_a_folder_whole(librarian, finished, models_folder):
    for name in ("one", "two"):
        owned(librarian, finished, name, SHARDS, model_format="sharded-set", subtype="diffusion_models")
    finished(librarian.links.apply(LinkChoice(plan_id=librarian.links.preview().plan_id)))
    folder = models_folder / "diffusion_models"
    assert sorted(os.listdir(folder)) == sorted([*SHARDS, "two"])
    assert sorted(os.listdir(folder / "two")) == SHARDS


def test_a_diffusion_folder_is_linked_as_a_folder(librarian, finished, surroundings, models_folder):
    from model_librarian.core.librarian import Librarian
    from model_librarian.core.settings import app_of_models_folder

    (models_folder / "diffusers").mkdir()
    again = Librarian(surroundings.model_copy(update={"apps": [app_of_models_folder(models_folder)]}))
    files = ["model_index.json", "unet/diffusion_pytorch_model.safetensors"]
    again_finished = lambda job: again.jobs.wait(job.id)  # noqa: E731
    owned(again, again_finished, "sd", files, model_format="diffusion-folder", subtype="diffusers")
    again_finished(again.links.apply(LinkChoice(plan_id=again.links.preview().plan_id)))
    link = models_folder / "diffusers" / "sd"
    assert link.is_symlink()
    assert (link / "unet" / "diffusion_pytorch_model.safetensors").is_file()
    assert again.links.preview().total_actions == 0
    assert again.links.health().status == "healthy"
    assert again.links.uninstall("comfyui").links_removed == 1
    assert os.listdir(models_folder / "diffusers") == []
    assert (again.library.root / "diffusion/flux/sd/model_index.json").is_file()
    again.close()


# Apps that a person adds


def make_app(root: Path, kind: str) -> Path:
    marks = {
        "comfyui": ["folder_paths.py", "comfy/", "models/loras/", "models/custom_kind/"],
        "a1111": ["webui.py", "modules/", "models/Stable-diffusion/"],
        "forge": ["webui.py", "modules/", "modules_forge/"],
        "invokeai": ["invokeai.yaml"],
        "swarmui": ["src/SwarmUI.csproj"],
        "custom": ["loras/", "holiday photos/"],
    }
    for name in marks[kind]:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if name.endswith("/") else path.touch()
    return root


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("comfyui", "models/loras"),
        ("a1111", "models/Lora"),
        ("forge", "models/Lora"),
        ("invokeai", "autoimport/lora"),
        ("swarmui", "Models/Lora"),
        ("custom", "loras"),
    ],
)
def test_an_added_app_gets_links_in_its_own_folders(librarian, imported, finished, tmp_path, kind, place):
    imported("a.safetensors", subtype="loras")
    root = make_app(tmp_path / f"My {kind}", kind)
    assert kind_of(root) == kind
    app = librarian.links.add_app(NewApp(root=root))
    assert (app.kind, app.added) == (kind, True)
    plan = librarian.links.preview(app=app.app)
    finished(librarian.links.apply(LinkChoice(plan_id=plan.plan_id)))
    link = root / place / "a.safetensors"
    assert link.is_symlink()
    assert link.is_file()
    assert [known.app for known in librarian.links.apps()] == ["comfyui", app.app]
    assert librarian.links.uninstall(app.app).links_removed == 1
    assert [known.app for known in librarian.links.apps()] == ["comfyui"]
    assert not os.path.lexists(link)


def test_only_folders_of_known_kinds_of_any_folder_count(librarian, tmp_path):
    app = librarian.links.add_app(NewApp(root=make_app(tmp_path / "any", "custom")))
    assert list(app.folders) == ["loras"]


def test_a_portable_comfyui_and_its_version(librarian, tmp_path):
    root = make_app(tmp_path / "ComfyUI_windows_portable" / "ComfyUI", "comfyui")
    (root / "comfyui_version.py").write_text('# made\n__version__ = "0.30.1"\n')
    app = librarian.links.add_app(NewApp(root=root.parent))
    assert (app.kind, app.version, app.root) == ("comfyui", "0.30.1", str(root))
    assert app.app == "comfyui-2"


def test_an_added_app_is_there_after_a_restart_and_in_other_processes(librarian, surroundings, tmp_path):
    from model_librarian.core.librarian import Librarian

    other = Librarian(surroundings)
    app = librarian.links.add_app(NewApp(root=make_app(tmp_path / "webui", "a1111"), name="My A1111"))
    for one in (other, Librarian(surroundings)):
        assert [(known.app, known.name) for known in one.links.apps()][1:] == [(app.app, "My A1111")]
        one.close()


def test_adding_twice_keeps_one(librarian, tmp_path):
    root = make_app(tmp_path / "webui", "a1111")
    first = librarian.links.add_app(NewApp(root=root))
    second = librarian.links.add_app(NewApp(root=root, kind="forge", name="Forge"))
    assert (first.app, second.kind, second.name) == (second.app, "forge", "Forge")
    assert len(librarian.links.apps()) == 2


def test_what_can_be_no_app_is_refused(librarian, tmp_path):
    with pytest.raises(NotFoundError):
        librarian.links.add_app(NewApp(root=tmp_path / "nowhere"))
    too_long = tmp_path / ("n" * 300)
    for root in (librarian.library.root, Path("/"), Path("here"), Path("/a\0b"), Path("/\udc80"), too_long):
        with pytest.raises(InvalidRequestError):
            librarian.links.add_app(NewApp(root=root))


def test_a_damaged_list_of_apps_is_kept(librarian, surroundings, tmp_path):
    (surroundings.data_dir / "apps.json").write_text("{")
    assert [app.app for app in librarian.links.apps()] == ["comfyui"]
    librarian.links.add_app(NewApp(root=make_app(tmp_path / "webui", "a1111")))
    assert len(librarian.links.apps()) == 2
    assert [path.read_text() for path in surroundings.data_dir.glob("apps.aside-*")] == ["{"]
