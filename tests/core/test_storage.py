from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_librarian.core.errors import InvalidRequestError, OutsideRootsError
from model_librarian.core.storage.atomic import write_atomic
from model_librarian.core.storage.names import collision_key, name_with_suffix, safe_name
from model_librarian.core.storage.roots import AllowedRoots

FORBIDDEN = set('<>:"/\\|?*') | {chr(code) for code in range(32)} | {"\x7f"}


@given(st.text(alphabet=st.characters(), max_size=400))
def test_any_text_gives_a_name_that_every_filesystem_takes(text):
    name = safe_name(text)
    assert name
    assert len(name.encode()) <= 255
    assert not FORBIDDEN & set(name)
    assert name == name.rstrip(". ")
    assert name.split(".")[0].upper() not in {"CON", "PRN", "AUX", "NUL", "COM1", "LPT9"}
    assert safe_name(name) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Model:A", "Model_A"),
        ("Model*A", "Model_A"),
        ("CON.safetensors", "_CON.safetensors"),
        ("name. ", "name"),
        ("cafe\u0301", "café"),
        ("", "model"),
        ("..", "model"),
        ("写实 🎨", "写实 🎨"),
    ],
)
def test_names(text, name):
    assert safe_name(text) == name


def test_a_long_name_keeps_its_extension():
    name = safe_name("x" * 400 + ".safetensors")
    assert name.endswith(".safetensors")
    assert len(name) == 255
    assert len(name_with_suffix("ü" * 200, "8f2a").encode()) <= 255


def test_case_and_normal_form_collide():
    assert collision_key("Café") == collision_key("CAFE\u0301")


def test_an_atomic_write_leaves_old_bytes_when_it_fails(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def fail(*_):
        raise OSError("disk")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


@pytest.fixture
def roots(tmp_path: Path) -> AllowedRoots:
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside2").mkdir()
    (tmp_path / "secret").write_text("secret")
    return AllowedRoots([tmp_path / "inside"])


def test_paths_inside_are_allowed(roots, tmp_path):
    assert roots.confine(str(tmp_path / "inside" / "a" / "b")) == tmp_path / "inside" / "a" / "b"
    assert roots.confine(str(tmp_path / "inside")) == tmp_path / "inside"


@pytest.mark.parametrize(
    "path", ["secret", "inside/../secret", "inside2/x", "inside/link", "inside/folder/secret", "."]
)
def test_paths_outside_are_refused(roots, tmp_path, path):
    (tmp_path / "inside" / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "inside" / "folder").symlink_to(tmp_path)
    with pytest.raises(OutsideRootsError):
        roots.confine(str(tmp_path / path))


@pytest.mark.parametrize("path", ["", "relative/path", "a\0b", "file:///etc/passwd"])
def test_what_is_no_full_path_is_refused(roots, path):
    with pytest.raises(InvalidRequestError):
        roots.confine(path)
