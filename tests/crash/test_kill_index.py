"""Kill −9 in the middle of scans, bulk edits and migrations: nothing is lost, and the next start heals by itself."""

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

SECONDS = 10
"""How long to kill at random moments, after the moments in order; LIBRARIAN_KILL_SECONDS overrides."""


def test_a_killed_scan_edit_or_migration_leaves_an_index_that_heals(fast_folder, tell):
    script = Path(__file__).with_name("_index_kills.py")
    seed = os.environ.get("LIBRARIAN_KILL_SEED", "20261122")
    seconds = os.environ.get("LIBRARIAN_KILL_SECONDS", str(SECONDS))
    process = subprocess.run(
        [sys.executable, script, fast_folder, seconds, seed], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr[-5000:]
    report = json.loads(process.stdout)
    tell(
        f"{report['in_order']} kills in the middle of SQL and file calls, "
        f"{report['at_random']} at random moments (seed {seed}):"
    )
    for name, counts in report["cases"].items():
        tell(f"{name:24} {counts}")
