"""Kill −9 at random moments of an import: nothing half under a final name, nothing of the source lost."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.crash

KILLS = int(os.environ.get("LIBRARIAN_KILLS", "5"))
SIZE = 500 * 1000 * 1000


@pytest.fixture(scope="module")
def big_model(tmp_path_factory) -> tuple[Path, str]:
    """A valid safetensors file of 500 MB, with its SHA-256."""
    path = tmp_path_factory.mktemp("source") / "big.safetensors"
    header = json.dumps({"w": {"dtype": "U8", "shape": [SIZE], "data_offsets": [0, SIZE]}}).encode()
    digest = hashlib.sha256()
    with open(path, "wb") as file:
        for block in (
            struct.pack("<Q", len(header)) + header,
            *(_block(n) for n in range(SIZE // 10_000_000)),
        ):
            file.write(block)
            digest.update(block)
    return path, digest.hexdigest()


def _block(number: int) -> bytes:
    return random.Random(number).randbytes(10_000_000)


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return (
            hashlib.file_digest(file, "sha256").hexdigest()
            if hasattr(hashlib, "file_digest")
            else _slow(file)
        )


def _slow(file) -> str:
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


@pytest.mark.parametrize("mode", ["copy", "move", "adopt"])
def test_killed_imports_lose_nothing(big_model, tmp_path, mode, tell):
    original, digest = big_model
    source = tmp_path / "downloads" / original.name
    source.parent.mkdir()
    (tmp_path / "models" / "checkpoints").mkdir(parents=True)
    os.link(original, source)
    keep = os.stat(original).st_ino
    environment = {**os.environ, "LIBRARIAN_HOME": str(tmp_path / "home")}
    places = ["--models", str(tmp_path / "models"), "--allow", str(source.parent)]
    library = tmp_path / "model-library"

    def command(*arguments: str) -> list[str]:
        return [sys.executable, "-m", "model_librarian", *arguments, *places]

    started = time.monotonic()
    subprocess.run(
        command("import", str(source), "--mode", mode), env=environment, check=True, capture_output=True
    )
    duration = time.monotonic() - started
    outcomes: dict[str, int] = {}
    chance = random.Random(20261122)
    for _ in range(KILLS):
        _reset(library, source, original)
        process = subprocess.Popen(
            command("import", str(source), "--mode", mode),
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            process.wait(chance.uniform(0, duration * 1.05))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        _check_final_names(library, digest)
        assert mode != "adopt" or sha256(source) == digest
        subprocess.run(command("scan", "--json"), env=environment, check=True, capture_output=True)
        outcome = _check_mended(library, source, digest, mode, environment, command)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    tell(f"{KILLS} kills of an import of {SIZE / 1e6:.0f} MB ({duration:.1f} s): {outcomes}")
    assert os.stat(original).st_ino == keep


def _reset(library: Path, source: Path, original: Path) -> None:
    for folder in library.glob("*/*/*"):
        if (folder / "metadata.json").exists():
            for file in folder.iterdir():
                file.unlink()
            folder.rmdir()
    source.unlink(missing_ok=True)
    os.link(original, source)


def _check_final_names(library: Path, digest: str) -> None:
    """Right after the kill, before anything mends: whatever has a final name is whole."""
    for folder in library.glob("*/*/*"):
        if ".incoming" in folder.parts:
            continue
        assert sha256(folder / "big.safetensors") == digest
        assert json.loads((folder / "metadata.json").read_text())["hashes"]["sha256"] == digest


def _check_mended(library: Path, source: Path, digest: str, mode: str, environment, command) -> str:
    """After the next start: staging is clean, index and disk agree, and the bytes have one home."""
    assert [
        name for name in os.listdir(library / ".incoming") if name not in ("metadata.lock", "placed")
    ] == []
    models = list(library.glob("*/*/*/metadata.json"))
    status = subprocess.run(command("status", "--json"), env=environment, check=True, capture_output=True)
    assert json.loads(status.stdout)["library"]["models"] == len(models)
    if not models:
        assert sha256(source) == digest
        return "undone"
    assert sha256(models[0].with_name("big.safetensors")) == digest
    assert source.exists() == (mode != "move")
    assert source.is_symlink() == (mode == "adopt")
    return "finished"
