"""How names become words that can be searched."""

from __future__ import annotations

import re
import unicodedata

_REMEMBERED_WORDS = 16_384

_WORD = re.compile(r"[^\W_]+")
_PIECE = re.compile(r"\d+|[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|[^\W\d_]+")
CJK = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff]+")


def fold(text: str) -> str:
    """The text without accents and case, so that ``Café`` and ``cafe`` are the same."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(char for char in decomposed if not unicodedata.combining(char)).casefold()


def words(text: str) -> list[str]:
    """The folded words: runs of letters and digits, with whatever else between them."""
    return _WORD.findall(fold(text))


def name_key(text: str) -> str:
    """A name as it is sorted and compared: its words with one space between them."""
    return " ".join(words(text))


def pieces(word: str) -> list[str]:
    """The parts of a word where case or kind changes: ``juggernautXL9`` is ``juggernaut``, ``XL``, ``9``."""
    return _PIECE.findall(word)


def cjk_pairs(text: str) -> list[str]:
    """Each two neighbouring characters of the runs of Chinese, Japanese and Korean."""
    return [run[i : i + 2] for run in CJK.findall(text) for i in range(len(run) - 1)]


def search_parts(*texts: str) -> str:
    """The words within words of several texts, for the search table's ``parts`` column."""
    found: list[str] = []
    for text in filter(None, texts):
        for word in _WORD.findall(text if text.isascii() else unicodedata.normalize("NFC", text)):
            inner = _remembered.get(word)
            if inner is None:
                inner = _inner_words(word)
            if inner:
                found.append(inner)
    return " ".join(found)


_remembered: dict[str, str] = {}
"""The words within words, which come again and again. From text to text, because the garbage collector, which
halts all threads, looks into no such dict; an ``lru_cache`` is one object more to look at for each word."""


def _inner_words(word: str) -> str:
    inner = pieces(word)
    pairs = [] if word.isascii() else cjk_pairs(word)
    if len(_remembered) >= _REMEMBERED_WORDS:
        _remembered.clear()
    found = _remembered[word] = " ".join((*inner, *pairs) if len(inner) > 1 else pairs)
    return found
