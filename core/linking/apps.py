"""The apps that a person added, and what the folders of an app say about it."""

from __future__ import annotations

import logging
import re
import threading
import time
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, Field, ValidationError

from ..errors import ConflictError
from ..settings import (
    DIFFUSERS_FOLDER,
    FOLDER_ALIASES,
    NOT_MODEL_FOLDERS,
    App,
    AppKind,
    TargetFolder,
    app_of_models_folder,
)
from ..storage.atomic import write_atomic
from .extra_paths import EXTRA_PATHS_NAME, read_extra_paths
from .mappings import Mappings

logger = logging.getLogger(__name__)

_VERSION = re.compile(r"""__version__\s*=\s*["']([^"'\s]{1,40})["']""")


class KnownAppError(ConflictError):
    """A folder is an app that is known, or lies in the models of one."""

    code = "app_known"


class AddedApp(BaseModel):
    """An app as a person added it."""

    app: str
    name: str
    kind: AppKind
    root: Path
    variant: str = "default"


class _File(BaseModel):
    apps: list[AddedApp] = Field(default_factory=list)


class AddedApps:
    """``apps.json`` in the data folder: the apps that a person added.

    It is read at each look, so that every process sees what another one added.
    """

    def __init__(self, path: Path, mappings: Mappings) -> None:
        self._path = path
        self._mappings = mappings
        self._lock = threading.Lock()

    def all(self) -> list[App]:
        """Every added app, with its folders as they are now. Raises `OSError` if the file cannot be read."""
        return [described(added, self._mappings) for added in self._read().apps]

    def add(self, added: AddedApp) -> None:
        """Add an app, or replace the one of the same id. Raises `OSError`."""
        with self._lock:
            others = [app for app in self._read().apps if app.app != added.app]
            self._write(_File(apps=[*others, added]))

    def remove(self, app: str) -> bool:
        """Forget an app; ``False`` if it was not added. Raises `OSError`."""
        with self._lock:
            before = self._read().apps
            after = [known for known in before if known.app != app]
            if len(after) == len(before):
                return False
            self._write(_File(apps=after))
            return True

    def moved(self, app: str, root: Path) -> None:
        """Write down that an app lies elsewhere now; nothing if it was not added. Raises `OSError`."""
        with self._lock:
            apps = [
                known.model_copy(update={"root": root}) if known.app == app else known
                for known in self._read().apps
            ]
            self._write(_File(apps=apps))

    def _read(self) -> _File:
        try:
            return _File.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return _File()
        except ValidationError as error:
            aside = self._path.with_name(f"apps.aside-{time.strftime('%Y%m%d-%H%M%S')}.json")
            with suppress(FileNotFoundError):
                self._path.replace(aside)
            logger.warning("%s is damaged and is kept as %s: %s", self._path, aside, error)
            return _File()

    def _write(self, file: _File) -> None:
        write_atomic(self._path, file.model_dump_json(indent=2).encode())


def described(added: AddedApp, mappings: Mappings) -> App:
    """An added app with its version and folders.

    Of an app that is not known, only folders with the names of ComfyUI's count: it may be any folder.
    """
    app = App(
        app=added.app,
        name=added.name,
        kind=added.kind,
        version=version_of(added.root, added.kind),
        variant=added.variant,
        root=added.root,
        folders=[],
        added=True,
    )
    if added.kind == "comfyui":
        return _with_comfyui_folders(app, mappings)
    if added.kind == "custom":
        there = app_of_models_folder(models_folder_of(added.root))
        known_kinds = mappings.comfyui_folders()
        folders = [folder for folder in there.folders if folder.subtype in known_kinds]
        app = app.model_copy(update={"folders": folders, "directories": there.directories})
    known = {folder.path for folder in app.folders}
    wishes, _ = mappings.wishes(app)
    more = [
        TargetFolder(subtype=subtype, path=wish.folder)
        for wish in wishes.all
        if wish.rule.link_type == "file" and wish.folder not in known
        for subtype in wish.rule.filters.subtype[:1]
    ]
    return app.model_copy(update={"folders": [*app.folders, *more]})


