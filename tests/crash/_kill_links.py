"""Kill a process at every call that changes a link or the registry, start again, look what is left.

    _kill_links.py FOLDER SECONDS SEED

SECONDS are for random moments, after every call had its turn. Prints one line of JSON; ends with 1 and says what
broke.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from _kills import child, killed
from _scenarios import Stepping, World, run

from model_librarian.core.jobs import Job, JobContext
from model_librarian.core.librarian import Librarian
from model_librarian.core.linking import CleanChoice, LinkChoice, RelocateRequest

MOVED = "moved"


def apply(librarian: Librarian) -> None:
    """Link all; copies are replaced, what else lies in the way is left."""
    plan = librarian.links.preview()
    copies = {conflict.target: "overwrite" for conflict in plan.conflicts if conflict.reason == "same_bytes"}
    choice = LinkChoice.model_validate({"plan_id": plan.plan_id, "resolutions": copies})
    run(librarian, librarian.links.apply(choice))


def folder_of(world: World) -> Path:
    return world.models / "upscale_models"


def files_of(world: World) -> dict[str, Path]:
    """The models' files in the library, by name."""
    return {path.stem: path for path in world.library.glob("*/*/*/*.safetensors")}


def linked(world: World) -> None:
    with world.librarian() as librarian:
        apply(librarian)


def one_elsewhere(world: World) -> None:
    """The file of a linked model lies in a folder of the app now; another one is gone for good."""
    linked(world)
    files_of(world)["c"].rename(world.models / "vae" / "another name.safetensors")
    files_of(world)["b"].rename(world.root / "kept apart")
    with world.librarian() as librarian:
        run(librarian, librarian.scans.start("deep"))
        for model_id in librarian.library.index.all_ids():
            with suppress(Exception):
                librarian.library.hash_of(model_id)


def old_mount(world: World) -> None:
    """The links on disk say where the library was before it got another mount point."""
    linked(world)
    for path in list(folder_of(world).iterdir()):
        if path.is_symlink() and world.library in path.resolve().parents:
            text = str(world.root / "old mount" / path.resolve().relative_to(world.library))
            path.unlink()
            path.symlink_to(text)


def moved(world: World) -> None:
    """The library lies elsewhere, and the links do not know it yet."""
    linked(world)
    world.library.rename(world.root / MOVED)


def ill(world: World) -> None:
    """One link is broken, one is nobody's."""
    linked(world)
    source = files_of(world)["c"]
    (folder_of(world) / "orphan.safetensors").symlink_to(files_of(world)["b"])
    source.rename(world.root / "kept apart")


def copied(world: World) -> None:
    """Copies lie where links belong."""
    for name in ("b", "c"):
        shutil.copyfile(files_of(world)[name], folder_of(world) / f"{name}.safetensors")


def damaged(world: World) -> None:
    linked(world)
    (world.root / "data" / "registry.db").write_bytes(b"no database" * 500)
    for name in ("registry.db-wal", "registry.db-shm"):
        (world.root / "data" / name).unlink(missing_ok=True)


def repair(world: World, librarian: Librarian) -> None:
    run(librarian, librarian.links.repair())


def relocate(world: World, librarian: Librarian) -> None:
    request = RelocateRequest(old_prefix=str(world.root / "old mount"), new_prefix=str(world.library))
    librarian.links.relocate(request)


def clean(world: World, librarian: Librarian) -> None:
    librarian.links.clean(CleanChoice(broken=True, orphaned=True))


def mend(_world: World, librarian: Librarian) -> None:
    librarian.linker.mend(JobContext(Job(id="x", kind="health"), lambda _: None))


def uninstall(world: World, librarian: Librarian) -> None:
    librarian.links.uninstall_all()


def ours(world: World) -> dict[str, Path]:
    """Links in the app that lead into the library, by name, and where they lead."""
    found = {}
    for path in world.models.rglob("*"):
        if path.is_symlink():
            leads_to = Path(os.path.normpath(path.parent.resolve() / os.readlink(path)))
            if world.library in leads_to.parents or {"old mount", "model-library"} & set(leads_to.parts):
                found[path.name] = leads_to
    return found


class Scenario(NamedTuple):
    """What is done, and what it leaves.

    ``whole`` are names in the app that mean something whole at every moment, ``library`` is where the library
    lies when the work begins, if it was moved.
    """

    before: Callable[[World], None]
    work: Callable[[World, Librarian], None]
    end: Callable[[World], bool]
    whole: tuple[str, ...] = ()
    library: str | None = None


def _reads(world: World, *names: str) -> bool:
    return all((folder_of(world) / f"{name}.safetensors").is_file() for name in names)


SCENARIOS = {
    "sync": Scenario(lambda _: None, lambda _, librarian: apply(librarian), lambda w: _reads(w, "b", "c")),
    "replace copies": Scenario(
        copied,
        lambda _, librarian: apply(librarian),
        lambda w: _reads(w, "b", "c") and {"b.safetensors", "c.safetensors"} <= ours(w).keys(),
        whole=("b", "c"),
    ),
    "repair": Scenario(one_elsewhere, repair, lambda w: _reads(w, "c")),
    "relocate": Scenario(old_mount, relocate, lambda w: _reads(w, "b", "c")),
    "heal after a move": Scenario(moved, mend, lambda w: _reads(w, "b", "c"), library=MOVED),
    "clean": Scenario(ill, clean, lambda w: ours(w).keys() == {"b.safetensors"}, whole=("b",)),
    "uninstall": Scenario(linked, uninstall, lambda w: not ours(w)),
    "rebuild": Scenario(
        damaged, lambda _, lib: lib.linker.complete_registry(), lambda w: _reads(w, "b", "c")
    ),
}


