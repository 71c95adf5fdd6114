"""Which files are one model: a file, the parts of a sharded set, or a Diffusers folder."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath, PurePosixPath
from typing import NamedTuple

from ..errors import InvalidRequestError, LibrarianError, NotAModelError, NotFoundError, OutsideRootsError
from ..formats import ModelFormat
from ..formats.pipelines import MODEL_INDEX, Pipeline, main_component, read_model_index
from ..formats.shards import (
    ShardSet,
    contradiction,
    group_shards,
    is_weights,
    parse_shard,
    what_is_missing,
)
from ..sentences import say
from ..storage.disk import storage_error
from ..storage.names import shown
from ..storage.roots import AllowedRoots
from ..turns import in_turns

MAX_FILES = 10_000
MAX_SHARD_INDEX_BYTES = 64 * 1024 * 1024

_SHARD_INDEX = re.compile(r".+\.index(\.[\w-]+)?\.json")
_STRING_VALUE = re.compile(rb':\s{0,16}("(?:[^"\\/\x00-\x1f]|\\u[0-9a-fA-F]{4}){1,255}")')
_CUT = re.compile(r".+\.part\d+(of\d+)?", re.IGNORECASE | re.DOTALL)
_NO_NAME = {"model", "pytorch_model", "diffusion_pytorch_model"}
"""What publishers call the file of every model; the folder then has the model's name."""


class Member(NamedTuple):
    """A file of a model.

    ``name`` is relative to the model's folder, with ``/``, as it is on disk: it may be no safe name elsewhere.
    """

    path: Path
    name: str
    shard_index: int | None = None
    shard_total: int | None = None


class FileGroup(NamedTuple):
    """Files that make one model.

    ``name`` has an extension unless the model is a folder; ``main`` is the file that says what it is, and
    ``folder`` what a Diffusers folder's names are relative to. ``problem`` says why the files are no whole
    model, ``missing_shards`` which parts of a sharded set are not there.
    """

    name: str
    format: ModelFormat
    members: tuple[Member, ...]
    main: Member
    folder: Path | None = None
    missing_shards: tuple[int, ...] = ()
    complete: bool = True
    problem: str | None = None

    @property
    def stem(self) -> str:
        """The model's name, without an extension."""
        return self.name if self.format == "diffusion-folder" else os.path.splitext(self.name)[0]

    @property
    def size_bytes(self) -> int:
        """The size of all its files. Raises `OSError` if one is gone."""
        return sum(member.path.stat().st_size for member in self.members)

    @property
    def cut(self) -> bool:
        """Whether the parts are pieces of one file (``name.ext.part1``), which mean something only together."""
        return self.format == "sharded-set" and _CUT.fullmatch(self.main.name) is not None


def group_paths(paths: Iterable[Path], roots: AllowedRoots, limit: int = MAX_FILES) -> list[FileGroup]:
    """Sort what lies at the paths into models; folders are walked, and links inside the roots followed.

    Files that are no models are left out unless they are named or belong to a model. Only what is named or
    lies in a named folder is looked at: parts beside a named one are missing.

    Raises `NotFoundError` for a path that is not there, `NotAModelError` for a pipe and the like,
    `OutsideRootsError`, `StorageError` for a folder that cannot be read, and `InvalidRequestError` for more than
    ``limit`` files.
    """
    found = _Found(roots, limit)
    for path in paths:
        found.take(path)
    return _grouped([_File(file, file, file in found.named) for file in found.files], found.problems)


def group_named(files: Iterable[tuple[Path, str]], limit: int = MAX_FILES) -> list[FileGroup]:
    """Sort files that lie anywhere, such as uploads, into models by the names that they are to have.

    A name may have folders in front, with ``/``. ``FileGroup.folder`` is nothing, as there is no such folder.

    Raises `InvalidRequestError` for a name that is absolute, leads upwards or comes twice, and for more than
    ``limit`` files.
    """
    named: dict[PurePath, _File] = {}
    for path, name in files:
        at = PurePosixPath(name)
        if not at.name or at.is_absolute() or ".." in at.parts or "\0" in name:
            raise InvalidRequestError(f"{shown(name)[:200]!r} can be no file's name.")
        if at in named:
            raise InvalidRequestError(
                say("two_of_a_name", "There are two files called {name}.", name=shown(name)[:200])
            )
        named[at] = _File(path, at, True)
        _check_limit(len(named), limit)
    return [group._replace(folder=None) for group in _grouped(list(named.values()), {})]


