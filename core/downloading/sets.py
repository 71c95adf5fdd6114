"""Which files belong together, and which need a person's yes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from ..errors import PickleNotAcknowledgedError
from ..formats.pipelines import MODEL_INDEX
from ..formats.shards import is_weights, parse_shard
from ..importing.grouping import FileGroup, group_named
from ..importing.records import Staged
from .records import DownloadRequest, PlannedFile

_CONFIGS = (".yaml", ".yml")
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
    configs = configs_of(files)
    pipelines = [folder for file in files if (folder := pipeline_folder(file.path)) is not None]
    found: dict[str, list[PlannedFile]] = {}
    for file in files:
        of = configs.get(file.path) or file.path
        shard = parse_shard(of)
        key = of.removesuffix(".index.json")
        if shard is not None:
            key = f"{shard.stem}{shard.suffix}"
        key = next((f"{folder}{MODEL_INDEX}" for folder in pipelines if file.path.startswith(folder)), key)
        found.setdefault(key, []).append(file)
    yield from found.values()


def configs_of(files: Iterable[PlannedFile]) -> dict[str, str]:
    """The configs of single models among some files, each path with that of the weights of its name, or none."""
    paths = [file.path for file in files]
    weights = {path.rpartition(".")[0]: path for path in paths if is_weights(path)}
    folders = tuple(folder for path in paths if (folder := pipeline_folder(path)) is not None)
    configs = [path for path in paths if path.lower().endswith(_CONFIGS) and not path.startswith(folders)]
    return {path: weights.get(path.rpartition(".")[0], "") for path in configs}


def pipeline_folder(path: str) -> str | None:
    """The folder of which a path is the ``model_index.json``, with its ``/``; empty for the outermost."""
    folder, slash, name = path.rpartition("/")
    return folder + slash if name == MODEL_INDEX else None


def groups_of(staged: Mapping[str, Staged]) -> Iterator[tuple[FileGroup, list[str]]]:
    """The models that some uploads make, with the ids of their uploads."""
    ids = {file.path: upload_id for upload_id, file in staged.items()}
    for group in group_named((file.path, file.name) for file in staged.values()):
        yield group, [ids[member.path] for member in group.members]
