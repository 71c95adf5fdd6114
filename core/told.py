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


def _as_it_is(value: object, validate: ValidatorFunctionWrapHandler) -> str:
    return value if isinstance(value, Sentence) else validate(value)


Text = Annotated[str, WrapValidator(_as_it_is)]
"""A text in a record that stays a `Sentence` where it is one."""


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
