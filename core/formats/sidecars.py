"""What other tools left beside a model's file: pictures, and records of who made it and what it is.

All of it is strangers' text, read as data: files that are links or no files at all are not opened, sizes and
counts are bounded, every type is checked, and text stays text.

Sources, for the names and the fields: ``willmiao/ComfyUI-Lora-Manager`` (``py/utils/models.py``); Civitai's answer
for a model version, which ``butaixianran/Stable-Diffusion-Webui-Civitai-Helper`` keeps; AUTOMATIC1111's «extra
networks» user metadata (``modules/ui_extra_networks_user_metadata.py``); ``hayden-fr/ComfyUI-Model-Manager``
(``py/searcher.py``).
"""

from __future__ import annotations

import html
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from .classify import Guess, family_by_name, same_tensors
from .words import MAX_DESCRIPTION, MAX_TITLE, plain_text

PICTURE_ENDINGS = (
    ".png", ".jpg", ".jpeg", ".webp",
    ".preview.png", ".preview.jpg", ".preview.jpeg", ".preview.webp",
)  # fmt: skip
"""What a picture of a model is called, after the name of its file without extension; the first one is shown."""

MOVING_ENDINGS = (
    ".gif", ".mp4", ".webm", ".preview.gif", ".preview.mp4", ".preview.webm",
)  # fmt: skip
"""What is shown of a model of which there is no picture."""

PREVIEW_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".mp4": "video/mp4",
    ".webm": "video/webm",
}
"""Media type of all that is shown of a model, by its extension."""

MAX_PREVIEW_BYTES = 64 * 1024 * 1024
"""Of a picture or film; a larger one is not shown, and does not come along."""


class Preview(IntEnum):
    """What shows a model."""

    NONE = 0
    PICTURE = 1
    VIDEO = 2

    @classmethod
    def of(cls, name: str) -> Preview:
        """What a file of this name is."""
        media = PREVIEW_TYPES.get(os.path.splitext(name)[1].lower())
        if media is None:
            return cls.NONE
        return cls.VIDEO if media.startswith("video/") else cls.PICTURE


LORA_MANAGER = ".metadata.json"
CIVITAI_HELPER = ".civitai.info"
USER_METADATA = ".json"
MODEL_MANAGER = ".md"
UNREAD_ENDINGS = (".txt", ".yaml", ".yml")
"""Notes and configurations: they belong to the model, and are not interpreted."""

MAX_BYTES = 4 * 1024 * 1024
"""Of one record; a larger one is not read."""

MAX_GROUPS, MAX_VALUES = 100_000, 300_000
"""Of the lists and objects, and of the values, in one record: what bounds the memory that it takes."""

MAX_TAGS, MAX_TAG = 64, 100
MAX_WORDS, MAX_WORD = 50, 500
MAX_NOTES = 8000

_HEX = re.compile(r"[0-9a-f]{64}")
_NOTHING = {"unknown", "other", "none", "null", "n/a"}


def preview_names(stems: Iterable[str]) -> Iterator[str]:
    """What is shown of a model may be called so, where its file is called like one of ``stems``; the best first."""
    stems = list(stems)
    for endings in (PICTURE_ENDINGS, MOVING_ENDINGS):
        for stem in stems:
            yield from (stem + ending for ending in endings)


class Told(NamedTuple):
    """What the records beside a file say.

    ``facts`` has fields of a model by their names: ``official_name``, ``base_model``, ``tags``,
    ``trained_words``, ``description``, ``notes``, ``repo_id``, ``download_url``, and ``civitai`` with ids.
    ``source`` is the tool that most of it comes from: ``lora-manager``, ``civitai-helper``, ``a1111``,
    ``model-manager``, or empty.
    """

    facts: dict[str, Any]
    source: str


