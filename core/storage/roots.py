from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ..errors import InvalidRequestError, OutsideRootsError, SourceChangedError
from ..sentences import say
from .names import is_text


def is_within(path: Path, folder: Path) -> bool:
    """Whether ``path`` is ``folder`` or lies below it; both must be real paths already."""
    try:
        return os.path.commonpath([path, folder]) == os.fspath(folder)
    except ValueError:  # another Windows drive
        return False


def is_same_folder(one: Path, other: Path) -> bool:
    """Whether both are one folder, by links or in another case; ``False`` if one is not there."""
    try:
        return one.samefile(other)
    except OSError:
        return False


def real_path(path: Path) -> Path:
    """The path with every link resolved. It need not exist."""
    return Path(os.path.realpath(path))


class AllowedRoots:
    """The folders that Librarian may read and write; every path from outside passes through here."""

    def __init__(self, roots: Iterable[Path]) -> None:
        self.roots = tuple(dict.fromkeys(real_path(root) for root in roots))

    def contains(self, path: Path) -> bool:
        """Whether the path, after all its links, lies in one of the roots."""
        real = real_path(path)
        return any(is_within(real, root) for root in self.roots)

    def confine(self, text: str) -> Path:
        """The absolute path that ``text`` means.

        The last component keeps its own name even where it is a link, so that what is asked of a link
        is done to the link; where it leads is checked all the same.

        Raises `InvalidRequestError` for text that cannot be a path, `OutsideRootsError` for a path that
        is not, or does not stay, inside an allowed root.
        """
        if not text or "\0" in text or not is_text(text):
            raise InvalidRequestError(say("give_full_path", "Give the full path of a file or folder."))
        try:
            path = Path(text).expanduser()
        except RuntimeError as error:  # ~somebody who is not known here
            raise InvalidRequestError(
                say(
                    "unknown_user",
                    "{path!r} names a user who is not known here. Give a full path.",
                    path=text,
                )
            ) from error
        if not path.is_absolute():
            raise InvalidRequestError(
                say(
                    "not_a_full_path",
                    "{path!r} is not a full path. Give the path from the root of the drive.",
                    path=text,
                )
            )
        path = Path(os.path.normpath(path))
        try:
            allowed = (self.contains(path.parent) and self.contains(path)) or real_path(path) in self.roots
        except OSError as error:
            raise InvalidRequestError(f"{text!r} cannot be a path: {error.strerror or error}.") from error
        if not allowed:
            raise OutsideRootsError(
                say(
                    "outside_allowed_folders",
                    "{path} is outside the folders that Librarian may use. Add its folder under Settings → Allowed "
                    "folders, or start with --allow FOLDER.",
                    path=path,
                )
            )
        try:
            path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            pass  # whoever wants it to be there says so
        except OSError as error:
            raise InvalidRequestError(f"{text!r} cannot be used: {error.strerror or error}.") from error
        return path

    def require_same(self, path: Path, opened: os.stat_result) -> None:
        """Check what was opened as ``path``, or got a second name from there, once it cannot change any more.

        Between `confine` and opening, a link may have been put into the way. Raises `OutsideRootsError`
        for a file outside the roots, `SourceChangedError` if the path means another file by now.
        """
        real = real_path(path)
        if not self.contains(real):
            raise OutsideRootsError(
                say(
                    "leads_outside",
                    "{path} leads to {target}, outside the folders that Librarian may use.",
                    path=path,
                    target=real,
                )
            )
        try:
            same = os.path.samestat(real.stat(), opened)
        except OSError:
            same = False
        if not same:
            raise SourceChangedError(
                say("replaced_while_opened", "{path} was replaced while it was opened. Try again.", path=path)
            )
