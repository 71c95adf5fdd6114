"""Lookups of models of the library, on hosts of this machine."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from datetime import timedelta

import pytest

from model_librarian.core.errors import InvalidRequestError
from model_librarian.core.jobs import utc_now
from model_librarian.core.librarian import Librarian
from model_librarian.core.services.pending import PAUSE_S, PendingLookups

from ..fake_hosts import FakeHosts, serving


@pytest.fixture
def hosts(monkeypatch):
    with serving(FakeHosts()) as hosts:
        for name, value in hosts.environment.items():
            monkeypatch.setenv(name, value)
        yield hosts


@pytest.fixture
def librarian(hosts, surroundings):
    librarian = Librarian(surroundings)
    yield librarian
    librarian.close()


@pytest.fixture
def pending(librarian):
    """As the Librarian's own, but it asks without pauses."""
    lookups = librarian.lookups
    lookups.pending = PendingLookups(
        lookups._lookup,
        lookups._loop,
        librarian.library,
        librarian.jobs,
        librarian.network,
        librarian.events,
        pause_s=0,
    )
    return lookups.pending


@pytest.fixture
def imported(librarian, finished, make_model, downloads):
    """Import files with these names; answers their ids and bytes."""

    def run(*names: str, **metadata: object) -> list[tuple[str, bytes]]:
        from model_librarian.core.importing import ImportItem, ImportRequest

        paths = [make_model(downloads / name) for name in names]
        data = [path.read_bytes() for path in paths]
        items = [ImportItem(paths=[str(path)], mode="copy", metadata=metadata) for path in paths]
        job = finished(librarian.imports.start(ImportRequest(items=items)))
        assert job.state == "done"
        return list(zip([item.model_id for item in job.items], data, strict=True))

    return run


def test_an_import_is_looked_up_later_and_verified(librarian, hosts, pending, imported, finished):
    [(model_id, data)] = imported("flux-realism.safetensors")
    assert librarian.library.model(model_id).pending_online_lookup
    hosts.publish("someone/flux-realism", "flux-realism.safetensors", data)
    job = finished(librarian.lookups.retry())
    assert (job.kind, job.result["matched"], job.result["pending"]) == ("lookup", 1, 0)
    model = librarian.library.model(model_id)
    assert (model.match_method, model.match_confidence, model.match_source) == ("hash", 1.0, "auto")
    assert (model.repo_id, model.hash_mismatch) == ("someone/flux-realism", False)
    assert model.download_url.endswith(
        "/resolve/0123456789abcdef0123456789abcdef01234567/flux-realism.safetensors"
    )
    assert not model.pending_online_lookup
    assert model.lookup_attempts == 1
    assert model.last_lookup_attempt is not None
    assert "photo" in model.tags
    assert "license:mit" not in model.tags


def test_fifty_are_asked_about_in_one_call_where_hashes_are_known(
    librarian, hosts, pending, imported, finished
):
    models = imported(*(f"style-{n}.safetensors" for n in range(52)))
    for n, (_, data) in enumerate(models):
        hosts.publish_version(f"style{n}_v1.safetensors", data)
    job = finished(librarian.lookups.retry())
    assert job.result["matched"] == 52
    assert hosts.asked == ["POST /api/v1/model-versions/by-hash"] * 2
    model = librarian.library.model(models[3][0])
    assert (model.match_method, model.base_model, model.trained_words) == ("hash", "SDXL 1.0", ["sharp"])
    assert model.repo_id == "827184"


def test_half_of_every_limit_is_left_to_the_person(librarian, hosts, pending, imported, finished):
    """A host may be asked 60 times a minute: two seconds pass for each call."""
    imported(*(f"unknown-{n}.safetensors" for n in range(4)))
    pauses = []
    pending._pause_s = PAUSE_S
    pending._pause = lambda seconds, job: pauses.append(seconds)
    assert finished(librarian.lookups.retry()).result["nothing_found"] == 4
    assert sum(pauses) == PAUSE_S * len(hosts.asked)
    assert librarian.network.settings.calls_per_minute / 2 >= 60 / PAUSE_S


