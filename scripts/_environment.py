"""What the scripts here share: a cache folder, locks, virtual environments, running commands.

Standard library only, since it runs before anything is installed. Whatever is built lies in the cache
folder under a name made from what went into it, and counts only once its marker file is written, so a
run that was killed half-way is simply built again. ``LIBRARIAN_CACHE`` moves the cache folder; deleting
it is always safe.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROOT_ID = hashlib.sha256(str(ROOT).encode()).hexdigest()[:12]
"""Tells this checkout from others in the cache."""
WINDOWS = os.name == "nt"
PACKAGE = "model_librarian"
UNUSED_DAYS = 21
SECONDS_OF_SILENCE = 60


class SetupError(Exception):
    """Something is missing; the message says what to do about it."""


def say(text: str) -> None:
    """Print one line at once, even into a pipe."""
    print(text, flush=True)


# --- the cache folder ---------------------------------------------------------------------------------


def cache_dir() -> Path:
    """Return the cache folder, made if need be."""
    chosen = os.environ.get("LIBRARIAN_CACHE")
    if chosen:
        folder = Path(chosen).expanduser().absolute()
    elif WINDOWS:
        folder = Path(os.environ.get("LOCALAPPDATA") or Path.home()) / "model-librarian" / "Cache"
    elif sys.platform == "darwin":
        folder = Path.home() / "Library" / "Caches" / "model-librarian"
    else:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "model-librarian"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the lock called `name` against other processes; it goes when this process does."""
    path = cache_dir() / "locks" / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+b") as file:
        os.set_inheritable(file.fileno(), True)  # see `run_quietly`
        if not _try_lock(file.fileno()):
            say(f"  waiting for another run that holds {path}")
            while not _try_lock(file.fileno()):
                time.sleep(0.5)
        yield  # closing the file releases the lock


if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        os.lseek(descriptor, 0, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


def built(kind: str, inputs: Iterable[str], build: Callable[[Path], None], what: str) -> Path:
    """Return the cached folder made by `build` from `inputs`, building it if it is not there.

    `build` gets the empty folder to fill. Folders of the same kind that nobody used for weeks are
    removed when a new one is made.
    """
    digest = hashlib.sha256("\n".join(inputs).encode()).hexdigest()[:12]
    folder = cache_dir() / kind / digest
    marker = folder / ".complete"
    with locked(f"{kind.replace('/', '-')}-{digest}"):
        if marker.is_file():
            with contextlib.suppress(OSError):
                marker.touch()
            return folder
        started = time.monotonic()
        say(f"  {what}: building in {folder}")
        if folder.exists():
            shutil.rmtree(folder)
        _remove_unused(folder.parent)
        folder.mkdir(parents=True)
        build(folder)
        marker.touch()
        say(f"  {what}: ready after {time.monotonic() - started:.0f} s")
    return folder


def _remove_unused(parent: Path) -> None:
    for marker in parent.glob("*/.complete") if parent.is_dir() else ():
        if time.time() - marker.stat().st_mtime > UNUSED_DAYS * 86400:
            marker.unlink()
            shutil.rmtree(marker.parent, ignore_errors=True)


# --- running things -----------------------------------------------------------------------------------


def run_quietly(
    command: Sequence[object], log: Path, env: Mapping[str, str] | None = None, *, keep_locks: bool = True
) -> None:
    """Run `command` with its output in `log`; if it fails, raise with the end of it.

    With `keep_locks` the locks of this process stay held until the command ends, even if this process is
    killed meanwhile: nobody else then builds in the folder that an orphan still writes to.
    """
    words = [str(part) for part in command]
    with open(log, "ab") as output:
        output.write(f"\n$ {' '.join(words)}\n".encode())
        output.flush()
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if env is None else dict(env),
            cwd=cache_dir(),
            close_fds=not keep_locks,
        )
        started = time.monotonic()
        while process.poll() is None:
            try:
                process.wait(timeout=SECONDS_OF_SILENCE)
            except subprocess.TimeoutExpired:
                say(f"  still at it after {time.monotonic() - started:.0f} s; details in {log}")
    if process.returncode:
        tail = "\n    ".join(log.read_text(errors="replace").splitlines()[-25:])
        name = Path(words[0]).name
        raise SetupError(f"{name} failed with status {process.returncode}. The end of {log}:\n    {tail}")


