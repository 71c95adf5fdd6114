"""Links that lead elsewhere now: repaired by hash, relocated by prefix, healed after a move."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from ..errors import InvalidRequestError, LibrarianError
from ..jobs import JobContext
from ..library import Library
from ..storage.disk import storage_error
from ..storage.names import is_text, shown
from ..storage.roots import is_within
from .apps import AddedApps
from .links import Glance, destination, fingerprint, is_link, is_reachable, state_of
from .maker import Maker
from .records import Link, LinkChange, RelocateRequest, RelocateResult, RepairResult
from .registry import Moves, NewLink, Registry

logger = logging.getLogger(__name__)


class Relocation:
    """Points links to where their files are now. Only links that still are ours are touched."""

    def __init__(self, registry: Registry, library: Library, maker: Maker, added: AddedApps) -> None:
        self._registry = registry
        self._library = library
        self._maker = maker
        self._added = added

    def repair(self, job: JobContext) -> RepairResult:
        """Point each broken link to a file with the same hash, wherever one is indexed."""
        result = RepairResult()
        with self._registry.changing():
            glance = Glance()
            broken = [link for link in self._registry.each() if glance.state_of(link) == "broken"]
            job.stage("repair", total=len(broken), unit="links")
            for number, link in enumerate(broken, start=1):
                change = self._repaired(link)
                result.details.append(change)
                if change.problem is None:
                    result.repaired += 1
                else:
                    result.failed.append(change)
                job.advance(number)
                job.check_cancelled()
        return result

    def _repaired(self, link: Link) -> LinkChange:
        found = self._find(link)
        if found is None:
            return _change(
                link, problem="No file with these bytes is indexed. Connect its drive, or import it again."
            )
        model_id, source = found
        return self._point(link, source, model_id)

    def _find(self, link: Link) -> tuple[str, Path] | None:
        """Where the bytes of a link are now: by hash, those in the library first; else by model and name."""
        index = self._library.index
        digest = link.file_hash
        if digest:
            found = [
                (file.folder is not None, model_id, Path(file.path))
                for model_id in index.models_with_hash(digest)
                for file in index.files(model_id)
                if digest in (file.sha256, file.blake3)
            ]
            for _, model_id, path in sorted(found):
                if path.is_file() and str(path) != link.target:
                    return model_id, path
            return None
        for file in index.files(link.model_id):
            path = Path(file.path)
            if path.name == Path(link.source).name and path.is_file():
                return link.model_id, path
        folder = self._library.metadata.folder(link.model_id)
        if link.source != str(folder) and Path(link.source).name == folder.name and folder.is_dir():
            return link.model_id, folder
        return None

    def relocate(self, request: RelocateRequest) -> RelocateResult:
        """Let everything that was below ``old_prefix`` be below ``new_prefix``, or say what that would change.

        Registered places and sources, the roots of apps and the links on disk follow. A prefix ends where a
        name ends: ``/media/usb`` says nothing of ``/media/usb2``. A link is only pointed to what is there.
        Raises `InvalidRequestError` for prefixes that are no full paths.
        """
        old, new = _prefix(request.old_prefix), _prefix(request.new_prefix)
        if old == new:
            raise InvalidRequestError("The old and the new folder are the same.")
        result = RelocateResult(dry_run=request.dry_run)
        with self._registry.changing():
            before = {link.link_id: link for link in self._registry.links()}
            roots = self._registry.roots()
            moved_apps = {
                app: _moved(root, old, new) for app, root in roots.apps.items() if is_within(root, old)
            }
            if not request.dry_run:
                self._move_apps(moved_apps)
            for link in before.values():
                self._relocate(link, old, new, result)
        result.updated = len(result.links)
        return result

    def _move_apps(self, roots: dict[str, Path]) -> None:
        for root in roots.values():
            if not os.access(root, os.F_OK) or not root.is_dir():
                raise InvalidRequestError(f"{root} is not there. Connect the drive, or check the new folder.")
        for app, root in roots.items():
            self._registry.move_app(app, root)
            try:
                self._added.moved(app, root)
            except OSError as error:
                raise storage_error(error, root) from error

    def _relocate(self, link: Link, old: Path, new: Path, result: RelocateResult) -> None:
        target, source = _moved(Path(link.target), old, new), _moved(Path(link.source), old, new)
        change = _change(link, target=target, source=source)
        leads_now = destination(target) if is_link(target) else None
        leads_then = _moved(leads_now, old, new) if leads_now is not None else None
        is_ours = leads_now is not None and (leads_now == Path(link.source) or leads_then == source)
        is_stale = is_ours and leads_now != source and state_of(target, source, link.link_type) != "ok"
        if (str(target), str(source)) == (link.target, link.source) and not is_stale:
            return
        if not os.access(source, os.F_OK):
            change.problem = f"{source} is not there, so nothing was pointed to it."
        elif not os.path.lexists(target):
            change.problem = f"{target} is not there."
        if change.problem is None and not result.dry_run:
            if str(target) != link.target:
                self._registry.relocate(link, target=target)
            if is_stale:
                moved = link.model_copy(update={"target": str(target)})
                change.problem = self._point(moved, source, link.model_id).problem
            elif str(source) != link.source:
                self._registry.relocate(link, source=source)
        (result.links if change.problem is None else result.failed).append(change)

    def heal(self, job: JobContext | None = None) -> int:
        """Point the links to where the library and apps are now, after these were moved; answers how many.

        A place that cannot be reached is tried again at the next start.
        """
        moves = self._registry.moves()
        if not moves:
            return 0
        healed = left = 0
        with self._registry.changing():
            roots, glance, others = self._registry.roots(), Glance(), []
            for link in self._registry.each():
                if job is not None:
                    job.check_cancelled()
                if glance.state_of(link) != "ok":
                    others.append(link)
            for link in others:
                if job is not None:
                    job.check_cancelled()
                if not is_reachable(Path(link.target), roots.apps.get(link.app)):
                    left += 1
                elif Path(link.source).exists() and self._led_to_source(link, moves):
                    change = self._point(link, Path(link.source), link.model_id)
                    healed += change.problem is None
                    left += change.problem is not None
            if not left:
                self._registry.forget_moves()
        if healed:
            logger.info("%d links were brought in step with folders that had been moved", healed)
        return healed

    def _led_to_source(self, link: Link, moves: Moves) -> bool:
        """Whether a link's text, read where it lay before, led to the file that is its source today."""
        target = Path(link.target)
        if not is_link(target):
            return False
        roots = self._registry.roots()
        root = roots.apps.get(link.app)
        parents: list[Path | None] = [None]
        if root is not None and is_within(target, root):
            below = target.parent.relative_to(root)
            parents += [before / below for before in moves.apps.get(link.app, [])]
        for parent in parents:
            led = destination(target, parent)
            if led is None:
                continue
            places = [led, *(_moved(led, before, roots.library) for before in moves.library)]
            if Path(link.source) in places:
                return True
        return False

    def _point(self, link: Link, source: Path, model_id: str) -> LinkChange:
        """Let a link of ours lead to ``source``, the registry first and last."""
        change = _change(link, source=source)
        target = Path(link.target)
        seen = fingerprint(target)
        if seen is None or not is_link(target):
            change.problem = f"{target} is no link any more and was left as it is."
            return change
        new = NewLink(model_id, link.app, target, source, link.file_hash, pinned=link.pinned)
        try:
            self._maker.replace(new, seen)
        except LibrarianError as error:
            change.problem = error.message
        except OSError as error:
            change.problem = storage_error(error, target).message
        return change


def _prefix(text: str) -> Path:
    try:
        path = Path(text).expanduser() if "\0" not in text and is_text(text) else Path()
    except RuntimeError:  # ~somebody who is not known here
        path = Path()
    if not path.is_absolute():
        raise InvalidRequestError(
            f"{shown(text)!r} is not a full path. Give the path from the root of the drive."
        )
    return Path(os.path.normpath(path))


def _moved(path: Path, old: Path, new: Path) -> Path:
    """The path with one folder around it exchanged; itself where it does not lie there."""
    return new / path.relative_to(old) if is_within(path, old) else path


def _change(
    link: Link, *, target: Path | None = None, source: Path | None = None, problem: str | None = None
) -> LinkChange:
    return LinkChange(
        link_id=link.link_id,
        app=link.app,
        target=str(target or link.target),
        old_target=link.target,
        source=str(source or link.source),
        old_source=link.source,
        problem=problem,
    )
