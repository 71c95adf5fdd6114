"""Kill −9 in front of every call of the filesystem and at random moments: nothing is lost, the next start heals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.crash,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="lives are made by fork"),
]

SECONDS = 15
"""How long to kill at random moments, after every call had its turn; LIBRARIAN_KILL_SECONDS overrides."""
PARTS = 2


def test_killed_work_loses_nothing_and_the_next_start_heals(fast_folder, tell):
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
    told = [process.communicate(timeout=3600) for process in processes]
    for process, (_, errors) in zip(processes, told, strict=True):
        assert process.returncode == 0, errors[-5000:]
    reports = [json.loads(output) for output, _ in told]
    tell(
        f"{sum(report['at_calls'] for report in reports)} kills in front of each call of the filesystem "
        f"or database, {sum(report['at_random'] for report in reports)} at random moments (seed {seed}):"
    )
    for report in reports:
        for name, counts in report["cases"].items():
            tell(f"{name:34} {counts}")