class _File(NamedTuple):
    """A file, what it counts as, and whether it was named rather than found."""

    path: Path
    at: PurePath
    named: bool


def _grouped(files: Sequence[_File], problems: Mapping[PurePath, str]) -> list[FileGroup]:
    folders = {file.at.parent for file in files if file.at.name == MODEL_INDEX}
    pipelines = {folder for folder in folders if folders.isdisjoint(folder.parents)}
    sorted_files: dict[tuple[PurePath, bool], list[_File]] = {}
    for file in files:
        pipeline = next((folder for folder in reversed(file.at.parents) if folder in pipelines), None)
        sorted_files.setdefault((pipeline or file.at.parent, pipeline is not None), []).append(file)
    groups: list[FileGroup] = []
    for (folder, is_pipeline), inside in sorted_files.items():
        if is_pipeline:
            groups.append(_pipeline_group(folder, inside, problems.get(folder)))
        else:
            groups += _loose_groups(inside)
    return groups


class _Found:
    """The files at some paths that may be models or belong to one."""

    def __init__(self, roots: AllowedRoots, limit: int) -> None:
        self.files: dict[Path, None] = {}
        self.named: set[Path] = set()
        self.problems: dict[PurePath, str] = {}
        self._roots = roots
        self._limit = limit
        self._seen: set[tuple[int, int]] = set()
        self._pipeline_folders = 0

    def take(self, path: Path) -> None:
        """Add a file, or what lies in a folder."""
        if not self._roots.contains(path):
            raise OutsideRootsError(
                say(
                    "outside_folders",
                    "{path} is outside the folders that Librarian may use.",
                    path=shown(str(path)),
                )
            )
        if path.is_dir():
            self._walk(path)
        elif path.is_file():
            self.named.add(path)
            self._add(path)
        elif path.exists():
            raise NotAModelError(
                say(
                    "choose_the_file",
                    "{name} is not a file. Choose the model's file itself.",
                    name=shown(path.name),
                )
            )
        else:
            raise NotFoundError(say("not_there", "{path} is not there.", path=shown(str(path))))

    def _walk(self, top: Path) -> None:
        to_do: list[tuple[Path, frozenset[tuple[int, int]], Path | None]] = [(top, frozenset(), None)]
        while to_do:
            folder, above, pipeline = to_do.pop()
            try:
                status = folder.stat()
                with os.scandir(folder) as entries:
                    listed = sorted(entries, key=lambda entry: entry.name)
            except OSError as error:
                if folder == top:
                    raise storage_error(error, folder) from error
                self._refuse(pipeline, storage_error(error, folder).message)
                continue
            identity = (status.st_dev, status.st_ino)
            if identity in above or (pipeline is None and identity in self._seen):
                continue
            if pipeline is None:
                self._seen.add(identity)
                if any(entry.name == MODEL_INDEX and _kind(entry) == "file" for entry in listed):
                    pipeline = folder
            else:
                self._pipeline_folders += 1
                _check_limit(self._pipeline_folders, self._limit)
            inside = self._sort(listed, pipeline)
            to_do.extend((path, above | {identity}, pipeline) for path in reversed(inside))

    def _sort(self, entries: Iterable[os.DirEntry[str]], pipeline: Path | None) -> list[Path]:
        """Add the files of a folder; the folders in it are the answer."""
        inside: list[Path] = []
        for entry in in_turns(entries):
            if entry.name.startswith("."):
                continue
            path, kind = Path(entry.path), _kind(entry)
            if entry.is_symlink() and not self._roots.contains(path):
                self._refuse(
                    pipeline, f"{shown(entry.path)} leads outside the folders that Librarian may use."
                )
            elif kind == "folder":
                inside.append(path)
            elif kind == "file":
                if pipeline is not None or is_weights(entry.name) or is_shard_index(entry.name):
                    self._add(path)
            elif entry.is_symlink():
                self._refuse(pipeline, f"{shown(entry.path)} is a link to a file that is not there.")
        return inside

    def _add(self, path: Path) -> None:
        self.files[path] = None
        _check_limit(len(self.files), self._limit)

    def _refuse(self, pipeline: Path | None, problem: str) -> None:
        if pipeline is not None:
            self.problems.setdefault(pipeline, problem)


