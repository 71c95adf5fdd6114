from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from model_librarian.core.network.breaker import Breaker, Pass
from model_librarian.core.network.errors import CircuitBreakerOpen


def fail(breaker: Breaker, times: int = 1) -> None:
    for _ in range(times):
        breaker.failed(breaker.enter())


@pytest.fixture
def breaker(clock: Callable[[], float]) -> Breaker:
    return Breaker("hub", clock)


def test_three_failures_in_a_row_open_it_for_sixty_seconds(breaker, clock):
    fail(breaker, 2)
    assert breaker.state == "closed"
    fail(breaker)
    assert (breaker.state, breaker.failures) == ("open", 3)
    clock.now += 20
    with pytest.raises(CircuitBreakerOpen) as refused:
        breaker.enter()
    assert refused.value.retry_after_s == pytest.approx(40)
    assert refused.value.code == "circuit_open"
    assert "40 s" in refused.value.message


def test_any_answer_resets_the_count(breaker):
    fail(breaker, 2)
    breaker.succeeded(breaker.enter())
    fail(breaker, 2)
    assert breaker.state == "closed"


def test_a_person_ends_the_wait_for_one_trial(breaker, clock):
    assert breaker.try_now() is False
    fail(breaker, 3)
    clock.now += 1
    assert breaker.try_now() is True
    assert (breaker.state, breaker.retry_after_s) == ("half-open", 0)
    trial = breaker.enter()
    assert breaker.try_now() is False
    with pytest.raises(CircuitBreakerOpen):
        breaker.enter()
    breaker.failed(trial)
    assert (breaker.state, breaker.retry_after_s) == ("open", 60)


def test_one_trial_when_the_time_is_up_the_others_still_fail_at_once(breaker, clock):
    fail(breaker, 3)
    clock.now += 60
    assert breaker.state == "half-open"
    trial = breaker.enter()
    for _ in range(5):
        with pytest.raises(CircuitBreakerOpen):
            breaker.enter()
        with pytest.raises(CircuitBreakerOpen):
            breaker.check()
    breaker.succeeded(trial)
    assert (breaker.state, breaker.failures) == ("closed", 0)
    breaker.enter()


def test_a_failed_trial_opens_it_again(breaker, clock):
    fail(breaker, 3)
    clock.now += 61
    breaker.failed(breaker.enter())
    assert breaker.state == "open"
    assert breaker.retry_after_s == pytest.approx(60)


def test_a_cancelled_trial_leaves_the_trial_to_the_next(breaker, clock):
    fail(breaker, 3)
    clock.now += 60
    breaker.abandoned(breaker.enter())
    breaker.succeeded(breaker.enter())
    assert breaker.state == "closed"


def test_a_trial_that_never_reports_back_blocks_nothing_for_ever(breaker, clock):
    fail(breaker, 3)
    clock.now += 60
    breaker.enter()
    clock.now += 60
    breaker.succeeded(breaker.enter())
    assert breaker.state == "closed"


def test_calls_from_before_say_nothing_about_now(breaker, clock):
    late = [breaker.enter() for _ in range(4)]
    fail(breaker, 3)
    breaker.succeeded(late[0])
    assert breaker.state == "open"
    clock.now += 59
    breaker.failed(late[1])
    assert breaker.retry_after_s == pytest.approx(1)
    clock.now += 1
    trial = breaker.enter()
    breaker.failed(late[2])
    breaker.abandoned(late[3])
    with pytest.raises(CircuitBreakerOpen):
        breaker.enter()
    breaker.succeeded(trial)
    assert breaker.state == "closed"


def test_changes_are_told(clock):
    told: list[str] = []
    breaker = Breaker("hub", clock, changed=lambda state, failures: told.append(state))
    fail(breaker, 3)
    clock.now += 60
    breaker.succeeded(breaker.enter())
    assert told == ["open", "half-open", "closed"]


class AnyOrder(RuleBasedStateMachine):
    """Whatever happens in whatever order: never two trials at once, and never stuck."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.breaker = Breaker("hub", lambda: self.now)
        self.under_way: list[Pass] = []

    @rule(seconds=st.floats(0, 70))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def enter(self) -> None:
        try:
            self.under_way.append(self.breaker.enter())
        except CircuitBreakerOpen as refused:
            assert 0 < refused.retry_after_s < 60.1

    @rule(index=st.integers(0, 20), how=st.sampled_from(["succeeded", "failed", "abandoned"]))
    def end(self, index: int, how: str) -> None:
        if self.under_way:
            getattr(self.breaker, how)(self.under_way.pop(index % len(self.under_way)))

    @invariant()
    def never_stuck(self) -> None:
        assert 0 <= self.breaker.retry_after_s < 60.1
        assert self.breaker.state != "closed" or self.breaker.failures < 3


TestAnyOrder = AnyOrder.TestCase
