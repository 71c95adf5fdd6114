"""What a match makes of a model's record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..library import Model
from ..library.index import IndexedFile
from ..sources import LookupCandidate
from ..sources.matching import MISMATCH_AT_MOST

_NOT_PROVEN = 0.95
"""The most that a match by hash is worth when the hash here is not known."""


def name_for_lookup(model: Model, file: IndexedFile) -> str:
    """What a model's main file is called where it comes from; for a folder its name leads."""
    name = model.files[0].original_name or model.files[0].name if model.files else file.path
    name = name.replace("\\", "/").rpartition("/")[2]
    return f"{model.official_name}/{name}" if model.model_format == "diffusion-folder" else name


def proven(candidate: LookupCandidate, files: Sequence[IndexedFile]) -> LookupCandidate:
    """A candidate as it stands once the hashes of a model's files are known.

    The same hash is certain. Another one of the same file is a mismatch, of confidence 0.7 at most, whatever was
    believed before.
    """
    known = {file.sha256 for file in files if file.sha256}
    if candidate.sha256 is not None and candidate.sha256 in known:
        sure: dict[str, Any] = {"match_method": "hash", "match_confidence": 1.0, "hash_mismatch": False}
        return candidate.model_copy(update={**sure, "requires_confirmation": False})
    same = [file for file in files if _last(file.path) == _last(candidate.file_name or "")] or files[:1]
    other = candidate.sha256 is not None and any(file.sha256 for file in same)
    if not other and not candidate.hash_mismatch and candidate.match_method != "hash":
        return candidate
    mismatch = other or candidate.hash_mismatch
    most = MISMATCH_AT_MOST if mismatch else _NOT_PROVEN
    return candidate.model_copy(
        update={
            "match_method": "filename_exact" if candidate.match_method == "hash" else candidate.match_method,
            "match_confidence": min(candidate.match_confidence, most),
            "hash_mismatch": mismatch,
            "requires_confirmation": mismatch or candidate.requires_confirmation,
        }
    )


def changes_of(
    model: Model, candidate: LookupCandidate, download_url: str, *, chosen: bool = False
) -> dict[str, Any]:
    """The fields of a model that a match sets.

    What the model does not say is taken over when the match is sure, or when a person chose it; what it says
    stays. ``chosen`` also makes the match the person's.
    """
    changes: dict[str, Any] = {
        "repo_id": candidate.repo_id,
        "download_url": download_url,
        "match_method": candidate.match_method,
        "match_confidence": candidate.match_confidence,
        "hash_mismatch": candidate.hash_mismatch,
        "match_source": "manual" if chosen else "auto",
        "pending_online_lookup": False,
    }
    if not chosen and (candidate.hash_mismatch or candidate.match_method == "filename_fuzzy"):
        return changes
    told = {
        "base_model": candidate.base_model or "",
        "trained_words": candidate.trained_words,
        "description": candidate.description,
    }
    changes |= {name: value for name, value in told.items() if value and not getattr(model, name)}
    # Of Hugging Face's tags, those such as «license:mit» or «region:us» are no words for a model.
    tags = [tag for tag in candidate.tags if ":" not in tag]
    changes["tags"] = [*dict.fromkeys([*model.tags, *tags])]
    return changes


def _last(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2].casefold()
