"""What other tools leave beside a model: read as data, believed only of these very bytes, bounded."""

from __future__ import annotations

import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_librarian.core.formats import Guess
from model_librarian.core.formats.sidecars import MAX_BYTES, Listing, Told, told_beside, with_told
from model_librarian.core.importing.neighbours import neighbours_of
from model_librarian.core.importing.records import ImportItem, ImportRequest
from model_librarian.core.jobs import Job
from model_librarian.core.librarian import Librarian
from model_librarian.core.library import ModelQuery

SHA = "0f" * 32
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 64

CIVITAI: dict[str, Any] = {
    "id": 135867,
    "modelId": 122359,
    "name": "v1.0",
    "nsfwLevel": 1,
    "baseModel": "SDXL 1.0",
    "trainedWords": ["add_detail", "  more detail  ", "add_detail", 5, None],
    "description": "<p>For <b>SDXL</b>.</p><p>Weights -3 &amp; 3</p>",
    "model": {"name": "Detail Tweaker XL", "type": "LORA", "nsfw": False, "tags": ["concept", "detail"]},
    "files": [{"name": "add-detail-xl.safetensors", "sizeKB": 223100.0, "hashes": {"SHA256": SHA.upper()}}],
    "images": [{"url": "https://image.civitai.com/x.jpeg", "nsfwLevel": 1, "meta": {"prompt": "x"}}],
    "downloadUrl": "https://evil.example/x",
}
"""As Civitai answers for a hash, and Civitai Helper writes it down."""

LORA_MANAGER: dict[str, Any] = {
    "file_name": "add-detail-xl",
    "model_name": "Detail Tweaker XL",
    "file_path": "/models/loras/add-detail-xl.safetensors",
    "size": 8,
    "modified": 1711111111.5,
    "sha256": SHA,
    "base_model": "Illustrious",
    "preview_url": "/models/loras/add-detail-xl.webp",
    "preview_nsfw_level": 4,
    "notes": "mine: 0.7 is enough",
    "from_civitai": True,
    "civitai": CIVITAI,
    "tags": ["enhancer"],
    "modelDescription": "<h1>Detail</h1><script>alert(1)</script>",
    "usage_tips": '{"strength": 0.7}',
    "hash_status": "completed",
}

A1111 = {
    "description": "Adds detail",
    "sd version": "SDXL",
    "activation text": "add_detail, sharp <lora:x:1>",
    "preferred weight": 0.8,
    "negative text": "blurry",
    "notes": "from a friend",
}

