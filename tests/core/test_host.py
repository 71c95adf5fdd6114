"""A Librarian that cannot start says so, and nothing else is affected."""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import suppress

import pytest

from model_librarian.core import turns
from model_librarian.core.errors import LibrarianError
from model_librarian.core.host import Host, StartingError
from model_librarian.core.librarian import Librarian


async def test_what_kept_it_from_starting_is_told_to_each_caller(surroundings, caplog):
    (surroundings.data_dir.parent / "file").write_text("in the way")
    broken = surroundings.model_copy(update={"data_dir": surroundings.data_dir.parent / "file" / "data"})
    host = Host(lambda: Librarian(broken))
    host.open()
    for _ in range(2):
        with pytest.raises(LibrarianError, match="file/data"):
            await host.librarian()
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    await host.close()


async def test_an_error_of_our_own_is_told_too(caplog):
    def build():
        raise ZeroDivisionError("a fault")

    host = Host(build)
    host.open()
    with pytest.raises(StartingError, match="a fault"):
        await host.librarian()
    await host.close()


@pytest.mark.parametrize("fails", [False, True])
async def test_while_it_is_built_others_wait_for_the_interpreter_for_a_millisecond_at_most(
    surroundings, fails
):
    usual, seen = sys.getswitchinterval(), []

    def build():
        seen.append(sys.getswitchinterval())
        if fails:
            raise ZeroDivisionError
        return Librarian(surroundings)

    host = Host(build)
    host.open()
    with suppress(StartingError):
        await host.librarian()
    await host.close()
    assert seen == [pytest.approx(0.001)]
    assert sys.getswitchinterval() == usual


async def test_callers_that_come_early_wait(surroundings):
    host = Host(lambda: Librarian(surroundings))
    host.open()
    librarian = await host.librarian()
    assert librarian is await host.librarian() is host.wait()
    await host.close()


async def test_its_threads_give_way_to_the_loop_that_it_was_opened_on(surroundings):
    host = Host(lambda: Librarian(surroundings))
    host.open()
    assert asyncio.get_running_loop() in turns._loops
    await host.librarian()
    await host.close()
    assert asyncio.get_running_loop() not in turns._loops