def test_a_sharded_set_is_one_model(librarian, hosts, pending, finished, make_model, downloads):
    from model_librarian.core.importing import ImportItem, ImportRequest

    names = [f"qwen-image-0000{n}-of-00002.safetensors" for n in (1, 2)]
    paths = [make_model(downloads / name) for name in names]
    item = ImportItem(paths=[str(path) for path in paths], mode="copy")
    [model_id] = finished(librarian.imports.start(ImportRequest(items=[item]))).result["imported"]
    for path in paths:
        hosts.publish("org/qwen-image", path.name, path.read_bytes())
    assert finished(librarian.lookups.retry()).result["matched"] == 1
    model = librarian.library.model(model_id)
    assert (model.match_method, model.repo_id) == ("hash", "org/qwen-image")
    second = librarian.lookups.find(filename=names[1]).candidates[0]
    assert librarian.lookups.apply(model_id, second).match_method == "hash"


def test_other_bytes_under_the_right_name(librarian, hosts, pending, imported, finished):
    [(model_id, _)] = imported("flux-realism.safetensors")
    hosts.publish("someone/flux-realism", "flux-realism.safetensors", b"others")
    finished(librarian.lookups.retry())
    model = librarian.library.model(model_id)
    assert model.hash_mismatch
    assert (model.match_method, model.match_source) == ("filename_exact", "auto")
    assert model.match_confidence <= 0.7
    assert model.tags == []
    assert not model.pending_online_lookup


def test_what_nobody_knows_is_not_asked_for_again(librarian, hosts, pending, imported, finished):
    [(model_id, _)] = imported("entirely-my-own.safetensors")
    assert finished(librarian.lookups.retry()).result["nothing_found"] == 1
    model = librarian.library.model(model_id)
    assert (model.pending_online_lookup, model.match_method, model.lookup_attempts) == (False, "none", 1)
    asked = len(hosts.asked)
    finished(librarian.lookups.retry())
    assert len(hosts.asked) == asked


def test_what_a_person_edited_is_left_as_it_is(librarian, hosts, pending, imported, finished):
    [(edited, data), (described, other)] = [
        *imported("flux-realism.safetensors"),
        *imported("sharp-lines.safetensors", family="mine"),
    ]
    librarian.library.edit(edited, {"base_model": "mine"})
    hosts.publish("someone/flux-realism", "flux-realism.safetensors", data)
    hosts.publish_version("sharp.safetensors", other)
    before = [librarian.library.model(model_id) for model_id in (edited, described)]
    finished(librarian.lookups.retry())
    assert [librarian.library.model(model_id) for model_id in (edited, described)] == before
    assert all(model.match_source == "manual" and not model.pending_online_lookup for model in before)
    assert hosts.asked == []


def test_an_edit_while_the_hosts_are_asked_wins(librarian, hosts, pending, imported, finished, monkeypatch):
    [(model_id, data)] = imported("flux-realism.safetensors")
    hosts.publish("someone/flux-realism", "flux-realism.safetensors", data)
    answer = hosts.answer

    def answer_and_edit(*asked):
        librarian.library.edit(model_id, {"notes": "mine"})
        return answer(*asked)

    monkeypatch.setattr(hosts, "answer", answer_and_edit)
    finished(librarian.lookups.retry())
    model = librarian.library.model(model_id)
    assert (model.notes, model.match_source, model.match_method) == ("mine", "manual", "none")


def test_with_the_network_switched_off_nobody_is_asked(librarian, hosts, pending, imported, finished):
    from model_librarian.core.services.reports import SettingsChange

    [(model_id, _)] = imported("flux-realism.safetensors")
    librarian.preferences.change(SettingsChange(online=False))
    job = finished(librarian.lookups.retry())
    assert (job.state, job.result["offline"], job.result["pending"]) == ("done", True, 1)
    assert hosts.asked == []
    assert librarian.library.model(model_id).lookup_attempts == 0


def test_hosts_that_are_down_are_left_alone_and_asked_again(librarian, hosts, pending, imported, finished):
    models = imported(*(f"flux-realism-{n}.safetensors" for n in range(5)))
    hosts.status = 503
    job = finished(librarian.lookups.retry())
    assert (job.result["offline"], job.result["pending"], job.result["matched"]) == (True, 5, 0)
    assert len(hosts.asked) <= 6  # three tries for each host
    attempts = [librarian.library.model(model_id).lookup_attempts for model_id, _ in models]
    assert sorted(attempts) == [0, 0, 0, 0, 1]
    assert all(librarian.library.model(model_id).pending_online_lookup for model_id, _ in models)


