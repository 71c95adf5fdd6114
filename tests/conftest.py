"""What tests of every layer use: real model files, a ComfyUI-like folder, a Librarian over it."""

from __future__ import annotations

import os
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from safetensors.numpy import save_file

from model_librarian.core.importing import ImportRequest
from model_librarian.core.jobs import Job
from model_librarian.core.librarian import Librarian
from model_librarian.core.settings import Surroundings, app_of_models_folder

ESRGAN = {
    "conv_first.weight": (8, 3, 3, 3),
    "body.0.rdb1.conv1.weight": (4, 8, 3, 3),
    "conv_last.weight": (3, 8, 3, 3),
}
"""Names as in RealESRGAN's RRDBNet, with few channels."""

MakeModel = Callable[..., Path]
TOLD = "told"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests told: each ran in a process of its own, where nobody sees what is printed."""
    reports = [one for kind in ("passed", "failed") for one in terminalreporter.getreports(kind)]
    told = [
        (one.nodeid, text)
        for one in reports
        if one.when == "call"
        for name, text in one.user_properties
        if name == TOLD
    ]
    if told:
        terminalreporter.section("what tests counted and measured")
    for test, lines in groupby(told, key=itemgetter(0)):
        terminalreporter.line(test)
        for _, text in lines:
            terminalreporter.line(f"    {text}")


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Print a text after the run, whether the test passed or not."""
    return lambda text: request.node.user_properties.append((TOLD, text))


@pytest.fixture(autouse=True, scope="session")
def nobody_is_asked() -> Iterator[None]:
    """No test asks anybody outside this machine; those about the network switch it on for hosts of their own."""
    os.environ["LIBRARIAN_OFFLINE"] = "1"
    yield
    del os.environ["LIBRARIAN_OFFLINE"]


@pytest.fixture
def make_model() -> MakeModel:
    """Write a real safetensors file; each call has other bytes unless ``seed`` is given."""
    count = iter(range(1_000_000))

    def make(
        path: Path,
        tensors: dict[str, tuple[int, ...]] | None = None,
        *,
        metadata: dict[str, str] | None = None,
        seed: int | None = None,
    ) -> Path:
        random = np.random.default_rng(next(count) if seed is None else seed + 10_000_000)
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = {
            name: random.random(shape, dtype=np.float32).astype(np.float16)
            for name, shape in (tensors or ESRGAN).items()
        }
        save_file(arrays, path, metadata)
        return path

    return make


@pytest.fixture
def make_torch_zip() -> Callable[[Path], Path]:
    """Write the ZIP that ``torch.save`` writes: a pickle and one storage."""

    def make(path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", b"\x80\x02}q\x00.")
            archive.writestr("archive/version", b"3\n")
            archive.writestr("archive/data/0", b"\0" * 16)
        return path

    return make


@pytest.fixture
def models_folder(tmp_path: Path) -> Path:
    """A ComfyUI-like models folder with the usual subfolders, still empty."""
    folder = tmp_path / "ComfyUI" / "models"
    for name in ("checkpoints", "loras", "vae", "text_encoders", "upscale_models", "diffusion_models"):
        (folder / name).mkdir(parents=True)
    return folder


@pytest.fixture
def downloads(tmp_path: Path) -> Path:
    """A folder outside the library from which may be imported."""
    folder = tmp_path / "downloads"
    folder.mkdir()
    return folder


@pytest.fixture
def surroundings(tmp_path: Path, models_folder: Path, downloads: Path) -> Surroundings:
    """The places of one machine, all below the test's own folder."""
    return Surroundings(
        data_dir=tmp_path / "data",
        library_root=tmp_path / "ComfyUI" / "model-library",
        apps=[app_of_models_folder(models_folder)],
        allowed_roots=[downloads],
    )


@pytest.fixture
def librarian(surroundings: Surroundings) -> Iterator[Librarian]:
    """A Librarian that was not started: nothing runs in the background until a test asks for it."""
    librarian = Librarian(surroundings)
    yield librarian
    librarian.close()


@pytest.fixture
def finished(librarian: Librarian) -> Callable[[Job], Job]:
    """Wait for a job of ``librarian`` and answer it as it ended."""

    def wait(job: Job) -> Job:
        ended = librarian.jobs.wait(job.id, timeout=60)
        assert ended.ended, f"the job did not end: {ended}"
        return ended

    return wait


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount a real, small filesystem; needs root and a system that lets it."""
    points: list[Path] = []

    def mount(options: str) -> Path:
        point = tmp_path / f"mount {len(points)}"
        point.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(point)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            pytest.skip(f"no mount command here: {error}")
        if done.returncode != 0:
            pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
        points.append(point)
        return point

    yield mount
    for point in points:
        subprocess.run(["umount", str(point)], check=True)


@pytest.fixture
def scan(librarian: Librarian, finished: Callable[[Job], Job]) -> Callable[..., Any]:
    """Scan, and answer the job's result."""

    def run(kind: Literal["quick", "deep"] = "quick") -> Any:
        job = finished(librarian.scans.start(kind))
        assert job.state == "done", job.error
        return job.result

    return run


@pytest.fixture
def owned(
    librarian: Librarian, finished: Callable[[Job], Job], make_model: MakeModel, downloads: Path
) -> str:
    """The id of a model that was imported into the library."""
    source = make_model(downloads / "up.safetensors")
    job = finished(
        librarian.imports.start(ImportRequest.model_validate({"items": [{"paths": [str(source)]}]}))
    )
    assert job.result is not None, job.error
    return str(job.result["imported"][0])
