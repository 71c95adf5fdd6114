"""``registry.db`` is the person's data: brought forward, never dropped, and found again when it is damaged."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from model_librarian.core.importing import ImportRequest
from model_librarian.core.librarian import Librarian
from model_librarian.core.linking import LinkChoice, Plan, PlannedLink, schema
from model_librarian.core.linking.links import fingerprint
from model_librarian.core.linking.planner import Prepared
from model_librarian.core.linking.registry import Registry
from model_librarian.core.settings import Surroundings, app_of_models_folder

DATA = Path(__file__).parent / "data"


@pytest.fixture
def linked(librarian, finished, make_model, downloads):
    """Import some models and link them; answers their ids."""

    def run(*names: str) -> list[str]:
        items = [{"paths": [str(make_model(downloads / name))]} for name in names or ("up.safetensors",)]
        job = finished(librarian.imports.start(ImportRequest.model_validate({"items": items})))
        finished(librarian.links.apply(LinkChoice(plan_id=librarian.links.preview().plan_id)))
        return job.result["imported"]

    return run


def write_old(version: int, path: Path, root: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    db = sqlite3.connect(path)
    db.executescript((DATA / f"registry-v{version}.sql").read_text().replace("{ROOT}", str(root)))
    db.close()


@pytest.fixture
def old_app(models_folder):
    return app_of_models_folder(models_folder)


@pytest.mark.parametrize("version", [1, 2])
def test_every_older_version_is_brought_forward(tmp_path, old_app, version):
    path = tmp_path / "data" / "registry.db"
    write_old(version, path, tmp_path)
    for _ in range(2):
        registry = Registry(path, tmp_path / "ComfyUI" / "model-library", [old_app], "an id")
        assert registry.set_aside is None
        one, away = registry.links()
        assert one.target == str(tmp_path / "ComfyUI/models/upscale_models/up.safetensors")
        assert one.source == str(tmp_path / "ComfyUI/model-library/upscaler/esrgan/up/up.safetensors")
        assert (one.link_type, one.pinned, one.file_hash, one.created_at.year) == (
            "symlink",
            False,
            "ab",
            2026,
        )
        assert (away.app, away.target, away.is_external) == (
            "away",
            str(tmp_path / "away/x.safetensors"),
            True,
        )
        [intent] = registry.intents()
        assert intent.target.name == "never.safetensors"
        assert (intent.aside is not None) is (version == 2)
        assert registry.owns_folder(tmp_path / "ComfyUI/models/loras/made") is (version == 2)
        registry.close()


def test_there_is_a_file_of_every_older_version():
    assert len(list(DATA.glob("registry-v*.sql"))) == len(schema.MIGRATIONS) - 1


def test_a_migration_that_is_cut_off_changes_nothing(tmp_path, old_app, monkeypatch):
    path = tmp_path / "data" / "registry.db"
    write_old(1, path, tmp_path)

    def die(_db):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS[:2], die))
        with pytest.raises(KeyboardInterrupt):
            Registry(path, tmp_path / "library", [old_app])
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA user_version").fetchone()[0] == 1
    assert "aside" not in {row[1] for row in db.execute("PRAGMA table_info(intents)")}
    db.close()
    registry = Registry(path, tmp_path / "ComfyUI" / "model-library", [old_app])
    assert len(registry.links()) == 2
    registry.close()


def test_model_target_and_external_links_are_found_by_indexes(librarian):
    read = librarian.linker.registry._database.read()
    for condition in ("model_id = 'x'", "target_app_path = 'x'", "app = 'x' AND target_app_path = 'x'"):
        [plan] = read.execute(f"EXPLAIN QUERY PLAN SELECT * FROM links WHERE {condition}").fetchall()
        assert "USING INDEX" in plan["detail"]
    [plan] = read.execute("EXPLAIN QUERY PLAN SELECT link_id FROM links WHERE is_external").fetchall()
    assert "links_external" in plan["detail"]


@pytest.mark.parametrize("count", [1, 3, 600])
def test_links_of_some_models_never_cost_a_walk_through_all(librarian, count):
    """Also for one app: SQLite would take the app's index, and every link of it."""
    statements: list[str] = []
    read = librarian.linker.registry._database.read()
    read.set_trace_callback(statements.append)
    librarian.linker.registry.links(model_ids=[f"m{number}" for number in range(count)], app="comfyui")
    librarian.linker.registry.linked([f"m{number}" for number in range(count)])
    read.set_trace_callback(None)
    asked = [text for text in statements if "FROM links" in text]
    assert len(asked) == (4 if count == 600 else 2)
    for text in asked:
        assert "links_by_model" in read.execute(f"EXPLAIN QUERY PLAN {text}").fetchone()["detail"]


