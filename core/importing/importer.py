from __future__ import annotations

import logging
import os
import sqlite3
import stat
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import (
    CancelledError,
    InvalidRequestError,
    LibrarianError,
    NotAModelError,
    PickleNotAcknowledgedError,
    SourceChangedError,
    StorageError,
)
from ..jobs import JobContext, JobItem
from ..library import Library, Model
from ..library.metadata import IN_PLACE, INCOMING, METADATA_NAME, serialise
from ..sentences import say
from ..storage.atomic import write_atomic
from ..storage.disk import require_writable, storage_error
from ..storage.names import collision_key, is_text, shown
from ..storage.preflight import NewFile, preflight
from ..storage.roots import AllowedRoots, is_within, real_path
from .batch import BatchProgress, DriveQueue, ItemProgress
from .describe import Description, beside, put_beside
from .duplicates import FileBytes, model_with_files, recorded_model_with_files
from .entry import EntryFile, Fate
from .grouping import FileGroup, group_named, group_paths
from .in_place import InPlace
from .inspect import Examined, examine, inspect, inspect_uploads
from .journal import Journal, Recovered, Staging, require_library
from .naming import file_names, folder_name, model_names
from .originals import LeaveLink, Originals
from .records import ImportItem, ImportRequest, Inspection
from .sharing import Sharing
from .source import Source
from .transfer import Progress, Transferred, verify_copy
from .uploads import Uploads

logger = logging.getLogger(__name__)

Tell = Callable[[str], object]


class Imported(NamedTuple):
    """What became of one item: the model, whether it is new, and what the person should know of it."""

    model_id: str
    new: bool
    notes: Sequence[str] = ()


class Arrival(NamedTuple):
    """The files of one item, sorted out: one model, inside ``roots``.

    ``known`` are the hashes of files that were hashed as they arrived, ``told`` is what their source tells of them.
    ``notes`` say what the person should know once they are imported.
    """

    item: ImportItem
    group: FileGroup
    originals: Fate
    roots: AllowedRoots
    known: Mapping[Path, Transferred] = {}
    told: Mapping[str, Any] | None = None
    notes: Sequence[str] = ()


