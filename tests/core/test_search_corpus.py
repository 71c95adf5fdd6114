"""Search over the names of real models, straight in the index; and what the rows of the search table promise."""

from __future__ import annotations

import itertools
import json
import random
import re
import sqlite3
from collections import defaultdict
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_librarian.core.library.index import Index, IndexedFile, IndexedModel
from model_librarian.core.library.records import Model, ModelFile, ModelQuery
from model_librarian.core.library.schema import forget_changes, migrate
from model_librarian.core.library.search import Search
from model_librarian.core.library.text import words
from model_librarian.core.library.word_index import WordIndex
from model_librarian.core.storage.database import Database


def entry(name, number, *, folder="loras", **fields):
    path = f"/models/{folder}/{number}/{name}"
    stem = name.rpartition(".")[0]
    model = Model(
        model_id=f"in-place/{stem}-{number}",
        **{"official_name": stem, **fields},
        cleaned_name=stem,
        subtype=folder,
        storage="in-place",
        files=[ModelFile(name=path, original_name=name, size=number)],
        size_bytes=number,
    )
    return IndexedModel(model, [IndexedFile(path, f"/models/{folder}", number, 1, f"1:{number}")])


class Shelf:
    """A search over an index that is written directly."""

    def __init__(self, path, entries):
        self.database = Database(path, migrate)
        self.index = Index(self.database)
        self.index.put(entries)
        self.search = Search(self.database)

    def find(self, text, **more):
        return self.search.find(ModelQuery(q=text, **more))

    def names(self, text, **more):
        return [model.file_name for model in self.find(text, **more).models]