def test_planning_one_model_looks_at_its_links_only(librarian, linked, make_model, downloads, finished):
    linked("one.safetensors", "two.safetensors")
    item = {"paths": [str(make_model(downloads / "three.safetensors"))]}
    job = finished(librarian.imports.start(ImportRequest.model_validate({"items": [item]})))
    statements: list[str] = []
    read = librarian.linker.registry._database.read()
    read.set_trace_callback(statements.append)
    plan = librarian.links.preview(model_ids=job.result["imported"])
    read.set_trace_callback(None)
    assert len(plan.to_create) == 1
    for text in statements:
        if "FROM links" in text:
            detail = read.execute(f"EXPLAIN QUERY PLAN {text}").fetchone()["detail"]
            assert "model_id=?" in detail or "target_app_path=?" in detail, text


def test_many_links_are_written_down_in_few_transactions(librarian, finished, models_folder):
    """A sync is no slower for each link because there are many."""
    folder = librarian.library.root / "diffusion" / "flux" / "many"
    folder.mkdir(parents=True)
    plan = Plan(plan_id="many")
    for number in range(1200):
        source, target = folder / f"{number}.safetensors", models_folder / "loras" / f"{number}.safetensors"
        source.touch()
        plan.to_create.append(
            PlannedLink(model_id="diffusion/flux/many", app="comfyui", target=str(target), source=str(source))
        )
    librarian.linker._prepared["many"] = Prepared(plan, {link.target: None for link in plan.to_create})
    statements: list[str] = []
    librarian.linker.registry._database._writer.set_trace_callback(statements.append)
    result = finished(librarian.links.apply(LinkChoice(plan_id="many"))).result
    librarian.linker.registry._database._writer.set_trace_callback(None)
    assert (result["links_created"], result["errors"]) == (1200, [])
    assert len([text for text in statements if text.startswith("BEGIN")]) <= 10
    assert {link.state for link in librarian.links.registered()} == {"ok"}
    assert all(path.resolve().name == path.name for path in (models_folder / "loras").iterdir())


# A registry that is damaged


def damage(path: Path, how: str) -> None:
    if how == "garbage":
        path.write_bytes(b"this is no database" * 100)
    elif how == "future":
        db = sqlite3.connect(path)
        db.execute("PRAGMA user_version = 99")
        db.close()
    else:
        data = bytearray(path.read_bytes())
        for start in range(4096, len(data), 4096):  # the first page, with the schema, stays
            data[start : start + 200] = os.urandom(200)
        path.write_bytes(data)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


@pytest.mark.parametrize("how", ["garbage", "future", "pages"])
def test_links_are_found_again_in_the_folders(librarian, linked, surroundings, models_folder, tmp_path, how):
    [first, second] = linked("one.safetensors", "two.safetensors")
    folder = models_folder / "upscale_models"
    (tmp_path / "far").write_bytes(b"far")
    (folder / "theirs").symlink_to(tmp_path / "far")
    (folder / "their own").write_bytes(b"own")
    librarian.close()
    damage(surroundings.data_dir / "registry.db", how)
    again = Librarian(surroundings)
    assert again.linker.registry.set_aside is not None
    found = again.links.registered()
    assert {(link.model_id, link.state) for link in found} == {(first, "ok"), (second, "ok")}
    assert again.links.health().total_issues == 0
    assert again.models.delete(first, "permanent").unlinked == 1
    again.links.uninstall("comfyui")
    assert sorted(os.listdir(folder)) == ["their own", "theirs"]
    again.close()


