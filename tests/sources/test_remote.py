from __future__ import annotations

import httpx
import pytest
import respx

from model_librarian.core.network import Answers, BadAnswerError, HttpStatusError, NetworkSettings
from model_librarian.core.sources import Civitai, HuggingFace, Remote, RemoteChange

from . import civitai_answers as answers_of

CIVITAI = "https://civitai.com/api/v1/models"


@pytest.fixture
def told():
    return []


@pytest.fixture
async def remembering(network, clock, tmp_path, told):
    answers = Answers(network, tmp_path / "answers.db", clock=clock, refreshed=told.append)
    yield answers
    await answers.aclose()


@pytest.fixture
def remote(remembering):
    return Remote(HuggingFace(remembering), Civitai(remembering))


@pytest.fixture
def civitai(fake):
    """Civitai beside the fake hub."""
    with respx.mock(assert_all_called=False) as router:
        router.route(host="huggingface.co").mock(side_effect=fake.answer)
        yield router.get(CIVITAI).respond(
            json=answers_of.search(answers_of.version(answers_of.file("wai.safetensors", "wai")))
        )


async def test_both_hosts_in_turn(fake, civitai, remote, clock):
    for n in range(3):
        fake.add(f"org{n}/illustrious-{n}", {"model.safetensors": "x"})
    found = await remote.search("illustrious")
    assert [model.provider for model in found.models] == ["huggingface", "civitai", *["huggingface"] * 2]
    assert (found.cached, found.stale, found.offline, found.problems) == (False, False, False, [])
    assert found.fetched_at.timestamp() == clock.now
    again = await remote.search("illustrious")
    assert (again.models, again.cached) == (found.models, True)
    only = await remote.search("illustrious", provider="civitai")
    assert [model.provider for model in only.models] == ["civitai"]


async def test_stale_at_once_fresh_behind_and_told(fake, civitai, remote, remembering, told, clock):
    fake.add("org/illustrious", {"model.safetensors": "x"})
    before = await remote.search("illustrious")
    clock.now += 700
    fake.add("org/illustrious-2", {"model.safetensors": "y"})
    stale = await remote.search("illustrious")
    assert (stale.models, stale.cached, stale.stale) == (before.models, True, True)
    await remembering.refreshed()
    assert told == [RemoteChange(provider="huggingface", q="illustrious")]
    fresh = await remote.search("illustrious")
    assert len(fresh.models) == 3
    assert not fresh.stale


async def test_offline_what_is_remembered_or_honestly_nothing(fake, civitai, remote, network):
    fake.add("org/illustrious", {"model.safetensors": "x"})
    before = await remote.search("illustrious")
    network.configure(NetworkSettings(online=False))
    known = await remote.search("illustrious")
    assert (known.models, known.cached, known.stale, known.offline) == (before.models, True, True, True)
    assert known.fetched_at == before.fetched_at
    unknown = await remote.search("something else")
    assert (unknown.models, unknown.cached, unknown.offline) == ([], False, True)
    assert unknown.fetched_at is None
    assert {problem.code for problem in unknown.problems} == {"offline"}


async def test_one_host_down_leaves_the_other(fake, civitai, remote):
    fake.down.add("/api")
    found = await remote.search("illustrious")
    assert [model.provider for model in found.models] == ["civitai"]
    assert found.offline
    (problem,) = found.problems
    assert (problem.provider, problem.code) == ("huggingface", "network_unavailable")
    assert "huggingface.co" in problem.message
    again = await remote.search("illustrious")
    assert again.problems[0].code == "circuit_open"
    assert 0 < again.retry_after_s <= 60


async def test_a_host_that_refuses_is_said(fake, civitai, remote):
    civitai.respond(403)
    fake.add("org/illustrious", {"model.safetensors": "x"})
    found = await remote.search("illustrious")
    assert [model.provider for model in found.models] == ["huggingface"]
    assert not found.offline
    assert [problem.code for problem in found.problems] == ["remote_forbidden"]
    with pytest.raises(HttpStatusError):
        await remote.search("illustrious", provider="civitai")
    fake.instead = httpx.Response(200, json={"error": "?"})
    with pytest.raises((BadAnswerError, HttpStatusError)):
        await remote.search("other")


async def test_a_list_stays_brief(fake, civitai, remote):
    fake.add("org/illustrious", {f"{n}.safetensors": "x" for n in range(5000)})
    found = await remote.search("illustrious", provider="huggingface")
    assert len(found.models[0].file_names) == 100