def _check_limit(count: int, limit: int) -> None:
    if count > limit:
        raise InvalidRequestError(
            say(
                "too_many_files",
                "There are more than {limit} files here. Choose a folder further inside.",
                limit=limit,
            )
        )


def _kind(entry: os.DirEntry[str]) -> str:
    """``file``, ``folder`` or nothing: links that lead nowhere, pipes and the like."""
    try:
        return "folder" if entry.is_dir() else "file" if entry.is_file() else ""
    except OSError:  # a circle of links
        return ""


def is_shard_index(name: str) -> bool:
    """Whether a file's name is that of the index of a sharded set (``….safetensors.index.json``)."""
    return _SHARD_INDEX.fullmatch(name) is not None


def _loose_groups(files: Sequence[_File]) -> list[FileGroup]:
    """The groups of files in one folder that is no Diffusers folder."""
    by_name = {file.at.name: file for file in files}
    indexes = {name: _names_in_index(file.path) for name, file in by_name.items() if is_shard_index(name)}
    sets, rest = group_shards(name for name in by_name if name not in indexes)
    groups = []
    for shards in sets:
        mine = [name for name, names in indexes.items() if _belongs(name, names, shards)]
        shards = _with_index(shards, [named for name in mine for named in indexes.pop(name)])
        groups.append(_set_group(shards, by_name, mine))
    groups += [_single(by_name[name]) for name in rest]
    groups += [_single(by_name[name]) for name in indexes if by_name[name].named]
    order = {file.path: number for number, file in enumerate(files)}
    return sorted(groups, key=lambda group: min(order[member.path] for member in group.members))


def _single(file: _File) -> FileGroup:
    member = Member(file.path, file.at.name)
    return FileGroup(file.at.name, "single-file", (member,), member)


def _set_group(shards: ShardSet, by_name: Mapping[str, _File], indexes: Iterable[str]) -> FileGroup:
    members = [Member(by_name[name].path, name, number, shards.total) for number, name in shards.parts]
    main = members[0]
    members += [Member(by_name[name].path, name) for name in indexes]
    if len(members) == 1 and shards.complete:
        return _single(by_name[main.name])
    name, folder = shards.name, by_name[main.name].at.parent
    if shards.stem.lower() in _NO_NAME and folder.name:
        name = _folder_name(folder) + shards.suffix
    return FileGroup(
        name,
        "sharded-set",
        tuple(members),
        main,
        missing_shards=shards.missing,
        complete=shards.complete,
        problem=_set_problem(shards),
    )


def _set_problem(shards: ShardSet) -> str | None:
    if shards.problem:
        return contradiction(shards, shown(shards.name))
    if shards.missing:
        return say(
            "put_parts_together",
            "{problem} Put all parts into one folder and choose all of them, or the folder.",
            problem=what_is_missing(shards, shown(shards.name)),
        )
    return None


