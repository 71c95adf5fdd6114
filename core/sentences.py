"""Sentences for people that can be said in another language: what they are, beside how they read in English."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Said:
    """What a sentence says: a stable code and what fills it. Names that end in ``_bytes`` are sizes in bytes."""

    code: str
    parameters: dict[str, str | int | Said]


class Sentence(str):
    """An English sentence that knows what it says. As a part of another text it is only that text."""

    said: Said
    _template: str
    _parameters: dict[str, object]

    def again(self, **parameters: object) -> Sentence:
        """The same sentence with other parameters in place of some of its own."""
        return _sentence(self.said.code, self._template, {**self._parameters, **parameters})


def say(code: str, template: str, /, **parameters: object) -> Sentence:
    """Make a sentence from English with ``{names}`` of parameters; code and English stand where it is called.

    Sizes are whole numbers and their names end in ``_bytes``; a parameter may be a sentence, too.
    """
    return _sentence(code, template, parameters)


def said_of(text: str | None) -> Said | None:
    """What a text says, where it is a sentence."""
    return text.said if isinstance(text, Sentence) else None


def in_units(size: int) -> str:
    """A size in bytes as people read it."""
    if size >= 2**40:
        return f"{size / 2**40:.2f} TiB"
    return f"{size / 2**30:.2f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"


def _sentence(code: str, template: str, parameters: dict[str, object]) -> Sentence:
    english: dict[str, object] = {}
    kept: dict[str, str | int | Said] = {}
    for name, value in parameters.items():
        english[name] = in_units(value) if isinstance(value, int) and name.endswith("_bytes") else value
        if isinstance(value, Sentence):
            kept[name] = value.said
        else:
            kept[name] = value if isinstance(value, int) else str(value)
    sentence = Sentence(template.format(**english))
    sentence.said = Said(code=code, parameters=kept)
    sentence._template, sentence._parameters = template, parameters
    return sentence
