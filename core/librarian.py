from __future__ import annotations

import logging
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from pydantic import SecretStr

from .errors import (
    ConflictError,
    InvalidRequestError,
    LibrarianError,
    NotFoundError,
    PickleNotAcknowledgedError,
    StorageError,
)
from .events import Events
from .importing import Importer, ImportRequest, Inspection
from .jobs import Job, JobContext, JobItem, JobRunner, utc_now
from .library import (
    DuplicateReport,
    Facets,
    Library,
    ModelQuery,
    SearchResult,
    StorageReport,
    Watcher,
)
from .linking import Link, LinkChoice, Linker, LinkState, Plan, SyncResult
from .linking.registry import Registry
from .loop import LoopThread
from .network import Answers, NetworkManager, NetworkSettings
from .removal import FileFate, Removal
from .reports import (
    AppReport,
    BrowseEntry,
    BrowseReport,
    DeleteReport,
    FileDetails,
    IndexReport,
    JobCounts,
    LibraryReport,
    ModelDetails,
    SettingsChange,
    SettingsReport,
    StatusReport,
    Warning,
)
from .settings import MODEL_EXTENSIONS, KnownLibrary, SettingsFile, Surroundings, TargetFolder
from .sources import HuggingFace, Lookup, LookupCandidate, LookupResult
from .storage.disk import lower_thread_priority, storage_error
from .storage.names import is_text
from .storage.roots import AllowedRoots, real_path
from .version import VERSION

logger = logging.getLogger(__name__)

HASH_FOR_LOOKUP_BYTES = 2 * 1024**3
"""A lookup reads files up to this size to know their hash; larger ones are looked up by name first."""

SECRETS = frozenset({"remote_token", "huggingface_token", "civitai_token"})


