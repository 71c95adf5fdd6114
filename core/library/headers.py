"""What the headers of a model's files tell, brought into its record."""

# Until Python 3.13 every name in a `Path` is interned, and once in 100,000 that makes the table of all interned texts
# grow, which halts every thread for 30 ms.
# ruff: noqa: PTH119, PTH120
from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path

from ..errors import LibrarianError, NotAModelError
from ..formats import FileFacts, Guess, SecurityTier, classify, identify
from ..formats.facts import facts_of
from ..formats.pipelines import MODEL_INDEX, classify_pipeline, read_model_index
from ..formats.shards import contradiction, group_shards, what_is_missing
from ..formats.sidecars import Listing, Told, told_beside, with_told
from ..sentences import say
from ..settings import MODEL_EXTENSIONS
from ..turns import SHORT_RUN_S, give_way
from .index import IndexedModel, UnreadModel, row_of
from .records import Model
from .staging import ModelRow
from .walk import place_of

MAX_TENSORS = 200_000
"""Of how many tensors of a sharded set the names are looked at."""


def with_headers(unread: Iterable[UnreadModel]) -> list[ModelRow]:
    """Models as they are written into the index once their headers are read."""
    listing_of = lru_cache(maxsize=8)(Listing.of)
    rows = []
    for one in unread:
        give_way(SHORT_RUN_S)
        rows.append(row_of(with_header(one.entry(), listing_of)))
    return rows


def with_header(entry: IndexedModel, listing_of: Callable[[str], Listing] = Listing.of) -> IndexedModel:
    """A listed model with what its files' headers tell, and what other tools wrote down beside them.

    What a person or a lookup said of it stays; why its files are no model becomes its problem. ``listing_of``
    answers the names in a folder; who reads many headers looks at each folder once.
    """
    model = entry.model
    paths = [file.shown_as for file in entry.files]
    facts: FileFacts | None = None
    problem: str | None = None
    try:
        facts, tiers = _read(model, paths)
        model.security_tier = worst_tier(tiers)
        problem = _what_is_missing(model, paths)
    except LibrarianError as error:
        problem = error.message
    if entry.is_guessed:
        guess = _guess(model, facts, paths)
        for field, value in with_told(guess, _told(entry, listing_of)).items():
            setattr(model, field, value)
    return entry._replace(problem=problem, header_read=True)


def _told(entry: IndexedModel, listing_of: Callable[[str], Listing]) -> Told:
    """What lies beside a file that stays where it is; a model in the library has it in its record already."""
    model, main = entry.model, entry.files[0]
    if model.storage == "owned" or model.model_format == "diffusion-folder":
        return Told({}, "")
    if model.model_format == "sharded-set":
        path = place_of(model.model_format, [file.shown_as for file in entry.files])
        return told_beside(path, listing=listing_of(os.path.dirname(path)))
    path = main.shown_as
    return told_beside(path, sha256=main.sha256, size=main.size, listing=listing_of(os.path.dirname(path)))


def _read(model: Model, paths: list[str]) -> tuple[FileFacts, list[SecurityTier]]:
    """The main file's facts, with the tensors of all parts of a set, and the tiers of all files.

    Raises `NotAModelError`, `SourceChangedError`, `StorageError`.
    """
    main = identify(paths[0])
    tiers = [main.security_tier]
    if model.model_format == "single-file":
        return main, tiers
    tensors, size = dict(main.tensors), main.size
    for path in paths[1:]:
        try:
            facts = identify(path)
        except NotAModelError:
            if os.path.splitext(path)[1].lower() in MODEL_EXTENSIONS and model.model_format == "sharded-set":
                raise
            continue  # a configuration, a tokenizer, a picture
        tiers.append(facts.security_tier)
        if model.model_format == "sharded-set" and len(tensors) + len(facts.tensors) <= MAX_TENSORS:
            tensors.update(facts.tensors)
            size += facts.size
    if model.model_format == "sharded-set":
        main = facts_of(main.format, size, main.metadata, tensors)
    return main, tiers


def _guess(model: Model, facts: FileFacts | None, paths: list[str]) -> Guess:
    subtype = model.subtype if model.subtype != "unknown" else None
    if model.model_format == "single-file":
        return classify(facts, os.path.basename(paths[0]), subtype=subtype)
    if model.model_format == "diffusion-folder":
        index = _index_of(paths)
        try:
            if index is not None:
                return classify_pipeline(read_model_index(index), facts, model.official_name, subtype=subtype)
        except LibrarianError:
            pass  # its problem was said when it was looked at
    suffix = os.path.splitext(place_of(model.model_format, paths))[1]
    guess = classify(facts, model.official_name + suffix, subtype=subtype)
    return guess.model_copy(update={"official_name": model.official_name})


def _index_of(paths: list[str]) -> Path | None:
    return next((Path(path) for path in paths if os.path.basename(path) == MODEL_INDEX), None)


def _what_is_missing(model: Model, paths: list[str]) -> str | None:
    """Which parts of its sets a model lacks, as a sentence; nothing if all are there."""
    if model.model_format == "diffusion-folder":
        index = _index_of(paths)
        if index is None:
            return say(
                "model_index_gone", "There is no {index} any more. Download it again.", index=MODEL_INDEX
            )
        read_model_index(index)
    if model.model_format == "single-file":
        return None
    sets, _ = group_shards(paths)
    for shards in sets:
        name = Path(shards.name).name
        if shards.problem:
            return contradiction(shards, name)
        if shards.missing:
            return say(
                "download_parts",
                "{problem} Download what is missing into the same folder.",
                problem=what_is_missing(shards, name),
            )
    return None


def worst_tier(tiers: Iterable[SecurityTier]) -> SecurityTier:
    """The tier of a model of several files: as bad as the worst of them."""
    found = set(tiers)
    return "pickle" if "pickle" in found else "safe" if found == {"safe"} else "unknown"
