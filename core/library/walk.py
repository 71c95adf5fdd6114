"""What lies in the watched folders: every model file once, however many names lead to it.

The parts of a sharded set and the files of a Diffusers folder are met as one model.
"""

# A walk looks at 100,000 files, and `os` does that several times faster than `pathlib`.
# ruff: noqa: PTH114, PTH118, PTH119, PTH120
from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from blake3 import blake3

from ..formats import ModelFormat
from ..formats.pipelines import MODEL_INDEX, main_component
from ..formats.shards import ShardSet, group_shards
from ..formats.sidecars import Preview, preview_names
from ..settings import MODEL_EXTENSIONS, TargetFolder
from ..storage.mounts import keeps_inodes
from ..storage.names import is_text, shown
from ..storage.roots import real_path
from ..turns import give_way, in_turns
from .index import Index, ScannedFolder, inode_of

MAX_FOLDER_FILES = 10_000
"""A Diffusers folder has some dozen files; of one with more the rest is not looked at."""

_USUAL = ".safetensors"

_COUNTED = "-of-"
"""In app folders only names with a total make a set: nobody is there to say that two loras are two."""


class FoundFile(NamedTuple):
    """A file by its real path; ``size`` in bytes, ``mtime_ns`` in nanoseconds, ``inode`` as `inode_of` says.

    ``link`` is the name in the watched folder, if that is a link to the file.
    """

    path: str
    size: int
    mtime_ns: int
    inode: str
    link: str | None = None

    @property
    def state(self) -> tuple[int, int, str]:
        """What changes when the file does."""
        return self.size, self.mtime_ns, self.inode

    @property
    def shown_as(self) -> str:
        """The path under which apps have the file."""
        return self.link or self.path


class FoundModel(NamedTuple):
    """A model met in a watched folder, of which ``root`` is the real path; its main file comes first."""

    files: tuple[FoundFile, ...]
    format: ModelFormat
    preview: Preview
    folder: TargetFolder
    root: str

    @property
    def main(self) -> FoundFile:
        """The file that says what the model is."""
        return self.files[0]

    @property
    def place(self) -> str:
        """The path that the model's identity comes from: that of its only file, of its set, of its folder."""
        return place_of(self.format, [file.shown_as for file in self.files])


class Listing:
    """What lies in one directory: model files with one name, those with further names, other names.

    The first are kept as one text each, ``name/size/time/device:inode``: of 100,000 files that did not
    change nothing else is ever needed. Of a Diffusers folder ``tree`` has all files below it.
    """

    def __init__(self, path: str, folder: TargetFolder, root: str) -> None:
        self.path = path
        self.folder = folder
        self.root = root
        self.plain: list[str] = []
        self.linked: list[tuple[str, str, os.stat_result]] = []
        self.has_symlinks = False
        self.other_names: list[str] = []
        self.tree: list[FoundFile] | None = None

    def __len__(self) -> int:
        return 1 if self.tree is not None else len(self.plain) + len(self.linked)

    def fingerprint(self) -> str:
        """What changes when a file comes, goes, is replaced or gets a preview.

        Empty if files have further names elsewhere: what is to be said of those depends on the other names.
        """
        if self.tree is not None:
            lines = ["/".join(map(str, file)) for file in self.tree]
        elif self.linked:
            return ""
        else:
            lines = self.plain + self.other_names if self.plain else []
        text = "\n".join(lines).encode(errors="surrogateescape")
        return blake3(text).hexdigest(length=16)