class Librarian:
    """Builds the parts, owns their life, and is what every door calls.

    Methods block (they touch disks and databases): call them from a thread, never from an event loop.
    `start` begins the background work, `close` ends everything.
    """

    def __init__(self, surroundings: Surroundings) -> None:
        try:
            surroundings.data_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(error, surroundings.data_dir) from error
        self._settings_file = SettingsFile(surroundings.data_dir)
        self.settings = self._settings_file.load()
        self.surroundings = surroundings
        self.events = Events()
        self.jobs = JobRunner(self.events)
        self._warnings: list[Warning] = []
        place, self.library = self._open_library()
        self.library.on_renewed = lambda: self.scan("quick")
        root = self.library.root
        self._registry = Registry(place / "registry.db", root, surroundings.apps)
        self.linker = Linker(self._registry, self.library, self._registry.apps)
        self.importer = Importer(
            self.library, [folder.path for app in self._registry.apps for folder in app.folders]
        )
        self.network = NetworkManager(self._network_settings(), log_dir=surroundings.data_dir)
        self._answers = Answers(self.network, surroundings.data_dir / "answers.db")
        self._lookup = Lookup(_hugging_face(self._answers))
        self._loop = LoopThread()
        self._scan: Job | None = None
        self._watcher = Watcher([root, *(folder.path for folder in self._watched())], self._folders_changed)
        self._settings_lock = threading.Lock()
        self._warnings += self._start_warnings()
        self.network.on_change(self._tell_status)

    def _open_library(self) -> tuple[Path, Library]:
        """The library, and the folder for its index and registry.

        Where it is not there, or cannot be made, another is used and said, with an index and a registry
        of its own: those of the real one stay as they are until it is there again.
        """
        data_dir = self.surroundings.data_dir
        root = real_path(self.settings.library_root or self.surroundings.library_root)
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
                Warning(code="library_elsewhere", message=f"{error.message} Until then {instead} is used.")
            )
            place.mkdir(parents=True, exist_ok=True)
            return place, Library(instead, place / "models.db", self.events)

    # Life

    def start(self) -> None:
        """Mend what an earlier run left half done, then index in the background."""
        with suppress(OSError):
            self.surroundings.remember()
        for recovered in self.importer.recover():
            now = utc_now()
            self.jobs.record(
                Job(
                    id=os.urandom(16).hex(),
                    kind="import",
                    state="interrupted",
                    items=[
                        JobItem(
                            name=Path(recovered.source).name,
                            state="done" if recovered.outcome == "finished" else "cancelled",
                            model_id=recovered.model_id or None,
                            message=f"The import was cut off and is now {recovered.outcome}.",
                        )
                    ],
                    result=recovered.model_dump(),
                    started_at=now,
                    finished_at=now,
                )
            )
        self.linker.recover()
        self.scan("quick")
        self._watcher.start()

    def close(self) -> None:
        """Stop jobs between two chunks and close everything. May take as long as one chunk."""
        self._watcher.close()
        self.jobs.close()
        with suppress(LibrarianError):
            self._loop.run(self._close_network())
        self._loop.close()
        self._registry.close()
        self.library.close()

    async def _close_network(self) -> None:
        await self._answers.aclose()
        await self.network.aclose()

    # Looking

    def status(self) -> StatusReport:
        """How everything does."""
        totals = self.library.totals()
        queued, running = self.jobs.counts()
        return StatusReport(
            version=VERSION,
            library=LibraryReport(
                id=self.library.identity.id, root=str(self.library.root), **totals.model_dump()
            ),
            index=self._index_report(),
            network=self.network.status(),
            jobs=JobCounts(queued=queued, running=running),
            warnings=self._warnings,
        )

    def search(self, query: ModelQuery) -> SearchResult:
        """One page of models, with a mark on those that are linked."""
        result = self.library.search(query)
        linked = self._registry.linked([model.model_id for model in result.models])
        for model in result.models:
            model.linked = model.model_id in linked
        return result

    def facets(self, query: ModelQuery) -> Facets:
        """The filters' values and counts."""
        return self.library.facets(query)

    def details(self, model_id: str) -> ModelDetails:
        """Everything known of one model, with its files and links. Raises `NotFoundError`."""
        model = self.library.model(model_id)
        summary = self.library.summary(model_id)
        files = [
            FileDetails(
                **{
                    **file.model_dump(),
                    "sha256": file.sha256 or known.sha256,
                    "blake3": file.blake3 or known.blake3,
                    "path": known.path,
                    "exists": Path(known.path).is_file(),
                }
            )
            for file, known in zip(model.files, self.library.files(model_id), strict=False)
        ]
        return ModelDetails(
            **model.model_dump(by_alias=True, exclude={"files"}),
            files=files,
            links=self.linker.links(model_ids=[model_id]),
            preview_url=summary.preview_url,
            problem=summary.problem,
        )

    def preview_path(self, model_id: str) -> Path:
        """The model's picture. Raises `NotFoundError` if there is none."""
        path = self.library.preview(model_id)
        if path is None:
            raise NotFoundError(
                f"{model_id!r} has no preview. Put a picture of the same name beside its file."
            )
        if not self._roots().contains(path) and real_path(path).parent != real_path(path.parent):
            raise NotFoundError(f"{path} is a link to outside the folders that Librarian may use.")
        return path

    def browse(self, path: str | None) -> BrowseReport:
        """What lies in a folder inside the allowed roots; without a path, the roots.

        Raises `OutsideRootsError`, `NotFoundError`, `InvalidRequestError`.
        """
        roots = self._roots()
        if not path:
            entries = [
                BrowseEntry(name=str(root), path=str(root), is_dir=True)
                for root in roots.roots
                if root.is_dir()
            ]
            return BrowseReport(path=None, parent=None, entries=entries)
        folder = roots.confine(path)
        if not folder.is_dir():
            raise NotFoundError(f"{folder} is not a folder.")
        entries = []
        try:
            with os.scandir(folder) as listing:
                for entry in listing:
                    shown = not entry.name.startswith(".") and is_text(entry.path)
                    if not shown or (entry.is_symlink() and not roots.contains(Path(entry.path))):
                        continue
                    is_dir = entry.is_dir()
                    importable = not is_dir and Path(entry.name).suffix.lower() in MODEL_EXTENSIONS
                    if not (is_dir or importable):
                        continue
                    try:
                        size = entry.stat().st_size if importable else None
                    except OSError:  # a link to nowhere, or gone meanwhile
                        continue
                    entries.append(
                        BrowseEntry(
                            name=entry.name,
                            path=entry.path,
                            is_dir=is_dir,
                            size=size,
                            importable=importable,
                        )
                    )
        except OSError as error:
            raise storage_error(error, folder) from error
        roots.confine(str(folder))  # also now that it is listed: a link may have been put in its place
        entries.sort(key=lambda entry: (not entry.is_dir, entry.name.casefold()))
        parent = folder.parent if roots.contains(folder.parent) else None
        return BrowseReport(path=str(folder), parent=str(parent) if parent else None, entries=entries)

    def find(self, reference: str) -> Path:
        """The file that a reference means: a model's id, a hash, or a file's name.

        For whoever loads models. Raises `NotFoundError` with the nearest names,
        `PickleNotAcknowledgedError` for a pickle that nobody vouched for.
        """
        model_id = self._identify(reference.strip())
        model = self.library.model(model_id)
        if model.security_tier == "pickle" and not model.pickle_acknowledged:
            raise PickleNotAcknowledgedError(
                f"{model.official_name} is a pickle: it can run code when it is loaded. If you trust where it comes "
                "from, open it in the Librarian panel and choose «I trust this file»."
            )
        path = self.library.main_path(model_id)
        self.library.index.touch(model_id)
        return path

    def fingerprint(self, reference: str) -> str:
        """What changes when the bytes behind a reference change, and only then: the file's SHA-256."""
        return self.library.hash_of(self._identify(reference.strip()))[0]

    def _identify(self, reference: str) -> str:
        if self.library.index.contains(reference):
            return reference
        by_hash = self.library.index.models_with_hash(reference.lower()) if len(reference) >= 10 else []
        names = [Path(reference.replace("\\", "/")).name, _name_in_id(reference)]
        found = by_hash or [key for name in names for key in self.library.index.models_with_file_name(name)]
        if len(set(found)) == 1 or by_hash:
            return found[0]
        if found:
            raise NotFoundError(
                f"{reference!r} means several models: {', '.join(sorted(set(found))[:5])}. Choose one of them."
            )
        near = self.library.search(ModelQuery(q=names[0].rpartition(".")[0] or names[0], limit=5)).models
        hint = f" The nearest are: {', '.join(model.model_id for model in near)}." if near else ""
        raise NotFoundError(f"There is no model {reference!r} in the library.{hint}")

    # Changing

    def edit(self, model_id: str, changes: dict[str, Any]) -> ModelDetails:
        """Change what a person may change. Raises `NotFoundError`, `InvalidRequestError`."""
        self.library.edit(model_id, changes)
        return self.details(model_id)

    def delete(self, model_id: str, files: FileFate) -> DeleteReport:
        """Remove a model: links first, then registry rows, then files as ``files`` says.

        What cannot go is found out before anything is touched, as far as that is possible. Raises
        `NotFoundError`; `OutsideRootsError`, `ConflictError`, `InvalidRequestError` with nothing changed;
        `StorageError` where the files cannot go: links may be gone then, and the model stays listed.
        """
        try:
            with self.library.metadata.locked():
                removal = Removal(self.library, model_id, files, self._roots())
                unlinked, unreachable = self.linker.unlink_models([model_id])
                removed = removal.carry_out()
        except OSError as error:
            raise storage_error(error, self.library.root) from error
        self.library.forget([model_id])
        return DeleteReport(unlinked=unlinked, files_removed=removed, unreachable=unreachable)

    def inspect(self, paths: list[str]) -> Inspection:
        """Say what the files at some paths are. Raises `OutsideRootsError`, `NotFoundError`."""
        roots = self._roots()
        return self.importer.inspect([roots.confine(path) for path in paths], roots)

    def import_models(self, request: ImportRequest) -> Job:
        """Queue an import. A single item that cannot be imported is refused at once.

        Raises `OutsideRootsError` and, for a single item, whatever `Importer.check` raises.
        """
        roots = self._roots()
        paths = [roots.confine(item.paths[0]) for item in request.items]
        if len(paths) == 1:
            self.importer.check(request.items[0], paths[0])

        def work(job: JobContext) -> dict[str, Any]:
            imported = self.importer.run(request, paths, roots, job)
            states = [item.state for item in job.job.items]
            if states.count("failed") == len(states):
                first = job.job.items[0]
                raise ImportFailedError(
                    first.message or "Nothing could be imported.", first.code or "import_failed"
                )
            result = {
                "imported": imported,
                "skipped": states.count("skipped"),
                "failed": states.count("failed"),
                "links": None,
            }
            if request.link and imported:
                plan = self.linker.preview(model_ids=imported)
                result["links"] = self.linker.apply(LinkChoice(plan_id=plan.plan_id), job).model_dump()
            return result

        return self.jobs.submit(
            "import", work, lane="import", items=[JobItem(name=path.name) for path in paths]
        )

    def scan(self, kind: Literal["quick", "deep"]) -> Job:
        """Queue a scan. One that waits already serves for a second request of its kind."""

        def work(job: JobContext) -> dict[str, Any]:
            scan = self.library.deep_scan if kind == "deep" else self.library.quick_scan
            result = scan(self._watched(), job).model_dump()
            if self.library.usage.count_unhashed():
                self.hash_in_background()
            return {"kind": kind, **result}

        self._scan = self.jobs.submit("scan", work, lane="scan")
        return self._scan

    def hash_in_background(self) -> Job:
        """Queue the hashing of files that only a hash can tell apart, at the lowest priority."""

        def work(job: JobContext) -> dict[str, Any]:
            lower_thread_priority()
            return {"files_hashed": self.library.hash_what_only_hashes_tell(job)}

        return self.jobs.submit("hash", work, lane="hash")

    def duplicates(self) -> DuplicateReport:
        """Files with the same bytes, and what links in their place would free."""
        return self.library.usage.duplicates()

    def storage(self) -> StorageReport:
        """How much room the models take, by type, family and drive."""
        return self.library.usage.storage()

    def _folders_changed(self, paths: set[Path]) -> None:
        """Somebody else changed files: look what it was, unless a scan that will see it waits already."""
        scan = self._last_scan()
        waiting = scan is not None and scan.state == "queued"
        with suppress(OSError, ConflictError):
            if not waiting and any(self.library.is_news(path) for path in paths):
                self.scan("quick")

    # Links

    def links(
        self, model_id: str | None = None, app: str | None = None, state: LinkState | None = None
    ) -> list[Link]:
        """Registered links with their state on disk."""
        return self.linker.links(model_ids=[model_id] if model_id else None, app=app, state=state)

    def preview_links(self, app: str | None = None, model_ids: list[str] | None = None) -> Plan:
        """What a sync would do. Changes nothing. Raises `NotFoundError`."""
        return self.linker.preview(app=app, model_ids=model_ids)

    def apply_links(self, choice: LinkChoice) -> Job:
        """Queue a previewed plan."""
        return self.jobs.submit(
            "sync", lambda job: self.linker.apply(choice, job).model_dump(), lane="links", items=[]
        )

    def app_reports(self) -> list[AppReport]:
        """The apps that are there."""
        counts = self._registry.counts()
        reports = []
        for app in self.linker.apps:
            folders: dict[str, list[str]] = {}
            for folder in app.folders:
                folders.setdefault(folder.subtype, []).append(str(folder.path))
            reports.append(
                AppReport(
                    app=app.app,
                    name=app.name,
                    kind=app.kind,
                    root=str(app.root),
                    folders=folders,
                    links=counts.get(app.app, 0),
                )
            )
        return reports

    def uninstall_app(self, app: str) -> SyncResult:
        """Remove all links of an app and nothing else. Raises `NotFoundError`."""
        return self.linker.uninstall(app)

    # Network

    def lookup(
        self, *, model_id: str | None = None, filename: str | None = None, sha256: str | None = None
    ) -> LookupResult:
        """Ask Hugging Face what a model or file is. Raises `NotFoundError` for an unknown model."""
        size: int | None = None
        if model_id is not None:
            model = self.library.model(model_id)
            file = self.library.files(model_id)[0]
            filename, sha256, size = Path(file.path).name, file.sha256, file.size
            if model.files:
                filename = model.files[0].original_name or filename
            if sha256 is None and size <= HASH_FOR_LOOKUP_BYTES:
                with suppress(LibrarianError):
                    sha256 = self.library.hash_of(model_id)[0]
        if not filename:
            raise InvalidRequestError("Name the model or the file to look up.")
        return self._loop.run(self._lookup.find(filename, sha256, size))

    def apply_lookup(self, model_id: str, candidate: LookupCandidate) -> ModelDetails:
        """Take over what a candidate says of a model; the person chose it, so it is now manual."""
        model = self.library.model(model_id)
        changes: dict[str, Any] = {
            "repo_id": candidate.repo_id,
            "download_url": candidate.download_url or "",
            "match_method": candidate.match_method,
            "match_confidence": candidate.match_confidence,
            "hash_mismatch": candidate.hash_mismatch,
            "match_source": "manual",
            "pending_online_lookup": False,
            "tags": list(dict.fromkeys([*model.tags, *candidate.tags])),
        }
        if candidate.base_model and not model.base_model:
            changes["base_model"] = candidate.base_model
        self.library.update(model_id, changes)
        return self.details(model_id)

    # Settings

    def settings_report(self, *, restart_required: bool = False) -> SettingsReport:
        """The settings without their secrets."""
        settings = self.settings
        return SettingsReport(
            library_root=str(settings.library_root or self.surroundings.library_root),
            allowed_roots=[str(root) for root in settings.allowed_roots],
            online=settings.online,
            index_in_place=settings.index_in_place,
            allow_remote=settings.allow_remote,
            remote_token_set=settings.remote_token is not None,
            huggingface_token_set=settings.huggingface_token is not None,
            civitai_token_set=settings.civitai_token is not None,
            restart_required=restart_required,
        )

    def change_settings(self, change: SettingsChange) -> SettingsReport:
        """Keep what the person chose. Another library is opened at the next start.

        Raises `InvalidRequestError` for a folder that is not there or no full path.
        """
        for root in [*(change.allowed_roots or []), *([change.library_root] if change.library_root else [])]:
            if (
                not root.is_absolute()
                or not (root if root in (change.allowed_roots or []) else root.parent).is_dir()
            ):
                raise InvalidRequestError(f"{root} is not a full path of a folder that exists.")
        with self._settings_lock:
            values = {
                name: value
                for name, value in change.model_dump(exclude_unset=True).items()
                if value is not None or name in SECRETS
            }
            for name in SECRETS & values.keys():
                secret = values[name]
                values[name] = secret if secret is not None and secret.get_secret_value() else None
            before = self.settings.library_root
            self.settings = self.settings.model_copy(update=values)
            self._settings_file.save(self.settings)
        self.network.configure(self._network_settings())
        self._tell_status()
        return self.settings_report(restart_required=self.settings.library_root != before)

    # Parts

    def _watched(self) -> list[TargetFolder]:
        if not self.settings.index_in_place:
            return []
        return [folder for app in self.linker.apps for folder in app.folders]

    def _roots(self) -> AllowedRoots:
        return AllowedRoots(
            [
                self.library.root,
                *(folder.path for app in self.linker.apps for folder in app.folders),
                *self.surroundings.allowed_roots,
                *self.settings.allowed_roots,
            ]
        )

    def _index_report(self) -> IndexReport:
        job = self._last_scan()
        if job is not None and not job.ended:
            return IndexReport(state="indexing", stage=job.stage, progress=job.progress)
        return IndexReport(state="error" if job is not None and job.state == "failed" else "ready")

    def _last_scan(self) -> Job | None:
        """The newest scan as it is now, or nothing if there was none or so many jobs ago that it is forgotten."""
        if self._scan is not None:
            with suppress(NotFoundError):
                return self.jobs.get(self._scan.id)
        return None

    def _network_settings(self) -> NetworkSettings:
        settings = self.settings
        endpoint = _hub_endpoint()
        hosts = NetworkSettings.model_fields["allowed_hosts"].default
        hub_token = settings.huggingface_token or _environment_token("HF_TOKEN") or _hugging_face_token_file()
        civitai_token = settings.civitai_token or _environment_token("CIVITAI_API_KEY")
        tokens = {"huggingface.co": hub_token, "civitai.com": civitai_token}
        return NetworkSettings(
            online=settings.online,
            allowed_hosts=(*hosts, endpoint) if endpoint else hosts,
            tokens={host: token for host, token in tokens.items() if token is not None},
        )

    def _start_warnings(self) -> list[Warning]:
        warnings = []
        for place in (self.library.set_aside, self._registry.set_aside):
            if place is not None:
                warnings.append(
                    Warning(
                        code="database_set_aside",
                        message=f"A damaged database was kept as {place} and made anew.",
                    )
                )
        if not self.library.searchable:
            warnings.append(
                Warning(
                    code="no_fts5",
                    message="This Python's SQLite has no FTS5, so search is slower and simpler.",
                )
            )
        return warnings

    def _tell_status(self, *_: Any) -> None:
        self.events.publish("librarian.status", self.status())