def test_after_an_outage_it_goes_on_by_itself(librarian, hosts, pending, imported, finished, monkeypatch):
    """The circuit closes when somebody's call is answered; what is pending is asked for then."""
    from model_librarian.core.network import breaker

    monkeypatch.setattr(breaker, "OPEN_S", 0.2)
    hosts.status = 503
    [(model_id, data)] = imported("flux-realism.safetensors")
    pending.start()
    job = finished(librarian.lookups.retry())
    assert job.result["offline"]
    hosts.status = None
    hosts.publish("someone/flux-realism", "flux-realism.safetensors", data)
    ended = _next_lookup(librarian, {job.id}, lambda: librarian.lookups.remote("flux"))
    assert ended.result["matched"] == 1
    assert librarian.library.model(model_id).match_method == "hash"
    assert librarian.library.model(model_id).lookup_attempts == 2


def test_civitai_alone_is_no_reason_to_ask_again(librarian, hosts, pending, imported, finished, monkeypatch):
    answer = hosts.answer
    monkeypatch.setattr(
        hosts, "answer", lambda *call: (503, {}) if call[1].startswith("/api/models") else answer(*call)
    )
    imported("flux-realism.safetensors")
    pending.start()
    assert finished(librarian.lookups.retry()).result["offline"]
    assert {host.state for host in librarian.network.status().hosts} == {"open", "closed"}
    began = pending._timer_at
    pending._network_changed(librarian.network.status())
    assert pending._timer_at == began


def test_without_civitai_the_hub_is_still_asked(librarian, hosts, pending, imported, finished, monkeypatch):
    answer = hosts.answer
    monkeypatch.setattr(hosts, "answer", lambda *call: (503, {}) if "/api/v1/" in call[1] else answer(*call))
    models = imported("flux-realism.safetensors", "sharp-lines.safetensors")
    hosts.publish("someone/sharp-lines", "sharp-lines.safetensors", models[1][1])
    result = finished(librarian.lookups.retry()).result
    assert (result["matched"], result["pending"], result["offline"]) == (1, 1, False)
    assert librarian.library.model(models[1][0]).match_method == "hash"
    assert librarian.library.model(models[0][0]).pending_online_lookup


def _next_lookup(librarian, known, meanwhile):
    """The lookup job after those that are known; ``meanwhile`` is done again and again until it comes."""
    import threading

    came = threading.Event()
    jobs = []

    def listen(name, record):
        if name == "librarian.job" and record.kind == "lookup" and record.id not in known and record.ended:
            jobs.append(record)
            came.set()

    unsubscribe = librarian.events.subscribe(listen)
    try:
        for _ in range(600):
            meanwhile()
            if came.wait(0.1):
                return jobs[0]
    finally:
        unsubscribe()
    raise AssertionError("no lookup came")


def test_an_import_starts_a_lookup_by_itself(librarian, hosts, pending, imported):
    pending.start()
    names = iter(range(1000))

    def import_one():
        if next(names) == 0:
            [(_, data)] = imported("flux-realism.safetensors")
            hosts.publish_version("flux.safetensors", data)

    assert _next_lookup(librarian, set(), import_one).state == "done"


def test_pauses_grow_and_a_wrong_clock_holds_nobody_back(librarian, pending, imported):
    [(model_id, _)] = imported("flux-realism.safetensors")
    now = utc_now()
    pending._now = lambda: now
    waits = []
    for attempts in (0, 1, 2, 3, 10, 50):
        last = now if attempts else None
        librarian.library.update(model_id, {"lookup_attempts": attempts, "last_lookup_attempt": last})
        waits.append(pending._due_in(librarian.library.model(model_id)))
    assert waits == [0, 60, 120, 240, 30_720, 86_400]
    librarian.library.update(model_id, {"last_lookup_attempt": now + timedelta(days=365)})
    assert pending._due_in(librarian.library.model(model_id)) == 0


def test_one_who_is_too_early_is_not_asked_about(librarian, hosts, pending, imported, finished):
    models = imported("flux-realism-a.safetensors", "flux-realism-b.safetensors")
    early, _ = models[0]
    librarian.library.update(early, {"lookup_attempts": 3, "last_lookup_attempt": utc_now()})
    for name, (_, published) in zip("ab", models, strict=True):
        hosts.publish_version(f"{name}.safetensors", published)
    job = finished(pending._submit(every=False))
    assert job.result["matched"] == 1
    assert librarian.library.model(early).pending_online_lookup