class Walk:
    """Goes through watched folders; what cannot be read is said in ``errors``."""

    def __init__(
        self, library: Path, index: Index, folders: Iterable[TargetFolder], errors: list[str]
    ) -> None:
        self._library = os.path.join(real_path(library), "")
        self._index = index
        self._folders = list(folders)
        self._errors = errors
        self._seen_folders: set[str] = set()
        self._seen_paths: set[str] = set()
        self._tree_folders: set[str] = set()
        self._linked_folders: list[tuple[str, TargetFolder, str]] = []
        self._seen_inodes: set[str] | None = None
        self._unreadable: list[str] = []
        self._roots = _real_paths(folder.path for folder in self._folders)

    def directories(self) -> Iterator[tuple[ScannedFolder, Listing]]:
        """Each directory with the model files in it; a Diffusers folder is one with all that is below it.

        Those with links to files come last: by then it is known what is met under its own name. So do folders that
        links lead to, those around others first, since a part of a Diffusers folder may be linked, too.
        """
        with_links: list[tuple[ScannedFolder, Listing]] = []
        for found in self._each():
            if found[1].has_symlinks:
                with_links.append(found)
            else:
                yield found
        yield from with_links

    def _each(self) -> Iterator[tuple[ScannedFolder, Listing]]:
        waiting = [*zip(self._roots, self._folders, self._roots, strict=True)]
        while waiting:
            for start, folder, root in waiting:
                yield from self._below(start, folder, root)
            waiting, self._linked_folders = sorted(self._linked_folders, key=lambda one: one[0]), []

    def _below(self, start: str, folder: TargetFolder, root: str) -> Iterator[tuple[ScannedFolder, Listing]]:
        stack = [start]
        while stack:
            give_way()  # nobody else does between folders with links, which come last
            directory = stack.pop()
            if directory in self._seen_folders or os.path.join(directory, "").startswith(self._library):
                continue
            if not self._storable(directory):
                continue
            self._seen_folders.add(directory)
            try:
                listing = self._list(directory, folder, root, stack)
            except FileNotFoundError:
                continue
            except OSError as error:
                self._errors.append(
                    f"{directory} cannot be read: {error.strerror or error}. Its models stay listed."
                )
                self._unreadable.append(os.path.join(directory, ""))
                continue
            yield (
                ScannedFolder(directory, str(folder.path), folder.subtype, listing.fingerprint()),
                listing,
            )

    def is_part(self, directory: str) -> bool:
        """Whether a directory was walked with the Diffusers folder around it."""
        return directory in self._tree_folders and not self.cannot_tell(directory)

    def cannot_tell(self, directory: str) -> bool:
        """Whether a directory, or one above it, could not be read."""
        return os.path.join(directory, "").startswith(tuple(self._unreadable))

    def _list(self, directory: str, folder: TargetFolder, root: str, stack: list[str]) -> Listing:
        listing = Listing(directory, folder, root)
        plain = listing.plain
        inside: list[str] = []
        led_to: list[str] = []
        with _entries(directory) as entries:
            for entry in in_turns(entries):
                name = entry.name
                try:
                    if not name.endswith(_USUAL) and name[name.rfind(".") :].lower() not in MODEL_EXTENSIONS:
                        if entry.is_file():
                            listing.other_names.append(name)
                        elif not name.startswith(".") and entry.is_dir():
                            path = os.path.join(directory, name)
                            if entry.is_symlink():
                                led_to.append(os.path.realpath(path))
                            else:
                                inside.append(path)
                    elif not name.isascii() and not self._storable(name):
                        continue
                    elif entry.is_symlink():
                        path = os.path.join(directory, name)
                        if not self._leads_into_library(path) and entry.is_file():
                            target = os.path.realpath(path)
                            if self._storable(target):
                                listing.linked.append((name, target, entry.stat()))
                                listing.has_symlinks = True
                    elif entry.is_file():
                        status = entry.stat()
                        if status.st_nlink > 1:
                            listing.linked.append((name, os.path.join(directory, name), status))
                        else:
                            plain.append(
                                f"{name}/{status.st_size}/{status.st_mtime_ns}/{status.st_dev}:{status.st_ino}"
                            )
                    elif entry.is_dir():
                        inside.append(os.path.join(directory, name))
                except OSError:
                    continue  # a broken link, or gone between listing and looking
        if directory != root and MODEL_INDEX in listing.other_names:
            listing.tree = self._tree(directory)
        else:
            stack += inside
            self._linked_folders += ((path, folder, root) for path in led_to)
        return listing

    def _tree(self, top: str) -> list[FoundFile]:
        """The files of a Diffusers folder, the main one first; none if it leads into the library.

        Links keep their own names, since the names are what a Diffusers folder is made of.
        """
        files: list[FoundFile] = []
        seen: set[str] = set()
        stack = [top]
        while stack and len(files) < MAX_FOLDER_FILES:
            give_way()
            folder = stack.pop()
            real = os.path.realpath(folder)
            if real in seen:
                continue
            seen.add(real)
            self._seen_folders.add(real)
            self._tree_folders.add(real)
            with os.scandir(folder) as entries:
                for entry in in_turns(entries):
                    if entry.name.startswith(".") or not self._storable(entry.name):
                        continue
                    try:
                        if entry.is_dir():
                            stack.append(entry.path)
                            continue
                        status = entry.stat()
                    except OSError:
                        continue
                    if entry.is_symlink() and self._leads_into_library(entry.path):
                        return []
                    if stat.S_ISREG(status.st_mode):
                        files.append(
                            FoundFile(entry.path, status.st_size, status.st_mtime_ns, inode_of(status))
                        )
        if any(file.inode in self._inodes() for file in files):
            return []  # hard links to a model of the library
        return sorted(files, key=lambda file: nearness(file.path[len(top) + 1 :]))

    def _storable(self, name: str) -> bool:
        """Whether a name is text at all; on Linux it may be any bytes, which neither JSON nor SQLite keeps."""
        if is_text(name):
            return True
        readable = os.fsencode(name).decode(errors="replace")
        self._errors.append(
            f"{shown(readable)} has a name that is not valid UTF-8. Rename it to have it listed."
        )
        return False

    def _leads_into_library(self, path: str) -> bool:
        target = os.readlink(path)
        if target.startswith(self._library) and "/../" not in target:
            return True
        return os.path.realpath(path).startswith(self._library)

    def found(self, listing: Listing) -> Iterator[FoundModel]:
        """The models of a directory that were not met under another name."""
        if listing.tree is not None:
            if listing.tree:
                yield FoundModel(
                    tuple(listing.tree), "diffusion-folder", Preview.NONE, listing.folder, listing.root
                )
            return
        others = set(listing.other_names)
        counted: dict[str, FoundFile] = {}
        for name, file in self._files(listing):
            if _COUNTED in name:
                counted[name] = file
                continue
            yield FoundModel(
                (file,), "single-file", preview_among(others, name), listing.folder, listing.root
            )
        sets, rest = group_shards(counted) if counted else ([], [])
        for shards in sets:
            alone = shards.complete and len(shards.parts) == 1
            yield FoundModel(
                tuple(counted[name] for name in shards.names),
                "single-file" if alone else "sharded-set",
                preview_among(others, *shards.names[:1], *(() if alone else (shards.name,))),
                listing.folder,
                listing.root,
            )
        for name in rest:
            yield FoundModel(
                (counted[name],), "single-file", preview_among(others, name), listing.folder, listing.root
            )

    def _files(self, listing: Listing) -> Iterator[tuple[str, FoundFile]]:
        for line in listing.plain:
            name, size, mtime_ns, inode = line.rsplit("/", 3)
            yield name, FoundFile(os.path.join(listing.path, name), int(size), int(mtime_ns), inode)
        for name, path, status in sorted(listing.linked, key=lambda file: file[0]):
            inode = inode_of(status)
            if path in self._seen_paths or (status.st_nlink > 1 and inode in self._inodes()):
                continue
            place = os.path.join(listing.path, name)
            if path != place and self._is_listed_itself(path):
                continue
            if status.st_nlink > 1:
                self._inodes().add(inode)
            self._seen_paths.add(path)
            link = place if path != place else None
            yield name, FoundFile(path, status.st_size, status.st_mtime_ns, inode, link)

    def _is_listed_itself(self, path: str) -> bool:
        """Whether the file that a link leads to is met under its own name."""
        directory, name = os.path.split(path)
        if directory in self._tree_folders and not name.startswith("."):
            return True
        return directory in self._seen_folders and os.path.splitext(name)[1].lower() in MODEL_EXTENSIONS

    def _inodes(self) -> set[str]:
        if self._seen_inodes is None:
            self._seen_inodes = self._index.owned_inodes()
        return self._seen_inodes