def everything(world: World) -> dict[bytes, int]:
    """The bytes of every real file of a model or a person; how often they are there."""
    found: dict[bytes, int] = {}
    for path in world.root.rglob("*"):
        relative = path.relative_to(world.root)
        is_theirs = path.suffix in (".safetensors", ".txt") or path.name == "kept apart"
        if is_theirs and relative.parts[0] != "data" and path.is_file() and not path.is_symlink():
            data = path.read_bytes()
            found[data] = found.get(data, 0) + 1
    return found


def check(world: World, scenario: Scenario, bytes_before: set[bytes], person: dict[str, object]) -> None:
    """What holds at every moment."""
    lost = bytes_before - everything(world).keys()
    assert not lost, f"the bytes of {len(lost)} files are gone"
    for name in scenario.whole:
        path = folder_of(world) / f"{name}.safetensors"
        assert path.read_bytes() in bytes_before, f"{path} is not whole"
    left = world.person()
    for key, what in person.items():
        assert left.get(key, "gone") == what, f"{key} is somebody's and was touched"


def agree(world: World, librarian: Librarian) -> None:
    """Registry and disk say the same, and nothing that was cut off is left."""
    registry = librarian.linker.registry
    assert list(registry.intents()) == [], "an intent is left"
    assert registry.removals() == [], "a link is still about to go"
    registered = {link.target: link for link in librarian.links.registered()}
    missing = [target for target, link in registered.items() if link.state == "missing"]
    assert not missing, f"{missing} are registered and not on disk"
    on_disk = {
        str(path) for path in world.models.rglob("*") if path.name in ours(world) and path.is_symlink()
    }
    orphans = {found.target for found in librarian.links.health().orphaned_links}
    assert on_disk - registered.keys() <= orphans
    assert {path for path in orphans if "orphan" not in path} == set(), f"{orphans} were forgotten"
    left_over = [str(path) for path in world.models.rglob(".*")]
    assert not left_over, f"{left_over} are left over"


class Case:
    """One scenario with the state that each life begins with."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.scenario = name, SCENARIOS[name]
        self.world, self.template = World(folder / "world"), folder / "template"
        self.calls = self.kills = 0
        self.seconds = 0.0
        folder.mkdir(parents=True)

        def make() -> None:
            self.world.make()
            self.scenario.before(self.world)
            shutil.copytree(self.world.root, self.template, symlinks=True)

        assert not killed(child(make))
        if self.scenario.library:
            self.world.library = self.world.root / self.scenario.library
        self.bytes = set(everything(self.world))
        copies = {f"upscale_models/{name}.safetensors" for name in self.scenario.whole}
        self.person = {key: what for key, what in self.world.person().items() if key not in copies}
        self.person = {key: what for key, what in self.person.items() if "old mount" not in str(what)}
        self.person = {key: what for key, what in self.person.items() if key not in self._links()}

    def _links(self) -> set[str]:
        return {f"upscale_models/{name}" for name in ours(self.world)}

    def live(self, at: int | None) -> int:
        shutil.rmtree(self.world.root, ignore_errors=True)
        shutil.copytree(self.template, self.world.root, symlinks=True)

        def work() -> None:
            def step(number: int, _what: str) -> None:
                if number == at:
                    os.kill(os.getpid(), signal.SIGKILL)
                    time.sleep(60)

            with self.world.librarian() as librarian, Stepping(self.world.root, step).active(databases=True):
                self.scenario.work(self.world, librarian)

        return child(work)

    def look(self, moment: str) -> None:
        self.kills += 1

        def work() -> None:
            try:
                check(self.world, self.scenario, self.bytes, self.person)
                with self.world.librarian() as librarian:
                    librarian.linker.recover()
                    mend(self.world, librarian)
                    check(self.world, self.scenario, self.bytes, self.person)
                    agree(self.world, librarian)
                    self.scenario.work(self.world, librarian)
                    check(self.world, self.scenario, self.bytes, self.person)
                    agree(self.world, librarian)
                    assert self.scenario.end(self.world), "the work cannot be ended afterwards"
            except BaseException:
                print(f"{self.name}, killed {moment}:", file=sys.stderr)
                raise

        killed(child(work))

    def at_every_call(self) -> None:
        while True:
            began = time.monotonic()
            if not killed(self.live(self.calls + 1)):
                self.seconds = time.monotonic() - began
                self.look("after its end")
                self.kills -= 1
                return
            self.calls += 1
            self.look(f"in front of call {self.calls}")

    def at_random(self, chance: random.Random) -> None:
        moment = chance.uniform(0, self.seconds)
        process = self.live(None)
        time.sleep(moment)
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
        if killed(process):
            self.look(f"after {moment * 1000:.1f} ms")


def main() -> None:
    folder, seconds, seed = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    cases = [Case(name, folder / str(number)) for number, name in enumerate(SCENARIOS)]
    for case in cases:
        case.at_every_call()
    at_calls = sum(case.kills for case in cases)
    chance, began = random.Random(seed), time.monotonic()
    while time.monotonic() - began < seconds:
        chance.choice(cases).at_random(chance)
    at_random = sum(case.kills for case in cases) - at_calls
    counts = {case.name: case.kills for case in cases}
    print(json.dumps({"at_calls": at_calls, "at_random": at_random, "cases": counts}))


if __name__ == "__main__":
    main()