class Listing:
    """The names in one folder, looked at once for all the models in it."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = {name.lower(): name for name in names}

    @classmethod
    def of(cls, folder: str | os.PathLike[str]) -> Listing:
        """The names in a folder; none if it cannot be read."""
        try:
            return cls(os.listdir(folder))  # noqa: PTH208
        except OSError:
            return cls(())

    def beside(self, stem: str, ending: str) -> str | None:
        """The name that is ``stem`` and then ``ending``, in whatever case the ending is written."""
        name = self._names.get((stem + ending).lower())
        return name if name is not None and name.startswith(stem) else None


def told_beside(
    path: str | Path, *, sha256: str | None = None, size: int | None = None, listing: Listing | None = None
) -> Told:
    """What the records beside a model's file say of it, as far as they can be believed.

    A record that names another hash than ``sha256``, or another ``size`` in bytes, is of another file and says
    nothing. What one record does not tell, the next one may. Never raises for what is in a record.

    Args:
        path: The model's file.
        sha256: Its hash as lower-case hexadecimal, where it is known.
        size: Its size, where it is known.
        listing: The names in its folder, where they were looked at already.
    """
    folder, name_of_file = os.path.split(path)
    stem = os.path.splitext(name_of_file)[0]
    listing = listing or Listing.of(folder)
    facts: dict[str, Any] = {}
    source = ""
    for ending, tool, read in _RECORDS:
        name = listing.beside(stem, ending)
        data = _read(Path(folder, name)) if name is not None else None
        if data is None:
            continue
        record = read(data)
        if not record.is_of(sha256, size):
            continue
        new = {field: value for field, value in record.facts.items() if value and field not in facts}
        source = source or (tool if new else "")
        facts |= new
    return Told(facts, source)


def with_told(guess: Guess, told: Told) -> dict[str, Any]:
    """The fields of a model as its header and name make them, and what was told beside it over those.

    What the tensors are, no record can change: a base model of another family is left out.
    """
    fields: dict[str, Any] = {**guess.model_dump(), **told.facts}
    base = told.facts.get("base_model")
    named = family_by_name(base) if base else None
    if named is None:
        return fields
    if not same_tensors(guess.family, named[0]) or guess.base_model.startswith(named[1]):
        fields["base_model"] = guess.base_model  # «Wan 2.2» is closer than «Wan»
    else:
        fields["family"], fields["base_model"] = named
    return fields


class _Record(NamedTuple):
    """What one record says, and of which bytes: their hashes and size, where it tells them."""

    facts: dict[str, Any]
    hashes: frozenset[str] = frozenset()
    size: int | None = None

    def is_of(self, sha256: str | None, size: int | None) -> bool:
        if sha256 is not None and self.hashes:
            return sha256 in self.hashes
        return size is None or self.size is None or self.size == size


def _read(path: Path) -> bytes | None:
    """The bytes of a small plain file; nothing of a link, a pipe, or what is too large."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return None
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        with open(os.open(path, flags | getattr(os, "O_BINARY", 0)), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError):
        return None
    return data if len(data) <= MAX_BYTES else None


def _object(data: bytes) -> Mapping[str, Any]:
    """The JSON object in ``data``, or an empty one."""
    if data.count(b"[") + data.count(b"{") > MAX_GROUPS or data.count(b",") > MAX_VALUES:
        return {}
    try:
        found = json.loads(
            data.decode("utf-8-sig", errors="replace"), parse_int=_number, parse_constant=lambda _: None
        )
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _number(digits: str) -> int:
    return int(digits) if len(digits) < 20 else 0


def _lora_manager(data: bytes) -> _Record:
    record = _object(data)
    version = _mapping(record.get("civitai"))
    facts = _civitai_facts(version)
    page = _text(record.get("hf_url"), MAX_TITLE)
    level = record.get("preview_nsfw_level")
    if "civitai" in facts and isinstance(level, int) and level > 0:
        facts["civitai"].setdefault("nsfw_level", level)
    own = {
        "official_name": _title(record.get("model_name"), version.get("name")),
        "base_model": _known(record.get("base_model")),
        "tags": _texts(record.get("tags"), MAX_TAGS, MAX_TAG),
        "trained_words": _texts(record.get("trainedWords"), MAX_WORDS, MAX_WORD),
        "description": paragraphs(record.get("modelDescription"), MAX_DESCRIPTION),
        "notes": paragraphs(record.get("notes"), MAX_NOTES),
        "repo_id": _repo_id(page),
    }
    size = record.get("size")
    return _Record(
        facts | {field: value for field, value in own.items() if value},
        _hashes([record.get("sha256")]),
        size if isinstance(size, int) and size > 0 else None,
    )


