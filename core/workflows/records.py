from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

ReferenceState = Literal["present", "elsewhere", "in_library", "downloadable", "unknown"]


class ModelReference(BaseModel):
    """A model as a workflow names it: ComfyUI's folder, and the name below it with either slash, or a model's id.

    ``sha256`` and ``url`` are what ``properties.models`` may say besides; an empty ``folder`` is any. ``identity`` is
    what a node of Librarian's own says, which needs no folder and no link: a model's id, hash or file name.
    """

    folder: str = Field("", max_length=200)
    name: str = Field(min_length=1, max_length=4096)
    sha256: str | None = Field(None, pattern="^[0-9a-fA-F]{64}$")
    url: str | None = Field(None, max_length=8192)
    identity: str | None = Field(None, min_length=1, max_length=4096)


class ResolvedModel(BaseModel):
    """A model that may be the one that is meant. ``value`` is what the app calls it, if it can see it."""

    model_config = ConfigDict(protected_namespaces=())

    model_id: str
    name: str
    subtype: str
    size_bytes: int
    value: str | None = None


class Resolution(BaseModel):
    """What became of one reference.

    - ``present``: the app has it under this very name.
    - ``elsewhere``: the app has it, but calls it ``value`` (a subfolder, other case, the other slash).
    - ``in_library``: ``model_id`` is it; once it is linked into ``folder``, the app has it.
    - ``downloadable``: it is not here; ``url`` says where it is.
    - ``unknown``: nobody knows it.

    A node of Librarian's own says ``identity``: ``present`` is what it finds by that, and ``elsewhere`` what it finds
    once it says ``value``, a model's id.

    ``candidates`` are models of the same name that differ, so that none is chosen, or else the nearest names.
    ``hash_mismatch`` says that ``value`` has other bytes than the workflow names, ``sha256``: is it meant at all?
    """

    model_config = ConfigDict(protected_namespaces=())

    folder: str
    name: str
    state: ReferenceState
    value: str | None = None
    model_id: str | None = None
    url: str | None = None
    sha256: str | None = None
    identity: str | None = None
    hash_mismatch: bool = False
    candidates: list[ResolvedModel] = Field(default_factory=list)