def test_hard_links_and_pinned_ones_are_found_again_too(
    librarian, linked, surroundings, models_folder, downloads, monkeypatch
):
    def refuse(*_, **__):
        raise OSError(1, "Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr(os, "symlink", refuse)
        [model_id] = linked()
    source = librarian.library.main_path(model_id)
    outside = downloads / "copy.safetensors"
    outside.write_bytes(source.read_bytes())
    librarian.linker.replace_with_link(
        model_id=model_id, app=None, target=outside, source=source, file_hash=None, seen=fingerprint(outside)
    )
    librarian.close()
    damage(surroundings.data_dir / "registry.db", "future")
    again = Librarian(surroundings)
    found = {Path(link.target).name: link for link in again.links.registered()}
    assert {name: link.state for name, link in found.items()} == {
        "up.safetensors": "ok",
        "copy.safetensors": "ok",
    }
    assert found["up.safetensors"].link_type == "hardlink"
    assert (found["copy.safetensors"].app, found["copy.safetensors"].pinned) == ("", True)
    again.close()


def test_cut_off_before_it_was_rebuilt_the_next_start_does_it(librarian, linked, surroundings):
    linked()
    librarian.close()
    damage(surroundings.data_dir / "registry.db", "garbage")
    Librarian(surroundings).close()  # set aside, and nobody asked for links
    again = Librarian(surroundings)
    assert [link.state for link in again.links.registered()] == ["ok"]
    again.links.uninstall("comfyui")
    assert again.links.registered() == []
    again.close()
    last = Librarian(surroundings)
    assert last.links.registered() == []  # it is rebuilt once only
    last.close()


# Moves


def at(root: Path, surroundings: Surroundings, *, library: Path | None = None) -> Surroundings:
    app = app_of_models_folder(root / "models").model_copy(update={"app": "comfyui"})
    return surroundings.model_copy(update={"library_root": library or root / "model-library", "apps": [app]})


def test_library_and_app_moved_together_need_no_repair(librarian, linked, surroundings, tmp_path):
    linked("one.safetensors", "two.safetensors")
    librarian.close()
    (tmp_path / "ComfyUI").rename(tmp_path / "Moved")
    folder = tmp_path / "Moved" / "models" / "upscale_models"
    assert sorted(path.name for path in folder.iterdir() if path.is_file()) == [
        "one.safetensors",
        "two.safetensors",
    ]
    before = {path.name: path.lstat().st_mtime_ns for path in folder.iterdir()}
    again = Librarian(at(tmp_path / "Moved", surroundings))
    assert [link.state for link in again.links.registered()] == ["ok", "ok"]
    assert all(link.target.startswith(str(folder)) for link in again.links.registered())
    assert again.linker.relocation.heal() == 0
    assert {path.name: path.lstat().st_mtime_ns for path in folder.iterdir()} == before
    again.close()


@pytest.mark.parametrize("moved", ["library", "app", "both apart"])
def test_what_moved_alone_is_healed_at_the_next_start(surroundings, make_model, downloads, tmp_path, moved):
    library = tmp_path / "library"
    first = Librarian(surroundings.model_copy(update={"library_root": library}))
    request = {"items": [{"paths": [str(make_model(downloads / "up.safetensors"))]}], "link": True}
    first.jobs.wait(first.imports.start(ImportRequest.model_validate(request)).id)
    first.close()
    (tmp_path / "deep" / "er").mkdir(parents=True)
    root = tmp_path / "ComfyUI"
    if moved != "app":
        library = library.rename(tmp_path / "deep" / "er" / "library")
    if moved != "library":
        root = root.rename(tmp_path / "deep" / "App")
    again = Librarian(at(root, surroundings, library=library))
    assert [link.state for link in again.links.registered()] == ["changed"]
    again.start()
    for job in again.jobs.all():
        again.jobs.wait(job.id)
    [link] = again.links.registered()
    assert (link.app, link.state) == ("comfyui", "ok")
    assert (root / "models" / "upscale_models" / "up.safetensors").resolve() == Path(link.source)
    assert not again.linker.registry.moves()
    again.close()


def test_another_library_leaves_the_links_of_the_one_before(
    librarian, linked, surroundings, tmp_path, models_folder
):
    linked()
    librarian.close()
    (tmp_path / "ComfyUI" / "model-library").rename(tmp_path / "unplugged")
    elsewhere = surroundings.model_copy(update={"library_root": tmp_path / "another"})
    again = Librarian(elsewhere)
    assert [link.state for link in again.links.registered()] == ["broken"]
    assert again.linker.relocation.heal() == 0
    again.close()
    (tmp_path / "unplugged").rename(tmp_path / "ComfyUI" / "model-library")
    back = Librarian(surroundings)
    assert [link.state for link in back.links.registered()] == ["ok"]
    stored = back.linker.registry._database.read().execute("SELECT source_model_path FROM links").fetchall()
    assert not os.path.isabs(stored[0][0])
    back.close()
