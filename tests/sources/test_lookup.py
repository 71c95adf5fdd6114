from __future__ import annotations

import hashlib
import json

import httpx
import pytest

from model_librarian.core.errors import InvalidRequestError
from model_librarian.core.network import (
    Answers,
    BadAnswerError,
    HttpStatusError,
    NetworkManager,
    NetworkSettings,
)
from model_librarian.core.sources import HuggingFace, Lookup

FLUX = "flux1-dev.safetensors"


def sha256_of(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


@pytest.fixture
def flux(fake):
    fake.add("someone/flux1-dev-collection", {FLUX: "changed", "other.safetensors": "o"}, downloads=10)
    fake.add("original/flux1-dev", {FLUX: "original", "ae.safetensors": "ae", "README.md": None})
    fake.add("someone/flux1-dev-lora", {"lora.safetensors": "l"})
    return fake


async def test_the_same_hash(flux, lookup):
    result = await lookup.find(FLUX, sha256_of("original"), 8)
    assert result.found
    assert (result.cached, result.stale, result.offline, result.calls) == (False, False, False, 3)
    best, second = result.candidates[:2]
    assert (best.repo_id, best.match_method, best.match_confidence) == ("original/flux1-dev", "hash", 1.0)
    assert (best.requires_confirmation, best.hash_mismatch) == (False, False)
    assert (best.file_name, best.official_name, best.author) == (FLUX, "flux1-dev", "original")
    assert (best.size, best.sha256, best.revision) == (8, sha256_of("original"), flux.commit)
    assert best.download_url == f"https://huggingface.co/original/flux1-dev/resolve/{flux.commit}/{FLUX}"
    assert best.page_url == "https://huggingface.co/original/flux1-dev"
    assert (best.licence, best.base_model, best.pipeline_tag) == ("apache-2.0", "org/base", "text-to-image")
    assert second.hash_mismatch
    assert second.match_confidence <= 0.7
    assert second.requires_confirmation


async def test_without_a_hash_the_name_decides(flux, lookup):
    result = await lookup.find(FLUX)
    best = result.candidates[0]
    assert (best.repo_id, best.match_method) == ("original/flux1-dev", "filename_exact")
    assert 0.9 < best.match_confidence < 1
    assert best.sha256 == sha256_of("original")
    confidences = [candidate.match_confidence for candidate in result.candidates]
    assert confidences == sorted(confidences, reverse=True)


async def test_other_bytes_everywhere(flux, lookup):
    result = await lookup.find(FLUX, sha256_of("my own finetune"))
    named = [candidate for candidate in result.candidates if candidate.file_name == FLUX]
    assert len(named) == 2
    assert all(candidate.hash_mismatch and candidate.match_confidence <= 0.7 for candidate in named)


async def test_a_renamed_file_is_found_by_its_bytes(fake, lookup):
    fake.add("org/Qwen-Image", {"qwen_image_bf16.safetensors": "qwen"})
    result = await lookup.find("qwen image.safetensors", sha256_of("qwen"))
    assert result.candidates[0].match_method == "hash"
    assert result.candidates[0].file_name == "qwen_image_bf16.safetensors"


async def test_never_more_than_four_calls_and_five_candidates(fake, lookup):
    for n in range(30):
        fake.add(f"org{n}/flux-dev-{n}", {f"flux-dev-{n}-fp8.safetensors": f"{n}"})
    result = await lookup.find("flux-dev-fp8.safetensors", sha256_of("none"))
    assert fake.searches == ["flux dev fp8", "flux dev"]
    assert result.calls == len(fake.asked) == 4
    assert len(result.candidates) == 5


async def test_a_search_that_finds_the_name_is_the_only_one(flux, lookup):
    await lookup.find("flux1-dev.safetensors")
    assert flux.searches == ["flux1 dev"]


async def test_any_shard_finds_the_set(fake, lookup):
    shards = {f"qwen-image-0000{n}-of-00003.safetensors": f"shard {n}" for n in (1, 2, 3)}
    fake.add("org/qwen-image", shards)
    for n in (1, 2, 3):
        result = await lookup.find(f"qwen-image-0000{n}-of-00003.safetensors", sha256_of(f"shard {n}"))
        assert result.candidates[0].match_method == "hash"
        assert result.candidates[0].file_name == f"qwen-image-0000{n}-of-00003.safetensors"


async def test_names_that_tell_nothing_are_not_asked_for(fake, lookup):
    result = await lookup.find("model.safetensors", sha256_of("x"))
    assert (result.found, result.calls, fake.asked) == (False, 0, [])
    assert not result.offline


async def test_nothing_found(fake, lookup):
    result = await lookup.find("completely_unknown.safetensors")
    assert (result.found, result.candidates, result.offline) == (False, [], False)


async def test_the_second_time_it_is_remembered(flux, lookup, clock):
    first = await lookup.find(FLUX)
    again = await lookup.find(FLUX)
    assert (again.cached, again.stale, again.calls) == (True, False, 0)
    assert again.candidates == first.candidates
    clock.now += 700
    later = await lookup.find(FLUX)
    assert (later.cached, later.stale, later.calls) == (True, True, 0)
    assert later.candidates == first.candidates


async def test_offline_the_last_answer_or_none(flux, lookup, network):
    first = await lookup.find(FLUX)
    network.configure(NetworkSettings(online=False))
    again = await lookup.find(FLUX)
    assert (again.found, again.cached, again.stale, again.offline, again.calls) == (True, True, True, True, 0)
    assert again.candidates == first.candidates
    unknown = await lookup.find("other-model.safetensors")
    assert (unknown.found, unknown.offline, unknown.cached) == (False, True, False)


async def test_the_hub_is_down(fake, lookup):
    fake.down.add("/api")
    result = await lookup.find("flux-dev.safetensors")
    assert (result.found, result.offline) == (False, True)
    asked = len(fake.asked)
    open_now = await lookup.find("flux-dev.safetensors")
    assert (open_now.found, open_now.offline) == (False, True)
    assert 0 < open_now.retry_after_s <= 60
    assert len(fake.asked) == asked


async def test_the_hub_goes_down_in_the_middle(flux, lookup):
    flux.down.add("/tree/")
    result = await lookup.find(FLUX, sha256_of("original"))
    assert result.found
    assert result.offline
    assert result.candidates[0].match_method == "filename_exact"
    assert result.candidates[0].sha256 is None


async def test_the_limit_is_used_up(flux, lookup):
    flux.headers["RateLimit"] = '"api";r=0;t=100'
    result = await lookup.find(FLUX)
    assert result.found
    assert result.offline
    assert result.retry_after_s == pytest.approx(100)
    assert len(flux.asked) == 1


async def test_answers_that_make_no_sense(fake, lookup):
    fake.instead = httpx.Response(200, json={"error": "?"})
    with pytest.raises(BadAnswerError):
        await lookup.find("flux-dev.safetensors")
    fake.instead = httpx.Response(403)
    with pytest.raises(HttpStatusError):
        await lookup.find("flux-dev.safetensors")
    fake.instead = httpx.Response(500)
    assert (await lookup.find("flux-dev.safetensors")).offline


async def test_a_file_list_that_makes_no_sense_leaves_the_name(flux, lookup):
    flux.trees["original/flux1-dev"] = {"error": "?"}
    del flux.trees["someone/flux1-dev-collection"]
    result = await lookup.find(FLUX, sha256_of("original"))
    assert result.candidates[0].match_method == "filename_exact"
    assert not result.offline


async def test_publishers_text_stays_text_and_short(fake, lookup):
    nasty = "<img src=x onerror=alert(1)>\x00\u202e" + "x" * 10_000
    fake.add(
        "org/flux1-dev",
        {FLUX: "x"},
        author=nasty,
        tags=[nasty] * 1000,
        pipeline_tag=nasty,
        cardData={"license": nasty},
    )
    (candidate,) = (await lookup.find(FLUX)).candidates
    for text in (candidate.author, candidate.pipeline_tag, candidate.licence, *candidate.tags):
        assert len(text) <= 200
        assert "\x00" not in text
        assert "\u202e" not in text
    assert len(candidate.model_dump_json()) < 50_000
    json.loads(candidate.model_dump_json())


async def test_what_is_no_sha256(lookup):
    with pytest.raises(InvalidRequestError):
        await lookup.find(FLUX, "abc")


async def test_all_of_it_ends_with_the_deadline(fake, clock):
    async def slow_sleep(seconds):
        clock.now += seconds

    network = NetworkManager(NetworkSettings(calls_per_minute=1), clock=clock, sleep=slow_sleep)
    answers = Answers(network, None, clock=clock)
    fake.add("org/flux1-dev", {FLUX: "x"})
    began = clock.now
    result = await Lookup(HuggingFace(answers), clock=clock).find(FLUX)
    assert (result.found, result.offline) == (True, True)
    assert result.retry_after_s == pytest.approx(60)
    assert clock.now - began <= 7
    patient = await Lookup(HuggingFace(answers), clock=clock).find(FLUX, deadline_s=300)
    assert not patient.offline
    assert patient.candidates[0].sha256 == sha256_of("x")
    await answers.aclose()
    await network.aclose()