def _names_in_index(path: Path) -> tuple[str, ...]:
    """The files that a ``….safetensors.index.json`` names; none if it cannot be read.

    Found by pattern, not parsed: the largest have hundreds of thousands of entries, which only repeat them.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_SHARD_INDEX_BYTES)
    except OSError:
        return ()
    values = dict.fromkeys(match[1] for match in _STRING_VALUE.finditer(data))
    names = (str(json.loads(value.decode(errors="replace"))) for value in values)
    return tuple(name for name in names if is_weights(name))


def _belongs(index_name: str, names: Iterable[str], shards: ShardSet) -> bool:
    """Whether an index is that of a set, by what it names, or else by its own name."""
    return not set(names).isdisjoint(shards.names) or index_name == f"{shards.name}.index.json"


def _with_index(shards: ShardSet, names: Iterable[str]) -> ShardSet:
    """The set with the parts missing that only its index tells of."""
    if shards.problem:
        return shards
    missing = set(shards.missing)
    for name in set(names).difference(shards.names):
        shard = parse_shard(name)
        if shard is None or (shard.stem, shard.suffix) != (shards.stem, shards.suffix):
            return shards._replace(
                missing=(), problem=f"Its index names {shown(name)}, which is no part of it."
            )
        if shard.total != shards.total or shard.index in dict(shards.parts):
            return shards._replace(
                missing=(), problem=f"Its index names {shown(name)}, but its files are numbered otherwise."
            )
        missing.add(shard.index)
    return shards._replace(missing=tuple(sorted(missing)))


def _pipeline_group(folder: PurePath, files: Sequence[_File], problem: str | None) -> FileGroup:
    members = tuple(Member(file.path, file.at.relative_to(folder).as_posix()) for file in files)
    index = next(member for member in members if member.name == MODEL_INDEX)
    try:
        missing = _missing(read_model_index(index.path), members)
        problem = problem or missing
    except LibrarianError as error:
        problem = problem or error.message
    main = min((member for member in members if is_weights(member.name)), key=_nearness, default=index)
    return FileGroup(
        _folder_name(folder),
        "diffusion-folder",
        members,
        main,
        folder=Path(folder),
        complete=problem is None,
        problem=problem,
    )


def _missing(pipeline: Pipeline, members: Iterable[Member]) -> str | None:
    """What a Diffusers folder lacks: components, weights, parts of weights."""
    by_folder: dict[str, list[Member]] = {}
    components: dict[str, bool] = {}
    for member in members:
        folder, _, _ = member.name.rpartition("/")
        by_folder.setdefault(folder, []).append(member)
        component = member.name.partition("/")[0]
        components[component] = components.get(component, False) or is_weights(member.name)
    absent = [part.name for part in pipeline.components if part.name not in components]
    if absent:
        which = shown(", ".join(absent[:10]))
        if len(absent) == 1:
            return say(
                "component_missing",
                "The folder of one component is missing: {name}. Choose the whole folder of the model, or download "
                "what is missing.",
                name=which,
            )
        return say(
            "components_missing",
            "The folders of some components are missing: {names}. Choose the whole folder of the model, or download "
            "what is missing.",
            names=which,
        )
    empty = [part.name for part in pipeline.components if part.has_weights and not components[part.name]]
    if empty:
        return say(
            "no_weights",
            "There are no weights in {names}. Download what is missing.",
            names=shown(", ".join(empty[:10])),
        )
    for folder, inside in by_folder.items():
        by_name = {member.name.rpartition("/")[2]: member for member in inside}
        named = {name: _names_in_index(one.path) for name, one in by_name.items() if is_shard_index(name)}
        sets, _ = group_shards(name for name in by_name if is_weights(name))
        for shards in sets:
            names = [name for own, found in named.items() if _belongs(own, found, shards) for name in found]
            problem = _set_problem(_with_index(shards, names))
            if problem:
                return f"{shown(folder)}/{problem}" if folder else problem
    return None


def _nearness(member: Member) -> tuple[int, bool, str]:
    return (
        main_component(member.name.partition("/")[0]),
        not member.name.endswith(".safetensors"),
        member.name,
    )


def _folder_name(folder: PurePath) -> str:
    """The name of a model that is a folder; in Hugging Face's cache, that of its repository."""
    parts = folder.parts
    if len(parts) > 3 and parts[-2] == "snapshots" and parts[-3].startswith("models--"):
        return parts[-3].rpartition("--")[2]
    return folder.name or "model"
