"""Kill −9 in front of every call of the filesystem and at random moments: nothing is lost, the next start heals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.crash,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="lives are made by fork"),
]

SECONDS = 45
PARTS = 2
MEMORY = Path("/dev/shm")
"""A kill is no power cut: it does not matter whether the disk is one, only how many kills fit into the time."""


@pytest.fixture
def fast_folder(tmp_path) -> Iterator[Path]:
    """A folder in memory where there is one."""
    if not os.access(MEMORY, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


def test_killed_work_loses_nothing_and_the_next_start_heals(fast_folder, capsys):
    script = Path(__file__).with_name("_kills.py")
    seed = int(os.environ.get("LIBRARIAN_KILL_SEED", "20261122"))
    seconds = os.environ.get("LIBRARIAN_KILL_SECONDS", str(SECONDS))
    processes = [
        subprocess.Popen(
            [sys.executable, script, fast_folder, seconds, str(seed), str(part), str(PARTS)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for part in range(PARTS)
    ]
    told = [process.communicate(timeout=600) for process in processes]
    for process, (_, errors) in zip(processes, told, strict=True):
        assert process.returncode == 0, errors[-5000:]
    reports = [json.loads(output) for output, _ in told]
    with capsys.disabled():
        print(
            f"\n  {sum(report['at_calls'] for report in reports)} kills in front of each call of the filesystem "
            f"or database, {sum(report['at_random'] for report in reports)} at random moments (seed {seed}):"
        )
        for report in reports:
            for name, counts in report["cases"].items():
                print(f"    {name:34} {counts}")
