"""What a person may change of models, one or many, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import InvalidRequestError
from .records import EDITABLE_FIELDS, Model, tidy_tags

MAX_EDITED = 10_000
"""How many models one request may edit."""


class BulkEdit(BaseModel):
    """The same changes for many models: fields to set, tags to add to and to take from what each has."""

    fields: dict[str, Any] = Field(default_factory=dict)
    add_tags: list[str] = Field(default_factory=list)
    remove_tags: list[str] = Field(default_factory=list)


class EditOutcome(BaseModel):
    """What became of the edit of one model; ``code`` and ``message`` say why it failed."""

    model_config = ConfigDict(protected_namespaces=())

    model_id: str
    edited: bool
    code: str | None = None
    message: str | None = None


class BulkEditResult(BaseModel):
    """What became of each model, in the order asked for."""

    edited: int
    failed: int
    models: list[EditOutcome]


def change_of(fields: dict[str, Any]) -> Callable[[Model], None]:
    """A change that sets fields a person may edit; the model's match is manual from then on.

    Raises `InvalidRequestError` for unknown fields or wrong values.
    """
    unknown = sorted(set(fields) - EDITABLE_FIELDS)
    if unknown:
        raise InvalidRequestError(
            f"{', '.join(unknown)} cannot be edited. These can: {', '.join(sorted(EDITABLE_FIELDS))}."
        )
    require_name(fields)
    about_the_model = set(fields) - {"pickle_acknowledged"}
    return setting({**fields, **(_BY_A_PERSON if about_the_model else {})})


def require_name(fields: Mapping[str, Any]) -> None:
    """Raise `InvalidRequestError` where a model would get a name that nobody can see."""
    if "official_name" in fields and not str(fields["official_name"]).strip():
        raise InvalidRequestError("official_name: A model's name must not be empty.")


def bulk_change_of(edit: BulkEdit) -> Callable[[Model], None]:
    """The change that a bulk edit makes to each model. Raises `InvalidRequestError`."""
    if not (edit.fields or edit.add_tags or edit.remove_tags):
        raise InvalidRequestError("Nothing is to be changed. Give fields to set, or tags to add or remove.")
    if "tags" in edit.fields and (edit.add_tags or edit.remove_tags):
        raise InvalidRequestError("Either set the tags of all models, or add and remove some.")
    blank = [tag for tag in (*edit.add_tags, *edit.remove_tags) if not tag.strip()]
    if blank:
        raise InvalidRequestError("A tag must not be empty.")
    set_fields = change_of(edit.fields)
    removed = tidy_tags(edit.remove_tags)

    def change(model: Model) -> None:
        set_fields(model)
        if edit.add_tags or edit.remove_tags:
            model.tags = [tag for tag in tidy_tags((*model.tags, *edit.add_tags)) if tag not in removed]
            model.match_source = "manual"
            model.pending_online_lookup = False

    return change


def setting(values: dict[str, Any]) -> Callable[[Model], None]:
    """A change that sets fields of a model, checked before. Raises `InvalidRequestError` for wrong values."""
    try:
        checked = Model.model_validate({**_ANY_MODEL, **values})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InvalidRequestError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error

    def change(model: Model) -> None:
        for field, value in checked.model_copy(deep=True):
            if field in values:
                setattr(model, field, value)

    return change


def result_of(model_ids: Iterable[str], failures: dict[str, tuple[str, str]]) -> BulkEditResult:
    """The answer to a bulk edit; ``failures`` have a code and a message by model id."""
    outcomes = [
        EditOutcome(model_id=key, edited=False, code=failures[key][0], message=failures[key][1])
        if key in failures
        else EditOutcome(model_id=key, edited=True)
        for key in model_ids
    ]
    failed = sum(not outcome.edited for outcome in outcomes)
    return BulkEditResult(edited=len(outcomes) - failed, failed=failed, models=outcomes)


_ANY_MODEL = {"model_id": "a/b/c", "official_name": "c", "cleaned_name": "c"}
_BY_A_PERSON = {"match_source": "manual", "pending_online_lookup": False}
