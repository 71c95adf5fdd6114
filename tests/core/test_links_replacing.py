"""A link that takes the place of a file with the same bytes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from model_librarian.core.errors import ConflictError, NotFoundError
from model_librarian.core.importing import ImportRequest
from model_librarian.core.librarian import Librarian
from model_librarian.core.linking import LinkChoice
from model_librarian.core.linking.links import fingerprint


@pytest.fixture
def model(librarian, finished, make_model, downloads) -> tuple[str, Path]:
    """A model of the library: its id and file."""
    item = {"paths": [str(make_model(downloads / "up.safetensors"))]}
    job = finished(librarian.imports.start(ImportRequest.model_validate({"items": [item]})))
    [model_id] = job.result["imported"]
    return model_id, librarian.library.main_path(model_id)


@pytest.fixture
def replace(librarian, model):
    """Replace the file at a place by a link to the model."""

    def run(target: Path, seen=None, app=None):
        return librarian.linker.replace_with_link(
            model_id=model[0],
            app=app,
            target=target,
            source=model[1],
            file_hash=None,
            seen=seen or fingerprint(target),
        )

    return run


@pytest.fixture
def copy(model, models_folder) -> Path:
    """A real file with the model's bytes, in a folder of the app below that for its kind."""
    path = models_folder / "upscale_models" / "mine" / "my name.safetensors"
    path.parent.mkdir()
    path.write_bytes(model[1].read_bytes())
    return path


def test_the_file_becomes_a_registered_link(librarian, replace, copy, model):
    data = copy.read_bytes()
    link = replace(copy)
    assert (link.app, link.model_id, link.target, link.pinned) == ("comfyui", model[0], str(copy), True)
    assert copy.is_symlink()
    assert copy.read_bytes() == data
    assert [known.state for known in librarian.links.registered()] == ["ok"]
    assert os.listdir(copy.parent) == [copy.name]
    assert list(librarian.linker.registry.intents()) == []


def test_a_sync_leaves_it_where_it_is_and_makes_no_second_one(librarian, replace, copy):
    replace(copy)
    plan = librarian.links.preview()
    assert (plan.total_actions, plan.conflicts) == (0, [])
    assert [link.target for link in plan.to_skip_exists] == [str(copy)]


def test_one_in_the_folder_of_another_kind_stays_too(librarian, finished, replace, model, models_folder):
    place = models_folder / "loras" / "up.safetensors"
    place.write_bytes(model[1].read_bytes())
    replace(place)
    finished(librarian.links.apply(LinkChoice(plan_id=librarian.links.preview().plan_id)))
    assert place.is_symlink()
    assert (models_folder / "upscale_models" / "up.safetensors").is_symlink()
    assert librarian.links.preview().total_actions == 0


def test_a_place_outside_all_apps(librarian, replace, downloads, model, surroundings):
    place = downloads / "copy.safetensors"
    place.write_bytes(model[1].read_bytes())
    assert replace(place).app == ""
    assert place.resolve() == model[1]
    [link] = librarian.links.registered()
    assert (link.target, link.state) == (str(place), "ok")
    assert librarian.models.delete(model[0], "permanent").unlinked == 1
    assert not os.path.lexists(place)


def test_a_file_that_changed_since_it_was_compared_stays(librarian, replace, copy):
    seen = fingerprint(copy)
    copy.write_bytes(b"something new")
    with pytest.raises(ConflictError):
        replace(copy, seen)
    assert copy.read_bytes() == b"something new"
    assert os.listdir(copy.parent) == [copy.name]
    assert librarian.links.registered() == list(librarian.linker.registry.intents()) == []


def test_a_source_that_is_gone_takes_no_place(librarian, replace, copy, model):
    data = copy.read_bytes()
    model[1].unlink()
    with pytest.raises(NotFoundError):
        replace(copy)
    assert copy.read_bytes() == data
    assert list(librarian.linker.registry.intents()) == []


def test_the_models_own_file_is_no_copy_of_it(librarian, replace, model, models_folder):
    (models_folder / "upscale_models" / "all").symlink_to(model[1].parent)
    data = model[1].read_bytes()
    for place in (model[1], models_folder / "upscale_models" / "all" / model[1].name):
        with pytest.raises(ConflictError):
            replace(place)
    assert model[1].read_bytes() == data
    assert not model[1].is_symlink()


def test_asked_twice_it_stands_once(librarian, replace, copy):
    seen = fingerprint(copy)
    replace(copy)
    replace(copy, seen)
    assert len(librarian.links.registered()) == 1


@pytest.mark.parametrize("second_name", [True, False])
def test_without_symlinks_it_is_a_hard_link(librarian, replace, copy, model, monkeypatch, second_name):
    def refuse(*_, **__):
        raise OSError(1, "Operation not permitted")

    if second_name:  # the file that is adopted is the library's already, under another name
        copy.unlink()
        os.link(model[1], copy)
    monkeypatch.setattr(os, "symlink", refuse)
    assert replace(copy).link_type == "hardlink"
    assert copy.samefile(model[1])
    assert os.listdir(copy.parent) == [copy.name]


@pytest.mark.parametrize("moment", ["Platform.make", "fingerprint", "fsync_directory", "_drop_temporary"])
def test_cut_off_at_any_moment_the_next_start_mends_it(
    librarian, surroundings, replace, copy, moment, monkeypatch
):
    class Killed(BaseException):
        pass

    def die(*_, **__):
        raise Killed

    data = copy.read_bytes()
    seen = fingerprint(copy)
    registry = librarian.linker.registry
    with monkeypatch.context() as patch:
        patch.setattr(f"model_librarian.core.linking.maker.{moment}", die)
        patch.setattr(registry, "register", lambda *_: None)
        patch.setattr("model_librarian.core.linking.maker._drop_temporary", die)
        with pytest.raises(Killed):
            replace(copy, seen)
    assert copy.read_bytes() == data
    librarian.close()
    again = Librarian(surroundings)
    again.linker.recover()
    assert copy.read_bytes() == data
    assert os.listdir(copy.parent) == [copy.name]
    assert [link.state for link in again.links.registered()] == ["ok"] * copy.is_symlink()
    assert list(again.linker.registry.intents()) == []
    again.close()
