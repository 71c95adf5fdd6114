"""What a power cut may find: bytes are durable before their names, and those before the source goes.

strace writes down which calls reach the kernel, and in which order.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import _scenarios as scenarios

pytestmark = [
    pytest.mark.crash,
    pytest.mark.skipif(
        shutil.which("strace") is None, reason="strace is not installed (Debian: apt install strace)"
    ),
]

STRACE = ["strace", "-f", "-y", "-s", "4096", "-e"]
CALLS = "fsync,fdatasync,rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat"


def trace(tmp_path: Path, *command: str) -> list[str]:
    """The calls of a command in their order, as ``name paths``, with the test's folder left out."""
    log = tmp_path / "strace.log"
    traced = subprocess.run(
        [*STRACE, f"trace={CALLS}", "-o", log, sys.executable, "-m", "model_librarian", *command],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "LIBRARIAN_HOME": str(tmp_path / "home"),
            "XDG_DATA_HOME": str(tmp_path / "share"),  # with a trash of its own
        },
    )
    if "PTRACE" in traced.stderr or "ptrace" in traced.stderr:
        pytest.skip("strace may not trace here")
    assert traced.returncode == 0, traced.stderr
    calls = []
    begun: dict[str, str] = {}
    for line in log.read_text(errors="replace").splitlines():
        thread, _, call = line.partition(" ")
        if call.endswith("<unfinished ...>"):  # another thread's call came in between
            begun[thread] = call.strip().removesuffix("<unfinished ...>").rstrip()
            continue
        resumed = re.match(r" *<\.\.\. \w+ resumed>(.*)", call)
        if resumed:
            call = begun.pop(thread) + resumed[1]
        found = re.match(r" *(\w+)\((.*)\) += 0", call)
        if found:
            paths = re.findall(r'"([^"]+)"|\d+<([^>]+)>', found[2])
            texts = [(first or second).replace(str(tmp_path), "") for first, second in paths]
            calls.append(" ".join([found[1].removesuffix("at2").removesuffix("at"), *texts]))
    return [re.sub(r"/\.incoming/[0-9a-f]{32}", "/.incoming/X", call) for call in calls]


CASES = [
    ("copy", 1), ("auto", 1), ("move", 1), ("move", 2), ("adopt", 1), ("adopt", 2), ("delete", 1),
]  # fmt: skip
"""How it is imported, where ``delete`` is a copy whose original is deleted, and from how many disks."""


@pytest.mark.parametrize(("mode", "disks"), CASES)
def test_bytes_then_names_then_the_source(tmp_path, mode, disks):
    if disks == 2:
        memory = Path("/dev/shm")
        if not os.access(memory, os.W_OK) or memory.stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("there is no second filesystem here")
        downloads = memory / f"librarian-{os.getpid()}"
    else:
        downloads = tmp_path / "downloads"
    downloads.mkdir()
    try:
        (tmp_path / "models" / "upscale_models").mkdir(parents=True)
        source = downloads / "new.safetensors"
        source.write_bytes(scenarios.model_bytes(1))
        places = ["--models", str(tmp_path / "models"), "--allow", str(downloads)]
        how = ["copy", "--delete-originals"] if mode == "delete" else [mode]
        calls = trace(tmp_path, "import", str(source), "--mode", *how, *places)
        name, place = (str(path).replace(str(tmp_path), "") for path in (source, downloads))
        staged = "/model-library/.incoming/X/model/new.safetensors"

        def at(call: str) -> int:
            places = [number for number, found in enumerate(calls) if found == call]
            assert places, f"no «{call}» in\n" + "\n".join(calls)
            return places[-1]

        bytes_durable = at(f"fsync {staged}")
        placed = at("rename /model-library/.incoming/X/model /model-library/vision/esrgan/new")

        def after(number: int, pattern: str) -> int:
            found = [n for n, call in enumerate(calls) if n > number and re.fullmatch(pattern, call)]
            assert found, f"no «{pattern}» after {number} in\n" + "\n".join(calls)
            return found[0]

        described = after(bytes_durable, r"rename \S+\.tmp /model-library/\S+/model/metadata\.json")
        assert re.fullmatch(r"fsync \S+/model/\.\w+\.tmp", calls[described - 1]), "metadata: bytes first"
        order = [
            bytes_durable,
            described,
            after(described, r"fsync /model-library/\.incoming/X/model"),
            placed,
            after(placed, r"fsync /model-library/vision/esrgan"),
        ]
        gone = [
            n
            for n, call in enumerate(calls)
            if call == f"unlink {name}"
            or re.fullmatch(rf"rename {re.escape(name)} \S+|rename \S+ {re.escape(name)}", call)
        ]
        if mode in ("copy", "auto"):
            assert not gone
            assert source.exists()
        else:
            [went] = gone
            order += [went, after(went, rf"fsync {re.escape(place)}")]
            if mode == "adopt":
                assert re.fullmatch(rf"rename {re.escape(place)}/\.\w+\S* {re.escape(name)}", calls[went])
                assert source.is_symlink()
                assert source.read_bytes() == scenarios.model_bytes(1)
        assert order == sorted(order), "\n".join(calls)
    finally:
        if disks == 2:
            shutil.rmtree(downloads)


def test_shared_bytes_then_the_journal_then_the_name(tmp_path):
    (tmp_path / "models" / "upscale_models").mkdir(parents=True)
    (tmp_path / "downloads").mkdir()
    source = tmp_path / "downloads" / "new.safetensors"
    source.write_bytes(scenarios.model_bytes(1))
    places = ["--models", str(tmp_path / "models"), "--allow", str(tmp_path / "downloads")]
    trace(tmp_path, "import", str(source), *places)
    folder = tmp_path / "model-library" / "vision" / "esrgan" / "new"
    shutil.copytree(folder, folder.with_name("new2"))
    trace(tmp_path, "scan", *places)
    calls = trace(tmp_path, "duplicates", "--share", "--yes", *places)
    staged = "/model-library/.incoming/X/model/new.safetensors"
    replaced = calls.index(f"rename {staged} /model-library/vision/esrgan/new2/new.safetensors")
    before, after = calls[:replaced], calls[replaced:]
    assert f"fsync {staged}" in before, "\n".join(calls)
    journals = [
        number
        for number, call in enumerate(before)
        if re.fullmatch(
            r"rename /model-library/\.incoming/X/\.\w+\.tmp /model-library/\.incoming/X/journal\.json", call
        )
    ]
    assert journals[0] < before.index(f"fsync {staged}") < journals[1]
    assert "fsync /model-library/.incoming/X" in before[journals[1] :]
    assert "fsync /model-library/vision/esrgan/new2" in after
    assert (folder.with_name("new2") / "new.safetensors").read_bytes() == source.read_bytes()
