"""Sentences that can be said in another language."""

from __future__ import annotations

import ast
import json
import string

import pytest
from _environment import ROOT

from model_librarian.core.downloading import Reason
from model_librarian.core.errors import LibrarianError
from model_librarian.core.sentences import Said, Sentence, say
from model_librarian.core.told import as_kept, kept

LANGUAGES = sorted(path.name for path in (ROOT / "locales").iterdir() if path.name != "en")


def names(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}


@pytest.fixture(scope="module")
def templates() -> dict[str, str]:
    """The English of every code that the core can say, as it stands in its source."""
    found: dict[str, str] = {}
    for path in (ROOT / "core").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "say"):
                continue
            code, template = (ast.literal_eval(argument) for argument in call.args)
            assert found.setdefault(code, template) == template, f"{code} has two meanings"
            assert {keyword.arg for keyword in call.keywords} == names(template), code
    return found


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sentence_is_known_in_every_language(language: str, templates: dict[str, str]) -> None:
    texts = json.loads((ROOT / "locales" / language / "main.json").read_text(encoding="utf-8"))
    said = texts["librarian"]["said"]
    assert len(templates) > 70
    assert said.keys() == templates.keys()
    assert {code: names(text) for code, text in said.items()} == {
        code: names(template) for code, template in templates.items()
    }


def test_a_sentence_knows_what_it_says() -> None:
    inner = say("inner", "{size_bytes} are missing.", size_bytes=2**30)
    outer = say("outer", "{path}: {problem}", path=ROOT, problem=inner)
    assert outer == f"{ROOT}: 1.00 GiB are missing."
    assert outer.said == Said(
        code="outer",
        parameters={"path": str(ROOT), "problem": Said(code="inner", parameters={"size_bytes": 2**30})},
    )
    assert outer.again(path="/other") == "/other: 1.00 GiB are missing."


@pytest.mark.parametrize(
    ("size", "read"), [(2**40 * 8, "8.00 TiB"), (2**30 * 3 // 2, "1.50 GiB"), (64 * 2**20, "64.0 MiB")]
)
def test_sizes_are_read_in_units(size: int, read: str) -> None:
    assert say("room", "{free_bytes} free", free_bytes=size) == f"{read} free"


def test_a_name_with_braces_is_only_a_name() -> None:
    assert say("gone", "{path} is gone.", path="{path}{0}") == "{path}{0} is gone."


def test_a_database_keeps_what_a_text_says() -> None:
    inner = say("inner", "{name} is missing.", name="a\x1fb")
    outer = say("outer", "{problem} Look for it.", problem=inner)
    again = as_kept(kept(outer))
    assert isinstance(again, Sentence)
    assert (again, again.said) == (outer, outer.said)
    assert as_kept(kept("only\x1ftext")) == "only text"
    assert as_kept(kept(None)) is None
    assert as_kept("as an earlier version wrote it") == "as an earlier version wrote it"


def test_a_record_keeps_what_an_error_says_also_when_it_is_written_down() -> None:
    error = LibrarianError(say("gone", "{path} is gone.", path="/a"))
    reason = Reason(code="not_found", message=error.message)
    assert reason.model_dump() == {
        "code": "not_found",
        "message": "/a is gone.",
        "said": {"code": "gone", "parameters": {"path": "/a"}},
    }
    again = Reason.model_validate_json(reason.model_dump_json())
    assert again.model_dump() == reason.model_dump()
    assert Reason(code="x", message="Said in English only.").said is None
    assert Reason.model_validate({"code": "x", "message": "m", "said": None}).said is None