@contextmanager
def _entries(directory: str) -> Iterator[Iterator[os.DirEntry[str]]]:
    """What lies in a directory, under names and not paths: to look at each by its whole path takes a sixth longer.

    Where the system cannot do that (Windows), an entry knows its file's state already.
    """
    if os.scandir not in os.supports_fd:
        with os.scandir(directory) as entries:
            yield entries
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with os.scandir(descriptor) as entries:
            yield entries
    finally:
        os.close(descriptor)


def _real_paths(paths: Iterable[Path]) -> list[str]:
    """The real paths of folders, most of which lie side by side."""
    if os.name == "nt":  # a junction is no link to Python
        return [*map(os.path.realpath, paths)]
    parents: dict[str, str] = {}
    found = []
    for path in paths:
        parent, name = os.path.split(path)
        if parent not in parents:
            parents[parent] = os.path.realpath(parent)
        real = os.path.join(parents[parent], name)
        found.append(os.path.realpath(path) if name in ("", "..") or os.path.islink(real) else real)
    return found


class Unchanged:
    """Tells files apart that have the same path."""

    def __init__(self) -> None:
        self._keeps: dict[str, bool] = {}

    def __call__(self, path: str, before: tuple[int, int, str], now: tuple[int, int, str]) -> bool:
        """Whether a file is still the one that was known, by size, time in nanoseconds and `inode_of`.

        Another inode on the same device means that it was replaced, where the filesystem keeps them.
        """
        return before == now or (before[:2] == now[:2] and not self.is_replaced(path, before[2], now[2]))

    def is_replaced(self, path: str, before: str, now: str) -> bool:
        """Whether a file's inode tells that it is another one than that which was known."""
        device = now.partition(":")[0]
        if before == now or before.partition(":")[0] != device:
            return False
        if device not in self._keeps:
            self._keeps[device] = keeps_inodes(Path(path))
        return self._keeps[device]


