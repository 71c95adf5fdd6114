"""The record of a model that comes: what its header, its neighbours and the person say of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from pydantic import ValidationError

from ..errors import InvalidRequestError
from ..formats.shards import is_weights
from ..formats.sidecars import Told, with_told
from ..library import Model, ModelFile
from ..library.edits import require_name
from ..library.records import EDITABLE_FIELDS, Hashes, Storage, weight_size_gb
from ..storage.disk import storage_error
from ..storage.names import shown
from .grouping import FileGroup, Member
from .inspect import Examined
from .neighbours import ending_beside, neighbours_of
from .records import ImportItem, Staged
from .transfer import Transferred


class Beside(NamedTuple):
    """What lies beside a model and comes along, by its name in the model's folder.

    ``preview`` is the name of the picture. ``shared`` means that another model has the same neighbours.
    """

    files: Mapping[Path, str]
    preview: str | None = None
    shared: bool = False


def beside(group: FileGroup, names: Mapping[Member, str]) -> Beside:
    """What comes along with a model; of a folder nothing does, as all that is its own lies in it."""
    if group.format == "diffusion-folder":
        return Beside({})
    main = _named(group)
    neighbours = neighbours_of(main)
    own = {member.path for member in group.members}
    files = {
        file: name for file, name in neighbours.placed(_name(group, names), main.name) if file not in own
    }
    others = (
        path
        for path in (main.parent.iterdir() if files else ())
        if path.stem == main.stem and path not in own and path not in files
    )
    return Beside(
        files,
        files.get(neighbours.preview) if neighbours.preview is not None else None,
        shared=any(is_weights(path.name) for path in others),
    )


def put_beside(group: FileGroup, files: Iterable[Staged]) -> None:
    """Put copies of uploads where the files of a model lie, under names by which they come along with it.

    Raises `InvalidRequestError` for one that does not belong to it, `StorageError`.
    """
    main = _named(group)
    for file in files:
        name = PurePosixPath(file.name).name
        ending = ending_beside(group.name, name, file.transferred.size)
        if ending is None:
            raise InvalidRequestError(
                f"{shown(name)} does not belong to {shown(group.name)} by its name or size."
            )
        place = main.with_name(main.stem + ending)
        try:
            shutil.copyfile(file.path, place)
        except OSError as error:
            raise storage_error(error, place) from error


class Description:
    """What is said of one model.

    ``replaced`` is the model in place that becomes this one: all that a person or a lookup said of it stays.
    ``told`` are fields of a model as the source of its files tells them.
    """

    def __init__(
        self,
        item: ImportItem,
        group: FileGroup,
        examined: Examined,
        replaced: Model | None = None,
        told: Mapping[str, Any] | None = None,
    ) -> None:
        self._item = item
        self._group = group
        self._examined = examined
        self._replaced = replaced
        self._source_told = told or {}

    def check(self) -> None:
        """Raise `InvalidRequestError` if the person said something of it that cannot be."""
        unknown = sorted(set(self._item.metadata) - EDITABLE_FIELDS)
        if unknown:
            raise InvalidRequestError(f"{', '.join(unknown)} cannot be set at import.")
        require_name(self._item.metadata)
        nothing = [Transferred(0, "", "") for _ in self._group.members]
        self._model([member.name for member in self._group.members], nothing, "owned")

    def owned(
        self, names: Mapping[Member, str], arrived: Sequence[Transferred], preview: str | None
    ) -> Model:
        """The record of a model in the library; its id is still to be found."""
        model = self._model([names[member] for member in self._group.members], arrived, "owned")
        model.preview_image = preview
        return model

    def in_place(self, arrived: Sequence[Transferred]) -> Model:
        """The record of a model that stays where it is; its id is still to be found."""
        return self._model([str(member.path) for member in self._group.members], arrived, "in-place")

    def _model(self, names: Sequence[str], arrived: Sequence[Transferred], storage: Storage) -> Model:
        group, item = self._group, self._item
        main = group.members.index(group.main)
        files = [
            ModelFile(
                name=name,
                original_name=member.name,
                size=file.size,
                sha256=file.sha256,
                blake3=file.blake3,
                shard_index=member.shard_index,
                shard_total=member.shard_total,
            )
            for member, name, file in zip(group.members, names, arrived, strict=True)
        ]
        files.insert(0, files.pop(main))
        size = sum(file.size for file in files)
        pickle = self._examined.security_tier == "pickle"
        told = self._told(arrived[main].sha256)
        match = (told.get("match_source", "auto"), told.get("match_method", "none"))
        try:
            return Model.model_validate(
                {
                    **told,
                    **item.metadata,
                    "model_id": "",
                    "cleaned_name": "",
                    "model_format": group.format,
                    "files": files,
                    "hashes": Hashes(sha256=files[0].sha256, blake3=files[0].blake3),
                    "size_bytes": size,
                    "approx_weight_size_gb": weight_size_gb(size),
                    "security_tier": self._examined.security_tier,
                    "pickle_acknowledged": pickle,
                    "match_source": "manual" if item.metadata else match[0],
                    "pending_online_lookup": not item.metadata and match == ("auto", "none"),
                    "storage": storage,
                }
            )
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise InvalidRequestError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error

    def _told(self, sha256: str) -> dict[str, Any]:
        """What is known without the person's word: a record that was there already, the header, the neighbours."""
        replaced = self._replaced
        before = replaced.model_dump(by_alias=True) if replaced is not None else {}
        if replaced is not None and (replaced.match_source, replaced.match_method) != ("auto", "none"):
            return before
        if self._source_told:
            told = Told(dict(self._source_told), "download")
            return {**before, **with_told(self._examined.guess, told)}
        if self._group.format == "diffusion-folder":
            return {**before, **self._examined.guess.model_dump()}
        single = sha256 if self._group.format == "single-file" and sha256 else None
        beside_it = neighbours_of(_named(self._group), single).told
        return {**before, **with_told(self._examined.guess, beside_it)}


def _named(group: FileGroup) -> Path:
    """The path whose name the neighbours share: that of the file, or of the whole of which there are parts."""
    return group.main.path if group.format == "single-file" else group.main.path.with_name(group.name)


def _name(group: FileGroup, names: Mapping[Member, str]) -> str:
    return names[group.main] if group.format == "single-file" else group.name