class ImportFailedError(LibrarianError):
    """Every item of an import failed; the code is that of the first."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


def _name_in_id(model_id: str) -> str:
    """The file name within an id: ``in-place/<name>-<8 digits>`` or ``<type>/<family>/<name>``."""
    name = model_id.rpartition("/")[2]
    return name[:-9] if model_id.startswith("in-place/") and len(name) > 9 else name


def _hub_endpoint() -> str:
    """The mirror that takes Hugging Face's place (huggingface_hub: ``HF_ENDPOINT``), or nothing."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/")


def _hugging_face(answers: Answers) -> HuggingFace:
    endpoint = _hub_endpoint()
    return HuggingFace(answers, endpoint) if endpoint else HuggingFace(answers)


def _environment_token(name: str) -> SecretStr | None:
    value = os.environ.get(name, "").strip()
    return SecretStr(value) if value else None


def _hugging_face_token_file() -> SecretStr | None:
    """The token that ``hf auth login`` leaves (huggingface_hub: ``HF_HOME``, default ``~/.cache/huggingface``)."""
    home = os.environ.get("HF_HOME") or str(Path("~/.cache/huggingface").expanduser())
    with suppress(OSError, ValueError):
        text = Path(home, "token").read_text(encoding="utf-8").strip()
        return SecretStr(text) if text else None
    return None
