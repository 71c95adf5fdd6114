from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from .downloading import Origins
from .errors import ConflictError, LibrarianError, StorageError
from .events import Events
from .importing import Importer, has_library, library_unreachable
from .importing.uploads import Uploads
from .jobs import JobRunner
from .library import Library, Watcher
from .linking import AddedApps, Linker, Mappings, RegisteredFolders
from .linking.registry import Registry
from .loop import LoopThread, end_tasks
from .network import Answers, NetworkManager, NetworkSettings, is_host_entry
from .sentences import say
from .services.downloads import Downloads
from .services.imports import Imports, leaving_links
from .services.links import Links
from .services.lookups import Lookups
from .services.models import Models
from .services.pending import PendingLookups
from .services.pickles import Pickles
from .services.places import Places
from .services.preferences import Preferences
from .services.reports import JobCounts, LibraryReport, StatusReport, Warning
from .services.scans import Scans
from .services.sharing import Shares
from .services.workflows import Workflows
from .settings import KnownLibrary, Surroundings
from .sources import Civitai, HuggingFace, Lookup, Remote, RemoteChange
from .storage.disk import Presence, storage_error
from .storage.roots import real_path
from .version import VERSION

logger = logging.getLogger(__name__)


class Librarian:
    """Builds the parts, owns their life, and is what every door calls.

    What can be done is grouped by what it is about: ``models``, ``imports``, ``shares``, ``downloads``, ``scans``,
    ``links``, ``lookups``, ``workflows``, ``preferences``. Methods block (they touch disks and databases):
    call them from a thread, never from an event loop. `start` begins the background work, `close` ends everything.
    """

    def __init__(self, surroundings: Surroundings) -> None:
        try:
            surroundings.data_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(error, surroundings.data_dir) from error
        self.surroundings = surroundings
        self.preferences = Preferences(surroundings)
        self.events = Events()
        self.jobs = JobRunner(self.events)
        self._warnings: list[Warning] = []
        place, self.library = self._open_library()
        root = self.library.root
        self._library_is_there = Presence(lambda: has_library(root))
        self._registry = Registry(place / "registry.db", root, surroundings.apps, self.library.identity.id)
        mappings = Mappings(surroundings.data_dir / "mappings")
        added = AddedApps(surroundings.data_dir / "apps.json", mappings)
        folders = RegisteredFolders(surroundings.data_dir / "comfyui_folders.json")
        self.linker = Linker(self._registry, self.library, self._registry.apps, mappings, added, folders)
        self.uploads = Uploads(root)
        self.importer = Importer(
            self.library,
            leaving_links(self.linker),
            self.uploads,
            lambda: [folder.path for app in self.linker.apps for folder in app.folders],
            lambda: self.preferences.current.transfers_at_once,
        )
        self.network = NetworkManager(self._network_settings(), log_dir=surroundings.data_dir)
        self._answers = Answers(
            self.network, surroundings.data_dir / "answers.db", refreshed=self._tell_remote
        )
        self._loop = LoopThread()

        self.places = places = Places(
            root, surroundings, lambda: self.linker.apps, lambda: self.preferences.current
        )
        self.pickles = Pickles(self.library, self.jobs, self.events)
        self.models = Models(self.library, self.linker, self.jobs, places, self.pickles)
        self.imports = Imports(self.importer, self.uploads, self.linker, self.jobs, places)
        self.shares = Shares(self.importer.sharing, self.jobs)
        self.scans = Scans(self.library, self.jobs, places)
        self.links = Links(self.linker, self.jobs)
        self.workflows = Workflows(self.library, self.linker, self.models)
        hub, civitai = _hugging_face(self._answers), _civitai(self._answers)
        lookup = Lookup(hub, civitai)
        pending = PendingLookups(lookup, self._loop, self.library, self.jobs, self.network, self.events)
        self.lookups = Lookups(lookup, Remote(hub, civitai), self._loop, self.library, self.models, pending)

        self.downloads = Downloads(
            Origins(self.network, hub, civitai),
            self.imports,
            self.uploads,
            self.library,
            self.network,
            self._loop,
            self.jobs,
            places,
            lambda: self.preferences.current.download_limit,
        )

        self._watcher = Watcher(self._watched(), self.scans.look_at)
        self.links.apps_changed = self._apps_changed
        self._warnings += self._start_warnings()
        self.network.on_change(self._tell_status)
        self.preferences.changed = self._settings_changed

    def _open_library(self) -> tuple[Path, Library]:
        """The library, and the folder for its index and registry.

        Where it is not there, or cannot be made, another is used and said, with an index and a registry
        of its own: those of the real one stay as they are until it is there again.
        """
        data_dir = self.surroundings.data_dir
        root = real_path(self.preferences.library_root)
        known = KnownLibrary.of(data_dir)
        try:
            if known is not None and known.root == root and not (root / "library.json").exists():
                raise StorageError(
                    f"The library {root} is not there. Connect its drive and start again, or delete "
                    f"{data_dir / 'library.json'} to begin a new one."
                )
            library = Library(root, data_dir / "models.db", self.events)
            now = KnownLibrary(root=root, id=library.identity.id)
            if now != known:
                with suppress(OSError):
                    now.write(data_dir)
            return data_dir, library
        except StorageError as error:
            place = real_path(data_dir / "meanwhile")
            instead = place / "model-library"
            logger.warning("%s Until then %s is used.", error.message, instead)
            self._warnings.append(
                Warning(
                    code="library_elsewhere",
                    message=say(
                        "library_elsewhere",
                        "{problem} Until then {place} is used.",
                        problem=error.message,
                        place=instead,
                    ),
                )
            )
            place.mkdir(parents=True, exist_ok=True)
            return place, Library(instead, place / "models.db", self.events)

    def start(self) -> None:
        """Mend what an earlier run left half done, then index in the background."""
        with suppress(OSError):
            self.surroundings.remember()
        self.imports.recover()
        self.uploads.remove_expired()
        self.linker.recover()
        self.links.mend_in_background()
        self.scans.start("quick")
        self.downloads.start()
        self.lookups.pending.start()
        self._watcher.start()

    def close(self) -> None:
        """Stop jobs between two chunks and close everything. May take as long as one chunk."""
        self._watcher.close()
        self.lookups.pending.close()
        self.downloads.close()
        self.uploads.close()
        self.jobs.close()
        self.importer.close()
        with suppress(LibrarianError):
            self._loop.run(self._close_network())
        self._loop.close()
        self._registry.close()
        self.library.close()

    async def _close_network(self) -> None:
        await end_tasks()  # first, or a call that loses its connection would make a new one
        await self._answers.aclose()
        await self.network.aclose()

    def status(self) -> StatusReport:
        """How everything does."""
        totals = self.library.totals()
        queued, running = self.jobs.counts()
        return StatusReport(
            version=VERSION,
            library=LibraryReport(
                id=self.library.identity.id, root=str(self.library.root), **totals.model_dump()
            ),
            index=self.scans.report(),
            network=self.network.status(),
            jobs=JobCounts(queued=queued, running=running),
            warnings=[*self._warnings, *self._unreachable(), *self.downloads.warnings()],
        )

    def _unreachable(self) -> list[Warning]:
        """That the library is gone, such as with its drive, while we run."""
        if self._library_is_there():
            return []
        return [Warning(code="library_unreachable", message=library_unreachable(self.library.root))]

    def _watched(self) -> list[Path]:
        """The folders whose changes are looked at."""
        return [self.library.root, *(folder.path for folder in self.places.indexed_in_place())]

    def _apps_changed(self) -> None:
        self._watcher.watch(self._watched())
        with suppress(ConflictError):  # everything is being closed
            self.scans.start("quick")

    def _settings_changed(self) -> None:
        self.network.configure(self._network_settings())
        self.lookups.pending.wake()
        self.downloads.network_changed()
        self._tell_status()

    def _network_settings(self) -> NetworkSettings:
        settings = self.preferences.current
        endpoints = filter(None, (_hub_endpoint(), _civitai_endpoint()))
        added = (*map(_origin, endpoints), *settings.allowed_hosts)
        hosts = NetworkSettings.model_fields["allowed_hosts"].default
        hub_token = settings.huggingface_token or _environment_token("HF_TOKEN") or _hugging_face_token_file()
        civitai_token = settings.civitai_token or _environment_token("CIVITAI_API_KEY")
        tokens = {"huggingface.co": hub_token, "civitai.com": civitai_token}
        return NetworkSettings(
            online=settings.online and not os.environ.get("LIBRARIAN_OFFLINE"),
            allowed_hosts=(*hosts, *filter(is_host_entry, added)),
            allow_private=settings.allow_private_addresses,
            tokens={host: token for host, token in tokens.items() if token is not None},
        )

    def _start_warnings(self) -> list[Warning]:
        warnings = []
        for place in (self.library.set_aside, self._registry.set_aside):
            if place is not None:
                warnings.append(
                    Warning(
                        code="database_set_aside",
                        message=say(
                            "database_set_aside",
                            "A damaged database was kept as {path} and made anew.",
                            path=place,
                        ),
                    )
                )
        if not self.library.searchable:
            warnings.append(
                Warning(
                    code="no_fts5",
                    message=say(
                        "no_fts5", "This Python's SQLite has no FTS5, so search is slower and simpler."
                    ),
                )
            )
        return warnings

    def _tell_remote(self, about: Any) -> None:
        if isinstance(about, RemoteChange):
            self.events.publish("librarian.remote", about)

    def _tell_status(self, *_: Any) -> None:
        self.events.publish("librarian.status", self.status())


