"""Whether this process lives in a sandbox, and which folders it sees there."""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from ..sentences import say
from .mounts import ROOT, mounts

_CONTAINER = re.compile(r"docker|kubepods|containerd|libpod|podman|lxc|garden")
_OF_THE_SYSTEM = ("/proc", "/sys", "/dev", "/etc", "/usr", "/lib", "/lib64", "/bin", "/sbin", "/run")
_MAX_SHOWN = 12


class Sandbox(NamedTuple):
    """What this process lives in, the folders of the machine that it sees there, and how it gets others."""

    kind: Literal["flatpak", "snap", "container"]
    visible: tuple[str, ...]
    remedy: str

    @property
    def message(self) -> str:
        """The sentences shown to the person."""
        name = {
            "flatpak": say("a_flatpak", "a Flatpak"),
            "snap": say("a_snap", "a Snap"),
            "container": say("a_container", "a container"),
        }[self.kind]
        more = ", …" if len(self.visible) > _MAX_SHOWN else ""
        if not self.visible:
            return say(
                "sandboxed_alone",
                "Librarian runs in {sandbox} and sees no folder of this machine. {remedy}",
                sandbox=name,
                remedy=self.remedy,
            )
        return say(
            "sandboxed",
            "Librarian runs in {sandbox} and sees {folders} only. {remedy}",
            sandbox=name,
            folders=", ".join(self.visible[:_MAX_SHOWN]) + more,
            remedy=self.remedy,
        )


def sandbox(root: Path = ROOT, environment: Mapping[str, str] = os.environ) -> Sandbox | None:
    """The sandbox that this process lives in, if it does."""
    if (root / ".flatpak-info").exists():
        name, folders = _flatpak(root / ".flatpak-info")
        return Sandbox(
            "flatpak",
            folders,
            say(
                "allow_flatpak",
                "Allow others with «flatpak override --user --filesystem=FOLDER {name}».",
                name=name,
            ),
        )
    if environment.get("SNAP") and environment.get("SNAP_NAME"):
        home = environment.get("SNAP_REAL_HOME") or environment.get("HOME") or "the home folder"
        return Sandbox(
            "snap",
            (f"{home} (but nothing hidden in it)",),
            say(
                "allow_snap",
                "Drives under /media and /mnt are seen after «sudo snap connect {name}:removable-media».",
                name=environment["SNAP_NAME"],
            ),
        )
    if (
        (root / ".dockerenv").exists()
        or (root / "run/.containerenv").exists()
        or _CONTAINER.search(_text(root / "proc/1/cgroup"))
    ):
        return Sandbox(
            "container",
            _given_folders(root),
            say(
                "allow_container",
                "Give it others when it is started, such as with «docker run -v FOLDER:FOLDER».",
            ),
        )
    return None


def _flatpak(info: Path) -> tuple[str, tuple[str, ...]]:
    """The app's name and the folders it may see, as ``flatpak-metadata(5)`` says them."""
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(_text(info))
    except configparser.Error:
        return "APP", ()
    name = parser.get("Application", "name", fallback="APP")
    listed = parser.get("Context", "filesystems", fallback="").split(";")
    return name, tuple(folder for folder in listed if folder and not folder.startswith("!"))


def _given_folders(root: Path) -> tuple[str, ...]:
    """Where folders of the machine or volumes are mounted in a container."""
    points = (mount.point for mount in mounts(root) if mount.point != "/" and mount.fstype != "tmpfs")
    return tuple(
        dict.fromkeys(
            point
            for point in points
            if not any(point == place or point.startswith(place + "/") for place in _OF_THE_SYSTEM)
        )
    )


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode(errors="replace")
    except OSError:
        return ""
