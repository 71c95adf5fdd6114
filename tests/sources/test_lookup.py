from __future__ import annotations

import asyncio
import hashlib
import json

import httpx
import pytest
import respx

from model_librarian.core.errors import InvalidRequestError
from model_librarian.core.network import (
    Answers,
    BadAnswerError,
    HttpStatusError,
    NetworkManager,
    NetworkSettings,
)
from model_librarian.core.sources import Civitai, HuggingFace, Lookup
from model_librarian.core.sources import lookup as lookup_module

from . import civitai_answers as answers_of

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
    assert fake.searches == ["flux dev fp8", "flux"]
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


@pytest.fixture
def by_hash(fake):
    """Civitai's lookups by hash, beside the fake hub: nothing is known there yet."""
    with respx.mock(assert_all_called=False) as router:
        router.route(host="huggingface.co").mock(side_effect=fake.answer)
        yield router.get(url__startswith="https://civitai.com/api/v1/model-versions/by-hash/").respond(404)


@pytest.fixture
def both(answers, clock):
    return Lookup(HuggingFace(answers), Civitai(answers), clock=clock)


async def test_civitai_knows_it_by_its_hash(flux, by_hash, both):
    mine = sha256_of("my own finetune")
    by_hash.respond(json=answers_of.version(answers_of.file("fluxMine_v1.safetensors", "my own finetune")))
    result = await both.find(FLUX, mine)
    best, *others = result.candidates
    assert (best.provider, best.match_method, best.match_confidence) == ("civitai", "hash", 1.0)
    assert (best.repo_id, best.revision, best.file_name) == ("827184", "2514310", "fluxMine_v1.safetensors")
    assert best.official_name == "WAI-illustrious-SDXL - v16.0"
    assert (best.base_model, best.trained_words) == ("Illustrious", ["masterpiece", "best quality"])
    assert (best.nsfw, best.nsfw_level, best.preview_nsfw_level) == (False, 3, 1)
    assert best.download_url == "https://civitai.com/api/download/models/2514310"
    assert not best.requires_confirmation
    assert {other.provider for other in others} == {"huggingface"}
    assert all(other.match_confidence <= 0.7 for other in others if other.hash_mismatch)
    assert (result.calls, result.problems) == (4, [])


async def test_who_knows_the_hash_saves_further_searches(fake, by_hash, both):
    by_hash.respond(json=answers_of.version(answers_of.file("wai.safetensors", "wai")))
    result = await both.find("wai illustrious fp8.safetensors", sha256_of("wai"))
    assert result.found
    assert fake.searches == ["wai illustrious fp8"]
    assert len(fake.asked) == 1


async def test_without_a_hash_civitai_is_not_asked(flux, by_hash, both):
    await both.find(FLUX)
    await both.find(FLUX, sha256_of("x"), by_hash=False)
    assert not by_hash.called


async def test_both_hosts_together_stay_within_four_calls(fake, by_hash, both):
    for n in range(30):
        fake.add(f"org{n}/flux-dev-{n}", {f"flux-dev-{n}-fp8.safetensors": f"{n}"})
    result = await both.find("flux-dev-fp8.safetensors", sha256_of("none"))
    assert result.calls == len(fake.asked) + by_hash.call_count == 4


@pytest.mark.parametrize(
    ("answer", "offline", "code"),
    [
        (httpx.Response(503), True, "network_unavailable"),
        (httpx.Response(500), True, "remote_refused"),
        (httpx.Response(403), False, "remote_forbidden"),
        (httpx.Response(200, text="<html>log in</html>"), False, "bad_answer"),
        (httpx.Response(200, json=[]), False, "bad_answer"),
    ],
)
async def test_one_host_without_a_good_answer_leaves_the_other(flux, by_hash, both, answer, offline, code):
    by_hash.mock(return_value=answer)
    result = await both.find(FLUX, sha256_of("original"))
    assert result.candidates[0].provider == "huggingface"
    assert result.candidates[0].match_method == "hash"
    assert result.offline == offline
    assert [(problem.provider, problem.code) for problem in result.problems] == [("civitai", code)]


async def test_the_hub_is_down_but_civitai_knows(fake, by_hash, both):
    fake.down.add("/api")
    by_hash.respond(json=answers_of.version(answers_of.file("wai.safetensors", "wai")))
    result = await both.find("wai.safetensors", sha256_of("wai"))
    assert (result.found, result.offline) == (True, True)
    assert [problem.provider for problem in result.problems] == ["huggingface"]


async def test_all_refuse(fake, by_hash, both):
    fake.instead = httpx.Response(403)
    by_hash.respond(403)
    with pytest.raises(HttpStatusError):
        await both.find("flux-dev.safetensors", sha256_of("x"))


async def test_what_civitai_knows_of_many(both):
    with respx.mock() as router:
        asked = router.post("https://civitai.com/api/v1/model-versions/by-hash").respond(
            json=[answers_of.version(answers_of.file("wai.safetensors", "wai"))]
        )
        known = await both.known_hashes([sha256_of("wai"), sha256_of("other")])
    assert [*known] == [sha256_of("wai")]
    candidate = known[sha256_of("wai")]
    assert (candidate.match_method, candidate.match_confidence, candidate.file_name) == (
        "hash",
        1.0,
        "wai.safetensors",
    )
    assert asked.call_count == 1


async def test_a_publishers_file_is_found_in_a_repository_of_another_name(fake, lookup):
    fake.add("Comfy-Org/Wan_2.1_repackaged", {"split_files/text_encoders/umt5_xxl_fp16.safetensors": "umt5"})
    result = await lookup.find("umt5_xxl_fp16.safetensors", sha256_of("umt5"))
    assert result.candidates[0].match_method == "hash"
    assert result.candidates[0].repo_id == "Comfy-Org/Wan_2.1_repackaged"
    asked = len(fake.asked)
    await lookup.find("another_name.safetensors")
    authors = [request.url.params.get("author") for request in fake.asked[asked:]]
    assert "Comfy-Org" not in authors


async def test_a_short_name_of_a_publishers_file_needs_the_hash(fake, lookup):
    fake.add("Comfy-Org/z_image_turbo", {"split_files/vae/ae.safetensors": "ae"})
    by_name = (await lookup.find("ae.safetensors")).candidates[0]
    assert by_name.requires_confirmation
    by_bytes = (await lookup.find("ae.safetensors", sha256_of("ae"))).candidates[0]
    assert (by_bytes.match_method, by_bytes.requires_confirmation) == ("hash", False)


async def test_a_host_that_says_nothing_does_not_hold_up_the_other(fake, by_hash, both, monkeypatch):
    monkeypatch.setattr(lookup_module, "_PATIENCE_S", 0.01)
    fake.add("Comfy-Org/z_image_turbo", {"split_files/vae/sharp_vae.safetensors": "vae"})
    checked = asyncio.Event()

    class Asked(list):
        def append(self, request):
            super().append(request)
            if "/tree/" in request.url.path:
                checked.set()

    fake.asked = Asked()

    async def when_the_other_is_done(request):
        await checked.wait()
        return httpx.Response(404)

    by_hash.mock(side_effect=when_the_other_is_done)
    result = await both.find("sharp_vae.safetensors", sha256_of("vae"))
    assert result.candidates[0].match_method == "hash"
    assert result.calls == 4
    assert not result.offline