def _hub_endpoint() -> str:
    """The mirror that takes Hugging Face's place (huggingface_hub: ``HF_ENDPOINT``), or nothing."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/")


def _civitai_endpoint() -> str:
    """The address that takes Civitai's place, or nothing."""
    return os.environ.get("CIVITAI_ENDPOINT", "").rstrip("/")


def _origin(address: str) -> str:
    """The part of an address that names the host."""
    return "/".join(address.split("/")[:3])


def _hugging_face(answers: Answers) -> HuggingFace:
    endpoint = _hub_endpoint()
    return HuggingFace(answers, endpoint) if endpoint else HuggingFace(answers)


def _civitai(answers: Answers) -> Civitai:
    endpoint = _civitai_endpoint()
    return Civitai(answers, endpoint) if endpoint else Civitai(answers)


def _environment_token(name: str) -> SecretStr | None:
    value = os.environ.get(name, "").strip()
    return SecretStr(value) if value else None


def _hugging_face_token_file() -> SecretStr | None:
    """The token that ``hf auth login`` leaves (huggingface_hub: ``HF_TOKEN_PATH``, or ``token`` in ``HF_HOME``)."""
    home = os.environ.get("HF_HOME") or str(Path("~/.cache/huggingface").expanduser())
    with suppress(OSError, ValueError):
        text = (
            Path(os.environ.get("HF_TOKEN_PATH") or Path(home, "token")).read_text(encoding="utf-8").strip()
        )
        return SecretStr(text) if text else None
    return None
