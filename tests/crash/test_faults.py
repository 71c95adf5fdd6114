"""The filesystem fails at its n-th call, for every n: nothing is lost, what is told is clear, and it heals."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.crash

sys.path.insert(0, str(Path(__file__).parent))
import _scenarios as scenarios  # noqa: E402

from model_librarian.core.errors import LibrarianError  # noqa: E402


@pytest.mark.parametrize("name", scenarios.SCENARIOS)
def test_a_filesystem_that_fails_at_any_call(name, fast_folder, tell):
    world = scenarios.World(fast_folder / "world")
    world.make()
    scenario = scenarios.SCENARIOS[name]
    if scenario.before is not None:
        scenario.before(world)
    template = fast_folder / "template"
    shutil.copytree(world.root, template, symlinks=True)
    before, person = world.contents(), world.person()
    number, ends = 0, {"finished": 0, "undone": 0}
    while True:
        number += 1
        error = (errno.EIO, errno.ENOSPC, errno.EACCES)[number % 3]
        scenarios.prepare(world, template)

        def fail(step: int, what: str, number=number, error=error) -> None:
            if step == number:
                raise OSError(error, os.strerror(error))

        with world.librarian() as librarian, scenarios.conditions(world, name):
            stepping = scenarios.Stepping(world.root, fail)
            with stepping.active():
                try:
                    scenario.work(world, librarian)
                except LibrarianError as problem:
                    assert len(problem.message) > 20, "a message says what to do"
                jobs = librarian.jobs.all()
                for job in jobs:
                    assert job.error is None or job.error.code != "internal_error", job.error
                    assert all(item.code != "internal_error" for item in job.items), job.items
            scenarios.check(world, name, before, person)
        if stepping.steps < number:
            break
        told = any(item.message for job in jobs for item in job.items if item.state == "done")
        if told and scenario.source == "go":
            for path in world.sources[scenario.what]:  # the person does it by hand
                path.unlink(missing_ok=True)
        ends[scenarios.heal_and_check(world, name, before, person, told=told)] += 1
    tell(f"{number - 1} calls of the filesystem failed, one after the other: {ends}")