def _civitai_helper(data: bytes) -> _Record:
    record = _object(data)
    files = record.get("files")
    return _Record(
        _civitai_facts(record),
        _hashes(
            _mapping(_mapping(file).get("hashes")).get("SHA256")
            for file in (files if isinstance(files, list) else ())
        ),
    )


def _civitai_facts(version: Mapping[str, Any]) -> dict[str, Any]:
    """A model version as Civitai describes it."""
    model = _mapping(version.get("model"))
    texts = (version.get("description"), model.get("description"))
    facts: dict[str, Any] = {
        "official_name": _title(model.get("name"), version.get("name")),
        "base_model": _known(version.get("baseModel")),
        "tags": _texts(model.get("tags"), MAX_TAGS, MAX_TAG),
        "trained_words": _texts(version.get("trainedWords"), MAX_WORDS, MAX_WORD),
        "description": "\n".join(filter(None, (paragraphs(text, MAX_DESCRIPTION) for text in texts)))[
            :MAX_DESCRIPTION
        ],
    }
    model_id, version_id = version.get("modelId"), version.get("id")
    if _is_id(version_id):
        facts["download_url"] = f"https://civitai.com/api/download/models/{version_id}"
        facts["civitai"] = {"version_id": version_id}
        if _is_id(model_id):
            facts["civitai"] |= {
                "model_id": model_id,
                "url": f"https://civitai.com/models/{model_id}?modelVersionId={version_id}",
            }
        for key, value in (("nsfw", model.get("nsfw")), ("nsfw_level", version.get("nsfwLevel"))):
            if isinstance(value, (bool, int)) and value:
                facts["civitai"][key] = value
    return {field: value for field, value in facts.items() if value}


def _user_metadata(data: bytes) -> _Record:
    """What a person wrote into AUTOMATIC1111's form; other JSON of this name is a configuration."""
    record = _object(data)
    if not {"activation text", "sd version", "preferred weight"} & set(record):
        return _Record({})
    words = record.get("activation text")
    weight, negative = record.get("preferred weight"), _text(record.get("negative text"), MAX_WORD)
    notes = [paragraphs(record.get("notes"), MAX_NOTES)]
    if isinstance(weight, (int, float)) and not isinstance(weight, bool) and weight:
        notes.append(f"Preferred weight: {weight:g}")
    if negative:
        notes.append(f"Negative prompt: {negative}")
    versions = {"SD1": "SD 1.5", "SD2": "SD 2.1", "SDXL": "SDXL 1.0"}
    facts = {
        "base_model": versions.get(_text(record.get("sd version"), MAX_TAG), ""),
        "trained_words": _texts(re.split(r",|\|\||\n", words[:MAX_NOTES]), MAX_WORDS, MAX_WORD)
        if isinstance(words, str)
        else [],
        "description": paragraphs(record.get("description"), MAX_DESCRIPTION),
        "notes": "\n".join(filter(None, notes)),
    }
    return _Record({field: value for field, value in facts.items() if value})


