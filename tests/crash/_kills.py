"""Kill a process at every call of the filesystem, then at random moments; start again; look what is left.

    _kills.py FOLDER SECONDS SEED PART PARTS

SECONDS are for the random moments. Imports everything once and forks: each life is a child of its own, and
so is the start after it. Prints one line of JSON; ends with 1 and says what broke.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import _scenarios as scenarios


def child(work: Callable[[], None]) -> int:
    """The process id of a child that does the work; it ends with 0, or with 3 and a traceback."""
    process = os.fork()
    if process:
        return process
    try:
        work()
    except BaseException:
        traceback.print_exc()
        os._exit(3)
    os._exit(0)


def killed(process: int) -> bool:
    """Wait for a child; whether it was killed. Anything but that or a clean end is a failure."""
    _, status = os.waitpid(process, 0)
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status) == signal.SIGKILL
    if os.WEXITSTATUS(status):
        raise SystemExit(1)
    return False


class Case:
    """One scenario with the state that each life begins with."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.world = scenarios.World(folder / "world")
        self.template = folder / "template"
        self.calls = 0
        self.kills = 0
        self.seconds = 0.0
        self.ends: dict[str, int] = {"finished": 0, "undone": 0}
        folder.mkdir(parents=True)
        read, write = os.pipe()

        def make() -> None:
            self.world.make()
            before_work = scenarios.SCENARIOS[name].before
            if before_work is not None:
                before_work(self.world)
            shutil.copytree(self.world.root, self.template, symlinks=True)
            os.write(write, json.dumps([self.world.contents(), self.world.person()], default=list).encode())

        assert not killed(child(make))
        before, _ = json.loads(os.read(read, 1_000_000))
        self.before = before
        self.person = self.world.person()

    def live(self, at: int | None) -> int:
        """Start a life that is killed in front of its call number ``at``; its process id."""
        scenarios.prepare(self.world, self.template)

        def work() -> None:
            def step(number: int, _what: str) -> None:
                if number == at:
                    os.kill(os.getpid(), signal.SIGKILL)
                    time.sleep(60)

            stepping = scenarios.Stepping(self.world.root, step)
            with (
                self.world.librarian() as librarian,
                scenarios.conditions(self.world, self.name),
                stepping.active(databases=True),
            ):
                scenarios.SCENARIOS[self.name].work(self.world, librarian)

        return child(work)

    def look(self, moment: str) -> None:
        """What must hold right after the kill and after the next start."""
        self.kills += 1
        read, write = os.pipe()

        def work() -> None:
            try:
                scenarios.check(self.world, self.name, self.before, self.person)
                end = scenarios.heal_and_check(self.world, self.name, self.before, self.person)
            except BaseException:
                print(f"{self.name}, killed {moment}:", file=sys.stderr)
                raise
            os.write(write, end.encode())

        try:
            killed(child(work))
            self.ends[os.read(read, 100).decode()] += 1
        finally:
            os.close(read)
            os.close(write)

    def at_every_call(self) -> None:
        """Kill in front of the first call, the second, and so on, until the work ends by itself."""
        while True:
            number = self.calls + 1
            began = time.monotonic()
            process = self.live(number)
            if not killed(process):
                self.seconds = time.monotonic() - began
                return
            self.calls = number
            self.look(f"in front of call {number}")

    def at_random(self, chance: random.Random) -> None:
        """Kill at a moment that nobody chose."""
        moment = chance.uniform(0, self.seconds)
        process = self.live(None)
        time.sleep(moment)
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
        if killed(process):
            self.look(f"after {moment * 1000:.1f} ms")


def main() -> None:
    folder, seconds, seed, part, parts = Path(sys.argv[1]), float(sys.argv[2]), *map(int, sys.argv[3:6])
    names = list(scenarios.SCENARIOS)[part::parts]
    cases = [Case(name, folder / f"{part}-{number}") for number, name in enumerate(names)]
    for case in cases:
        case.at_every_call()
    at_calls = sum(case.kills for case in cases)
    chance = random.Random(seed + part)
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        chance.choice(cases).at_random(chance)
    total = sum(case.kills for case in cases)
    ends = {case.name: {"calls": case.calls, "kills": case.kills, **case.ends} for case in cases}
    print(json.dumps({"at_calls": at_calls, "at_random": total - at_calls, "cases": ends}))


if __name__ == "__main__":
    main()