class Importer:
    """Brings files into the library: inspect → plan → transfer → describe → index.

    At every instant each file's bytes are whole under at least one name, and a model appears in the
    library whole or not at all, also if the process is killed. ``app_folders`` are those in which apps
    look for models: what is taken out of them leaves a link behind. ``at_once`` says how many items work on one
    drive at once, if a person chose that.
    """

    def __init__(
        self,
        library: Library,
        leave_link: LeaveLink,
        uploads: Uploads,
        app_folders: Callable[[], Iterable[Path]],
        at_once: Callable[[], int | None],
    ) -> None:
        self._library = library
        self._journal = Journal(library.metadata, Originals(leave_link))
        self.sharing = Sharing(library, self._journal)
        self._leave_link = leave_link
        self._uploads = uploads
        self._app_folders = app_folders
        self.queue = DriveQueue(at_once)
        self._in_place = InPlace(library)

    def close(self) -> None:
        """End the threads that import. No `run` may go on any more."""
        self.queue.close()

    def inspect(self, paths: Iterable[Path], roots: AllowedRoots) -> Inspection:
        """Say what the files at the paths are. Raises `NotFoundError`, `InvalidRequestError`."""
        return inspect(paths, self._library, roots)

    def inspect_uploads(self, uploads: Sequence[str]) -> Inspection:
        """Say what complete uploads are. Raises `NotFoundError`, `UploadIncompleteError`, `InvalidRequestError`."""
        ids = list(dict.fromkeys(uploads))
        return inspect_uploads(dict(zip(ids, self._uploads.staged(ids), strict=True)), self._library)

    def recover(self) -> list[Recovered]:
        """Finish or undo what an earlier run left half done, also of sharing; and index what it finished."""
        recovered = list(self._journal.recover())
        for entry in recovered:
            if entry.outcome == "finished":
                self._index(entry.model_id, entry.replaces)
        return recovered

    def sort_out(
        self, item: ImportItem, paths: Iterable[Path], roots: AllowedRoots, *, delete_originals: bool = False
    ) -> Arrival:
        """The one model that lies at the paths of an item.

        Raises `InvalidRequestError` if there are several, `NotAModelError` if there is none, and what
        `group_paths` raises.
        """
        originals: Fate = "keep"
        if item.mode == "move":
            originals = "remove"
        elif item.mode == "adopt":
            originals = "link"
        elif item.mode != "in-place" and delete_originals:
            originals = "trash"
        return Arrival(item, _only(group_paths(paths, roots)), originals, roots)

    def check(self, arrival: Arrival) -> Examined:
        """Refuse what cannot be imported, before anything is written.

        Raises `NotAModelError`, `PickleNotAcknowledgedError`, `InvalidRequestError`, `StorageError`.
        """
        item, group = arrival.item, arrival.group
        for member in group.members:
            if not is_text(str(member.path)):
                raise InvalidRequestError(
                    f"{shown(str(member.path))} is no valid Unicode. Rename it, then import it."
                )
            if member.path not in arrival.known:
                self._require_elsewhere(member.path, out_of_apps=arrival.originals in ("remove", "trash"))
            if arrival.originals in ("remove", "link") and member.path.is_symlink():
                raise InvalidRequestError(
                    f"{member.path} is a link to {os.readlink(member.path)}. Copy it, or move the file itself."
                )
        if group.problem is not None:
            raise NotAModelError(group.problem)
        subtype = item.metadata.get("subtype")
        replaced = self._in_place.model_of(group) if item.mode == "adopt" else None
        if subtype is None and arrival.told:
            subtype = arrival.told.get("subtype")
        if subtype is None and replaced is not None and replaced.subtype != "unknown":
            subtype = replaced.subtype
        examined = examine(group, subtype=subtype if isinstance(subtype, str) and subtype else None)
        acknowledged = item.acknowledge_pickle or (replaced is not None and replaced.pickle_acknowledged)
        if examined.security_tier == "pickle" and not acknowledged:
            raise PickleNotAcknowledgedError(
                say(
                    "pickle_not_acknowledged",
                    "{name} is a pickle: it can run code when it is loaded. Import it only if you trust where it comes "
                    "from, and say so (acknowledge_pickle, --acknowledge-pickle).",
                    name=group.name,
                )
            )
        names = file_names(group)
        coming = [NewFile(path, path.stat().st_size, name) for (path, *_), name in names.items()]
        preflight(coming, self._library.root / INCOMING, item.mode)
        Description(item, group, examined, replaced, arrival.told).check()
        return examined

    def run(
        self, request: ImportRequest, paths: Sequence[Sequence[Path]], roots: AllowedRoots, job: JobContext
    ) -> list[str]:
        """Import every item; one that fails is reported on its `JobItem` and the others go on.

        Items on different drives are imported side by side, also those of other calls (see `DriveQueue`); who
        cancels ``job`` wakes the queue. Answers the ids of the new models. Raises `CancelledError` between two
        blocks, with nothing left of the items at hand.
        """
        imported: list[str] = []
        sizes = [self._size(item, where) for item, where in zip(request.items, paths, strict=True)]
        batch = BatchProgress(job, sizes)
        done = Counter[str]()

        def one(item: ImportItem, where: Sequence[Path], shown_item: JobItem, size: int) -> None:
            job.check_cancelled()
            batch.begin()
            progress = ItemProgress(batch, shown_item, size)
            shown_item.state = "running"
            job.changed()
            outcome = self._run(
                shown_item, lambda told: self._import(item, where, request, roots, progress, told)
            )
            if outcome is not None and outcome.new:
                imported.append(outcome.model_id)
            progress.finish()
            done["items"] += 1
            if done["items"] % 5 == 0:
                self._library.checkpoint()

        work = [partial(one, *of) for of in zip(request.items, paths, job.job.items, sizes, strict=True)]
        root = self._library.root
        places = [
            [*where[:1]] if item.mode == "in-place" else [*where[:1], root / INCOMING]
            for item, where in zip(request.items, paths, strict=True)
        ]
        try:
            self.queue.run(work, places, lambda: job.cancelled)
        finally:
            self._library.checkpoint()
            self._forget_beside(request.items, job.job.items)
        order = {item.model_id: number for number, item in enumerate(job.job.items)}
        return sorted(imported, key=lambda model_id: order[model_id])

    def _run(self, shown_item: JobItem, work: Callable[[Tell], Imported]) -> Imported | None:
        """Do the work of one item and show on it what became of it. Raises only `CancelledError`.

        The work may tell what the person should know of it, also if it fails.
        """
        left: list[str] = []
        try:
            outcome = work(left.append)
        except CancelledError:
            shown_item.state, shown_item.message = "cancelled", " ".join(left) or None
            raise
        except LibrarianError as error:
            shown_item.code, shown_item.message = error.code, error.message
        except OSError as error:
            problem = storage_error(error, self._library.root)
            shown_item.code, shown_item.message = problem.code, problem.message
        except Exception as error:
            logger.exception("the import of %s failed", shown_item.name)
            shown_item.code = "internal_error"
            shown_item.message = f"Librarian met an error of its own ({error}). See its log."
        else:
            shown_item.model_id = outcome.model_id
            shown_item.message = " ".join([*outcome.notes, *left]) or None
            if outcome.new:
                shown_item.state = "done"
            else:
                shown_item.state, shown_item.code = "skipped", "duplicate"
            return outcome
        shown_item.state, shown_item.message = (
            "failed",
            " ".join([shown_item.message, *left]) if left else shown_item.message,
        )
        return None

    def _size(self, item: ImportItem, paths: Iterable[Path]) -> int:
        """The bytes of an item, for its progress; the item itself will say what is wrong with it."""
        if item.uploads:
            sizes = 0
            for upload in item.uploads:
                with suppress(LibrarianError):
                    sizes += self._uploads.get(upload).size
            return sizes
        size = 0
        for path in paths:
            try:
                status = path.stat()
                if not stat.S_ISDIR(status.st_mode):
                    size += status.st_size
                    continue
                for folder, _, names in os.walk(path):
                    size += sum(Path(folder, name).stat().st_size for name in names)
            except OSError:
                continue
        return size

    def _import(
        self,
        item: ImportItem,
        paths: Sequence[Path],
        request: ImportRequest,
        roots: AllowedRoots,
        progress: ItemProgress,
        told: Tell,
    ) -> Imported:
        require_library(self._library.root)
        require_writable(self._library.root)
        if item.uploads:
            with self._arrived(item) as arrival:
                imported = self._take_in(arrival, progress, told)
            if not imported.new:
                for upload in item.uploads:  # nobody needs these bytes twice
                    with suppress(LibrarianError):
                        self._uploads.remove(upload)
            return imported
        arrival = self.sort_out(item, paths, roots, delete_originals=request.delete_originals)
        if item.mode == "in-place":
            return self._list(arrival, progress)
        return self._take_in(arrival, progress, told)

    @contextmanager
    def _arrived(self, item: ImportItem) -> Iterator[Arrival]:
        """The model that some uploads make; nobody else has them meanwhile."""
        with self._uploads.taking(item.uploads) as staged:
            group = _only(group_named((file.path, file.name) for file in staged))
            known = {file.path: file.transferred for file in staged}
            moved = item.model_copy(update={"mode": "move"})
            told = next(file.told for file in staged if file.path == group.main.path)
            roots = AllowedRoots(file.path.parent for file in staged)
            notes = []
            for upload in dict.fromkeys(item.beside):
                try:
                    along = self._uploads.staged([upload])
                except LibrarianError as error:  # no reason to have the whole model sent again
                    notes.append(f"What was to come along did not: {error.message}")
                else:
                    put_beside(group, along)
            yield Arrival(moved, group, "remove", roots, known, told, notes)

    def _forget_beside(self, items: Iterable[ImportItem], shown_items: Iterable[JobItem]) -> None:
        """Remove the uploads that came along with models; those of items that failed are kept for another try."""
        done, needed = set[str](), set[str]()
        for item, shown_item in zip(items, shown_items, strict=True):
            (done if shown_item.state in ("done", "skipped") else needed).update(item.beside)
        for upload in done - needed:
            with suppress(LibrarianError):
                self._uploads.remove(upload)

    def _take_in(self, arrival: Arrival, progress: Progress, told: Tell) -> Imported:
        """Import into the library proper."""
        item, group = arrival.item, arrival.group
        names = file_names(group)
        along = beside(group, names)
        source = Source(
            group,
            names,
            item.mode,
            arrival.originals,
            arrival.roots,
            progress,
            known=arrival.known,
            beside=along,
        )
        examined = self.check(arrival)
        replaced = self._in_place.model_of(group) if item.mode == "adopt" else None
        with self._journal.staging(told) as staging:
            arrived = source.transfer(staging)
            look = _Look(self._library, arrival, arrived, () if replaced is None else (replaced.model_id,))
            imported = self._known(look, progress)
            if imported is None:
                # the last moment at which a cancel undoes everything
                progress(sum(file.size for file in arrived))
                if item.mode == "adopt":
                    replaced = self._in_place.model_of(group)  # once more: reading took its time
                    source.entry.replaces = replaced.model_id if replaced is not None else None
                described = Description(item, group, examined, replaced, arrival.told)
                model = described.owned(names, arrived, along.preview)
                imported = self._place(staging, source, group, model, look)
                if imported.new or not self._library.index.contains(imported.model_id):
                    self._index(imported.model_id)
        if not imported.new:
            if item.mode == "adopt":
                return self._lead_to(imported, source.entry.files, arrived, replaced, progress)
            if item.paths and arrival.originals != "keep":
                return imported._replace(notes=[*imported.notes, "The original was kept."])
            return imported
        if replaced is not None:
            self._library.hand_over(replaced.model_id, imported.model_id)
        settled = staging.settled.notes if staging.settled is not None else ()
        return imported._replace(notes=[*arrival.notes, *source.notes, *settled])

    def _lead_to(
        self,
        known: Imported,
        files: Sequence[EntryFile],
        arrived: Sequence[Transferred],
        replaced: Model | None,
        progress: Progress,
    ) -> Imported:
        """Leave links to a model that has the same bytes; what a person said of another copy is not thrown away."""
        if replaced is not None and replaced.match_source == "manual":
            return known._replace(
                notes=[*known.notes, "This copy was left: you edited what is known of it. Delete it by hand."]
            )
        places = {file.sha256: Path(file.path) for file in self._library.files(known.model_id)}
        for seen, file in zip(files, arrived, strict=False):  # what lies beside them stays
            place = places[file.sha256]
            verify_copy(place, file, progress)
            self._leave_link(model_id=known.model_id, target=seen.source, source=place, is_same=seen.is_of)
        if replaced is not None:
            self._library.metadata.discard(replaced.model_id)
            self._library.hand_over(replaced.model_id, known.model_id)
        return known._replace(notes=[f"{known.notes[0]} What was here is free: a link leads there now."])

    def _place(
        self, staging: Staging, source: Source, group: FileGroup, model: Model, look: _Look
    ) -> Imported:
        """Give the staged files and the model's record their place in the library."""
        sha256 = model.hashes.sha256 or ""
        for model_id in self._ids(model, group.stem, sha256):
            model.model_id, model.cleaned_name = model_id, model_id.rpartition("/")[2]
            write_atomic(staging.model_folder / METADATA_NAME, serialise(model))
            source.entry.model_id = model_id
            placed = self._journal.place(staging, source.entry, look.once_more)
            if placed is not None:
                return Imported(model_id, True) if placed == model_id else _duplicate(placed)
            if self._same_model(model_id, model):
                return _duplicate(model_id)
        raise StorageError(
            say(
                "same_name_and_content",
                "{place} has a model of this name and content already.",
                place=f"{model.model_type}/{model.family}",
            )
        )

    def _list(self, arrival: Arrival, progress: ItemProgress) -> Imported:
        """Write down a model of which the files stay where they are."""
        examined = self.check(arrival)
        arrived = self._in_place.hash(arrival.group, arrival.roots, progress)
        look = _Look(self._library, arrival, arrived)
        known = self._known(look, progress)
        if known is not None:
            return known
        app_folder = self._app_folder(real_path(arrival.group.main.path))
        if app_folder is not None:
            raise InvalidRequestError(
                f"{arrival.group.name} lies in {app_folder}, the models of which are listed by themselves. Scan, "
                "if it is not listed yet."
            )
        progress(sum(file.size for file in arrived))
        model = Description(arrival.item, arrival.group, examined, None).in_place(arrived)
        with self._library.metadata.locked():
            same = look.once_more()
            return _duplicate(same) if same is not None else Imported(self._in_place.add(model), True)

    def _require_elsewhere(self, path: Path, *, out_of_apps: bool) -> None:
        """Refuse files of models that are in the library, and to take files away that an app uses."""
        try:
            if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for for ever
                raise NotAModelError(f"{path.name} is not a file. Choose the model's file itself.")
        except FileNotFoundError as error:
            raise SourceChangedError(
                say(
                    "went_away",
                    "{path} is not there (any more). Look where it went, and try again.",
                    path=path,
                )
            ) from error
        except OSError as error:
            raise storage_error(error, path) from error
        root, real = self._library.root, real_path(path)
        if is_within(real, root):
            folders = list(real.relative_to(root).parents)[:-1]
            reserved = bool(folders) and folders[-1].name in (INCOMING, IN_PLACE)
            if reserved or any((root / folder / METADATA_NAME).exists() for folder in folders):
                raise InvalidRequestError(
                    say("in_library", "{path} belongs to a model that is in the library already.", path=path)
                )
        app_folder = self._app_folder(real) if out_of_apps else None
        if app_folder is not None:
            raise InvalidRequestError(
                say(
                    "in_an_app",
                    "{path} lies in {folder}, where an app looks for it, and is listed from there. Adopt it: it moves "
                    "into the library, and a link stays. Or leave it there.",
                    path=path,
                    folder=app_folder,
                )
            )

    def _app_folder(self, real: Path) -> Path | None:
        """The app's folder in which a real path lies."""
        folders = map(real_path, self._app_folders())
        return next((folder for folder in folders if is_within(real, folder)), None)

    def _known(self, look: _Look, progress: Progress) -> Imported | None:
        """The model that has these bytes already, if its files are there; for an adoption, only an owned one."""
        ignored, size = set(look.but), sum(file.size for file in look.files)

        def told(_read: int, _size: int) -> None:
            progress(size)  # it may be cancelled

        while (model_id := model_with_files(self._library, look.files, but=ignored, told=told)) is not None:
            is_there = all(Path(file.path).is_file() for file in self._library.files(model_id))
            if is_there and not look.ignores(model_id):
                return _duplicate(model_id)
            ignored.add(model_id)
        return None

    def _same_model(self, model_id: str, model: Model) -> bool:
        try:
            other = self._library.metadata.read(model_id)
        except LibrarianError:
            return False
        if other is None or Counter(f.sha256 for f in other.files) != Counter(f.sha256 for f in model.files):
            return False
        return all((self._library.metadata.folder(model_id) / file.name).is_file() for file in other.files)

    def _index(self, model_id: str, replaced: str | None = None) -> None:
        """List a model that has just come; what lies in the library is the truth, so a scan can do it, too."""
        try:
            self._library.add_owned(model_id)
            if replaced is not None:
                self._library.hand_over(replaced, model_id)
        except (LibrarianError, sqlite3.Error) as error:
            logger.warning("%s is in the library, but not listed until the next scan: %s", model_id, error)

    def _ids(self, model: Model, stem: str, sha256: str) -> Iterator[str]:
        """Ids for a new model; one that is taken comes only if it may be the same model: who places it finds out."""
        parent = f"{folder_name(model.model_type)}/{folder_name(model.family)}"
        folder = self._library.metadata.folder(parent)
        taken = {collision_key(entry.name) for entry in folder.iterdir()} if folder.is_dir() else set()
        for name in model_names(stem, sha256):
            model_id = f"{parent}/{name}"
            if collision_key(name) not in taken or self._same_model(model_id, model):
                yield model_id


