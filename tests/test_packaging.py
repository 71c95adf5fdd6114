"""The package says the same about itself in every place that is read."""

from __future__ import annotations

import re

from _environment import ROOT, project_list


def test_requirements_are_the_dependencies() -> None:
    """ComfyUI-Manager reads the one, the registry and pip read the other."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert lines == project_list("dependencies")


def test_the_version_is_one() -> None:
    from model_librarian.core.version import VERSION

    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'\nversion = "{VERSION}"\n' in text


def test_every_folder_with_code_is_installed() -> None:
    """What pip installs is what ComfyUI loads from the folder."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    packages = re.findall(r'"(model_librarian[\w.]*)"', text.partition("\npackages = [")[2].partition("]")[0])
    folders = {
        path.parent.relative_to(ROOT)
        for room in ("core", "nodes", "routes")
        for path in (ROOT / room).rglob("*.py")
    }
    assert set(packages) == {
        "model_librarian",
        *(".".join(("model_librarian", *folder.parts)) for folder in folders),
    }