def pack(found: FoundModel) -> str:
    """A model as one text: 100,000 records would cost the garbage collector, and all threads with it, a halt."""
    fields = [found.format, str(int(found.preview))]
    for path, size, mtime_ns, inode, link in found.files:
        fields += (path, str(size), str(mtime_ns), inode, link or "")
    return "\0".join(fields)


def unpack(packed: str, folder: TargetFolder, root: str) -> FoundModel:
    """What was packed, with the folder that it was found in."""
    model_format, preview, *fields = packed.split("\0")
    files = []
    for at in range(0, len(fields), len(FoundFile._fields)):
        path, size, mtime_ns, inode, link = fields[at : at + len(FoundFile._fields)]
        files.append(FoundFile(path, int(size), int(mtime_ns), inode, link or None))
    return FoundModel(tuple(files), model_format, Preview(int(preview)), folder, root)  # type: ignore[arg-type]


def preview_among(others: set[str], *names: str) -> Preview:
    """What shows the file of one of these names, among the other names of its folder."""
    if not others:
        return Preview.NONE
    shown = (name for name in preview_names(name[: name.rfind(".")] for name in names) if name in others)
    return Preview.of(next(shown, ""))


def set_of(names: Iterable[str]) -> ShardSet | None:
    """The sharded set that these files of one model are, if their names make one."""
    sets, _ = group_shards(os.path.basename(name) for name in names)
    return sets[0] if len(sets) == 1 else None


def place_of(model_format: ModelFormat, paths: list[str]) -> str:
    """The path that stands for a model's files: the only file, the file a set would be, or the folder."""
    if model_format == "diffusion-folder":
        return next(
            (os.path.dirname(path) for path in paths if os.path.basename(path) == MODEL_INDEX),
            os.path.commonpath([os.path.dirname(path) for path in paths]),
        )
    if model_format == "sharded-set":
        shards = set_of(paths)
        if shards is not None:
            return os.path.join(os.path.dirname(paths[0]), shards.name)
    return paths[0]


def nearness(name: str) -> tuple[bool, int, bool, str]:
    """Sorts the files of a Diffusers folder, by their names below it: the weights that make the model first."""
    name = name.replace(os.sep, "/")
    ending = os.path.splitext(name)[1].lower()
    return (
        ending not in MODEL_EXTENSIONS,
        main_component(name.partition("/")[0]),
        ending != ".safetensors",
        name,
    )