def system_packages(packages: Sequence[str], works: Callable[[], bool], hint: str) -> None:
    """See to it that `works()`: on Debian as root by installing `packages`, elsewhere by saying `hint`."""
    if works():
        return
    apt = shutil.which("apt-get")
    if apt is None or sys.platform == "win32" or os.geteuid() != 0:
        raise SetupError(hint)
    say(f"  installing {' '.join(packages)} with apt-get")
    log = cache_dir() / "apt.log"
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    options = ["-o", "DPkg::Lock::Timeout=600"]
    with locked("apt"):
        run_quietly([apt, *options, "update"], log, env, keep_locks=False)
        install = [apt, *options, "install", "-y", "--no-install-recommends", *packages]
        run_quietly(install, log, env, keep_locks=False)  # a service it starts must not hold them for ever
    if not works():
        raise SetupError(hint)


# --- Python environments ------------------------------------------------------------------------------


def project_list(name: str) -> list[str]:
    """Return the list called `name` from pyproject.toml (Python 3.10 has no TOML reader)."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(rf"^{re.escape(name)} = (\[.*?^\])", text, re.MULTILINE | re.DOTALL)
    if found is None:
        raise SetupError(f"pyproject.toml has no list called {name!r}.")
    return [str(item) for item in ast.literal_eval(found[1])]


def in_venv(venv: Path, program: str) -> Path:
    """Return the path of `program` inside the virtual environment `venv`."""
    return venv / "Scripts" / f"{program}.exe" if WINDOWS else venv / "bin" / program


def run_pip(venv: Path, log: Path, command: str, *arguments: str | Path) -> None:
    """Run one command of the pip inside `venv`, with its output in `log`."""
    pip = [in_venv(venv, "python"), "-m", "pip", command, "--no-input", "--disable-pip-version-check"]
    run_quietly([*pip, *arguments], log)


def python_environment(name: str, requirements: Sequence[str], what: str) -> Path:
    """Return a virtual environment that holds `requirements`, made once for each list and Python."""

    def build(folder: Path) -> None:
        log = folder / "install.log"
        _make_venv(folder, log)
        run_pip(folder / "venv", log, "install", *requirements)

    python = f"{sys.implementation.cache_tag} {platform.python_version()} {sys.base_prefix}"
    inputs = [python, platform.machine(), *requirements]
    return built(f"environments/{name}", inputs, build, what) / "venv"


def _make_venv(folder: Path, log: Path) -> None:
    def works() -> bool:
        try:  # by the program rather than the module: Debian without python3-venv fails only in ensurepip
            run_quietly([sys.executable, "-m", "venv", "--clear", folder / "venv"], log)
        except SetupError:
            return False
        return True

    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    system_packages(
        [package], works, f"Python cannot make virtual environments: install {package}. See {log}"
    )


# --- the package under its name -----------------------------------------------------------------------


def import_root() -> Path:
    """Return a folder in which this checkout is called `model_librarian`, for PYTHONPATH and MYPYPATH.

    The root of the repository is the package, and its folder may have any name, so tools that look
    for `model_librarian` on a path get a link of that name.
    """
    folder = cache_dir() / "import-roots" / ROOT_ID
    with locked(f"import-root-{ROOT_ID}"):
        folder.mkdir(parents=True, exist_ok=True)
        link_folder(ROOT, folder / PACKAGE)
    return folder


def link_folder(target: Path, link: Path) -> None:
    """Make `link` lead to the folder `target`: a symlink, on Windows a junction, which needs no rights.

    Raises:
        SetupError: something else is already there.
    """
    if os.path.lexists(link):
        if link.exists() and link.samefile(target):
            return
        raise SetupError(f"{link} is there already and does not lead to {target}. Move it away first.")
    if sys.platform == "win32":
        import _winapi

        _winapi.CreateJunction(str(target), str(link))
    else:
        link.symlink_to(target, target_is_directory=True)


def package_environment(**more: str) -> dict[str, str]:
    """Return the process environment in which `import model_librarian` means this checkout."""
    root = str(import_root())
    paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, **_bytecode(), "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)), **more}


def _bytecode() -> dict[str, str]:
    """Keep bytecode in the cache for those who want none in their folders: else every start compiles anew."""
    if not os.environ.get("PYTHONDONTWRITEBYTECODE"):
        return {}
    return {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(cache_dir() / "bytecode")}
