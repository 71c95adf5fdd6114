"""What a header says in plain words: what a LoRA was trained on, a description, an author.

All of it is a publisher's text: it is cut short, cleaned of control characters, and never anything but text.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from json import JSONDecoder

from ..turns import in_turns

MAX_WORDS = 12
MAX_WORD = 100
MAX_DESCRIPTION = 2000
MAX_TITLE = 200
TAG_SHARE = 0.6
"""A tag counts as a trained word if it was seen this often, as a share of the most frequent one."""

TRIGGER_KEYS = (
    "modelspec.trigger_phrase",
    "modelspec.trigger_words",
    "ss_trigger_words",
    "trigger_words",
    "trigger_word",
)
DESCRIPTION_KEYS = (
    "modelspec.description",
    "general.description",
    "ss_training_comment",
    "doc_string",
    "description",
)

_TAG_COUNT = re.compile(r'"((?:[^"\\]|\\.){1,300})"\s*:\s*(\d{1,9})')
_DECODER = JSONDecoder()


def plain_text(text: str, limit: int, *, lines: bool = False) -> str:
    """Text without markup, control and direction characters, at most ``limit`` characters long."""
    if not text:
        return ""
    text = re.sub(r"<[^<>]{0,500}>", " ", text[: 4 * limit])
    kept = "".join(
        character if character == "\n" or unicodedata.category(character)[0] != "C" else " "
        for character in text
    )
    words = [" ".join(line.split()) for line in kept.split("\n")]
    return ("\n" if lines else " ").join(filter(None, words))[:limit].strip()


def trained_words(metadata: dict[str, str]) -> list[str]:
    """The words a model was trained on: what its author says, else its most frequent tags.

    Args:
        metadata: The header's key-values.

    Returns:
        At most `MAX_WORDS` words or short phrases, each at most `MAX_WORD` characters, the most important first.
    """
    for key in TRIGGER_KEYS:
        words = _parts(metadata.get(key, ""))
        if words:
            return words
    return _frequent_tags(metadata.get("ss_tag_frequency", ""))


def description(metadata: dict[str, str]) -> str:
    """What the author says about the model, with the author's name below; empty if nothing is said."""
    text = next(
        filter(
            None, (plain_text(metadata.get(key, ""), MAX_DESCRIPTION, lines=True) for key in DESCRIPTION_KEYS)
        ),
        "",
    )
    if text.casefold() in ("none", "null", "n/a"):
        text = ""
    author = plain_text(metadata.get("modelspec.author", metadata.get("general.author", "")), MAX_TITLE)
    return f"{text}\n— {author}".strip() if author and author.casefold() != "none" else text


def title(metadata: dict[str, str]) -> str:
    """The name the author gave the model; empty if there is none."""
    return plain_text(metadata.get("modelspec.title", ""), MAX_TITLE)


def _parts(text: str) -> list[str]:
    text = text.strip().strip("[]")
    parts = (
        plain_text(part.strip(" \"'"), MAX_WORD) for part in re.split(r"[,;\n]", text[: MAX_WORDS * MAX_WORD])
    )
    return [part for part in dict.fromkeys(parts) if part and part.casefold() not in ("none", "null")][
        :MAX_WORDS
    ]


def _frequent_tags(text: str) -> list[str]:
    """The tags of ``{"10_folder": {"tag": 20, …}, …}``, most frequent first; the text may be cut short."""
    counts: Counter[str] = Counter()
    for match in in_turns(_TAG_COUNT.finditer(text)):
        counts[match[1]] += int(match[2])
    if not counts:
        return []
    often = max(counts.values()) * TAG_SHARE
    frequent = (_tag(written) for written, count in counts.most_common(MAX_WORDS) if count >= often)
    return [tag for tag in dict.fromkeys(frequent) if tag]


def _tag(written: str) -> str:
    """A tag as JSON writes it, as plain text."""
    try:
        return plain_text(str(_DECODER.decode(f'"{written}"')), MAX_WORD)
    except ValueError:
        return plain_text(written, MAX_WORD)
