from __future__ import annotations

import json

import httpx
import pytest
import respx
from hypothesis import given
from hypothesis import strategies as st

from model_librarian.core.errors import InvalidRequestError
from model_librarian.core.network import (
    BadAnswerError,
    HttpStatusError,
    NetworkSettings,
    NetworkUnavailableError,
    OfflineError,
)
from model_librarian.core.sources import Civitai

from . import civitai_answers as answers_of

API = "https://civitai.com/api/v1"
WAI = "waiIllustriousSDXL_v160.safetensors"
SHA256 = answers_of.sha256_of("wai")
BY_HASH = f"{API}/model-versions/by-hash"


@pytest.fixture
def site():
    with respx.mock(assert_all_called=False) as router:
        yield router


@pytest.fixture
def civitai(answers):
    return Civitai(answers)


@pytest.mark.parametrize("digest", [SHA256, SHA256.upper(), SHA256[:10].upper()])
async def test_by_hash(site, civitai, digest):
    site.get(f"{BY_HASH}/{digest.lower()}").respond(
        json=answers_of.version(answers_of.file(WAI, "wai"), answers_of.file("x.vae.pt", "v", primary=False))
    )
    found = await civitai.by_hash(digest)
    (model,) = found.models
    assert (model.provider, model.repo_id, model.revision) == ("civitai", "827184", "2514310")
    assert (model.name, model.version, model.kind) == ("WAI-illustrious-SDXL", "v16.0", "Checkpoint")
    assert (model.base_model, model.trained_words) == ("Illustrious", ["masterpiece", "best quality"])
    assert (model.nsfw, model.nsfw_level, model.gated) == (False, 3, False)
    assert (model.downloads, model.likes) == (215627, 13828)
    assert model.page_url == "https://civitai.com/models/827184?modelVersionId=2514310"
    main, vae = model.files
    assert (main.path, main.size, main.sha256) == (WAI, 3, SHA256)
    assert main.blake3 is not None
    assert main.download_url == "https://civitai.com/api/download/models/2514310"
    assert vae.download_url.endswith("/2514310?type=Model&format=SafeTensor&size=pruned&fp=fp16")


async def test_the_picture_is_the_most_harmless_one(site, civitai):
    site.get(f"{BY_HASH}/{SHA256}").respond(json=answers_of.version(answers_of.file(WAI, "wai")))
    (model,) = (await civitai.by_hash(SHA256)).models
    assert model.preview_url.endswith("/12.jpeg")
    assert model.preview_nsfw_level == 1


@pytest.mark.parametrize(
    ("more", "nsfw", "gated"),
    [
        ({"nsfwLevel": 31}, True, False),
        ({"nsfwLevel": 1, "model": {"name": "x", "nsfw": True}}, True, False),
        ({"nsfwLevel": 1, "availability": "EarlyAccess"}, False, True),
        ({"nsfwLevel": 1, "usageControl": "Generation"}, False, True),
    ],
)
async def test_its_safety_flags(site, civitai, more, nsfw, gated):
    site.get(f"{BY_HASH}/{SHA256}").respond(json=answers_of.version(answers_of.file(WAI, "wai"), **more))
    (model,) = (await civitai.by_hash(SHA256)).models
    assert (model.nsfw, model.gated) == (nsfw, gated)


async def test_an_unknown_hash_is_an_answer_and_remembered(site, civitai, answers, clock):
    route = site.get(f"{BY_HASH}/{SHA256}").respond(404, json={"error": "Model not found"})
    first = await civitai.by_hash(SHA256)
    assert (first.models, first.cached, first.calls) == ([], False, 1)
    again = await civitai.by_hash(SHA256)
    assert (again.models, again.cached, again.calls) == ([], True, 0)
    assert route.call_count == 1
    clock.now += 90_000
    route.respond(json=answers_of.version(answers_of.file(WAI, "wai")))
    assert (await civitai.by_hash(SHA256)).stale
    await answers.refreshed()
    assert len((await civitai.by_hash(SHA256)).models) == 1


async def test_a_version_without_that_hash_is_no_match(site, civitai):
    site.get(f"{BY_HASH}/{SHA256}").respond(json=answers_of.version(answers_of.file(WAI, "other")))
    assert (await civitai.by_hash(SHA256)).models == []


async def test_an_archived_model_lists_no_files_but_is_known(site, civitai):
    site.get(f"{BY_HASH}/{SHA256}").respond(json=answers_of.version())
    (model,) = (await civitai.by_hash(SHA256)).models
    assert (model.name, model.files) == ("WAI-illustrious-SDXL", [])


@pytest.mark.parametrize("digest", ["", "abc", "g" * 64, "../../../me", "a" * 65, SHA256 + "/x"])
async def test_what_is_no_hash(civitai, digest):
    with pytest.raises(InvalidRequestError):
        await civitai.by_hash(digest)


