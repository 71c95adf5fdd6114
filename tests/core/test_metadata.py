"""Whatever stands in a ``metadata.json``, and whoever writes it: no scan ends there, nothing is lost."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from model_librarian.core.library import ModelQuery
from model_librarian.core.library.records import Model

KEYS = [field.alias or name for name, field in Model.model_fields.items()]
TEXTS = st.text(max_size=8) | st.sampled_from(
    ["", "\0", "a\nb", "\u202e", "\ud800", "x" * 1000, "../x", "/etc/passwd", "owned", "in-place", "pickle"]
)
MOMENTS = st.sampled_from(
    [
        "2026-01-01T00:00:00",
        "0001-01-01T00:00:00+05:00",
        "9999-12-31T23:59:59+23:59",
        "9999-12-31T23:59:59-05:00",
    ]
)
NUMBERS = st.integers() | st.floats() | st.sampled_from([2**63, -1, 10**30])
FILES = st.lists(
    st.fixed_dictionaries(
        {
            "name": TEXTS
            | st.sampled_from(["up.safetensors", "a/../up.safetensors", ".", "up.safetensors/x"]),
            "size": NUMBERS,
            "sha256": st.sampled_from([None, "", "A" * 64, "no hash", 7]),
            "shard_index": st.none() | NUMBERS,
        }
    ),
    max_size=2,
)
ANYTHING = (
    st.none()
    | st.booleans()
    | NUMBERS
    | TEXTS
    | MOMENTS
    | FILES
    | st.lists(TEXTS, max_size=3)
    | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)
)


def written(librarian, model_id):
    return librarian.library.metadata.folder(model_id) / "metadata.json"


@settings(suppress_health_check=list(HealthCheck), max_examples=120, deadline=None)
@given(st.dictionaries(st.sampled_from([*KEYS, "unknown"]), ANYTHING, min_size=1, max_size=3))
@example({"size_bytes": 10**30})
@example({"added_date": "9999-12-31T23:59:59+23:59"})
def test_whatever_it_says_the_model_is_listed_or_reported_and_all_is_answered(
    librarian, owned, finished, values
):
    path = written(librarian, owned)
    good = path.read_bytes()
    try:
        path.write_text(json.dumps({**json.loads(good), **values}))
        librarian.library.forget([owned])
        job = finished(librarian.scans.start("deep"))
        assert job.state == "done", job.error
        found = librarian.models.search(ModelQuery()).total
        assert found or job.result["errors"] or job.result["models_skipped_missing_files"]
        for sort in ("name", "size", "added", "updated", "type"):
            result = librarian.models.search(ModelQuery(sort=sort))
            assert result.total == len(result.models) == found
            assert result.model_dump_json()
        for model in result.models:
            assert librarian.models.details(model.model_id).model_dump_json()
        for report in (librarian.models.facets(ModelQuery()), librarian.models.storage(), librarian.status()):
            assert report.model_dump_json()
    finally:
        path.write_bytes(good)


def test_hashes_count_however_they_are_spelled_and_what_is_none_makes_no_two_files_equal(
    librarian, owned, finished
):
    path = written(librarian, owned)
    content = json.loads(path.read_text())
    digest = content["files"][0]["sha256"]
    content["files"][0] |= {"sha256": digest.upper(), "blake3": "unknown"}
    content["hashes"] = {"sha256": "", "blake3": "-"}
    path.write_text(json.dumps(content))
    finished(librarian.scans.start("deep"))
    [file] = librarian.library.files(owned)
    assert (file.sha256, file.blake3) == (digest, None)
    assert librarian.library.model(owned).hashes.sha256 is None
    assert librarian.models.search(ModelQuery(q=digest[:12])).match == "hash"


def test_tags_are_the_same_in_lists_filters_and_files(librarian, owned, finished):
    librarian.models.edit(owned, {"tags": ["two\nlines", "", " once ", "once"]})
    assert json.loads(written(librarian, owned).read_text())["tags"] == ["two lines", "once"]
    for loaded in (True, False):
        if not loaded:
            librarian.library._search._words = None
        [model] = librarian.models.search(ModelQuery(tag=["two lines"])).models
        assert model.tags == ["two lines", "once"]
        facets = librarian.models.facets(ModelQuery())
        assert {value.value for value in facets.tag} == {"two lines", "once"}


def test_unknown_keys_are_kept_at_every_level(librarian, owned, finished):
    path = written(librarian, owned)
    content = json.loads(path.read_text())
    content["rating"] = {"stars": 5, "by": ["me"]}
    content["hashes"]["autov3"] = "abc"
    content["files"][0]["mirror"] = {"url": "elsewhere"}
    path.write_text(json.dumps(content))
    finished(librarian.scans.start("quick"))
    librarian.models.edit(owned, {"notes": "mine"})
    after = json.loads(path.read_text())
    assert after["notes"] == "mine"
    assert after["rating"] == {"stars": 5, "by": ["me"]}
    assert after["hashes"]["autov3"] == "abc"
    assert after["files"][0]["mirror"] == {"url": "elsewhere"}


EDITING = """
import sys
from pathlib import Path
from model_librarian.core.librarian import Librarian
from model_librarian.core.settings import Surroundings
librarian = Librarian(Surroundings.model_validate_json(sys.argv[1]))
librarian.jobs.wait(librarian.scans.start("quick").id)
print("ready", flush=True)
sys.stdin.readline()
for number in range(1, 41):
    librarian.models.edit(sys.argv[2], {sys.argv[3]: f"{sys.argv[3]} {number}"})
librarian.close()
"""


@pytest.mark.parametrize("one_index", [True, False])
def test_two_processes_editing_two_fields_at_the_same_time_lose_neither(
    librarian, owned, surroundings, one_index, tmp_path
):
    """On one machine with one index, and on two that share the library's folder."""
    processes = []
    for number, field in enumerate(("notes", "description")):
        own = surroundings.model_copy(update={"data_dir": tmp_path / f"data of {number}"})
        process = subprocess.Popen(
            [
                sys.executable, "-c", EDITING,
                (surroundings if one_index else own).model_dump_json(), owned, field,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        processes.append(process)
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    model = librarian.library.metadata.read(owned)
    assert (model.notes, model.description) == ("notes 40", "description 40")
    if one_index:
        details = librarian.models.details(owned)
        assert (details.notes, details.description) == ("notes 40", "description 40")
