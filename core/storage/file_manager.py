"""The desktop's file manager."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from ..errors import ConflictError

_TIMEOUT_S = 5.0


class NoDesktopError(ConflictError):
    """This process runs on no desktop, or its file manager does not open the folder."""

    code = "no_desktop"


def has_file_manager() -> bool:
    """Whether this process runs on a desktop that can show a folder."""
    if sys.platform in ("win32", "darwin"):
        return True
    desktop = os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY")
    return bool(desktop) and any(map(shutil.which, ("gdbus", "xdg-open")))


def show_file(path: Path) -> None:
    """Open the folder that a file lies in, with the file chosen where the file manager can do that.

    Raises `NoDesktopError`.
    """
    if not has_file_manager():
        raise NoDesktopError("There is no desktop on the machine that runs Librarian. Copy the path instead.")
    if not any(_succeeds(command) for command in _commands(path)):
        raise NoDesktopError(f"{path.parent} could not be opened. Copy the path instead.")


def _commands(path: Path) -> list[list[str]]:
    """What is tried in turn."""
    if sys.platform == "win32":
        return [["explorer", "/select,", str(path)]]
    if sys.platform == "darwin":
        return [["open", "-R", str(path)]]
    # https://www.freedesktop.org/wiki/Specifications/file-manager-interface/
    show = [
        "gdbus", "call", "--session", "--dest", "org.freedesktop.FileManager1",
        "--object-path", "/org/freedesktop/FileManager1",
        "--method", "org.freedesktop.FileManager1.ShowItems", f"['{path.as_uri()}']", "",
    ]  # fmt: skip
    return [show, ["xdg-open", str(path.parent)]]


def _succeeds(command: list[str]) -> bool:
    try:
        program = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl+C in our terminal is not meant for it
        )
        status = program.wait(_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return True  # the file manager itself: it goes on until the person closes its window
    except OSError:
        return False
    return status == 0 or sys.platform == "win32"  # explorer answers 1 when all is well
