"""Jobs: every one ends once, whole, and says what became of each item."""

from __future__ import annotations

import json
import re
import threading
import time
from pathlib import Path

import pytest

import model_librarian
from model_librarian.core.errors import ConflictError
from model_librarian.core.events import Events
from model_librarian.core.jobs import KEPT_JOBS, JobItem, JobRunner


@pytest.fixture
def runner():
    runner = JobRunner(Events())
    yield runner
    runner.close()


def test_a_job_that_waits_is_cancelled_at_once(runner):
    go, began = threading.Event(), threading.Event()

    def long(_job):
        began.set()
        assert go.wait(10)
        return {}

    first = runner.submit("scan", long, lane="one")
    assert began.wait(10)
    second = runner.submit(
        "scan", lambda _: pytest.fail("it was cancelled"), lane="one", items=[JobItem(name="x")]
    )
    cancelled = runner.cancel(second.id)
    assert (cancelled.state, cancelled.items[0].state) == ("cancelled", "cancelled")
    assert cancelled.finished_at is not None
    assert runner.counts() == (0, 1)
    go.set()
    assert runner.wait(first.id).state == "done"
    assert runner.wait(second.id).state == "cancelled"


def test_items_that_were_not_reached_are_cancelled_too(runner):
    reached = threading.Event()

    def work(job):
        job.job.items[0].state = "done"
        job.job.items[1].state = "running"
        reached.set()
        while True:
            job.check_cancelled()

    job = runner.submit("import", work, lane="x", items=[JobItem(name=name) for name in "abc"])
    assert reached.wait(10)
    runner.cancel(job.id)
    assert [item.state for item in runner.wait(job.id).items] == ["done", "cancelled", "cancelled"]


@pytest.mark.parametrize("error", [RuntimeError("odd"), SystemExit(1), MemoryError()])
def test_whatever_work_raises_its_job_ends_and_the_next_one_runs(runner, error):
    def fail(_job):
        raise error

    ended = runner.wait(runner.submit("scan", fail, lane="x").id, timeout=10)
    assert (ended.state, ended.error.code) == ("failed", "internal_error")
    assert runner.wait(runner.submit("scan", lambda _: {}, lane="x").id, timeout=10).state == "done"


@pytest.mark.parametrize("work_fails", [False, True])
def test_what_follows_a_job_holds_nobody_up_and_cannot_spoil_it(runner, work_fails):
    go = threading.Event()

    def work(_job):
        if work_fails:
            raise RuntimeError("odd")
        return {}

    def afterwards():
        assert go.wait(10)
        raise RuntimeError("the disk is full")

    state = "failed" if work_fails else "done"
    job = runner.submit("scan", work, lane="x", afterwards=afterwards)
    assert runner.wait(job.id, timeout=10).state == state
    go.set()
    assert runner.wait(runner.submit("scan", lambda _: {}, lane="x").id, timeout=10).state == "done"
    assert runner.get(job.id).state == state


def test_a_listener_that_fails_disturbs_nobody():
    events = Events()
    seen = []

    def fail(*_):
        raise RuntimeError("a bad listener")

    events.subscribe(fail)
    events.subscribe(lambda name, record: seen.append(record.state))
    runner = JobRunner(events)
    assert runner.wait(runner.submit("scan", lambda _: {"ok": 1}, lane="x").id).result == {"ok": 1}
    runner.close()
    assert seen[-1] == "done"


def test_whoever_sees_a_job_ended_sees_all_of_it(runner):
    halves = []

    def watch(job_id):
        while not (job := runner.get(job_id)).ended:
            pass
        if job.finished_at is None or job.result is None:
            halves.append(job)

    for _ in range(50):
        job = runner.submit("scan", lambda _: {"x": 1}, lane="x")
        watch(job.id)
    assert halves == []


def test_progress_never_passes_its_total(runner):
    def work(job):
        job.stage("bytes", total=10, unit="bytes")
        job.advance(25)
        return {"current": job.job.progress.current}

    assert runner.wait(runner.submit("scan", work, lane="x").id).result == {"current": 10}


def test_events_are_at_most_ten_a_second_however_often_work_tells(runner):
    count = []
    runner._events.subscribe(lambda name, record: count.append(name))

    def work(job):
        job.stage("x", total=100_000)
        for number in range(100_000):
            job.advance(number)
        return {}

    began = time.monotonic()
    runner.wait(runner.submit("scan", work, lane="x").id)
    assert len(count) <= 6 + 10 * (time.monotonic() - began)


def test_closing_ends_what_runs_and_refuses_what_comes(runner):
    began = threading.Event()

    def work(job):
        began.set()
        while True:
            job.check_cancelled()

    job = runner.submit("scan", work, lane="x")
    waiting = runner.submit("scan", work, lane="x")
    assert began.wait(10)
    runner.close()
    assert [runner.get(one.id).state for one in (job, waiting)] == ["cancelled", "cancelled"]
    with pytest.raises(ConflictError):
        runner.submit("scan", work, lane="x")
    runner.close()


def test_ended_jobs_are_forgotten_after_a_while(runner):
    for _ in range(KEPT_JOBS + 50):
        last = runner.submit("scan", lambda _: {}, lane="x")
    runner.wait(last.id)
    runner.submit("scan", lambda _: {}, lane="x")
    assert len(runner.all()) <= KEPT_JOBS + 1


@pytest.mark.parametrize("language", ["en", "zh"])
def test_each_stage_has_words_for_people(language):
    package = Path(model_librarian.__file__).parent
    sources = "".join(path.read_text("utf-8") for path in (package / "core").rglob("*.py"))
    stages = set(re.findall(r"\.stage\(\s*\"(\w+)\"", sources))
    words = json.loads((package / "locales" / language / "main.json").read_text("utf-8"))
    assert "waiting" in stages
    assert stages <= set(words["librarian"]["jobs"]["stage"])
