from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path

from filelock import Timeout

from ..errors import ConflictError, LibrarianError, NotFoundError
from ..storage.atomic import fsync_directory, make_directories, rename_new
from ..storage.disk import same_filesystem, storage_error
from ..turns import in_turns
from .links import (
    Folder,
    LinkImpossibleError,
    Platform,
    fingerprint,
    is_link,
    is_reachable,
    leads_to,
    remove_link,
    same_name,
)
from .records import Link, LinkType, SyncResult
from .registry import MadeLink, NewLink, Registry

logger = logging.getLogger(__name__)

RECOVERY_TIMEOUT_S = 10.0

MakeFolder = Callable[[NewLink], None]
Instead = Callable[[NewLink], bool]


class Maker:
    """Makes and removes links, each registered: what is intended is written down before, what stands after.

    Its callers hold the registry's lock (`Registry.changing`), except for `recover`.
    """

    def __init__(self, registry: Registry) -> None:
        self.platform = Platform(registry.roots().library)
        self._registry = registry

    def recover(self) -> None:
        """Register the links that a crash left on disk without an entry, and undo what it cut in two."""
        try:
            with self._registry.changing(timeout=RECOVERY_TIMEOUT_S):
                removals = self._registry.removals()
                if removals:
                    self._registry.remove(
                        link.link_id for link in removals if not os.path.lexists(link.target)
                    )
                intended = self._registry.all_intended()
                intents = list(self._registry.intents())
                if not intents:
                    return
                for intent in intents:
                    _put_back(intent)
                    _drop_temporary(intent)
                self._registry.register([made for intent in intents for made in standing(intent)], intended)
        except Timeout:
            logger.info("another process is linking; what was cut off is mended at the next start")

    def create(
        self, links: list[NewLink], result: SyncResult, make_folder: MakeFolder, instead: Instead
    ) -> int:
        """Make links; answers how many. What fails is told in ``result`` and is as it was before.

        ``make_folder`` makes the folder that a link goes into, where that may be, or raises `StorageError`.
        ``instead`` is asked where no kind of link is possible, and answers whether it did something else.
        """
        intended = self._registry.intend(links)
        made: list[MadeLink] = []
        folders: dict[str, Folder] = {}
        for link in in_turns(links):
            try:
                kind, is_external = self._make(link, folders, make_folder)
                made.append(MadeLink(link, kind, is_external))
            except FileExistsError:
                if leads_to(link.target, link.source):  # two apps that share a folder
                    result.skipped += 1
                else:
                    result.errors.append(
                        f"{link.target} appeared meanwhile and was left as it is. Preview again."
                    )
            except LinkImpossibleError as error:
                if not instead(link):
                    result.errors.append(error.message)
            except LibrarianError as error:
                result.errors.append(error.message)
            except OSError as error:
                result.errors.append(storage_error(error, link.target).message)
        self._registry.register(made, intended)
        result.links_created += len(made)
        return len(made)

    def _make(
        self, link: NewLink, folders: dict[str, Folder], make_folder: MakeFolder
    ) -> tuple[LinkType, bool]:
        name = os.path.split(link.target)[0]
        folder = folders.get(name)
        if folder is None:
            make_folder(link)
            folder = folders[name] = self.platform.look_at(link.target.parent)
        if link.aside is None:
            return self.platform.make(link.source, link.target, folder)
        rename_new(link.target, link.aside)
        try:
            return self.platform.make(link.source, link.target, folder)
        except BaseException:
            rename_new(link.aside, link.target)
            raise

    def replace(self, link: NewLink, seen: tuple[int, ...]) -> None:
        """Let a link take the place of what has the fingerprint ``seen``, which is at once gone.

        The link is made beside and renamed over it, so that the name means something whole at every instant.
        Where the link stands already it is only registered. Raises `ConflictError` if something else lies
        there, `NotFoundError` if the source is not there, `StorageError`; all is then as it was.
        """
        link = link._replace(aside=None, temporary=link.target.with_name(f".{uuid.uuid4().hex}.link"))
        made: list[MadeLink] = []
        intended = self._registry.intend([link])
        try:
            if not link.source.exists():
                raise NotFoundError(f"{link.source} is not there, so nothing can lead to it.")
            if is_link(link.target) and leads_to(link.target, link.source):
                made += standing(link)
            else:
                made.append(self._renamed_over(link, seen))
        except OSError as error:
            raise storage_error(error, link.target) from error
        finally:
            _drop_temporary(link)
            self._registry.register(made, intended)

    def _renamed_over(self, link: NewLink, seen: tuple[int, ...]) -> MadeLink:
        assert link.temporary is not None
        if same_name(link.target, link.source):
            raise ConflictError(f"{link.target} is the model's own file, and no copy of it.")
        kind, is_external = self.platform.make(link.source, link.temporary)
        if fingerprint(link.target) != seen:
            raise ConflictError(
                f"{link.target} is not what was looked at any more. It was left as it is. Preview again."
            )
        if kind == "junction" and is_link(link.target):
            link.target.unlink()  # Windows renames nothing over a folder's link
        # Renaming one name of a file over another does nothing: then the place is a hard link already.
        link.temporary.replace(link.target)
        fsync_directory(link.target.parent)
        return MadeLink(link, kind, is_external)

    def remove(self, links: Iterable[Link], result: SyncResult) -> None:
        """Remove links that still are the ones that were made, and forget all that can be looked at."""
        links, gone = list(links), []
        roots = self._registry.roots()
        self._registry.intend_removal(link.link_id for link in links)
        try:
            for link in in_turns(links):
                target = Path(link.target)
                if not is_reachable(target, roots.apps.get(link.app)):
                    result.unreachable.append(link.target)
                    continue
                try:
                    if remove_link(target, Path(link.source), link.link_type):
                        result.links_removed += 1
                    elif os.path.lexists(target):
                        logger.info("%s is not the link that was made there and was left as it is", target)
                    gone.append(link.link_id)
                    self._remove_own_folder(target.parent)
                except OSError as error:
                    result.errors.append(storage_error(error, target).message)
        finally:
            self._registry.remove(gone)

    def make_folder_below(self, known: Path, folder: Path) -> None:
        """Make an app's folder, and in it the one for links whose names two models share."""
        make_directories(known)
        if folder != known:
            self._registry.own_folder(folder)
            make_directories(folder)

    def _remove_own_folder(self, folder: Path) -> None:
        """Remove a folder that was made for links, if it is empty; one of the person's stays."""
        if self._registry.owns_folder(folder):
            try:
                folder.rmdir()
            except FileNotFoundError:
                pass
            except OSError:
                return
            self._registry.disown_folder(folder)


def standing(link: NewLink) -> list[MadeLink]:
    """The link that stands on disk as it was intended; or nothing."""
    if not os.path.lexists(link.target) or not leads_to(link.target, link.source):
        return []
    kind: LinkType = "hardlink"
    if is_link(link.target):
        kind = "symlink" if link.target.is_symlink() else "junction"
    return [MadeLink(link, kind, not same_filesystem(link.source, link.target.parent))]


def _drop_temporary(intent: NewLink) -> None:
    """Remove the link that waited to take a place."""
    if intent.temporary is None or not leads_to(intent.temporary, intent.source):
        return
    try:
        intent.temporary.unlink()
    except OSError as error:
        logger.warning("%s is left over: %s", intent.temporary, error)


def _put_back(intent: NewLink) -> None:
    """Return what had to make room for a link that was never made."""
    if intent.aside is None or not os.path.lexists(intent.aside):
        return
    try:
        if not os.path.lexists(intent.target):
            rename_new(intent.aside, intent.target)
        elif os.path.samestat(intent.aside.lstat(), intent.target.lstat()):
            intent.aside.unlink()  # cut off between getting the second name and losing the first
    except OSError as error:
        logger.warning("%s is kept as %s: %s", intent.target, intent.aside, error)
