"""Records that say something to people."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    TypeAdapter,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    computed_field,
    model_validator,
)

from .sentences import Said, Sentence, said_of

_SAID = TypeAdapter(Said)
_APART = "\x1f"
"""Between a text and what it says, where both are kept in one place."""


def _as_it_is(value: object, validate: ValidatorFunctionWrapHandler) -> str:
    return value if isinstance(value, Sentence) else validate(value)


Text = Annotated[str, WrapValidator(_as_it_is)]
"""A text in a record that stays a `Sentence` where it is one."""


def kept(text: str | None) -> str | None:
    """A text as a database keeps it, with what it says; `as_kept` is the way back."""
    if isinstance(text, Sentence):
        return f"{text}{_APART}{_SAID.dump_json(text.said).decode()}"
    return text.replace(_APART, " ") if text else text  # a file's name can have it


def as_kept(text: str | None) -> str | None:
    """A text as it was before `kept`."""
    english, apart, said = (text or "").rpartition(_APART)
    if not apart:
        return text
    sentence = Sentence(english)
    sentence.said = _SAID.validate_json(said)
    return sentence


class Troubled(BaseModel):
    """A record that may have a ``problem``; ``problem_said`` is the same for those who speak another language."""

    problem: Text | None = None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def problem_said(self) -> Said | None:
        """The problem's code and parameters, where it has them."""
        return said_of(self.problem)


class Told(BaseModel):
    """A record with a ``message`` for people; ``said`` is the same for those who speak another language."""

    message: Text

    @computed_field  # type: ignore[prop-decorator]
    @property
    def said(self) -> Said | None:
        """The message's code and parameters, where it has them."""
        return said_of(self.message)

    @model_validator(mode="before")
    @classmethod
    def _read(cls, data: Any) -> Any:
        """Take up again what was written down."""
        if not isinstance(data, dict) or "said" not in data:
            return data
        rest = {name: value for name, value in data.items() if name != "said"}
        if data["said"] is not None and isinstance(rest.get("message"), str):
            message = Sentence(rest["message"])
            message.said = _SAID.validate_python(data["said"])
            rest["message"] = message
        return rest