def test_closing_does_not_wait_for_a_host_that_says_nothing(hosts, surroundings, make_model, downloads):
    import threading

    librarian = Librarian(surroundings)
    asked, go_on = threading.Event(), threading.Event()
    answer = hosts.answer

    def wait(*args):
        asked.set()
        go_on.wait(60)
        return answer(*args)

    hosts.answer = wait
    failed = []

    def look_up():
        try:
            librarian.lookups.find(filename="flux-realism.safetensors")
        except Exception as error:
            failed.append(error.code)

    thread = threading.Thread(target=look_up)
    thread.start()
    assert asked.wait(60)
    librarian.close()
    thread.join()
    go_on.set()
    assert failed == ["cancelled"]
    assert len(hosts.asked) <= 1


@pytest.mark.parametrize("where", ["HF_HOME", "HF_TOKEN_PATH"])
def test_the_token_that_other_tools_left_is_used_and_not_shown(surroundings, tmp_path, monkeypatch, where):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    place = tmp_path / "hf" / "token" if where == "HF_HOME" else tmp_path / "elsewhere"
    place.parent.mkdir(exist_ok=True)
    place.write_text("hf_secret\n")
    if where == "HF_TOKEN_PATH":
        monkeypatch.setenv("HF_TOKEN_PATH", str(place))
    librarian = Librarian(surroundings)
    try:
        tokens = librarian.network.settings.tokens
        assert {host: token.get_secret_value() for host, token in tokens.items()} == {
            "huggingface.co": "hf_secret"
        }
        assert "hf_secret" not in librarian.status().model_dump_json()
        assert "hf_secret" not in librarian.preferences.report().model_dump_json()
    finally:
        librarian.close()


class TestApply:
    """Taking over what a lookup showed."""

    def test_a_candidate_of_before_the_import_is_verified(self, librarian, hosts, imported, finished):
        data = b"x" * 100
        hosts.publish("someone/flux-realism", "flux-realism.safetensors", data)
        shown = librarian.lookups.find(filename="flux-realism.safetensors").candidates[0]
        assert (shown.match_method, shown.requires_confirmation) == ("filename_exact", False)
        [(model_id, imported_data)] = imported("flux-realism.safetensors")
        hosts.publish("someone/flux-realism", "flux-realism.safetensors", imported_data)
        shown.sha256 = hashlib.sha256(imported_data).hexdigest()
        model = librarian.lookups.apply(model_id, shown)
        assert (model.match_method, model.match_confidence, model.hash_mismatch) == ("hash", 1.0, False)
        assert model.match_source == "manual"

    def test_or_is_known_to_be_other_bytes(self, librarian, hosts, imported):
        hosts.publish("someone/flux-realism", "flux-realism.safetensors", b"other bytes")
        shown = librarian.lookups.find(filename="flux-realism.safetensors").candidates[0]
        assert shown.match_confidence > 0.9
        [(model_id, _)] = imported("flux-realism.safetensors")
        model = librarian.lookups.apply(model_id, shown)
        assert (model.match_method, model.hash_mismatch) == ("filename_exact", True)
        assert model.match_confidence <= 0.7

    def test_nobody_is_verified_without_the_bytes(self, librarian, hosts, imported):
        hosts.publish("someone/flux-realism", "flux-realism.safetensors", b"bytes")
        candidate = librarian.lookups.find(filename="flux-realism.safetensors").candidates[0]
        claimed = candidate.model_copy(
            update={"match_method": "hash", "match_confidence": 1.0, "sha256": None}
        )
        [(model_id, _)] = imported("flux-realism.safetensors")
        model = librarian.lookups.apply(model_id, claimed)
        assert (model.match_method, model.match_confidence < 1) == ("filename_exact", True)

    def test_addresses_are_made_here(self, librarian, hosts, imported):
        [(model_id, data)] = imported("flux-realism.safetensors")
        hosts.publish_version("flux.safetensors", data)
        candidate = librarian.lookups.find(model_id=model_id).candidates[0]
        assert (candidate.provider, candidate.match_method) == ("civitai", "hash")
        for told in ("javascript:alert(1)", "https://evil.example/x", None):
            lying = candidate.model_copy(update={"download_url": told})
            model = librarian.lookups.apply(model_id, lying)
            assert model.download_url == f"{hosts.civitai_url}/api/download/models/2514310"
        for field, value in (("revision", "1/../../x"), ("revision", "")):
            with pytest.raises(InvalidRequestError):
                librarian.lookups.apply(model_id, candidate.model_copy(update={field: value}))

    def test_what_the_person_wrote_stays(self, librarian, hosts, imported):
        [(model_id, data)] = imported("flux-realism.safetensors")
        librarian.library.edit(model_id, {"base_model": "mine", "trained_words": ["my word"], "tags": ["a"]})
        hosts.publish_version("flux.safetensors", data)
        candidate = librarian.lookups.find(model_id=model_id).candidates[0]
        model = librarian.lookups.apply(model_id, candidate)
        assert (model.base_model, model.trained_words, model.tags) == ("mine", ["my word"], ["a"])


