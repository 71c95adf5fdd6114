"""What some files are, and whether they can be imported: by their headers, before anything is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ..errors import LibrarianError, NotAModelError, NotFoundError, StorageError
from ..formats import FileFacts, Guess, SecurityTier, classify, identify
from ..formats.facts import facts_of
from ..formats.pipelines import MODEL_INDEX, classify_pipeline, read_model_index
from ..formats.shards import is_weights
from ..library import Library
from ..sentences import Sentence, say
from ..storage.disk import storage_error
from ..storage.names import is_text, safe_name, shown
from ..storage.preflight import Finding, NewFile, findings
from ..storage.roots import AllowedRoots
from ..storage.sandbox import sandbox
from .duplicates import FileBytes, model_with_files
from .grouping import FileGroup, Member, group_named, group_paths, is_shard_index
from .journal import require_library
from .neighbours import ending_beside
from .records import GroupFile, ImportGroup, ImportWarning, Inspection, Staged

HASHED_BYTES = 64 * 1024 * 1024
"""Up to this size an inspection reads all files of a model to compare them with models of the same size. Larger
ones are compared while they are imported, where every byte is read anyway."""

MAX_TENSORS = 200_000
MAX_WARNINGS = 20


class Examined(NamedTuple):
    """What the files of a model are: the worst security tier of all, and a guess from what makes the model.

    ``facts`` are of the main file; of a sharded set they have the size and the tensors of all parts.
    """

    facts: FileFacts | None
    guess: Guess
    security_tier: SecurityTier


def inspect(paths: Iterable[Path], library: Library, roots: AllowedRoots) -> Inspection:
    """Say what lies at the paths, and what is in the way of importing it; folders are walked.

    Reads headers and writes nothing. Raises what `group_paths` raises: `NotFoundError` for a path that is not
    there, `InvalidRequestError` for too many files.
    """
    try:
        groups = group_paths(paths, roots)
    except NotFoundError as error:
        around = sandbox()
        if around is None:
            raise
        raise NotFoundError(
            say("not_seen", "{problem} {around}", problem=error.message, around=around.message)
        ) from error
    inspected = [inspect_group(group, library) for group in groups]
    return Inspection(groups=inspected, warnings=look_around(groups, library.root))


def inspect_uploads(uploads: Mapping[str, Staged], library: Library) -> Inspection:
    """Say what complete uploads are, by their ids; sorted into models by the names that they came with.

    Raises what `group_named` raises.
    """
    hashes = {file.path: file.transferred.sha256 for file in uploads.values()}
    files = {
        file.path: GroupFile(path=file.name, size=file.transferred.size, upload=id_, sha256=hashes[file.path])
        for id_, file in uploads.items()
    }
    groups = group_named((path, file.path) for path, file in files.items())
    models = [group for group in groups if is_weights(group.main.name) and group.format != "diffusion-folder"]
    loose = [
        files[group.main.path]
        for group in groups
        if len(group.members) == 1 and not is_weights(group.main.name)
    ]
    beside = {group.main.path: [file for file in loose if _is_beside(file, group, files)] for group in models}
    along = {file.path for some in beside.values() for file in some}
    inspected: list[ImportGroup] = []
    for group in groups:
        if files[group.main.path].path in along:
            continue
        result = inspect_group(group, library, hashes)
        result.files = [files[member.path] for member in group.members]
        result.beside = beside.get(group.main.path, [])
        inspected.append(result)
    return Inspection(groups=inspected)


def _is_beside(file: GroupFile, group: FileGroup, files: Mapping[Path, GroupFile]) -> bool:
    at, main = PurePosixPath(file.path), PurePosixPath(files[group.main.path].path)
    return at.parent == main.parent and ending_beside(group.name, at.name, file.size) is not None


def look_around(groups: Iterable[FileGroup], target: Path) -> list[ImportWarning]:
    """What is in the way of bringing all the groups to a library, and what should be known before."""
    try:
        require_library(target)
    except StorageError as error:
        return [ImportWarning(code="library_unreachable", message=error.message)]
    files: list[NewFile] = []
    for group in groups:
        if group.problem is None:
            with suppress(OSError):  # gone meanwhile: its group says so
                names = ("/".join(map(safe_name, member.name.split("/"))) for member in group.members)
                sizes = [member.path.stat().st_size for member in group.members]
                files += map(NewFile, (member.path for member in group.members), sizes, names)
    found: list[Finding] = []
    with suppress(OSError):
        found += findings(files, target, "copy")
        found += (finding for finding in findings(files, target, "move") if finding.error is None)
    warnings = {finding: ImportWarning(code=finding.code, message=finding.message) for finding in found}
    return list(warnings.values())[:MAX_WARNINGS]


def inspect_group(
    group: FileGroup, library: Library, hashes: Mapping[Path, str] | None = None
) -> ImportGroup:
    """Say what the files of one group are and whether they can be imported.

    ``hashes`` are the SHA-256 of all its files, where they are known already.
    """
    result = ImportGroup(
        name=shown(group.name),
        format=group.format,
        files=[],
        size_bytes=0,
        complete=group.complete,
        missing_shards=list(group.missing_shards),
        problem=group.problem,
    )
    try:
        known = hashes or {}
        files = [
            FileBytes(member.path, member.path.stat().st_size, known.get(member.path))
            for member in group.members
        ]
        result.files = [GroupFile(path=shown(str(file.path)), size=file.size) for file in files]
        result.size_bytes = sum(file.size for file in files)
        examined = examine(group)
        result.guess, result.security_tier = examined.guess, examined.security_tier
        if group.problem is None and (known or result.size_bytes <= HASHED_BYTES):
            result.duplicate_of = model_with_files(library, files)
    except LibrarianError as error:
        result.problem = result.problem or error.message
    except OSError as error:  # gone meanwhile, or not ours to read
        result.problem = result.problem or storage_error(error, group.main.path).message
    result.importable = result.problem is None and result.duplicate_of is None
    return result


def examine(group: FileGroup, *, subtype: str | None = None) -> Examined:
    """Read the headers of a group's files. ``group.problem`` is not looked at.

    Args:
        group: The files of one model, complete or not.
        subtype: What the person says it is.

    Raises `NotAModelError` where a file is no model though its name says so, `SourceChangedError`,
    `StorageError`, `OSError`.
    """
    for member in group.members:
        if not is_text(str(member.path)):
            raise NotAModelError(
                say(
                    "name_not_unicode",
                    "{name}: its name or that of a folder above it is no valid Unicode. Rename it.",
                    name=shown(member.name),
                )
            )
    if group.format == "diffusion-folder":
        return _examine_pipeline(group, subtype)
    if group.format == "sharded-set":
        facts, tier = _examine_set(group)
    else:
        facts = _identify(group.main)
        tier = facts.security_tier
    return Examined(facts, classify(facts, group.name, subtype=subtype), tier)


def _examine_set(group: FileGroup) -> tuple[FileFacts, SecurityTier]:
    parts = [member for member in group.members if not is_shard_index(member.name)]
    size = sum(member.path.stat().st_size for member in parts)
    if group.cut:
        if not group.complete:  # the size of the whole is not known
            raise NotAModelError(group.problem or f"{group.name} has pieces missing.")
        facts = _identify(group.main, whole_size=size)
        return facts, facts.security_tier
    all_facts = [_identify(member) for member in parts]
    main = all_facts[0]
    tensors = dict(main.tensors)
    for facts in all_facts[1:]:
        if len(tensors) + len(facts.tensors) > MAX_TENSORS:
            break
        tensors.update(facts.tensors)
    merged = facts_of(main.format, size, main.metadata, tensors)
    return merged, _worst(facts.security_tier for facts in all_facts)


def _examine_pipeline(group: FileGroup, subtype: str | None) -> Examined:
    """Every file is looked at, since a pickle may have any name; only those named like weights must be some."""
    main: FileFacts | None = None
    tiers: list[SecurityTier] = []
    index: Path | None = None
    for member in group.members:
        if member.name == MODEL_INDEX:
            index = member.path
        try:
            facts = _identify(member)
        except NotAModelError:
            if not is_weights(member.name):
                continue
            if not _is_openvino(member.path):
                raise
            tiers.append("unknown")
        else:
            tiers.append(facts.security_tier)
            if member == group.main:
                main = facts
    if index is None:
        raise NotAModelError(
            say("no_model_index", "{name} has no {index}.", name=group.name, index=MODEL_INDEX)
        )
    guess = classify_pipeline(read_model_index(index), main, group.name, subtype=subtype)
    return Examined(main, guess, _worst(tiers))


def _identify(member: Member, *, whole_size: int | None = None) -> FileFacts:
    """What a file is; an error says the name by which the person knows it."""
    try:
        return identify(member.path, whole_size=whole_size)
    except NotAModelError as error:
        message, name = error.message, shown(member.name)
        if isinstance(message, Sentence) and "name" in message.said.parameters:
            raise NotAModelError(message.again(name=name)) from error
        raise NotAModelError(say("file_problem", "{name}: {problem}", name=name, problem=message)) from error


def _is_openvino(path: Path) -> bool:
    """Whether these are OpenVINO's raw weights, which an XML file beside them describes."""
    return path.suffix.lower() == ".bin" and path.with_suffix(".xml").exists()


def _worst(tiers: Iterable[SecurityTier]) -> SecurityTier:
    found = set(tiers)
    return "pickle" if "pickle" in found else "safe" if found == {"safe"} else "unknown"