_OLDER_FOLDERS = {"text_encoders": "clip", "diffusion_models": "unet", "controlnet": "t2i_adapter"}
_OUTPUT_FOLDERS = ("checkpoints", "clip", "vae", "diffusion_models", "loras")
"""What ComfyUI looks for below ``output`` as well, where its nodes save models (``main.py``)."""


def _with_comfyui_folders(app: App, mappings: Mappings) -> App:
    """Another ComfyUI with the folders that its ``folder_paths`` would name, in that order, as far as the disk tells.

    What its custom nodes register is code of theirs: their folders below ``models`` count under their own names.
    """
    models = models_folder_of(app.root)
    extra = read_extra_paths(app.root / EXTRA_PATHS_NAME)
    there = app_of_models_folder(models)
    paths: dict[str, list[Path]] = {DIFFUSERS_FOLDER: [models / DIFFUSERS_FOLDER]}
    for subtype, name in mappings.comfyui_folders().items():
        older = _OLDER_FOLDERS.get(subtype)
        paths[subtype] = [models / name, *([models / older] if older else [])]

    def add(kind: str, path: Path, *, first: bool = False) -> None:
        of_kind = paths.setdefault(FOLDER_ALIASES.get(kind, kind), [])
        if first or path not in of_kind:
            others = [known for known in of_kind if known != path]
            of_kind[:] = [path, *others] if first else [*others, path]

    for folder in extra.folders:
        add(folder.kind, folder.path, first=folder.is_default)
    for name in _OUTPUT_FOLDERS:
        add(name, app.root / "output" / name)
    known = {path for of_kind in paths.values() for path in of_kind}
    for found in there.folders:
        if found.path not in known:
            add(found.subtype, found.path)
    directories = paths.pop(DIFFUSERS_FOLDER)
    folders = [
        TargetFolder(subtype=subtype, path=path)
        for subtype, of_kind in paths.items()
        if subtype not in NOT_MODEL_FOLDERS
        for path in of_kind
    ]
    return app.model_copy(
        update={"folders": folders, "directories": directories, "problems": list(extra.problems)}
    )


def models_folder_of(root: Path) -> Path:
    """Where a ComfyUI-like app has its models: in ``models``, or right below its root."""
    is_program = kind_of(root) == "comfyui"
    return root / "models" if is_program or (root / "models").is_dir() else root


def kind_of(root: Path) -> AppKind:
    """What lies in a folder: the kind of app by files that only it has; ``custom`` for all others.

    Source: the trees of ComfyUI, stable-diffusion-webui, its fork Forge, InvokeAI and SwarmUI.
    """
    marks: tuple[tuple[AppKind, tuple[str, ...]], ...] = (
        ("swarmui", ("src/SwarmUI.csproj",)),
        ("swarmui", ("SwarmUI.sln",)),
        ("invokeai", ("invokeai.yaml",)),
        ("invokeai", ("databases/invokeai.db",)),
        ("comfyui", ("folder_paths.py", "comfy")),
        ("forge", ("webui.py", "modules_forge")),
        ("a1111", ("webui.py", "modules")),
    )
    return next((kind for kind, names in marks if all((root / name).exists() for name in names)), "custom")


def program_folder(root: Path) -> Path:
    """The app's own folder: of a portable ComfyUI for Windows it is ``ComfyUI`` in the folder unpacked."""
    inner = root / "ComfyUI"
    return inner if kind_of(root) == "custom" and kind_of(inner) == "comfyui" else root


def version_of(root: Path, kind: AppKind) -> str:
    """The app's version where a file of it says it, else ``*``."""
    if kind == "comfyui":
        with suppress(OSError):
            found = _VERSION.search((root / "comfyui_version.py").read_text("utf-8", errors="replace")[:4096])
            if found:
                return found.group(1)
    return "*"
