"""Every way to search finds what a plain look at all words finds, in one order, also after changes."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from model_librarian.core.library.index import Index, IndexedFile, IndexedModel
from model_librarian.core.library.records import Model, ModelFile, ModelQuery
from model_librarian.core.library.schema import migrate
from model_librarian.core.library.search import Search
from model_librarian.core.library.text import name_key, pieces, search_parts, words
from model_librarian.core.storage.database import Database

PARTS = [
    "flux", "sdxl", "sd", "xl", "juggernautXL", "v9", "Llama-3-7b", "7b", "3", "café", "写实风格", "real", "lora",
    "RealESRGAN", "x4plus", "NEAR", "wan2.2", "t2v", "12B", "a", "한국어", "OR",
]  # fmt: skip
TYPED = [
    *PARTS, "flu", "jugg", "llama3", "real x4", "cafe", "CAFÉ", "привет", "duster", "loras", "diffusion", "写实",
    "风格", "ux", "2", "esrgan", "l", "4", "Düster", "ten", "safe",
]  # fmt: skip

NAMES = st.lists(st.sampled_from(PARTS), min_size=1, max_size=4).flatmap(
    lambda chosen: st.sampled_from(["_", "-", " ", ".", ""]).map(lambda between: between.join(chosen))
)
MODELS = st.fixed_dictionaries(
    {
        "official_name": NAMES,
        "file": NAMES,
        "family": st.sampled_from(["flux", "sdxl", "unknown"]),
        "subtype": st.sampled_from(["loras", "vae"]),
        "tags": st.lists(st.sampled_from([*PARTS, "Düster", "two words"]), max_size=2, unique=True),
        "trained_words": st.lists(st.sampled_from(PARTS), max_size=1),
        "description": st.sampled_from(["", "a café somewhere", "the best 写实风格 of all", "Привет мир"]),
        "size_bytes": st.integers(1, 3),
    }
)
TEXTS = st.lists(st.sampled_from(TYPED), min_size=1, max_size=3).map(" ".join)
FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "family": st.just(["flux", "sdxl"]),
        "subtype": st.just(["loras"]),
        "tag": st.just(["flux", "3"]),
    },
)
ORDERS = [
    (sort, order) for sort in ("name", "size", "added", "updated", "type") for order in ("asc", "desc", None)
]
quickly = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


def entry(number, fields):
    path = f"/models/loras/{number}/{fields['file']}.safetensors"
    about = {name: value for name, value in fields.items() if name != "file"}
    model = Model(
        model_id=f"in-place/{number}",
        cleaned_name=str(number),
        model_type="diffusion",
        storage="in-place",
        files=[ModelFile(name=path, size=1)],
        added_date=f"2026-01-0{fields['size_bytes']}T00:00:00Z",
        updated_date="2026-01-01T00:00:00Z",
        **about,
    )
    return IndexedModel(model, [IndexedFile(path, "/models/loras", 1, 1, f"1:{number}")])


class Shelf:
    """The same index, searched in memory, with FTS5 and with LIKE."""

    def __init__(self, folder, models):
        self.database = Database(Path(folder) / "models.db", migrate)
        self.index = Index(self.database)
        self.index.put(entry(number, model) for number, model in enumerate(models))
        self.warm = Search(self.database)
        self.warm.load()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.warm.close()
        self.database.close()

    def without_memory(self, query, *, fts5=True):
        """What SQLite answers."""
        search = Search(self.database)
        self.database.searchable = fts5
        try:
            result = search._search(query.q, query) if query.q else search._list(query)
        finally:
            self.database.searchable = True
            search.close()
        return result


def ids(result):
    return [model.model_id for model in result.models]


def has(term, model):
    """Whether a model has a word: at a word's beginning or that of a part, else inside one."""
    file = f"{model['file']}.safetensors"
    texts = [
        model["official_name"], file, model["family"], model["subtype"], "diffusion", *model["tags"],
        *model["trained_words"], model["description"],
    ]  # fmt: skip
    every = [word for text in texts for word in words(text)]
    inner = words(search_parts(model["official_name"], file, *model["tags"]))
    if any(word.startswith(term) for word in (*every, *inner)):
        return True
    if len(term) == 1 and term.isascii():
        return term in name_key(model["official_name"]) + name_key(model["file"])
    return any(term in word and word != "safetensors" for word in every) or runs_together(term, model)


def runs_together(term, model):
    *first, last = pieces(term)
    name = words(model["official_name"])
    return (
        bool(first)
        and all(piece in name for piece in first)
        and any(word.startswith(last) for word in name)
        and " ".join(pieces(term)) in " ".join(name)
    )


def fits(model, filters):
    return all(
        set(wanted) & set(model["tags"] if field == "tag" else [model[field]])
        for field, wanted in filters.items()
    )


ELSEWHERE_IN_PIECES = {
    "official_name": "flux", "file": "flux", "family": "flux", "subtype": "loras", "tags": [],
    "trained_words": ["Llama-3-7b"], "description": "", "size_bytes": 1,
}  # fmt: skip
"""Only of a name the pieces may stand apart."""