def test_closing_waits_for_a_look_that_has_begun(librarian, pending, monkeypatch):
    looking, go_on, ended = threading.Event(), threading.Event(), []

    def look():
        looking.set()
        go_on.wait(30)
        ended.append(True)
        return []

    monkeypatch.setattr(librarian.library, "awaiting_lookup", look)
    pending.start()
    pending.wake()
    assert looking.wait(30)
    closing = threading.Thread(target=pending.close)
    closing.start()
    closing.join(0.2)
    assert closing.is_alive()
    go_on.set()
    closing.join(30)
    assert ended == [True]


def test_a_wake_while_it_begins_is_not_lost(librarian, hosts, pending, imported, monkeypatch):
    """What is imported just after the list was read, and was empty, is looked up all the same."""
    looking, go_on = threading.Event(), threading.Event()
    look = librarian.library.awaiting_lookup

    def slowly():
        found = look()
        if not looking.is_set():
            looking.set()
            go_on.wait(30)
        return found

    monkeypatch.setattr(librarian.library, "awaiting_lookup", slowly)
    pending.start()
    pending.wake()
    assert looking.wait(30)
    [(model_id, _)] = imported("just-now.safetensors")  # its end wakes
    go_on.set()
    until(lambda: librarian.library.model(model_id).last_lookup_attempt)


def test_a_wake_while_a_job_runs_is_not_lost(librarian, hosts, pending, imported, monkeypatch):
    imported("first-thing.safetensors")
    asking, go_on = threading.Event(), threading.Event()
    find = librarian.lookups._lookup.find

    async def slowly(*of, **how):
        asking.set()
        await asyncio.to_thread(go_on.wait, 30)
        return await find(*of, **how)

    monkeypatch.setattr(librarian.lookups._lookup, "find", slowly)
    pending.start()
    pending.wake()
    assert asking.wait(30)
    [(second, _)] = imported("second-thing.safetensors")  # its end wakes
    until(lambda: pending._again)
    go_on.set()
    until(lambda: librarian.library.model(second).last_lookup_attempt)


def until(holds):
    """What this answers, once it answers anything."""
    while not (answer := holds()):
        time.sleep(0.01)
    return answer


def test_what_a_person_asks_about_and_nobody_knows_is_no_match(librarian, hosts, pending, imported):
    [(model_id, _)] = imported("nobody-knows-this.safetensors")
    before = utc_now()
    assert not librarian.lookups.find(model_id=model_id).found
    model = librarian.library.model(model_id)
    assert (model.match_method, model.match_source, model.lookup_attempts) == ("none", "auto", 1)
    assert model.last_lookup_attempt is not None and before <= model.last_lookup_attempt <= utc_now()
    assert model_id not in librarian.library.awaiting_lookup()


def test_a_host_that_did_not_answer_a_person_is_asked_again(librarian, hosts, pending, imported):
    [(model_id, _)] = imported("nobody-knows-this.safetensors")
    hosts.status = 503
    assert librarian.lookups.find(model_id=model_id).offline
    model = librarian.library.model(model_id)
    assert (model.last_lookup_attempt, model.pending_online_lookup) == (None, True)


def test_no_match_is_not_written_over_what_a_person_edited(librarian, hosts, pending, imported):
    [(model_id, _)] = imported("nobody-knows-this.safetensors")
    edited = librarian.library.edit(model_id, {"base_model": "mine"})
    assert not librarian.lookups.find(model_id=model_id).found
    assert librarian.library.model(model_id) == edited
