"""What the words in memory cost everybody else in the process: next to nothing when garbage is collected."""

from __future__ import annotations

import gc
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_librarian.core.library.compact import FewTexts, Places, Texts
from model_librarian.core.library.index import IndexedFile, IndexedModel, row_of
from model_librarian.core.library.records import Model, ModelFile
from model_librarian.core.library.staging import Rows
from model_librarian.core.library.word_index import SORTS, Document, WordIndex


def document(number):
    name = f"model{number} of author{number % 97} v{number}"
    return Document(
        key=number + 1,
        name=name,
        stem=f"{name} file",
        texts=(name, "safetensors", f"family{number % 5}", f"tag{number}", f"said of {number}"),
        parts=f"v {number}",
        sorts=(name, number, 1.0, 2.0, "loras"),
        filters={"subtype": ("loras",), "tag": (f"tag{number}",)},
        last_used="2026-01-01" if number % 2 else None,
    )


def filled(size):
    index = WordIndex()
    for number in range(size):
        index.put(document(number))
    index.warm()
    return index


def looked_at(index):
    """How many references a full collection of garbage follows in an index."""
    gc.collect()
    seen, waiting, references = set(), [index], 0
    while waiting:
        one = waiting.pop()
        if id(one) in seen or not gc.is_tracked(one) or isinstance(one, type):
            continue
        if isinstance(one, dict) and sys.version_info >= (3, 14) and len(one) > 100:
            continue  # since then dicts are always tracked
        seen.add(id(one))
        found = gc.get_referents(one)
        references += len(found)
        waiting += found
    return references


def test_nothing_that_grows_with_the_models_is_looked_at_when_garbage_is_collected():
    small, large = filled(200), filled(4000)
    assert len(large) == 4000
    assert large.every(["author7"], large.filtered({})).models
    assert looked_at(large) <= looked_at(small) + 200


def test_a_model_that_comes_again_as_it_was_takes_no_further_room():
    index = filled(50)
    for number in range(50):
        index.put(document(number))
    assert len(index._keys) == len(index) == 50


def test_what_is_dead_is_left_behind_and_what_comes_meanwhile_is_not_lost():
    documents = {number: document(number) for number in range(300)}
    index = filled(300)
    for number in range(0, 300, 2):
        documents[number] = document(number)._replace(parts="changed")
        index.put(documents[number])
    for number in range(0, 300, 3):
        index.remove(documents.pop(number).key)
    moment = index.now()
    index.put(document(999))  # somebody writes on
    index.remove(document(1).key)
    compacted = index.compacted(moment)
    anew = WordIndex()
    for one in documents.values():
        anew.put(one)
    assert len(compacted._keys) == len(compacted) == len(documents) == 200
    assert "model3" not in compacted._vocabulary
    for changed in (False, True):
        if changed:
            for one in (compacted, anew):
                one.put(document(999))
                one.remove(document(1).key)
        for word in (
            "changed",
            "author7",
            "model151",
            "model999",
            "model1",
            "model3",
            "uthor",
            "m",
            "9",
            "tag4",
        ):
            pages = [
                one.page(one.every([word], one.filtered({})), [word], 0, 500) for one in (compacted, anew)
            ]
            assert pages[0] == pages[1], (word, changed)
        for sort in SORTS:
            lists = [one.sorted_page(one.filtered({}), sort, False, 0, 500) for one in (compacted, anew)]
            assert lists[0] == lists[1], (sort, changed)
        assert compacted.counts("tag", compacted._live, 500) == anew.counts("tag", anew._live, 500)


@pytest.mark.parametrize(
    "changed",
    [
        {"name": "other"},
        {"stem": "other"},
        {"texts": ("other", "safetensors", "family2", "tag7", "said of 7")},
        {"parts": "other"},
        {"sorts": ("model7 of author7 v7", 7, 1.0, 3.0, "loras")},
        {"filters": {"subtype": ("vae",), "tag": ("tag7",)}},
        {"filters": {"tier": ("loras",), "tag": ("tag7",)}},
        {"last_used": "2026-01-02"},
    ],
    ids=lambda changed: "-".join(changed),
)
def test_whatever_changes_of_a_model_is_taken_over(changed):
    index = filled(50)
    index.put(document(7)._replace(**changed))
    assert (len(index._keys), len(index)) == (51, 50)


def test_rows_to_be_written_are_not_looked_at_either():
    rows = Rows(
        row_of(
            IndexedModel(
                Model(
                    model_id=f"loras/flux/{number}",
                    official_name=f"model {number}",
                    cleaned_name=f"{number}",
                    files=[ModelFile(name=f"{number}.safetensors", original_name="", size=number)],
                    tags=["a", "b"],
                ),
                [IndexedFile(f"/library/{number}.safetensors", None, number, 1, f"1:{number}")],
            )
        )
        for number in range(300)
    )
    gc.collect()
    assert (len(rows.models), len(rows.files), len(rows.tags)) == (300, 300, 600)
    assert not any(map(gc.is_tracked, (*rows.models, *rows.files, *rows.tags)))


KEYS = st.integers(-3, 40) | st.sampled_from([2**22 - 1, 2**22, 2**40, 2**63 - 1, -(2**63)])


@given(st.lists(st.tuples(KEYS, st.integers(0, 1000) | st.none()), max_size=60))
def test_places_are_a_dict(steps):
    places, known = Places(), {}
    for key, place in steps:
        assert places.get(key) == known.get(key)
        assert places.pop(key) == known.pop(key, None)
        if place is not None:
            places.put(key, place)
            known[key] = place
        assert len(places) == len(known)
    for key, place in known.items():
        assert places.get(key) == place
        assert places.pop(key) == place


@pytest.mark.parametrize("kind", [Texts, FewTexts])
@given(st.lists(st.text(), max_size=30))
def test_texts_are_a_list(kind, wanted):
    texts = kind()
    for text in wanted:
        texts.append(text)
    assert [texts[number] for number in range(len(texts))] == wanted


@pytest.mark.parametrize("share", [1, 2, 30, 700])
@pytest.mark.parametrize("turned", [False, True])
def test_a_page_is_the_same_however_many_models_it_is_of(share, turned):
    index = WordIndex()
    documents = [
        document(number)._replace(
            sorts=(f"name{number % 37}", number % 50, number % 7 / 2, -float(number), f"type{number % 3}"),
            filters={"subtype": ("chosen",) if number % share == 0 else ("other",)},
        )
        for number in range(1500)
    ]
    for one in documents:
        index.put(one)
    models = index.filtered({"subtype": ["chosen"]})
    chosen = [one for one in documents if "chosen" in one.filters["subtype"]]
    for number, sort in enumerate(SORTS):
        chosen.sort(key=lambda one: (one.sorts[number], one.sorts[0], one.key), reverse=turned)
        keys = [one.key for one in chosen]
        for offset in (0, 3, 255, 256, 1400):
            assert index.sorted_page(models, sort, turned, offset, 50) == keys[offset : offset + 50]
