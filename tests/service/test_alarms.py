"""Alarms stand as long as their cause, and reach the operator wherever he is."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import anyio
import pytest
from pydantic import SecretStr

from seedbed.core.config import AlarmsConfig, BudgetConfig, Config
from seedbed.core.errors import ConfigError, EndpointError, EndpointUnreachableError
from seedbed.core.events import Event, Events
from seedbed.core.load import load_secrets
from seedbed.core.records import Completion, Request
from seedbed.endpoints.scripted import scripted_fleet
from seedbed.generator.counters import Counters
from seedbed.service.alarms import Alarms, GenerationWatch
from seedbed.service.webhook import TRIES, Webhook
from tests.endpoints.parts import Behaving, ask_all, fleet_of, make_completion, make_request
from tests.virtual_time import run_virtually

CONFIG = AlarmsConfig(acceptance_window=100)


def recording() -> tuple[Alarms, list[Event]]:
    events, seen = Events(), list[Event]()
    events.add(seen.append)
    return Alarms(events), seen


def test_an_alarm_is_raised_once_and_cleared_once() -> None:
    alarms, seen = recording()
    for text in ("it burns", "it burns more", "", ""):
        alarms.set("fire", text)
    assert [(event.kind, event.fields["alarm"]) for event in seen] == [
        ("alarm.raised", "it burns"),
        ("alarm.cleared", "it burns more"),
    ]
    assert alarms.standing == ()


def test_an_endpoint_that_is_down_long_enough_is_an_alarm_until_it_answers() -> None:
    alarms, seen = recording()
    is_up = False

    async def behave(request: Request) -> Completion:
        if not is_up:
            raise EndpointUnreachableError("connection refused")
        return make_completion(request)

    async def main() -> None:
        nonlocal is_up
        async with fleet_of(Behaving(behave)) as fleet:
            watch = GenerationWatch(alarms, CONFIG)

            def look() -> tuple[str, ...]:
                watch.look(fleet, Counters(), anyio.current_time())
                return alarms.standing

            assert look() == ()
            await ask_all(fleet, [make_request() for _ in range(20)])
            assert look() == ()
            await anyio.sleep(CONFIG.endpoint_down_s)
            (line,) = look()
            assert "endpoint local" in line
            assert "connection refused" in line
            is_up = True
            await anyio.sleep(600)
            await ask_all(fleet, [make_request()])
            assert look() == ()

    run_virtually(main)
    assert [event.kind for event in seen] == ["alarm.raised", "alarm.cleared"]


def test_a_budget_near_its_end_is_an_alarm_before_it_is_spent() -> None:
    alarms, _ = recording()

    def answer(_: Request) -> str | EndpointError:
        return "word " * 40

    async def main() -> None:
        async with scripted_fleet(answer, budget=BudgetConfig(max_tokens=1000)) as fleet:
            watch = GenerationWatch(alarms, CONFIG)
            spent = 0
            while not alarms.standing:
                completion = await fleet.ask(make_request(max_tokens=50))
                spent += completion.prompt_tokens + completion.completion_tokens
                watch.look(fleet, Counters(), 0.0)
                assert bool(alarms.standing) == (spent >= 900)

    run_virtually(main)


@pytest.mark.parametrize(("later", "is_alarm"), [(30, False), (24, True), (0, True)])
def test_acceptance_below_half_of_what_it_was_is_an_alarm(later: int, is_alarm: bool) -> None:
    """50 of 100 before; the bar is at 25 of the next 100."""
    alarms, _ = recording()
    counters = Counters()

    async def main() -> None:
        async with scripted_fleet() as fleet:
            watch = GenerationWatch(alarms, CONFIG)
            for accepted in (50, later):
                counters.candidates += 100
                counters.accepted += accepted
                counters.refused["rouge.near_duplicate"] += 100 - accepted
                watch.look(fleet, counters, 0.0)

    run_virtually(main)
    assert bool(alarms.standing) is is_alarm
    if is_alarm:
        assert f"{later}% of the last 100 candidates, from 50% before" in alarms.standing[0]
        assert "rouge.near_duplicate" in alarms.standing[0]


@contextmanager
def receiver(*statuses: int) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A real HTTP server that answers with these statuses, then with 200."""
    left, bodies = list(statuses), list[dict[str, Any]]()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(left.pop(0) if left else 200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook/s3cret", bodies
    finally:
        server.shutdown()
        server.server_close()


def posted(url: str) -> tuple[list[Event], list[float]]:
    events, seen, pauses = Events(), list[Event](), list[float]()
    events.add(seen.append)
    webhook = Webhook(SecretStr(url), "garden", events, sleep=pauses.append)
    events.add(webhook)
    events.emit("request.failed", message="no alarm")
    events.emit("alarm.raised", cause="budget", alarm="90% of the budget is spent")
    webhook.close()
    return seen, pauses


def test_an_alarm_is_posted_and_nothing_else() -> None:
    with receiver() as (url, bodies):
        seen, _ = posted(url)
    (body,) = bodies
    assert body["text"] == "Seedbed, garden: ALARM: 90% of the budget is spent"
    assert (body["kind"], body["cause"], body["workspace"]) == ("alarm.raised", "budget", "garden")
    assert all(event.kind != "webhook.failed" for event in seen)


def test_a_receiver_that_fails_at_first_is_tried_again_with_growing_pauses() -> None:
    with receiver(503, 429) as (url, bodies):
        seen, pauses = posted(url)
    assert len(bodies) == 3
    assert pauses == [1.0, 2.0]
    assert all(event.kind != "webhook.failed" for event in seen)


@pytest.mark.parametrize(("statuses", "tries"), [((500,) * TRIES, TRIES), ((404,), 1), ((302,), 1)])
def test_an_alarm_that_cannot_be_posted_is_told_to_the_log_without_the_url(
    statuses: tuple[int, ...], tries: int
) -> None:
    with receiver(*statuses) as (url, bodies):
        seen, _ = posted(url)
    assert len(bodies) == tries
    (failed,) = [event for event in seen if event.kind == "webhook.failed"]
    assert failed.fields["problem"] == f"the receiver answered {statuses[0]}"
    assert "s3cret" not in str(failed)


def test_nobody_at_the_webhook_is_told_to_the_log_without_the_url() -> None:
    seen, _ = posted("http://127.0.0.1:9/hook/s3cret")
    (failed,) = [event for event in seen if event.kind == "webhook.failed"]
    assert failed.fields["problem"] == "ConnectError"


@pytest.mark.parametrize("host", ["169.254.169.254", "2852039166", "[::ffff:a9fe:a9fe]", "metadata.google.internal"])
def test_a_webhook_at_a_metadata_address_is_refused_without_showing_it(host: str) -> None:
    config = Config(alarms=AlarmsConfig(webhook_env="HOOK"))
    with pytest.raises(ConfigError, match="HOOK, whose URL leads to a link-local or metadata") as raised:
        load_secrets(config, {"HOOK": f"http://{host}/s3cret"})
    assert "s3cret" not in str(raised.value)


def test_the_webhook_comes_from_the_environment_only() -> None:
    config = Config(alarms=AlarmsConfig(webhook_env="HOOK"))
    secrets = load_secrets(config, {"HOOK": "https://hooks.example/s3cret"})
    assert "s3cret" not in repr(secrets)
    for environment in ({}, {"HOOK": "s3cret"}):
        with pytest.raises(ConfigError, match=r"HOOK, which is not set to a URL") as raised:
            load_secrets(config, environment)
        assert "s3cret" not in str(raised.value)