def _model_manager(data: bytes) -> _Record:
    """Markdown below a head of ``key: value`` lines between two ``---``."""
    text = data[: 256 * 1024].decode("utf-8-sig", errors="replace").replace("\r\n", "\n")
    match = re.match(r"---\n(.{0,65536}?)\n---\n", text, re.DOTALL)
    if match is None:
        return _Record({})
    head = dict(re.findall(r"^ {0,2}(\w+): *'?([^'\n]{1,500})'?$", match[1], re.MULTILINE))
    page, base = head.get("modelPage", ""), _known(head.get("baseModel"))
    parts = re.split(r"^# (.{1,300})\n", text[match.end() :], flags=re.MULTILINE)
    sections = {title.strip(): body.strip() for title, body in zip(parts[1::2], parts[2::2], strict=False)}
    if "Trigger Words" not in sections:
        return _Record({})
    words, version = sections.pop("Trigger Words"), sections.pop("About this version", "")
    name = next(iter(sections), "")
    told = (text for text in (version, sections.get(name, "")) if not text.startswith("No description about"))
    facts: dict[str, Any] = {
        "official_name": _known(name),
        "base_model": base,
        "trained_words": _texts(words.split(","), MAX_WORDS, MAX_WORD) if words != "No trigger words" else [],
        "description": paragraphs("\n".join(told), MAX_DESCRIPTION),
        "repo_id": _repo_id(page),
    }
    ids = re.fullmatch(r"https://civitai\.com/models/(\d{1,15})\?modelVersionId=(\d{1,15})", page)
    if ids is not None:
        facts["civitai"] = {"version_id": int(ids[2]), "model_id": int(ids[1]), "url": page}
        facts["download_url"] = f"https://civitai.com/api/download/models/{int(ids[2])}"
    return _Record({field: value for field, value in facts.items() if value}, _hashes([head.get("SHA256")]))


_RECORDS = (
    (LORA_MANAGER, "lora-manager", _lora_manager),
    (CIVITAI_HELPER, "civitai-helper", _civitai_helper),
    (USER_METADATA, "a1111", _user_metadata),
    (MODEL_MANAGER, "model-manager", _model_manager),
)
RECORD_ENDINGS = tuple(ending for ending, _, _ in _RECORDS)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**15


def _text(value: Any, limit: int) -> str:
    """One line of plain text, or nothing."""
    return plain_text(html.unescape(value[: 4 * limit]), limit) if isinstance(value, str) else ""


def paragraphs(value: Any, limit: int) -> str:
    """Plain text of several lines, from text with or without HTML."""
    if not isinstance(value, str):
        return ""
    broken = re.sub(
        r"<(?:br|/p|/li|/h[1-6]|/div)\b[^<>]{0,100}>", "\n", value[: 4 * limit], flags=re.IGNORECASE
    )
    return plain_text(html.unescape(plain_text(broken, 2 * limit, lines=True)), limit, lines=True)


def _known(value: Any) -> str:
    text = _text(value, MAX_TAG)
    return "" if text.casefold() in _NOTHING else text


def _texts(value: Any, count: int, limit: int) -> list[str]:
    """The different texts in a list, at most ``count``, each at most ``limit`` characters."""
    if not isinstance(value, list):
        return []
    texts = (_text(item, limit).strip(" ,") for item in value[: 4 * count])
    return [text for text in dict.fromkeys(texts) if text][:count]


def _title(name: Any, version: Any) -> str:
    """A model's name with that of its version, unless the one holds the other."""
    whole, part = _text(name, MAX_TITLE), _text(version, MAX_TAG)
    return (
        f"{whole} {part}"[:MAX_TITLE] if whole and part and part.casefold() not in whole.casefold() else whole
    )


def _hashes(values: Iterable[Any]) -> frozenset[str]:
    """Those among the values that are a SHA-256, in lower case."""
    return frozenset(
        value.lower() for value in values if isinstance(value, str) and _HEX.fullmatch(value.lower())
    )


def _repo_id(page: str) -> str:
    """``owner/name`` of a page on Hugging Face."""
    try:
        address = urlsplit(page)
    except ValueError:
        return ""
    match = re.match(r"/([\w.-]{1,96}/[\w.-]{1,96})(?:/|$)", address.path, re.ASCII)
    return match[1] if match and address.hostname in ("huggingface.co", "www.huggingface.co") else ""