@quickly
@given(st.lists(MODELS, min_size=1, max_size=8), TEXTS, FILTERS)
@example([ELSEWHERE_IN_PIECES], "llama3", {})
def test_each_finds_what_has_all_words_else_what_has_any(models, text, filters):
    terms = words(text)
    left = {f"in-place/{number}": model for number, model in enumerate(models) if fits(model, filters)}
    every = {key for key, model in left.items() if all(has(term, model) for term in terms)}
    some = {key for key, model in left.items() if any(has(term, model) for term in terms)}
    query = ModelQuery(q=text, limit=500, **filters)
    with tempfile.TemporaryDirectory() as folder, Shelf(folder, models) as shelf:
        warm = shelf.warm.find(query)
        if every:
            assert (warm.match, set(ids(warm))) == ("all", every)
        elif some and len(terms) > 1:
            assert (warm.match, set(ids(warm))) == ("any", some)
        else:
            assert warm.match == "fuzzy" or not warm.total
        like = shelf.without_memory(query, fts5=False)
        assert every <= set(ids(like)) if every else like.match == "any" or len(terms) == 1 or like.total
        fts = shelf.without_memory(query)
        if fts.match == "all":  # it knows no parts inside words, so that it may find fewer, but never others
            assert set(ids(fts)) <= every
        cold = Search(shelf.database)
        asked = cold.find(query)
        assert (asked.match, asked.total > 0) == (warm.match, warm.total > 0)
        cold.close()


@quickly
@given(st.lists(MODELS, min_size=1, max_size=10))
def test_lists_have_one_order_whoever_makes_them(models):
    with tempfile.TemporaryDirectory() as folder, Shelf(folder, models) as shelf:
        for sort, order in ORDERS:
            query = ModelQuery(sort=sort, order=order, limit=500)
            assert ids(shelf.warm.find(query)) == ids(shelf.without_memory(query)), (sort, order)


@quickly
@given(
    st.lists(MODELS, min_size=2, max_size=8),
    st.lists(
        st.tuples(st.integers(0, 9), st.none() | st.sampled_from(["touch", "tidy"]) | MODELS), max_size=8
    ),
    TEXTS,
)
def test_after_any_changes_all_is_as_if_it_were_read_anew(models, changes, text):
    queries = [ModelQuery(sort=sort, order=order, limit=500) for sort, order in ORDERS]
    queries += [ModelQuery(q=text, limit=500), ModelQuery(q=text, sort="size", limit=500)]
    with tempfile.TemporaryDirectory() as folder, Shelf(folder, models) as shelf:
        for number, change in changes:
            if change is None:
                shelf.index.remove([f"in-place/{number}"])
            elif change == "touch":
                shelf.index.touch(f"in-place/{number}")
            elif change == "tidy":
                shelf.warm._read_all()
            else:
                shelf.index.put([entry(number, change)])
            for query in queries:
                shelf.warm.find(query)
        anew = Search(shelf.database)
        anew.load()
        for query in queries:
            kept, fresh = shelf.warm.find(query), anew.find(query)
            assert (kept.match, kept.total, ids(kept)) == (fresh.match, fresh.total, ids(fresh)), query
            assert shelf.warm.facets(query) == anew.facets(query)
        anew.close()


SAME = {
    "official_name": "same", "file": "same", "family": "flux", "subtype": "loras", "tags": [],
    "trained_words": [], "description": "", "size_bytes": 1,
}  # fmt: skip


@pytest.mark.parametrize("sort", ["name", "size", "added", "updated", "type"])
def test_an_edit_moves_nothing_that_is_equal(tmp_path, sort):
    """Pages that are read one after another stay in step while tags are edited."""
    with Shelf(tmp_path, [SAME] * 600) as shelf:
        query = ModelQuery(sort=sort, limit=500)
        before = ids(shelf.warm.find(query))
        for number in (5, 300, 0):
            shelf.index.put([entry(number, {**SAME, "tags": ["edited"]})])
            assert ids(shelf.warm.find(query)) == before == ids(shelf.without_memory(query))


@pytest.mark.parametrize("sort", ["name", "size", "added", "updated", "type"])
def test_equal_ones_keep_their_order_when_most_are_changed_at_once(tmp_path, sort):
    with Shelf(tmp_path, [SAME] * 1200) as shelf:
        query = ModelQuery(sort=sort, limit=500)
        before = ids(shelf.warm.find(query))
        for number in range(0, 1200, 2):
            shelf.index.put([entry(number, {**SAME, "tags": ["edited"]})])
        assert ids(shelf.warm.find(query)) == before == ids(shelf.without_memory(query))
        shelf.warm._read_all()
        assert ids(shelf.warm.find(query)) == before


@pytest.mark.parametrize("loaded", [True, False])
def test_a_hash_that_the_filters_hide_is_not_taken_for_a_word(tmp_path, loaded):
    """Also where a name has it as a word, as ``deadbeef12`` may be: it is one of many, the hash is meant."""
    same = {
        "official_name": "deadbeef12 style", "file": "a", "family": "flux", "subtype": "loras", "tags": [],
        "trained_words": [], "description": "", "size_bytes": 1,
    }  # fmt: skip
    with Shelf(tmp_path, [same, {**same, "official_name": "hashed", "subtype": "vae"}]) as shelf:
        search = shelf.warm if loaded else Search(shelf.database)
        assert (
            search.find(ModelQuery(q="DEADBEEF12")).match,
            search.find(ModelQuery(q="deadbeef12")).total,
        ) == (
            "all",
            1,
        )
        shelf.index.set_hashes("/models/loras/1/a.safetensors", "deadbeef12" + "0" * 54, "1" * 64)
        result = search.find(ModelQuery(q="DEADBEEF12"))
        assert (result.match, [model.official_name for model in result.models]) == ("hash", ["hashed"])
        hidden = search.find(ModelQuery(q="deadbeef12", subtype=["loras"]))
        assert (hidden.match, hidden.total) == ("hash", 0)
        facets = search.facets(ModelQuery(q="deadbeef12", subtype=["loras"]))
        assert [(value.value, value.count) for value in facets.subtype] == [("vae", 1)]
        if not loaded:
            search.close()
