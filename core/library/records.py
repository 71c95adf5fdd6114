from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ..formats import ModelFormat, SecurityTier
from ..formats.pickle_scan import PickleScan, ScanState
from ..jobs import utc_now
from ..told import Troubled

Storage = Literal["owned", "in-place"]
MatchSource = Literal["auto", "manual"]
MatchMethod = Literal["hash", "filename_exact", "filename_fuzzy", "none"]
MatchKind = Literal["all", "any", "fuzzy", "like", "hash", "list"]
SortKey = Literal["relevance", "name", "size", "added", "updated", "type"]

SCHEMA_VERSION = 1

EDITABLE_FIELDS = frozenset(
    {
        "official_name", "model_type", "subtype", "family", "base_model", "variant", "precision",
        "tags", "trained_words", "description", "notes", "compatible_apps", "pickle_acknowledged",
    }
)  # fmt: skip
"""What a person may change; doing so makes the model's match ``manual``."""


_DIGEST = r"^[0-9a-f]{64}$"


def _digest(value: Any) -> Any:
    """A hash in lower case; what is none is left out, so that it makes no two files equal."""
    if not isinstance(value, str):
        return value
    digest = value.strip().lower()
    return digest if re.fullmatch(_DIGEST, digest) else None


def _in_utc(value: datetime) -> datetime:
    try:
        return (value if value.tzinfo else value.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
    except OverflowError:  # within hours of the first or last year that there is
        return value.replace(tzinfo=timezone.utc)


def tidy_tags(tags: Iterable[str]) -> list[str]:
    """Each tag once and as one line, without those that are empty."""
    return [tag for tag in dict.fromkeys(" ".join(tag.split()) for tag in tags) if tag] if tags else []


Bytes = Annotated[int, Field(ge=0, lt=2**63)]
Digest = Annotated[
    # The usual hash first: of 100,000 models, those that are read without any Python take a tenth less time.
    Annotated[str, Field(pattern=_DIGEST)] | Annotated[str | None, BeforeValidator(_digest)],
    Field(union_mode="left_to_right"),
]
Moment = Annotated[datetime, AfterValidator(_in_utc)]


class ModelFile(BaseModel):
    """One file of a model.

    ``name`` is relative to the model's folder for an owned model and an absolute path for one in place.
    ``size`` is in bytes; hashes are lower-case hexadecimal.
    """

    model_config = ConfigDict(extra="allow")

    name: str
    original_name: str = ""
    size: Bytes
    sha256: Digest = None
    blake3: Digest = None
    shard_index: int | None = None
    shard_total: int | None = None


class Hashes(BaseModel):
    """The hashes of the main file, as lower-case hexadecimal."""

    model_config = ConfigDict(extra="allow")

    sha256: Digest = None
    blake3: Digest = None


def _readable_scan(value: Any) -> Any:
    """Findings that cannot be read are none: the file tells them again."""
    try:
        return None if value is None else PickleScan.model_validate(value)
    except ValidationError:
        return None


class Model(BaseModel):
    """What ``metadata.json`` says about one model. Unknown keys are kept.

    Texts that come from a publisher (names, descriptions, tags) are only ever shown as text.
    """

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    schema_version: int = Field(default=SCHEMA_VERSION, alias="schema")
    model_id: str
    official_name: str
    cleaned_name: str
    model_type: str = "unknown"
    subtype: str = "unknown"
    family: str = "unknown"
    base_model: str = ""
    variant: str = ""
    precision: str = ""
    model_format: ModelFormat = "single-file"
    tags: Annotated[list[str], AfterValidator(tidy_tags)] = Field(default_factory=list)
    trained_words: list[str] = Field(default_factory=list)
    description: str = ""
    notes: str = ""
    files: list[ModelFile] = Field(default_factory=list)
    hashes: Hashes = Field(default_factory=Hashes)
    size_bytes: Bytes = 0
    approx_weight_size_gb: float = 0.0
    security_tier: SecurityTier = "unknown"
    pickle_acknowledged: bool = False
    pickle_scan: Annotated[PickleScan | None, BeforeValidator(_readable_scan)] = None
    repo_id: str = ""
    download_url: str = ""
    preview_image: str | None = None
    compatible_apps: list[str] = Field(default_factory=list)
    match_source: MatchSource = "auto"
    match_method: MatchMethod = "none"
    match_confidence: float = Field(default=0.0, ge=0.0, le=1.0)
    hash_mismatch: bool = False
    pending_online_lookup: bool = False
    lookup_attempts: int = 0
    last_lookup_attempt: Moment | None = None
    added_date: Moment = Field(default_factory=utc_now)
    updated_date: Moment = Field(default_factory=utc_now)
    storage: Storage = "owned"


def weight_size_gb(size: int) -> float:
    """Bytes on disk as GiB, for information."""
    return round(size / 2**30, 3)


class ScanResult(BaseModel):
    """What a scan found. ``models_skipped_missing_files`` counts models whose files are not on disk."""

    models_found: int = 0
    models_indexed: int = 0
    models_removed: int = 0
    models_skipped_missing_files: int = 0
    errors: list[str] = Field(default_factory=list)


class ModelSummary(Troubled):
    """A model as a list shows it.

    ``preview_url`` is relative to the server and changes with the picture, or video. ``pickle_state`` says what was
    found in a pickle, and is nothing for other models.
    """

    model_config = ConfigDict(protected_namespaces=())

    model_id: str
    official_name: str
    file_name: str
    model_type: str
    subtype: str
    family: str
    base_model: str
    variant: str
    precision: str
    model_format: ModelFormat
    size_bytes: int
    security_tier: SecurityTier
    pickle_state: ScanState | None = None
    storage: Storage
    tags: list[str]
    match_source: MatchSource
    match_method: MatchMethod
    match_confidence: float
    hash_mismatch: bool
    pending_online_lookup: bool
    linked: bool = False
    preview_url: str | None = None
    preview_is_video: bool = False
    added_date: datetime
    updated_date: datetime


class ModelFilter(BaseModel):
    """Which models are wanted; several values of one field mean any of them."""

    type: list[str] = Field(default_factory=list)
    subtype: list[str] = Field(default_factory=list)
    family: list[str] = Field(default_factory=list)
    base_model: list[str] = Field(default_factory=list)
    tag: list[str] = Field(default_factory=list)
    tier: list[SecurityTier] = Field(default_factory=list)
    format: list[ModelFormat] = Field(default_factory=list)
    storage: list[Storage] = Field(default_factory=list)


class ModelQuery(ModelFilter):
    """What is searched for. ``q`` is the text as typed; empty lists everything."""

    q: str = ""
    sort: SortKey | None = None
    order: Literal["asc", "desc"] | None = None
    limit: int = Field(default=100, ge=1, le=500)
    offset: int = Field(default=0, ge=0, le=2**53)


class SearchResult(BaseModel):
    """One page of found models.

    ``match`` says how they were found: every word (``all``), some words (``any``), similar names
    (``fuzzy``), without the search table (``like``), by hash, or as a plain ``list``.
    """

    models: list[ModelSummary]
    total: int
    match: MatchKind
    query_time_ms: float


class FacetValue(BaseModel):
    """A value and the number of models that have it."""

    value: str
    count: int


class Facets(BaseModel):
    """For each filter, its values among the models that the other filters leave."""

    type: list[FacetValue]
    subtype: list[FacetValue]
    family: list[FacetValue]
    base_model: list[FacetValue]
    tag: list[FacetValue]
    tier: list[FacetValue]


class LibraryTotals(BaseModel):
    """How much there is. ``in_place`` counts the models whose files stay elsewhere."""

    models: int
    files: int
    size_bytes: int
    in_place: int


class LibraryChange(BaseModel):
    """Which models are new, different or gone; carried by ``librarian.library`` events.

    A change of more than a few hundred models leaves the lists empty and sets ``everything``.
    """

    changed: list[str] = Field(default_factory=list)
    removed: list[str] = Field(default_factory=list)
    everything: bool = False
