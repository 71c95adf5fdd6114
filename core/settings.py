"""What Librarian is told: by the door that starts it (`Surroundings`) and by the person (`Settings`)."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_serializer

from .storage.atomic import write_atomic

logger = logging.getLogger(__name__)

MODEL_EXTENSIONS = frozenset(
    {".safetensors", ".sft", ".gguf", ".ckpt", ".pt", ".pt2", ".pth", ".bin", ".pkl", ".onnx"}
)
"""Endings of files that may be models. What a file really is, its content says."""

FOLDER_ALIASES = {"unet": "diffusion_models", "clip": "text_encoders"}
"""ComfyUI's older folder names and what they are called today (ComfyUI, ``folder_paths.map_legacy``)."""

DIFFUSERS_FOLDER = "diffusers"
"""ComfyUI's folder for models that are folders themselves (Diffusers layout)."""

NOT_MODEL_FOLDERS = frozenset({"configs", "custom_nodes", DIFFUSERS_FOLDER})
"""Kinds of ComfyUI folders that hold no single model files."""


class TargetFolder(BaseModel):
    """A folder in which an app looks for models of one subtype."""

    model_config = ConfigDict(frozen=True)

    subtype: str
    path: Path


AppKind = Literal["comfyui", "a1111", "forge", "invokeai", "swarmui", "custom"]


class App(BaseModel):
    """Something that wants models in its own folders.

    ``folders`` lists, for each subtype, the folder that new links go to first; ``directories`` the folders
    that take whole diffusion folders. ``version`` is ``*`` where it is not known. ``added`` says that a
    person added it. ``problems`` says what of its own settings cannot be used.
    """

    app: str
    name: str
    kind: AppKind = "comfyui"
    version: str = "*"
    variant: str = "default"
    root: Path
    folders: list[TargetFolder]
    directories: list[Path] = Field(default_factory=list)
    added: bool = False
    problems: list[str] = Field(default_factory=list)

    def link_folder(self, subtype: str) -> Path | None:
        """Where links of this subtype belong: its first folder, if not only by an older name; or nothing."""
        same = [folder.path for folder in self.folders if folder.subtype == subtype]
        current = [path for path in same if path.name not in FOLDER_ALIASES]
        return next(iter(current or same), None)


class Surroundings(BaseModel):
    """What the door that starts the Librarian knows: the places on this machine.

    ``data_dir`` holds databases, settings, caches and logs of this machine. ``library_root`` is the
    library unless the person's settings name another.
    """

    data_dir: Path
    library_root: Path
    apps: list[App] = Field(default_factory=list)
    allowed_roots: list[Path] = Field(default_factory=list)

    def remember(self) -> None:
        """Write the places down in the data folder, for commands that do not name them."""
        write_atomic(self.data_dir / "surroundings.json", self.model_dump_json(indent=2).encode())

    @classmethod
    def remembered(cls, data_dir: Path) -> Surroundings | None:
        """The places that a server of this data folder was last started with, if that can be read."""
        try:
            return cls.model_validate_json((data_dir / "surroundings.json").read_bytes())
        except (OSError, ValueError):
            return None


class KnownLibrary(BaseModel):
    """Which library this machine worked on last; ``library.json`` in the data folder.

    A library that was there and is not now lies on a drive that is missing. It is not made anew in the
    empty folder, where the drive would cover it and the index would forget its models.
    """

    root: Path
    id: str

    @classmethod
    def of(cls, data_dir: Path) -> KnownLibrary | None:
        """What was written down, if that can be read."""
        try:
            return cls.model_validate_json((data_dir / "library.json").read_bytes())
        except (OSError, ValueError):
            return None

    def write(self, data_dir: Path) -> None:
        """Write it down."""
        write_atomic(data_dir / "library.json", self.model_dump_json().encode())


class Settings(BaseModel):
    """What the person chose; lies in ``settings.json`` in the data folder, readable by the owner only."""

    model_config = ConfigDict(extra="allow")

    library_root: Path | None = None
    allowed_roots: list[Path] = Field(default_factory=list)
    online: bool = True
    remote_search: bool = False
    """Whether what is typed into the panel's search goes to Hugging Face and Civitai by itself; else when asked to."""

    index_in_place: bool = True
    transfers_at_once: int | None = Field(default=None, ge=1, le=8)
    """How many imports work on one drive at once; nothing leaves it to the kind of drive."""

    download_limit: int | None = Field(default=None, ge=10_000)
    """Bytes a second for all downloads together; nothing for all that there is."""

    allowed_hosts: list[str] = Field(default_factory=list)
    """More hosts that may be asked: ``host``, ``*.host``, or a full origin, which may be at a private address."""

    allow_private_addresses: bool = False
    """Whether any allowed host may be at a private address, as some VPNs and proxies make it look."""

    allow_remote: bool = False
    remote_token: SecretStr | None = None
    huggingface_token: SecretStr | None = None
    civitai_token: SecretStr | None = None

    @field_serializer("remote_token", "huggingface_token", "civitai_token", when_used="json-unless-none")
    def _reveal(self, secret: SecretStr) -> str:
        """Only the settings file holds secrets in the clear; nothing else ever serialises this record."""
        return secret.get_secret_value()


class SettingsFile:
    """``settings.json`` in the data folder."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / "settings.json"

    def load(self) -> Settings:
        """The person's settings, or the defaults. A damaged file is set aside, not overwritten."""
        try:
            return Settings.model_validate_json(self.path.read_bytes())
        except FileNotFoundError:
            return Settings()
        except ValidationError as error:
            aside = self.path.with_name(f"settings.aside-{time.strftime('%Y%m%d-%H%M%S')}.json")
            self.path.replace(aside)
            logger.warning("%s is damaged and is kept as %s; defaults are used: %s", self.path, aside, error)
            return Settings()

    def save(self, settings: Settings) -> None:
        """Write the settings whole, readable by the owner only."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(self.path, settings.model_dump_json(indent=2).encode(), mode=0o600)


def default_data_dir() -> Path:
    """Where this machine's data lies when no ComfyUI says it: ``LIBRARIAN_HOME`` or the user's data folder."""
    home = os.environ.get("LIBRARIAN_HOME")
    return Path(home).absolute() if home else Path(platformdirs.user_data_dir("librarian", appauthor=False))


def app_of_models_folder(folder: Path) -> App:
    """A ComfyUI-like models folder as an app: each of its subfolders is a target folder.

    The app's root is the folder around ``models``, as inside ComfyUI.
    """
    folder = folder.absolute()
    root = folder.parent if folder.name.casefold() == "models" and folder.parent.name else folder
    subfolders = sorted(entry for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else []
    return App(
        app=root.name.casefold().replace(" ", "-") or "models",
        name=root.name or str(folder),
        root=root,
        folders=[
            TargetFolder(subtype=FOLDER_ALIASES.get(entry.name, entry.name), path=entry)
            for entry in subfolders
            if not entry.name.startswith(".") and entry.name not in NOT_MODEL_FOLDERS
        ],
        directories=[entry for entry in subfolders if entry.name == DIFFUSERS_FOLDER],
    )


def with_distinct_names(apps: Iterable[App]) -> list[App]:
    """The apps, those of equal id told apart by a number: ``comfyui``, ``comfyui-2`` and so on."""
    result: list[App] = []
    taken: set[str] = set()
    for app in apps:
        name, number = app.app, 1
        while name in taken:
            number += 1
            name = f"{app.app}-{number}"
        taken.add(name)
        result.append(app.model_copy(update={"app": name}))
    return result
