"""Kill −9 in front of every call and at random moments of everything that changes links.

Nothing is lost, and after the next start registry and disk say the same.
"""

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
"""How long to kill at random moments, after every call had its turn; LIBRARIAN_KILL_SECONDS overrides."""

EVERY_CALL_SECONDS = 3600
"""Longer than that nothing takes, whatever the machine: then something hangs."""


def test_killed_work_on_links_is_mended_by_the_next_start(fast_folder, tell):
    script = Path(__file__).with_name("_kill_links.py")
    seed = os.environ.get("LIBRARIAN_KILL_SEED", "20261123")
    seconds = float(os.environ.get("LIBRARIAN_KILL_SECONDS", SECONDS))
    done = subprocess.run(
        [sys.executable, script, fast_folder, str(seconds), seed],
        capture_output=True,
        text=True,
        timeout=seconds + EVERY_CALL_SECONDS,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    report = json.loads(done.stdout)
    tell(
        f"{report['at_calls']} kills in front of each call of the filesystem or database, "
        f"{report['at_random']} at random moments (seed {seed}): {report['cases']}"
    )
