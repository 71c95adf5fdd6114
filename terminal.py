"""How the command line speaks: plain text whatever a name is made of, sizes, plans, jobs with a progress bar."""

from __future__ import annotations

import shutil
import sys
import unicodedata

from pydantic import BaseModel

from .core.importing.sharing import SharePlan
from .core.jobs import Job, JobProgress
from .core.librarian import Librarian
from .core.linking import Plan
from .core.storage.names import shown

BAR_CELLS = 30
FEWEST_CELLS = 5
"""Of a bar; where there is less room, only the numbers are shown."""

INTERRUPTED = 130
"""The exit status of what Ctrl+C ended, as shells have it: 128 and the signal's number."""


def say(text: str) -> None:
    """Print a line."""
    print(plain(text))


def warn(text: str) -> None:
    """Print a line for people who look, but not for what reads the output."""
    print(plain(text), file=sys.stderr)


def plain(text: str) -> str:
    """The text without anything that a terminal would obey; that is shown as an escape, such as ``u202e``.

    Names come from publishers and from disks; they may hold line breaks, colours, and marks that turn the rest of a
    line around.
    """
    return "".join(
        char if _is_harmless(char) else char.encode("unicode_escape").decode() for char in shown(text)
    )


def _is_harmless(char: str) -> bool:
    joins = unicodedata.category(char) == "Cf" and unicodedata.bidirectional(char) == "BN"  # as in emoji
    return char.isprintable() or unicodedata.category(char) == "Zs" or joins


def size(count: float) -> str:
    """Bytes as people read them."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return ""


def counted(number: int, thing: str) -> str:
    """A number of things: ``1 link``, ``2 links``."""
    return f"{number:,} {thing}" + ("" if number == 1 else "s")


def duration(seconds: float) -> str:
    """Seconds as people read them."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


class ProgressBar:
    """Draws how far a job is over one and the same line of standard error."""

    def __init__(self) -> None:
        self._drawn = False

    def draw(self, job: Job) -> None:
        """Show the job as it is."""
        progress = job.progress
        if not progress.total:
            return
        self._drawn = True
        share = min(1.0, progress.current / progress.total)
        before, after = f"{job.stage or '':10} ", f"{share:4.0%}  {_amounts(progress)}"
        room = max(10, shutil.get_terminal_size().columns - 1)
        cells = min(BAR_CELLS, room - len(before) - len(after) - 1)
        bar = f"{'█' * int(share * cells):{cells}} " if cells >= FEWEST_CELLS else ""
        print(f"\r{(before + bar + after)[:room]}\033[K", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Let what comes next begin a line of its own."""
        if self._drawn:
            print(file=sys.stderr)


def _amounts(progress: JobProgress) -> str:
    total, rate = progress.total or 0, progress.rate
    if progress.unit != "bytes":
        return f"{progress.current:,} of {counted(total, progress.unit.removesuffix('s'))}"
    parts = [f"{size(progress.current)} of {size(total)}"]
    if rate:
        parts.append(f"{size(rate)}/s")
    if progress.eta_s is not None and progress.current < total:
        parts.append(f"{duration(progress.eta_s)} left")
    return ", ".join(parts)


def follow(librarian: Librarian, job: Job, *, draws: bool = True) -> Job:
    """Wait for a job, with a progress bar on a terminal; Ctrl+C cancels it."""

    def draw(_name: str, record: BaseModel) -> None:
        if isinstance(record, Job) and record.id == job.id:
            bar.draw(record)

    bar = ProgressBar()
    shows_bar = draws and sys.stderr.isatty()
    unsubscribe = librarian.events.subscribe(draw) if shows_bar else None
    try:
        return librarian.jobs.wait(job.id)
    except KeyboardInterrupt:
        librarian.jobs.cancel(job.id)
        return librarian.jobs.wait(job.id)
    finally:
        if unsubscribe is not None:
            unsubscribe()
            bar.end()


def exit_status(job: Job) -> int:
    """0 if all of a job was done, 130 if Ctrl+C ended it, else 1, with what went wrong as a whole said."""
    if job.state == "done" and all(item.state in ("done", "skipped") for item in job.items):
        return 0
    if job.state == "cancelled":
        warn("librarian: Cancelled. What was done until then stays.")
        return INTERRUPTED
    if job.error is not None and all(item.message != job.error.message for item in job.items):
        warn(f"librarian: {job.error.message}")
    return 1


def say_sharing(plan: SharePlan) -> None:
    """Print what storing equal files once would do."""
    for file in plan.files:
        say(f"{file.way:<8} {file.path}  ({size(file.bytes_to_win)})")
        say(f"{'':<8} of {file.keeper}")
    say(f"{size(plan.bytes_to_win)} to win with {counted(len(plan.files), 'file')}")
    for left in plan.left:
        warn(f"  left: {left.path}: {left.reason}")
    if any(file.way == "hardlink" for file in plan.files):
        warn(
            "  A hard link is a second name of one file: whatever changes it in place changes it for both models. "
            "Librarian never does that."
        )
    if plan.files:
        warn("  Nothing was changed. To do it, add --yes")


def say_plan(plan: Plan) -> None:
    """Print what a sync would do."""
    for created in plan.to_create:
        say(f"+ {created.target}")
    for conflict in plan.conflicts:
        say(f"! {conflict.target}  ({conflict.reason}: {conflict.existing})")
    for removed in (*plan.broken_to_remove, *plan.orphaned_to_remove):
        say(f"- {removed.target}")
    say(
        f"{len(plan.to_create):,} to make, {len(plan.to_skip_exists):,} right already, "
        f"{counted(len(plan.conflicts), 'conflict')}"
    )
    for text in (*plan.warnings, *plan.errors):
        warn(f"  {text}")