async def test_many_hashes_in_one_call(site, civitai):
    route = site.post(BY_HASH).respond(
        json=[answers_of.version(answers_of.file(WAI, "wai")), None, {"id": "?"}, answers_of.version()]
    )
    found = await civitai.by_hashes([SHA256, "0" * 64, SHA256.upper()])
    assert {digest: model.name for digest, model in found.items()} == {SHA256: "WAI-illustrious-SDXL"}
    assert json.loads(route.calls.last.request.content) == [SHA256.upper(), "0" * 64]
    assert route.call_count == 1
    assert await civitai.by_hashes([]) == {}
    with pytest.raises(InvalidRequestError):
        await civitai.by_hashes([f"{n:064x}" for n in range(101)])


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(200, json={"error": "?"}), BadAnswerError),
        (httpx.Response(200, text="<html>"), BadAnswerError),
        (httpx.Response(400, json={"error": "Too many hashes"}), HttpStatusError),
        (httpx.Response(503), NetworkUnavailableError),
    ],
)
async def test_many_hashes_without_a_good_answer(site, civitai, answer, error):
    site.post(BY_HASH).mock(return_value=answer)
    with pytest.raises(error):
        await civitai.by_hashes([SHA256])


async def test_search(site, civitai):
    route = site.get(f"{API}/models").respond(
        json=answers_of.search(
            answers_of.version(answers_of.file(WAI, "wai")), answers_of.version(id=2, name="v15.0")
        )
    )
    found = await civitai.search("illustrious xl", limit=5)
    (model,) = found.models
    assert (model.repo_id, model.revision, model.version) == ("827184", "2514310", "v16.0")
    assert (model.author, model.tags) == ("WAI0731", ["anime", "base model"])
    assert model.description == "Made for anime .\nalert(1) Enjoy"
    assert [file.path for file in model.files] == [WAI]
    asked = route.calls.last.request.url.params
    assert (asked["query"], asked["limit"], asked["nsfw"]) == ("illustrious xl", "5", "false")
    assert (await civitai.search("illustrious xl", limit=5)).cached


async def test_without_words_the_most_downloaded(site, civitai):
    route = site.get(f"{API}/models").respond(json=answers_of.search(answers_of.version()))
    await civitai.search("  ")
    asked = route.calls.last.request.url.params
    assert "query" not in asked
    assert asked["sort"] == "Most Downloaded"


async def test_the_files_of_a_version(site, civitai):
    site.get(f"{API}/model-versions/2514310").respond(json=answers_of.version(answers_of.file(WAI, "wai")))
    site.get(f"{API}/models/827184").respond(
        json=answers_of.search(answers_of.version(answers_of.file("newer.safetensors", "new")))["items"][0]
    )
    assert [file.path for file in (await civitai.files("827184", "2514310")).files] == [WAI]
    assert [file.path for file in (await civitai.files("827184")).files] == ["newer.safetensors"]
    with pytest.raises(BadAnswerError):
        await civitai.files("1", "2514310")
    for repo_id, revision in (("../me", "1"), ("1", "1/../2"), ("a/b", "main"), ("0", "1")):
        with pytest.raises(InvalidRequestError):
            await civitai.files(repo_id, revision)


@pytest.mark.parametrize("answer", [[], {"items": {}}, {"items": None}, {}, "x"])
async def test_searches_of_another_shape(site, civitai, answer):
    site.get(f"{API}/models").respond(json=answer)
    with pytest.raises(BadAnswerError):
        await civitai.search("x")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inside: (
        st.lists(inside, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "id",
                    "modelId",
                    "name",
                    "files",
                    "hashes",
                    "SHA256",
                    "images",
                    "url",
                    "model",
                    "stats",
                    "sizeKB",
                ]
            ),
            inside,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(JSON, st.sampled_from([*answers_of.version().keys(), "creator", "tags"]))
def test_nothing_that_civitai_answers_breaks_it(value, key):
    civitai = Civitai(None)
    civitai._version(value, {})
    civitai._model(value)
    civitai._version({**answers_of.version(answers_of.file(WAI, "wai")), key: value}, {})
    civitai._version(
        answers_of.version({**answers_of.file(WAI, "wai"), "hashes": value, "sizeKB": value}), {}
    )
    civitai._model({**answers_of.search(answers_of.version())["items"][0], key: value})


async def test_publishers_text_stays_text_and_short(site, civitai):
    nasty = "<img src=x onerror=alert(1)>\x00\u202e" + "x" * 10_000
    picture = {"url": 'https://image.civitai.com/x" onerror="alert(1)', "nsfwLevel": 1, "type": "image"}
    elsewhere = {"url": "https://evil.example/x.png", "nsfwLevel": 1, "type": "image"}
    script = {"url": "javascript:alert(1)//civitai.com/", "nsfwLevel": 1, "type": "image"}
    site.get(f"{BY_HASH}/{SHA256}").respond(
        json=answers_of.version(
            answers_of.file(WAI, "wai"),
            answers_of.file("../../../.bashrc", "y"),
            answers_of.file("C:\\x.safetensors", "z"),
            name=nasty,
            baseModel=nasty,
            trainedWords=[nasty] * 1000,
            description=nasty,
            model={"name": nasty, "type": nasty},
            images=[picture, elsewhere, script],
        )
    )
    (model,) = (await civitai.by_hash(SHA256)).models
    for text in (model.name, model.version, model.base_model, model.kind, *model.trained_words):
        assert len(text) <= 200
        assert "\x00" not in text
        assert "\u202e" not in text
    assert "<" not in model.description
    assert model.preview_url is None
    assert [file.path for file in model.files] == [WAI]
    assert len(model.model_dump_json()) < 50_000


async def test_offline_with_nothing_remembered(site, civitai, network):
    network.configure(NetworkSettings(online=False))
    with pytest.raises(OfflineError):
        await civitai.search("x")