MODEL_MANAGER = """---
author: someone
baseModel: Pony
hashes:
  AutoV2: 0F0F0F0F0F
  SHA256: {sha}
metadata:
  format: SafeTensor
modelPage: https://civitai.com/models/122359?modelVersionId=135867
preview:
- https://image.civitai.com/x.jpeg
website: Civitai
---

# Trigger Words

add_detail, sharp

# About this version

For **Pony**.

# Detail Tweaker XL

Adds detail.
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "add-detail-xl.safetensors"
    path.write_bytes(b"\0" * 8)
    return path


def beside(model: Path, ending: str, content: Any) -> Path:
    path = model.with_name(model.stem + ending)
    data = (
        content
        if isinstance(content, bytes)
        else content
        if isinstance(content, str)
        else json.dumps(content)
    )
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def test_what_civitai_helper_left_is_told(model: Path) -> None:
    beside(model, ".civitai.info", CIVITAI)

    facts, source = told_beside(model, sha256=SHA)

    assert source == "civitai-helper"
    assert facts == {
        "official_name": "Detail Tweaker XL v1.0",
        "base_model": "SDXL 1.0",
        "tags": ["concept", "detail"],
        "trained_words": ["add_detail", "more detail"],
        "description": "For SDXL .\nWeights -3 & 3",
        "download_url": "https://civitai.com/api/download/models/135867",
        "civitai": {
            "version_id": 135867,
            "model_id": 122359,
            "url": "https://civitai.com/models/122359?modelVersionId=135867",
            "nsfw_level": 1,
        },
    }


def test_what_lora_manager_left_is_told_with_the_words_of_the_version_inside(model: Path) -> None:
    beside(model, ".metadata.json", LORA_MANAGER)

    facts, source = told_beside(model, sha256=SHA, size=8)

    assert source == "lora-manager"
    assert facts["official_name"] == "Detail Tweaker XL v1.0"
    assert (facts["base_model"], facts["tags"]) == ("Illustrious", ["enhancer"])
    assert facts["trained_words"] == ["add_detail", "more detail"]
    assert facts["notes"] == "mine: 0.7 is enough"
    assert "<" not in facts["description"]
    assert facts["civitai"]["version_id"] == 135867


def test_a_repository_on_hugging_face_is_told(model: Path) -> None:
    beside(model, ".metadata.json", {"model_name": "x", "hf_url": "https://huggingface.co/a/b-c/tree/main"})
    assert told_beside(model).facts["repo_id"] == "a/b-c"
    beside(model, ".metadata.json", {"model_name": "x", "hf_url": "https://huggingface.co.evil.example/a/b"})
    assert "repo_id" not in told_beside(model).facts


def test_what_a_person_wrote_in_automatic1111_is_told(model: Path) -> None:
    beside(model, ".json", A1111)

    facts, source = told_beside(model)

    assert source == "a1111"
    assert facts["base_model"] == "SDXL 1.0"
    assert facts["trained_words"] == ["add_detail", "sharp"]
    assert facts["notes"] == "from a friend\nPreferred weight: 0.8\nNegative prompt: blurry"


def test_what_model_manager_left_is_told(model: Path) -> None:
    beside(model, ".md", MODEL_MANAGER.format(sha=SHA.upper()))

    facts, source = told_beside(model, sha256=SHA)

    assert source == "model-manager"
    assert facts["official_name"] == "Detail Tweaker XL"
    assert facts["base_model"] == "Pony"
    assert facts["trained_words"] == ["add_detail", "sharp"]
    assert facts["description"] == "For **Pony**.\nAdds detail."
    assert facts["civitai"]["model_id"] == 122359


def test_a_configuration_of_the_same_name_is_not_taken_for_a_record(model: Path) -> None:
    beside(model, ".json", {"description": "a config", "model_type": "llama"})
    beside(model, ".md", "# Hello\n\nworld\n")
    assert told_beside(model) == Told({}, "")


def test_what_one_record_does_not_tell_the_next_one_may(model: Path) -> None:
    beside(model, ".metadata.json", {"model_name": "Mine", "base_model": "Unknown", "civitai": None})
    beside(model, ".civitai.info", CIVITAI)
    facts, source = told_beside(model)
    assert (facts["official_name"], facts["base_model"], source) == ("Mine", "SDXL 1.0", "lora-manager")


@pytest.mark.parametrize(("ending", "content"), [
    (".civitai.info", CIVITAI),
    (".metadata.json", LORA_MANAGER),
    (".md", MODEL_MANAGER.format(sha=SHA)),
])  # fmt: skip
def test_a_record_of_other_bytes_is_not_believed(model: Path, ending: str, content: Any) -> None:
    beside(model, ending, content)
    assert told_beside(model, sha256=SHA).facts
    assert told_beside(model, sha256="ab" * 32) == Told({}, "")


def test_a_record_of_a_file_of_another_size_is_not_believed(model: Path) -> None:
    beside(model, ".metadata.json", LORA_MANAGER)
    assert told_beside(model, size=8).facts
    assert not told_beside(model, size=9).facts


def test_the_record_wins_over_the_header_but_not_over_the_tensors() -> None:
    guess = Guess(official_name="add-detail-xl", subtype="loras", family="sdxl", base_model="SDXL 1.0")

    pony = with_told(guess, Told({"official_name": "Detail", "base_model": "Pony", "tags": ["x"]}, "a1111"))
    assert (pony["official_name"], pony["family"], pony["base_model"]) == ("Detail", "sdxl", "Pony")
    assert (pony["tags"], pony["subtype"]) == (["x"], "loras")

    assert with_told(guess, Told({"base_model": "Flux.1 D"}, ""))["base_model"] == "SDXL 1.0"
    assert with_told(guess, Told({"base_model": "My own"}, ""))["base_model"] == "My own"
    unknown = with_told(Guess(official_name="x"), Told({"base_model": "Flux.1 D"}, ""))
    assert (unknown["family"], unknown["base_model"]) == ("flux", "Flux.1")
    closer = Guess(official_name="x", family="wan", base_model="Wan 2.2")
    assert with_told(closer, Told({"base_model": "Wan Video"}, ""))["base_model"] == "Wan 2.2"


def test_what_comes_along_and_what_it_is_called_there(model: Path) -> None:
    for ending in (".png", ".preview.jpeg", ".PREVIEW.webp", ".gif", ".mp4"):
        beside(model, ending, PNG)
    beside(model, ".civitai.info", CIVITAI)
    beside(model, ".txt", "notes")
    beside(model, ".yaml", "model: x")
    beside(model, "-other.png", PNG)
    (model.parent / "add-detail.png").write_bytes(PNG)

    found = neighbours_of(model, SHA)

    assert found.preview is not None and found.preview.name == "add-detail-xl.png"
    assert {new for _, new in found.placed("new.safetensors", model.name)} == {
        "preview.png", "new.preview.jpeg", "new.PREVIEW.webp", "new.gif", "new.mp4",
        "new.civitai.info", "new.txt", "new.yaml",
    }  # fmt: skip
    assert (found.source, found.facts["base_model"]) == ("civitai-helper", "SDXL 1.0")


def test_a_film_is_the_preview_where_there_is_no_picture(model: Path) -> None:
    film = beside(model, ".mp4", b"\0\0\0\x18ftypmp42")
    assert neighbours_of(model).preview == film


def test_no_neighbour_takes_a_name_that_means_something_in_the_library(tmp_path: Path) -> None:
    for stem in ("metadata", "overrides", "preview"):
        model = tmp_path / f"{stem}.safetensors"
        model.write_bytes(b"\0" * 8)
        for ending in (".json", ".png", ".jpg"):
            beside(model, ending, {"a": 1} if ending == ".json" else PNG)
        names = [new for _, new in neighbours_of(model).placed(model.name, model.name)]
        assert len(names) == len(set(names)) == 3
        assert not {"metadata.json", "overrides.json", model.name} & set(names)


def test_links_pipes_folders_and_large_files_are_left_alone(model: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text(json.dumps(CIVITAI))
    model.with_name("add-detail-xl.civitai.info").symlink_to(secret)
    model.with_name("add-detail-xl.png").symlink_to(secret)
    if hasattr(os, "mkfifo"):
        os.mkfifo(model.with_name("add-detail-xl.metadata.json"))
    model.with_name("add-detail-xl.json").mkdir()
    beside(model, ".md", b"---\n" + b"x" * MAX_BYTES)

    assert neighbours_of(model, SHA) == (None, (), {}, "")


@pytest.mark.parametrize("data", [
    b"",
    b"[" * 90_000,
    b'{"a":' * 90_000,
    b"[]",
    b'{"civitai": [], "files": 3, "tags": {"a": 1}, "model": "x", "trainedWords": "x", "modelId": true}',
    b'{"id": 1e999, "modelId": NaN, "name": -Infinity, "model": {"name": ["x"]}}',
    b'{"id": ' + b"9" * 100_000 + b"}",
    b'{"model_name": "\\ud800\\u0000\\u202e"}',
    b"\xff\xfe{}",
], ids=range(9))  # fmt: skip
@pytest.mark.parametrize("ending", [".metadata.json", ".civitai.info", ".json", ".md"])
def test_nothing_in_a_record_does_harm(model: Path, ending: str, data: bytes) -> None:
    beside(model, ending, data)
    assert told_beside(model) == Told({}, "")


def test_a_record_of_millions_of_values_takes_no_memory(model: Path) -> None:
    for data in (b'{"a":[' + b"[]," * 1_000_000 + b"0]}", b'{"a":[' + b"1.5," * 900_000 + b"0]}"):
        beside(model, ".metadata.json", data)
        tracemalloc.start()
        told_beside(model)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < 24 * 1024 * 1024


_KEYS = st.sampled_from(
    sorted(
        {*CIVITAI, *LORA_MANAGER, *A1111, "model", "hashes", "SHA256", "hf_url", "trainedWords", "nsfwLevel"}
    )
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=40),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(_KEYS | st.text(max_size=5), inner, max_size=6)
    ),
    max_leaves=30,
)


@given(
    record=st.dictionaries(_KEYS, _JSON, max_size=12),
    ending=st.sampled_from([".metadata.json", ".civitai.info", ".json"]),
)
@settings(max_examples=300, deadline=None)
def test_whatever_a_record_says_only_bounded_plain_text_comes_out(
    record: dict[str, Any], ending: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    model = folder / "m.safetensors"
    beside(model, ending, json.dumps(record))
    facts = told_beside(model).facts
    for field, value in facts.items():
        assert value and field in {
            "official_name", "base_model", "tags", "trained_words", "description", "notes", "repo_id",
            "download_url", "civitai",
        }  # fmt: skip
        if field == "civitai":
            assert all(isinstance(item, (int, str)) for item in value.values())
            continue
        for text in value if isinstance(value, list) else [value]:
            assert isinstance(text, str) and len(text) <= 8100
            text.encode()
    json.dumps(facts)


@given(
    data=st.binary(max_size=300),
    text=st.text(max_size=300),
    ending=st.sampled_from([".metadata.json", ".json", ".md"]),
)
@settings(max_examples=200, deadline=None)
def test_no_bytes_crash_the_reading(
    data: bytes, text: str, ending: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    model = tmp_path_factory.mktemp("fuzz") / "m.safetensors"
    for content in (data, b"---\nbaseModel: x\n---\n# Trigger Words\n" + text.encode("utf-8", "replace")):
        beside(model, ending, content)
        told_beside(model)


def test_one_look_at_a_folder_serves_all_models_in_it(tmp_path: Path) -> None:
    for name in ("a", "A", "b"):
        (tmp_path / f"{name}.safetensors").write_bytes(b"\0" * 8)
    beside(tmp_path / "a.safetensors", ".Civitai.Info", CIVITAI)
    listing = Listing.of(tmp_path)
    assert told_beside(tmp_path / "a.safetensors", listing=listing).source == "civitai-helper"
    assert told_beside(tmp_path / "A.safetensors", listing=listing).source == ""
    assert Listing.of(tmp_path / "nowhere").beside("a", ".json") is None


def test_what_lies_beside_a_model_in_place_is_searched_and_shown_and_nothing_is_written(
    librarian: Librarian, finished: Callable[[Job], Job], models_folder: Path, make_model: Callable[..., Path]
) -> None:
    path = make_model(models_folder / "loras" / "add-detail-xl.safetensors")
    beside(path, ".civitai.info", CIVITAI)
    beside(path, ".json", A1111)
    before = sorted(models_folder.rglob("*"))

    finished(librarian.scans.start("quick"))

    for words in ("more detail", "concept", "Tweaker", "add-detail-xl.safetensors"):
        [model] = librarian.models.search(ModelQuery(q=words)).models
        assert model.official_name == "Detail Tweaker XL v1.0"
    details = librarian.models.details(model.model_id)
    assert details.trained_words == ["add_detail", "more detail"]
    assert (details.tags, details.subtype) == (["concept", "detail"], "loras")
    assert details.notes.startswith("from a friend")
    assert details.model_dump()["civitai"]["model_id"] == 122359
    assert librarian.models.find("add-detail-xl.safetensors") == path  # as workflows name it
    assert sorted(models_folder.rglob("*")) == before
    assert not (librarian.library.root / model.model_id).exists()

    librarian.models.edit(model.model_id, {"trained_words": ["mine"]})
    os.utime(path, (1, 1))
    finished(librarian.scans.start("quick"))
    assert librarian.models.details(model.model_id).trained_words == ["mine"]


def test_what_lies_beside_an_imported_model_comes_along(
    librarian: Librarian, finished: Callable[[Job], Job], downloads: Path, make_model: Callable[..., Path]
) -> None:
    path = make_model(downloads / "add-detail-xl.safetensors")
    beside(path, ".png", PNG)
    beside(path, ".civitai.info", {**CIVITAI, "files": []})
    beside(path, ".metadata.json", LORA_MANAGER)  # of other bytes

    item = ImportItem(paths=[str(path)], metadata={"tags": ["my own"]})
    job = finished(librarian.imports.start(ImportRequest(items=[item])))

    model_id = str(job.items[0].model_id)
    details = librarian.models.details(model_id)
    assert (details.official_name, details.tags) == ("Detail Tweaker XL v1.0", ["my own"])
    assert details.notes == ""
    folder = librarian.library.metadata.folder(model_id)
    assert {entry.name for entry in folder.iterdir()} == {
        "metadata.json", "preview.png", "add-detail-xl.safetensors", "add-detail-xl.civitai.info",
        "add-detail-xl.metadata.json",
    }  # fmt: skip
    assert details.preview_url is not None
    path, media = librarian.models.preview(model_id)
    assert (path.read_bytes(), media) == (PNG, "image/png")
    assert not details.preview_is_video


def test_a_video_beside_an_imported_model_is_what_shows_it(
    librarian: Librarian, finished: Callable[[Job], Job], downloads: Path, make_model: Callable[..., Path]
) -> None:
    path = make_model(downloads / "add-detail-xl.safetensors")
    film = b"\0\0\0\x18ftypmp42"
    beside(path, ".preview.mp4", film)
    job = finished(librarian.imports.start(ImportRequest(items=[ImportItem(paths=[str(path)])])))
    model_id = str(job.items[0].model_id)
    details = librarian.models.details(model_id)
    assert details.preview_image == "preview.mp4"
    assert details.preview_is_video
    [listed] = librarian.models.search(ModelQuery()).models
    assert listed.preview_is_video
    assert listed.preview_url == details.preview_url
    shown, media = librarian.models.preview(model_id)
    assert (shown.read_bytes(), media) == (film, "video/mp4")
