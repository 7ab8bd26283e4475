import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.endpoints.limits import Bucket, ConcurrencyLimit


def opened_limit(value: int) -> ConcurrencyLimit:
    """A limit that slow start took to its ceiling."""
    return ConcurrencyLimit(value, 0.0, start=value)


def test_slow_start_doubles_by_the_clock_while_it_is_used() -> None:
    limit = ConcurrencyLimit(1000, 0.0)
    assert (limit.value, limit.reason) == (32, "slow_start")
    limit.tick(0.1, in_flight=32)
    assert limit.value == 32
    limit.tick(0.25, in_flight=31)
    assert limit.value == 32
    limit.tick(0.25, in_flight=32)
    limit.tick(0.5, in_flight=64)
    assert limit.value == 128


def test_slow_start_ends_at_the_configured_limit() -> None:
    limit = ConcurrencyLimit(40, 0.0)
    limit.tick(1.0, in_flight=32)
    assert (limit.value, limit.reason) == (40, "configured")


def test_many_throttles_of_one_epoch_cut_once() -> None:
    limit = opened_limit(100)
    for _ in range(50):
        limit.throttled(sent_at=1.0, now=2.0, in_flight=100)
    assert (limit.value, limit.reason) == (75, "throttled")


def test_a_throttle_of_what_was_sent_after_the_cut_cuts_again() -> None:
    limit = opened_limit(100)
    limit.throttled(sent_at=1.0, now=2.0, in_flight=100)
    limit.throttled(sent_at=2.5, now=3.0, in_flight=75)
    assert limit.value == 56  # 0.75 x 75


def test_the_limit_grows_by_a_twentieth_a_round_trip_after_a_cut() -> None:
    limit = opened_limit(1000)
    limit.throttled(sent_at=0.0, now=1.0, in_flight=400)
    assert limit.value == 300
    for _ in range(300):
        limit.succeeded(in_flight=300)
    assert limit.value == 315


def test_a_limit_that_is_not_used_does_not_grow() -> None:
    limit = opened_limit(1000)
    limit.throttled(sent_at=0.0, now=1.0, in_flight=400)
    for _ in range(1000):
        limit.succeeded(in_flight=10)
    assert limit.value == 300


def test_the_limit_never_falls_below_one() -> None:
    limit = opened_limit(4)
    for second in range(100):
        limit.throttled(sent_at=float(second), now=float(second), in_flight=1)
    assert limit.value == 1


def test_a_limit_that_was_throttled_to_nothing_starts_slowly_again() -> None:
    limit = opened_limit(64)
    for second in range(30):
        limit.throttled(sent_at=float(second), now=float(second), in_flight=limit.value)
    assert limit.value == 1
    limit.succeeded(in_flight=1)
    for quarter in range(1, 5):
        limit.tick(40 + quarter / 4, in_flight=limit.value)
    assert limit.value >= 16


def test_a_full_server_queue_takes_the_limit_down_to_what_it_can_use() -> None:
    limit = opened_limit(1024)
    limit.queue_seen(running=256, waiting=256, in_flight=512)
    assert limit.value == 276  # 512 - (256 - 8% of 256)
    assert limit.reason == "server_queue"


def test_an_empty_server_queue_doubles_a_limit_that_is_used() -> None:
    limit = ConcurrencyLimit(1024, 0.0)
    limit.queue_seen(running=32, waiting=0, in_flight=32)
    assert limit.value == 65
    limit.queue_seen(running=40, waiting=0, in_flight=40)
    assert limit.value == 65


def test_a_server_queue_within_its_bounds_leaves_the_limit() -> None:
    limit = ConcurrencyLimit(1024, 0.0)
    limit.queue_seen(running=256, waiting=0, in_flight=32)
    before = limit.value
    limit.queue_seen(running=30, waiting=3, in_flight=33)
    assert limit.value == before


def test_a_bucket_gives_a_twentieth_at_once_and_the_rest_evenly() -> None:
    bucket = Bucket(600, now=0.0)
    for _ in range(30):
        assert bucket.ready_at(1, 0.0) <= 0.0
        bucket.take(1, 0.0)
    # 570 a minute flow in: one each 60/570 s.
    assert bucket.ready_at(1, 0.0) == pytest.approx(60 / 570)


def test_settling_gives_back_what_was_not_used() -> None:
    bucket = Bucket(60_000, now=0.0)
    bucket.take(3000, 0.0)
    assert bucket.ready_at(1000, 0.0) > 0
    bucket.settle(reserved=3000, used=500)
    assert bucket.ready_at(1000, 0.0) <= 0


@given(
    per_minute=st.integers(1, 1000),
    pauses=st.lists(st.floats(0, 30), min_size=1, max_size=200),
)
def test_no_minute_sees_more_than_the_rate(per_minute: int, pauses: list[float]) -> None:
    bucket, now, taken = Bucket(per_minute, 0.0), 0.0, list[float]()
    for pause in pauses * 5:
        now = max(now + pause, bucket.ready_at(1, now + pause))
        bucket.take(1, now)
        taken.append(now)
    for start in taken:
        in_minute = sum(start <= at < start + 60 for at in taken)
        assert in_minute <= per_minute