def real_names():
    def named(value):
        if isinstance(value, dict):
            if all(isinstance(value.get(key), str) for key in ("name", "directory", "url")):
                yield value["name"], value["directory"]
            for inner in value.values():
                yield from named(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from named(inner)

    found = {}
    for path in sorted(Path(str(files("comfyui_workflow_templates_json"))).rglob("*.json")):
        found.update(named(json.loads(path.read_bytes())))
    return sorted(found.items())


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    names = real_names()
    assert len(names) > 300
    shelf = Shelf(
        tmp_path_factory.mktemp("corpus") / "models.db",
        [entry(name, number, folder=folder) for number, (name, folder) in enumerate(names)],
    )
    shelf.search.load()
    shelf.all_names = [name for name, _ in names]
    yield shelf
    shelf.database.close()


@pytest.fixture
def shelf(tmp_path):
    made = []

    def make(*entries, loaded=True):
        shelf = Shelf(tmp_path / f"models-{len(made)}.db", entries)
        if loaded:
            shelf.search.load()
        made.append(shelf)
        return shelf

    yield make
    for shelf in made:
        shelf.search.close()
        shelf.database.close()


def test_a_name_without_its_extension_comes_first(corpus):
    for name in corpus.all_names:
        stem = name.rpartition(".")[0]
        for typed in (stem, stem.upper(), name):
            assert corpus.names(typed)[0].rpartition(".")[0] == stem, typed


@pytest.fixture(scope="module")
def parts_of(corpus):
    """The words of each name, without its extension."""
    return {name: list(dict.fromkeys(words(name.rpartition(".")[0]))) for name in corpus.all_names}


def test_any_two_parts_of_a_name_in_any_order_find_it(corpus, parts_of):
    """In the first 20; where more than 20 names have both parts, all of the first 20 do, and the rest follow."""
    having = defaultdict(set)
    for name, parts in parts_of.items():
        for pair in itertools.permutations(parts, 2):
            having[pair].add(name)
    for pair, names in having.items():
        found = corpus.names(" ".join(pair), limit=500)
        first = set(found[:20])
        assert first <= names if len(names) > 20 else names <= first, (pair, names - first)
        assert names <= set(found), (pair, names - set(found))
    crowded = {frozenset(pair) for pair, names in having.items() if len(names) > 20}
    assert len(crowded) * 100 < len({frozenset(pair) for pair in having})
    assert len(having) > 4000


def test_a_name_stays_found_while_its_second_part_is_being_typed(corpus, parts_of):
    found = {}
    for name, parts in parts_of.items():
        for one, other in itertools.permutations(parts, 2):
            for end in range(1, len(other)):
                typed = f"{one} {other[:end]}"
                if typed not in found:
                    found[typed] = set(corpus.names(typed, limit=500))
                assert name in found[typed], (name, typed)


def test_every_inner_part_of_a_word_finds_it(corpus):
    chosen = random.Random(1)
    for name in corpus.all_names:
        long = [word for word in words(name.rpartition(".")[0]) if len(word) > 4]
        if long:
            word = chosen.choice(long)
            part = word[1 : 1 + chosen.randint(3, len(word) - 1)]
            result = corpus.find(part, limit=500)
            assert name in [model.file_name for model in result.models], (name, part)
            assert result.match == "all"


def test_one_wrong_letter_finds_the_nearest_names(corpus):
    tried = 0
    for name in corpus.all_names:
        for word in re.findall(r"[a-z]{7,}", name.lower()):
            typo = word[:3] + "q" + word[4:]
            result = corpus.find(typo, limit=500)
            if result.match == "fuzzy":
                tried += 1
                assert name in [model.file_name for model in result.models], (name, typo)
    assert tried > 100


@pytest.mark.parametrize("text", ["", "fp8", "a", "flux wan", "qwem", "safetensors", "scaled fp8"])
@pytest.mark.parametrize("sort", [None, "name", "size", "added"])
def test_pages_follow_one_another_and_hold_exactly_the_total(corpus, text, sort):
    first = corpus.find(text, sort=sort, limit=1)
    seen = [
        model.model_id
        for offset in range(0, first.total + 7, 7)
        for model in corpus.find(text, sort=sort, limit=7, offset=offset).models
    ]
    assert len(seen) == len(set(seen)) == first.total > 0
    assert corpus.find(text, sort=sort, limit=7, offset=first.total).models == []
    everything = [model.model_id for model in corpus.find(text, sort=sort, limit=500).models]
    assert everything == seen[:500]


def test_what_the_filters_count_is_what_they_find(corpus):
    for text in ("", "fp8", "flux wan", "qwem"):
        facets = corpus.search.facets(ModelQuery(q=text))
        for value in facets.subtype:
            assert corpus.find(text, subtype=[value.value]).total == value.count


def test_both_ways_to_search_find_the_same(corpus):
    """Before the words are in memory FTS5 answers; it knows no parts inside words but finds the same else."""
    cold = Search(corpus.database)
    for text in ("fp8 scaled", "wan", "flux dev", "ltx 13b", "clip_l", "umt5"):
        query = ModelQuery(q=text, limit=500)
        by_words = {model.model_id for model in corpus.search.find(query).models}
        by_fts = {model.model_id for model in cold.find(query).models}
        assert by_fts
        assert by_fts <= by_words
    assert cold.find(ModelQuery(q="qwem")).match == "fuzzy"


def test_exact_then_beginning_then_words_then_parts(shelf):
    found = shelf(
        entry("mythreal.safetensors", 1),
        entry("photo real.safetensors", 2),
        entry("real photo.safetensors", 3),
        entry("real.safetensors", 4),
        entry("RealESRGAN_x4.pth", 5),
        entry("a realistic one.safetensors", 6),
    )
    assert found.names("real") == [
        "real.safetensors",
        "real photo.safetensors",
        "RealESRGAN_x4.pth",
        "photo real.safetensors",
        "a realistic one.safetensors",
        "mythreal.safetensors",
    ]
    assert found.names("eal")[0]
    assert "RealESRGAN_x4.pth" in found.names("eal")
    assert found.names("ggernaut") == []


def test_parts_inside_words_are_found_whatever_their_length_and_come_last(shelf):
    names = [
        "xl base.safetensors",
        "xlabs depth.safetensors",
        "some xl thing.safetensors",
        "juggernautXL_v9.safetensors",
        "of xlabs.safetensors",
        "sdxl_turbo.safetensors",
        "unrelated.safetensors",
    ]
    found = shelf(*(entry(name, number) for number, name in enumerate(reversed(names))))
    assert found.names("xl") == names[:6]
    assert found.names("d") == [names[1], names[5], names[6]]
    assert found.names("9") == [names[3]]
    assert set(found.names("x")) == set(names[:6])
    assert found.names("turbo x") == found.names("l turbo") == [names[5]]
    found.index.remove([f"in-place/{names[5][:-12]}-1"])
    found.index.put([entry("6q.safetensors", 20, official_name="six")])
    assert names[5] not in found.names("x")
    assert found.names("q") == ["6q.safetensors"]


def test_single_digits_are_found_inside_longer_numbers_but_after_those_that_stand_alone(shelf):
    found = shelf(
        entry("flux 12b.safetensors", 1), entry("Llama-3-2b.safetensors", 2), entry("v25.safetensors", 3)
    )
    assert found.names("2") == ["Llama-3-2b.safetensors", "v25.safetensors", "flux 12b.safetensors"]


def test_name_before_file_before_family_before_tags_before_description(shelf):
    found = shelf(
        entry("e.safetensors", 1, description="the best of anime"),
        entry("d.safetensors", 2, tags=["anime"]),
        entry("c.safetensors", 3, family="anime"),
        entry("anime.b.safetensors", 4, official_name="b"),
        entry("my anime.safetensors", 5),
    )
    names = ["my anime.safetensors", "anime.b.safetensors", "c.safetensors", "d.safetensors", "e.safetensors"]
    assert found.names("anime") == names


FILTERED = {
    "type": ("model_type", "vision"),
    "subtype": ("subtype", "vae"),
    "family": ("family", "flux"),
    "base_model": ("base_model", "Flux.1"),
    "tag": ("tags", ["anime"]),
    "tier": ("security_tier", "safe"),
    "format": ("model_format", "sharded-set"),
    "storage": ("storage", "owned"),
}


@pytest.mark.parametrize("loaded", [True, False])
@pytest.mark.parametrize("name", FILTERED)
def test_each_filter_leaves_what_it_says(shelf, name, loaded):
    field, value = FILTERED[name]
    is_so, is_not = entry("is so.safetensors", 1), entry("is not.safetensors", 2)
    setattr(is_so.model, field, value)
    found = shelf(is_so, is_not, loaded=loaded)
    wanted = value if isinstance(value, list) else [value]
    for text in ("", "is"):
        assert found.names(text, **{name: wanted}) == ["is so.safetensors"]
        assert found.find(text).total == 2
    assert found.names("not", **{name: wanted}) == []


def test_equal_ones_by_last_use_then_by_name(shelf):
    found = shelf(*(entry(f"{letter} style.safetensors", number) for number, letter in enumerate("cabd")))
    assert [name[0] for name in found.names("style")] == ["a", "b", "c", "d"]
    found.index.touch("in-place/d style-3")
    found.index.touch("in-place/b style-2")
    assert [name[0] for name in found.names("style")] == ["b", "d", "a", "c"]


@pytest.mark.parametrize(
    ("typed", "file"),
    [
        ("juggernot", "juggernautXL_v9.safetensors"),
        ("jugernaut", "juggernautXL_v9.safetensors"),
        ("Jùggernöt", "juggernautXL_v9.safetensors"),
        ("ggernaut", "juggernautXL_v9.safetensors"),
        ("realesrgn", "RealESRGAN_x4plus.pth"),
        ("写实", "超写实风格v2.safetensors"),
        ("风格v2", "超写实风格v2.safetensors"),
        ("스타일", "한국어스타일.safetensors"),
        ("ENFANT", "Portrait d'enfant à l'été.safetensors"),
        ("ete", "Portrait d'enfant à l'été.safetensors"),
        ("llama3", "Llama-3-7b.gguf"),
        ("straße", "STRASSE.safetensors"),
    ],
)
def test_what_is_typed_finds(shelf, typed, file):
    found = shelf(
        entry("juggernautXL_v9.safetensors", 1),
        entry("RealESRGAN_x4plus.pth", 2),
        entry("超写实风格v2.safetensors", 3),
        entry("한국어스타일.safetensors", 4),
        entry("Portrait d'enfant à l'été.safetensors", 5),
        entry("Llama-3-7b.gguf", 6),
        entry("STRASSE.safetensors", 7),
    )
    assert found.names(typed) == [file]


def test_the_nearest_names_say_that_they_are_only_near(shelf):
    found = shelf(entry("juggernautXL_v9.safetensors", 1), entry("other.safetensors", 2))
    result = found.find("juggernot")
    assert (result.match, result.total) == ("fuzzy", 1)
    assert found.find("completely different").total == 0


def test_changes_of_another_process_are_found(shelf, tmp_path):
    found = shelf(entry("one.safetensors", 1))
    other = Shelf(found.database.path, [entry("two.safetensors", 2)])
    assert found.names("two") == ["two.safetensors"]
    other.index.remove(["in-place/one-1"])
    assert found.names("") == ["two.safetensors"]
    other.index.put([entry("two.safetensors", 2, tags=["three"])])
    assert found.names("three") == ["two.safetensors"]
    with other.database.write() as db:
        db.execute("UPDATE models SET official_name = 'straight from SQL', name_key = 'straight from sql'")
    assert found.find("straight").total == 1
    other.database.close()


def test_changes_that_were_forgotten_meanwhile_are_not_missed(shelf):
    found = shelf(entry("one.safetensors", 1))
    other = Shelf(found.database.path, [entry("two.safetensors", 2), entry("three.safetensors", 3)])
    with other.database.write() as db:
        forget_changes(db, keep=1)
    assert found.names("two") == ["two.safetensors"]
    found.search.catch_up()
    assert set(found.names("", sort="name")) == {"one.safetensors", "two.safetensors", "three.safetensors"}
    other.database.close()


def test_many_changes_do_not_pile_up(shelf):
    found = shelf(*(entry(f"model {number}.safetensors", number) for number in range(600)))
    for round_ in range(4):
        found.index.put(
            entry(f"model {number}.safetensors", number, tags=[f"round{round_}"]) for number in range(600)
        )
        found.search.catch_up()
        assert found.find(f"round{round_}").total == 600
        assert found.find("", sort="size").models[0].size_bytes == 599
    found.search.load()
    assert not found.search._words.wasteful
    assert found.find("round0").match == "fuzzy"


def test_much_that_is_new_is_found_at_once_and_read_behind(shelf, monkeypatch):
    monkeypatch.setattr("model_librarian.core.library.search.AT_ONCE", 5)
    found = shelf(*(entry(f"model {number}.safetensors", number) for number in range(20)))
    found.search.load()
    before = found.search._words
    found.index.put(entry(f"fresh {number}.safetensors", 100 + number) for number in range(20))
    assert found.find("fresh", limit=50).total == 20
    assert found.search.facets(ModelQuery(q="fresh")).type[0].count == 20
    found.search.catch_up()
    assert found.find("fresh", limit=50).total == 20
    found.search.load()
    assert found.search._words is not before
    assert found.find("fresj", limit=50).match == "fuzzy"


def test_what_comes_while_all_is_read_is_taken_over_and_nothing_is_read_twice(shelf, monkeypatch):
    monkeypatch.setattr("model_librarian.core.library.search.AT_ONCE", 5)
    found = shelf(*(entry(f"model {number}.safetensors", number) for number in range(20)), loaded=False)
    readings = []

    def warm(index):
        readings.append(index)
        found.index.put(
            entry(f"fresh {len(readings)} {number}.safetensors", number) for number in range(50, 70)
        )

    monkeypatch.setattr(WordIndex, "warm", warm)
    found.search.load()
    assert len(readings) == 1
    assert found.search._words is readings[0]
    assert found.find("fresj", limit=50).total == 20


def test_closing_ends_reading_in_the_background(shelf, monkeypatch):
    monkeypatch.setattr("model_librarian.core.library.search.AT_ONCE", 5)
    found = shelf(*(entry(f"model {number}.safetensors", number) for number in range(20)))
    found.search.load()
    found.index.put(entry(f"fresh {number}.safetensors", 100 + number) for number in range(2000))
    found.search.catch_up()
    found.search.close()
    assert not any(thread.is_alive() for thread in found.search._background._threads)
    assert found.find("fresh", limit=50).total == 2000
    found.search.catch_up()


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    shelf = Shelf(
        tmp_path_factory.mktemp("hostile") / "models.db",
        [
            entry(name, number)
            for number, name in enumerate(["a.safetensors", "写实.gguf", "İstanbul ß ﬁ.pth", "-_.bin"])
        ],
    )
    shelf.search.load()
    yield shelf
    shelf.database.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(
    st.one_of(
        st.text(alphabet=st.characters(), max_size=60),
        st.text(alphabet="\"*:()-^+NEARORANDNOT {}[]\\'\0%_~写실aé\n", max_size=40),
    )
)
def test_no_text_whatever_raises(hostile, text):
    for query in (ModelQuery(q=text), ModelQuery(q=text, sort="size", subtype=[text], tag=[text])):
        result = hostile.search.find(query)
        assert len(result.models) <= result.total
        hostile.search.facets(query)


def test_the_search_table_stays_in_step(shelf):
    found = shelf(entry("one.safetensors", 1), loaded=False)
    found.index.put([entry("one.safetensors", 1, tags=["late"])])
    found.index.put([entry("two.safetensors", 2, tags=["late"])])
    found.index.remove(["in-place/two-2"])
    with found.database.write() as db:
        db.execute("INSERT INTO model_search (model_search, rank) VALUES ('integrity-check', 1)")
    rows = found.database.read().execute("SELECT model_id FROM model_search WHERE model_search MATCH 'late'")
    assert [row[0] for row in rows] == ["in-place/one-1"]


def test_nothing_newer_than_sqlite_3_31_is_used():
    source = Path(str(files("model_librarian"))) / "core"
    text = "".join(path.read_text() for path in source.rglob("*.py"))
    for word in ("RETURNING ", " MATERIALIZED", "trigram", "json_each(", " STRICT", "->>", "IIF("):
        assert not re.search(rf"""["'][^"'\n]*{re.escape(word)}""", text), word
    assert sqlite3.sqlite_version_info >= (3, 31)
