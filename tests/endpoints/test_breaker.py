import random

from seedbed.endpoints.breaker import FAILURES_TO_OPEN, LONGEST_REST_S, Breaker
from seedbed.endpoints.protocol import State


def opened_breaker(now: float = 0.0) -> Breaker:
    breaker = Breaker(random.Random(0))
    for _ in range(FAILURES_TO_OPEN):
        breaker.failed(now, "connection refused")
    return breaker


def test_it_opens_after_failures_in_a_row_and_says_so_once() -> None:
    breaker = Breaker(random.Random(0))
    said = [breaker.failed(0.0, "connection refused") for _ in range(FAILURES_TO_OPEN + 3)]
    assert said == [False] * (FAILURES_TO_OPEN - 1) + [True] + [False] * 3
    assert (breaker.state, breaker.reason) == (State.OPEN, "connection refused")


def test_an_answer_between_failures_keeps_it_closed() -> None:
    breaker = Breaker(random.Random(0))
    for _ in range(FAILURES_TO_OPEN * 3):
        breaker.failed(0.0, "500")
        breaker.succeeded()
    assert breaker.state is State.READY


def test_one_probe_goes_after_the_rest_and_closes_it_by_an_answer() -> None:
    breaker = opened_breaker()
    assert not breaker.allows(0.1)
    assert breaker.allows(breaker.opens_at)
    now = breaker.opens_at
    breaker.sent(now)
    assert not breaker.allows(now)
    breaker.succeeded()
    assert breaker.allows(now)


def test_failed_probes_rest_ever_longer_up_to_a_minute() -> None:
    breaker, rests, now = opened_breaker(), list[float](), 0.0
    for _ in range(12):
        now = breaker.opens_at
        breaker.sent(now)
        breaker.failed(now, "connection refused")
        rests.append(breaker.opens_at - now)
    assert 1.0 <= rests[0] <= 2.0
    assert all(LONGEST_REST_S / 2 <= rest <= LONGEST_REST_S for rest in rests[6:])


def test_a_probe_that_hangs_does_not_keep_the_next_one_back_for_ever() -> None:
    breaker = opened_breaker()
    now = breaker.opens_at
    breaker.sent(now)
    assert breaker.allows(now + LONGEST_REST_S)


def test_a_cancelled_probe_lets_another_go_at_once() -> None:
    breaker = opened_breaker()
    now = breaker.opens_at
    breaker.sent(now)
    breaker.abandoned(now)
    assert breaker.allows(now)


def test_a_refused_key_rests_the_endpoint() -> None:
    breaker = Breaker(random.Random(0))
    breaker.rejected(0.0, "401")
    assert breaker.state is State.REJECTING
    assert not breaker.allows(1.0)
    assert breaker.allows(LONGEST_REST_S)
