"""Kill a process that downloads, in front of its calls of the filesystem and at random moments, again and again; look.

    _kill_downloads.py FOLDER SECONDS SEED

``HF_ENDPOINT`` names a hub with the repositories below. Imports everything once and forks: each life is a child of its
own, and so is the start after it, which is killed every other time as well. Prints one line of JSON; ends with 1 and
says what broke.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import _scenarios
from _kills import child, killed

from model_librarian.core.downloading import Download, DownloadRequest
from model_librarian.core.errors import ConflictError
from model_librarian.core.librarian import Librarian
from model_librarian.core.network import transport  # noqa: F401  (before the first fork)
from model_librarian.core.settings import Surroundings

Work = Callable[[Librarian], None]


def add(librarian: Librarian, repo_id: str, file: str) -> None:
    """Begin what an earlier life did not."""
    if not librarian.downloads.all() and not models(librarian.library.root):
        librarian.downloads.add(DownloadRequest(provider="huggingface", repo_id=repo_id, files=[file]))


def until(librarian: Librarian, holds: Callable[[Download], bool]) -> Download | None:
    """The only download, once this holds of it; nothing if there is none (any more)."""
    while found := librarian.downloads.all():
        if holds(found[0]):
            return found[0]
        time.sleep(0.002)
    return None


def finish(librarian: Librarian) -> None:
    """Have it come to its end."""
    ended = until(librarian, lambda one: one.state in ("done", "failed", "paused"))
    if ended is not None and ended.state == "paused":
        librarian.downloads.resume(ended.id)
        ended = until(librarian, lambda one: one.state in ("done", "failed"))
    assert ended is None or ended.state == "done", ended


def brought(repo_id: str, file: str) -> Work:
    def work(librarian: Librarian) -> None:
        add(librarian, repo_id, file)
        finish(librarian)

    return work


def pause(librarian: Librarian) -> None:
    add(librarian, "org/set", "big-00001-of-00002.safetensors")
    begun = until(librarian, lambda one: one.received > 0 or one.state in ("done", "importing"))
    if begun is not None and begun.state == "downloading":
        with contextlib.suppress(ConflictError):  # it is being imported by now
            librarian.downloads.pause(begun.id)


def remove(librarian: Librarian) -> None:
    add(librarian, "org/set", "big-00001-of-00002.safetensors")
    begun = until(librarian, lambda one: one.received > 0 or one.state in ("done", "importing"))
    if begun is not None:
        librarian.downloads.remove(begun.id)


def wrong(librarian: Librarian) -> None:
    add(librarian, "org/wrong", "wrong.safetensors")
    until(librarian, lambda one: one.state == "failed")


def thrown_away(librarian: Librarian) -> None:
    """What came wrong is kept aside until the person removes it."""
    assert models(librarian.library.root) == {}
    add(librarian, "org/wrong", "wrong.safetensors")
    failed = until(librarian, lambda one: one.state == "failed")
    assert failed is not None and failed.files[0].aside is not None, failed
    aside = Path(failed.files[0].aside.path)
    assert aside.read_bytes() == hub_files("org/wrong")["wrong.safetensors"]
    librarian.downloads.remove(failed.id)


def removed(librarian: Librarian) -> None:
    """A removal that was cut off is done again; the model may be there if it came first."""
    for download in librarian.downloads.all():
        librarian.downloads.remove(download.id)


class Case(NamedTuple):
    """What a life does, what the start after it does, and whether that leaves the model."""

    work: Work
    heal: Work
    before: Work | None = None
    leaves: int | None = 1


CASES = {
    "single file": Case(*[brought("org/one", "one.safetensors")] * 2),
    "sharded set": Case(*[brought("org/set", "big-00002-of-00002.safetensors")] * 2),
    "Diffusers folder": Case(*[brought("org/pipe", "model_index.json")] * 2),
    "paused": Case(pause, brought("org/set", "big-00001-of-00002.safetensors")),
    "resumed": Case(finish, brought("org/set", "big-00001-of-00002.safetensors"), before=pause),
    "cancelled": Case(remove, removed, leaves=None),
    "wrong bytes": Case(wrong, thrown_away, leaves=0),
}


def hub_files(repo_id: str) -> dict[str, bytes]:
    """What the hub sends."""
    folder = Path(os.environ["HUB_FILES"]) / repo_id
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def models(library: Path) -> dict[str, dict[str, bytes]]:
    """The models under their final names: each file that its record names, with its bytes."""
    return {
        str(metadata.parent): {
            file["name"]: (metadata.parent / file["name"]).read_bytes()
            for file in json.loads(metadata.read_text())["files"]
        }
        for metadata in library.glob("*/*/*/metadata.json")
        if ".incoming" not in metadata.parts
    }


class World:
    """A library, and what a life does to it."""

    def __init__(self, folder: Path, name: str) -> None:
        self.case = CASES[name]
        self.root = folder / name
        self.template = folder / f"{name} before"
        self.template.mkdir(parents=True)
        if self.case.before is not None:
            self.prepare()
            assert not killed(self.live(self.case.before, None))
            shutil.rmtree(self.template)
            shutil.copytree(self.root, self.template)
        self.calls = 0
        self.prepare()
        began = time.monotonic()
        assert not killed(self.live(self.case.work, None, count=True))
        self.seconds = time.monotonic() - began
        self.calls = int((self.root / "calls").read_text())
        self.kills = 0

    def prepare(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(self.template, self.root)

    def live(self, work: Work, at: int | None, *, count: bool = False) -> int:
        """Start a life that is killed in front of its call number ``at``; its process id."""

        def whole() -> None:
            def step(number: int, _what: str) -> None:
                if number == at:
                    os.kill(os.getpid(), 9)
                    time.sleep(60)

            stepping = _scenarios.Stepping(self.root, step)
            surroundings = Surroundings(data_dir=self.root / "data", library_root=self.root / "library")
            with stepping.active(databases=True):
                librarian = Librarian(surroundings)
                librarian._watcher.start = lambda: None  # type: ignore[method-assign]
                librarian.start()
                try:
                    work(librarian)
                finally:
                    librarian.close()
            if count:
                (self.root / "calls").write_text(str(stepping.steps))

        return child(whole)

    def killed_once(self, work: Work, chance: random.Random) -> bool:
        """Live until a call or a moment that chance chooses; whether it was killed before its end."""
        if chance.random() < 0.5:
            return self.looked_at(killed(self.live(work, chance.randint(1, self.calls))))
        process = self.live(work, None)
        time.sleep(chance.uniform(0, self.seconds))
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, 9)
        return self.looked_at(killed(process))

    def looked_at(self, was_killed: bool) -> bool:
        self.kills += was_killed
        for files in models(self.root / "library").values():
            assert files in whole_models(), "a model that is not whole has a final name"
        return was_killed

    def round(self, chance: random.Random) -> None:
        """A life that is killed, perhaps a start after it that is killed as well, and one that heals."""
        self.prepare()
        self.killed_once(self.case.work, chance)
        while chance.random() < 0.5:
            self.killed_once(self.case.heal, chance)
        assert not killed(self.live(self.case.heal, None))
        self.looked_at(False)
        there = len(models(self.root / "library"))
        assert there == self.case.leaves or (self.case.leaves is None and there <= 1), there
        incoming = self.root / "library" / ".incoming"
        left = (
            [name for name in os.listdir(incoming) if name not in ("metadata.lock", "placed")]
            if incoming.is_dir()
            else []
        )
        assert left == [], left


def whole_models() -> list[dict[str, bytes]]:
    """What a model may consist of."""
    return [hub_files(repo_id) for repo_id in ("org/one", "org/set", "org/pipe")]


def main() -> None:
    folder, seconds, seed = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    worlds = {name: World(folder, name) for name in CASES}
    chance = random.Random(seed)
    began = time.monotonic()
    while time.monotonic() - began < seconds or any(world.kills == 0 for world in worlds.values()):
        name = chance.choice(list(worlds))
        try:
            worlds[name].round(chance)
        except BaseException:
            print(f"in the case «{name}»:", file=sys.stderr)
            raise
    cases = {
        name: {"calls": world.calls, "kills": world.kills, "ms": round(world.seconds * 1000)}
        for name, world in worlds.items()
    }
    print(json.dumps({"kills": sum(world.kills for world in worlds.values()), "cases": cases}))


if __name__ == "__main__":
    main()
