"""Which files belong together, and which need a person's yes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from ..errors import PickleNotAcknowledgedError
from ..formats.pipelines import MODEL_INDEX
from ..formats.shards import parse_shard
from ..importing.grouping import FileGroup, group_named
from ..importing.records import Staged
from .records import DownloadRequest, PlannedFile

_PICKLES = frozenset({".ckpt", ".pt", ".pt2", ".pth", ".bin", ".pkl"})


def require_acknowledged(request: DownloadRequest, names: Iterable[str]) -> None:
    """Ask before gigabytes come, by their names; what they are is looked at again when they are here."""
    pickles = [name for name in names if Path(name).suffix.lower() in _PICKLES]
    if pickles and not request.acknowledge_pickle:
        raise PickleNotAcknowledgedError(
            f"{pickles[0].rpartition('/')[2]} is most likely a pickle: it can run code when it is loaded. Download it "
            "only if you trust where it comes from, and say so (acknowledge_pickle)."
        )


def sets_of(files: Sequence[PlannedFile]) -> Iterator[list[PlannedFile]]:
    """The files of each model, by their names."""
    if any(file.path.rpartition("/")[2] == MODEL_INDEX for file in files):
        yield list(files)
        return
    found: dict[str, list[PlannedFile]] = {}
    for file in files:
        shard = parse_shard(file.path)
        key = file.path.removesuffix(".index.json")
        found.setdefault(f"{shard.stem}{shard.suffix}" if shard is not None else key, []).append(file)
    yield from found.values()


def groups_of(staged: Mapping[str, Staged]) -> Iterator[tuple[FileGroup, list[str]]]:
    """The models that some uploads make, with the ids of their uploads."""
    ids = {file.path: upload_id for upload_id, file in staged.items()}
    for group in group_named((file.path, file.name) for file in staged.values()):
        yield group, [ids[member.path] for member in group.members]
