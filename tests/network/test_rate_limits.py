from __future__ import annotations

from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_librarian.core.network.rate_limits import Quota, RateLimit, read_quota, read_retry_after

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("headers", "quota"),
    [
        (
            {
                "ratelimit": '"api";r=489;t=189',
                "ratelimit-policy": '"fixed window";"api";q=500;w=300',
            },
            Quota(489, 500, 189.0),
        ),
        ({"ratelimit": '"api";r=0;t=55'}, Quota(0, None, 55.0)),
        ({"ratelimit": "r=3; t=7"}, None),
        ({"ratelimit": "default; r=3; t=7"}, Quota(3, None, 7.0)),
        (
            {"ratelimit": '"a";r=90;t=5, "b";r=1;t=9', "ratelimit-policy": '"a";q=100;w=60, "b";q=100;w=60'},
            Quota(1, 100, 9.0),
        ),
        (
            {"x-ratelimit-remaining": "12", "x-ratelimit-limit": "100", "x-ratelimit-reset": "30"},
            Quota(12, 100, 30.0),
        ),
        (
            {"x-ratelimit-remaining": "12", "x-ratelimit-reset": str(int(NOW.timestamp()) + 40)},
            Quota(12, None, 40.0),
        ),
        (
            {"ratelimit-remaining": "5", "ratelimit-limit": "600", "ratelimit-reset": "39"},
            Quota(5, 600, 39.0),
        ),
        ({"x-ratelimit-remaining": "many"}, None),
        ({"x-ratelimit-remaining": "-1"}, None),
        ({"ratelimit": ""}, None),
        ({}, None),
    ],
)
def test_both_dialects_are_read(headers, quota):
    assert read_quota(headers, NOW) == quota


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 0 "}, 0.0),
        ({"retry-after": "99999999999"}, 3600.0),
        ({"retry-after": "Fri, 02 Jan 2026 03:05:05 GMT"}, 60.0),
        ({"retry-after": "Fri, 02 Jan 2026 03:00:05 GMT"}, 0.0),
        (
            {"retry-after": "Fri, 02 Jan 2026 05:00:10 GMT", "date": "Fri, 02 Jan 2026 05:00:00 GMT"},
            10.0,
        ),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(headers, seconds):
    assert read_retry_after(headers, NOW) == seconds


some_text = st.one_of(
    st.text(max_size=200),
    st.text(alphabet='"api;rtqw=,0123456789 .-:GMT²٣', max_size=80),
    st.from_regex(r'"[a-z]{0,5}";r=[0-9]{1,30};t=[0-9]{1,30}'),
    st.from_regex(
        r"[A-Z][a-z]{2}, [0-9]{1,4} [A-Z][a-z]{2} [0-9]{1,9} [0-9]{1,3}:[0-9]{1,3}:[0-9]{1,3} \S{0,9}"
    ),
)


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "ratelimit",
                "ratelimit-policy",
                "retry-after",
                "date",
                "x-ratelimit-remaining",
                "x-ratelimit-limit",
                "x-ratelimit-reset",
            ]
        ),
        some_text,
    ),
    st.integers(100, 599),
)
def test_no_header_whatever_raises_or_makes_a_wait_without_end(headers, status):
    quota = read_quota(headers)
    assert quota is None or (quota.remaining >= 0 and 0 <= quota.reset_s <= 3600)
    wait = read_retry_after(headers)
    assert wait is None or 0 <= wait <= 3600
    limit = RateLimit("hub", lambda: 0.0, 60)
    limit.learn(status, headers)
    assert 0 <= limit.take() <= 3600


@pytest.fixture
def limit(clock):
    return RateLimit("hub", clock, 60)


def test_under_a_tenth_the_rest_is_spread_over_the_window(limit, clock):
    assert limit.take() == 0
    near = limit.learn(200, {"ratelimit": '"api";r=40;t=200', "ratelimit-policy": '"api";q=500;w=300'})
    assert near
    waits = []
    for _ in range(3):
        wait = limit.take()
        waits.append(wait)
        clock.now += wait
        assert limit.take() == 0
    assert waits == pytest.approx([5, 5, 5])
    quota, is_near = limit.quota()
    assert (quota.remaining, quota.limit, is_near) == (40, 500, True)
    clock.now += 200
    assert limit.quota() is None
    assert [limit.take() for _ in range(5)] == [0] * 5


def test_with_a_tenth_or_more_nothing_is_held_back(limit):
    assert not limit.learn(200, {"x-ratelimit-remaining": "10", "x-ratelimit-limit": "100"})
    assert [limit.take() for _ in range(10)] == [0] * 10


def test_nothing_left_waits_for_the_new_window(limit, clock):
    limit.learn(200, {"ratelimit": '"api";r=0;t=55'})
    assert limit.take() == pytest.approx(55)
    clock.now += 55
    assert limit.take() == 0


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after": "12"}, 12),
        ({"ratelimit": '"api";r=0;t=33', "ratelimit-policy": '"api";q=500;w=300'}, 33),
        ({}, 10),
    ],
)
def test_a_429_holds_everybody_back(limit, clock, headers, wait):
    assert limit.learn(429, headers)
    assert limit.take() == pytest.approx(wait)
    assert limit.wait_s == pytest.approx(wait)
    quota, near = limit.quota()
    assert (quota.remaining, near) == (0, True)
    assert quota.reset_s == pytest.approx(wait)
    clock.now += wait
    assert limit.take() == 0


def test_own_ceiling(clock):
    limit = RateLimit("hub", clock, 3)
    for _ in range(3):
        assert limit.take() == 0
        clock.now += 10
    assert limit.take() == pytest.approx(30)
    clock.now += 30
    assert limit.take() == 0
    assert limit.take() == pytest.approx(10)