class _Look:
    """What is looked for among all models: the files that arrived. What another process places meanwhile is seen."""

    def __init__(
        self, library: Library, arrival: Arrival, arrived: Sequence[Transferred], but: Collection[str] = ()
    ) -> None:
        self.files = [
            FileBytes(member.path, file.size, file.sha256)
            for member, file in zip(arrival.group.members, arrived, strict=True)
        ]
        self.but = but
        self._adopts = arrival.item.mode == "adopt"
        self._library = library
        self._listed = library.index.known(library.metadata.lately_placed())

    def ignores(self, model_id: str) -> bool:
        """Whether a model does not count, whatever it holds."""
        return model_id in self.but or (self._adopts and model_id.startswith(f"{IN_PLACE}/"))

    def once_more(self) -> str | None:
        """The model with these files that came since, as its record says; to be asked under the library's lock."""
        lately = dict.fromkeys(self._library.metadata.lately_placed())
        came = [one for one in lately if one not in self._listed and not self.ignores(one)]
        return recorded_model_with_files(self._library, came, self.files)


def _only(groups: Sequence[FileGroup]) -> FileGroup:
    if not groups:
        raise NotAModelError(say("no_model_here", "There is no model here. Choose a model's file or folder."))
    if len(groups) > 1:
        names = ", ".join(shown(group.name) for group in groups[:5]) + (", …" if len(groups) > 5 else "")
        raise InvalidRequestError(
            f"These are {len(groups)} models, not one: {names}. Import each as an item of its own."
        )
    return groups[0]


def _duplicate(model_id: str) -> Imported:
    if model_id.startswith(f"{IN_PLACE}/"):
        known = (
            f"These bytes are listed already, as {model_id}. Adopt that one to have its file in the library."
        )
    else:
        known = f"These bytes are in the library already, as {model_id}."
    return Imported(model_id, False, [known])
