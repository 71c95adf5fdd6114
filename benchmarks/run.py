#!/usr/bin/env python3
"""Measure Model Librarian against its bars and write the table into docs/benchmarks.md.

    python benchmarks/run.py                              everything, at 1,000, 10,000 and 100,000 models
    python benchmarks/run.py --sizes 1000 10000           smaller
    python benchmarks/run.py --only search event-loop     some measures; the table is printed, not written
    python benchmarks/run.py --linked-sizes 100 10000     how many models are linked

Every measure runs in a process of its own over its own synthetic library in a temporary folder (TMPDIR moves
it). Ratios compare with a reference that is run in the same process, in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "model_librarian"
HEAD = """# Benchmarks

Written by `python benchmarks/run.py`; the numbers are those of one run on one shared machine, so the ratios tell
more than the times. Names come from the PyPI package `comfyui-workflow-templates-json`, varied with a fixed seed;
the files are tiny but valid safetensors.

- Machine: {machine}
- Software: Python {python}, SQLite {sqlite}, Linux {kernel}
- Load average at the end of the run: {load}

Search shows median / p95 of 60 queries of each kind, 50 results a page, in the core; beside it the p95 of a plain
`SELECT … LIKE` and of a bare FTS5 query with count and rank, which both do less. All else are medians. «Event
loop» is how long an asyncio loop in the same process waits past the end of a sleep of 5 ms, at worst, while the
process has a processor; beside it the same with the time in which other programs had it. The process also holds a
million objects that are not Librarian's, as a ComfyUI with torch does: a full collection of Python's garbage looks
at all of them, so the table says how many of those there were.

"""

NOTES = "## Reading the table\n"
"""What stands below this in the document is written by hand and kept."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--linked-sizes", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--file-mb", type=int, default=1000, help="size of the imported file")
    parser.add_argument("--only", nargs="+", default=[])
    parser.add_argument("--one", nargs=3, metavar=("MEASURE", "SIZE", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        from in_comfyui import in_comfyui
        from measures import MEASURES

        measure, size, folder = options.one
        print(json.dumps({**MEASURES, "in-comfyui": in_comfyui}[measure](Path(folder), int(size))))
        return 0
    sizes = {
        "search": options.sizes,
        "in-comfyui": options.sizes,
        "first-scan": options.sizes,
        "deep-scan": options.sizes,
        "linking": options.linked_sizes,
        "importing": [options.file_mb],
        "package-import": [0],
        "event-loop": [max(options.sizes)],
        "memory": [0, max(options.sizes)],
    }
    rows: list[list[object]] = []
    for measure, wanted in sizes.items():
        if not options.only or measure in options.only:
            found = [row for size in wanted for row in _measure(measure, size)]
            rows += _summary(measure, found)
    table = _table(rows)
    print(table)
    if not options.only:
        path = ROOT / "docs" / "benchmarks.md"
        notes = path.read_text(encoding="utf-8").partition(NOTES)[2] if path.is_file() else "\n"
        path.write_text(_head() + table + "\n" + NOTES + notes, encoding="utf-8")
    return 0


def _measure(measure: str, size: int) -> list[list[object]]:
    print(f"… {measure} {size or ''}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="librarian-benchmark-", ignore_cleanup_errors=True) as folder:
        packages = Path(folder, "packages")
        packages.mkdir()
        (packages / PACKAGE).symlink_to(ROOT, target_is_directory=True)
        place = Path(folder, "work")
        place.mkdir()
        run = subprocess.run(
            [sys.executable, __file__, "--one", measure, str(size), str(place)],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(packages), str(ROOT / "benchmarks")]),
                "LIBRARIAN_OFFLINE": "1",
            },
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        if run.returncode:
            return [[f"{measure}: failed, see the messages", size, "", "", "", "", False]]
        return list(json.loads(run.stdout.splitlines()[-1]))


def _summary(measure: str, rows: list[list[object]]) -> list[list[object]]:
    """Rows that compare sizes with one another."""
    if measure == "memory" and len(rows) == 2:
        grown = (int(str(rows[1][2])) - int(str(rows[0][2]))) / 1e6
        return [
            ["memory over an empty library", rows[1][1], f"{grown:.0f} MB", "", "", "≤ 150 MB", grown <= 150]
        ]
    if measure == "linking":
        one = [row for row in rows if row[0] == "link one new model"]
        smallest = float(str(one[0][2]).split()[0])
        for row in one[1:]:
            ratio = float(str(row[2]).split()[0]) / smallest
            row[3:] = [one[0][2], f"{ratio:.2f}", f"≤ 1.5 × that at {one[0][1]}", ratio <= 1.5]
    return rows


def _table(rows: list[list[object]]) -> str:
    lines = ["| what | models | ours | reference | ratio | bar | met |", "|---|---:|---:|---:|---:|---|---|"]
    for what, size, ours, reference, ratio, bar, met in rows:
        shown = "" if met is None else "yes" if met else "**no**"
        models = f"{size:,}" if isinstance(size, int) and size else ""
        lines.append(f"| {what} | {models} | {ours} | {reference} | {ratio} | {bar} | {shown} |")
    return "\n".join(lines) + "\n"


def _head() -> str:
    return HEAD.format(
        machine=_machine(),
        python=platform.python_version(),
        sqlite=sqlite3.sqlite_version,
        kernel=platform.release().split("-")[0],
        load=" / ".join(f"{value:.1f}" for value in os.getloadavg()),
    )


def _machine() -> str:
    model = platform.processor() or platform.machine()
    memory = ""
    if Path("/proc/cpuinfo").is_file():
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
        total = int(Path("/proc/meminfo").read_text().split()[1])
        memory = f", {total / 2**20:.0f} GiB of memory"
    disk = shutil.disk_usage(tempfile.gettempdir()).total / 2**30
    return f"{model}, {os.cpu_count()} cores{memory}, {disk:.0f} GiB disk"


if __name__ == "__main__":
    sys.exit(main())
