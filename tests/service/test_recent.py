"""Who polls costs little, and who changed something sees it."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import anyio
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from seedbed.core.config import PoolConfig
from seedbed.core.records import Phase, Status
from seedbed.pool.pool import Pool
from seedbed.service.api import build_app
from seedbed.service.recent import ForgetAfterChanges, Recent, without_waiting

BEARER = {"authorization": "Bearer the-token-of-this-run"}


def test_a_value_is_made_again_when_it_is_too_old() -> None:
    clock, numbers = [0.0], count()
    recent = Recent(lambda: next(numbers), every_s=0.5, now=lambda: clock[0])
    found = []
    for clock[0] in (0.0, 0.49, 0.5, 0.99, 1.0):
        found.append(recent())
    assert found == [0, 0, 1, 1, 2]


def test_a_value_is_made_again_after_a_change() -> None:
    numbers = count()
    recent = Recent(lambda: next(numbers), every_s=1e9)
    assert (recent(), recent()) == (0, 0)
    recent.forget()
    assert (recent(), recent()) == (1, 1)


def test_a_value_that_was_being_made_when_something_changed_is_not_kept() -> None:
    numbers = count()

    def make() -> int:
        number = next(numbers)
        if number == 0:
            recent.forget()
        return number

    recent = Recent(make, every_s=1e9)
    assert (recent(), recent(), recent()) == (0, 1, 1)


def test_many_who_ask_at_once_have_it_made_once() -> None:
    made, begun, at_once = count(), threading.Event(), 16

    def make() -> int:
        begun.wait()
        return next(made)

    recent = Recent(make, every_s=1e9)
    with ThreadPoolExecutor(at_once) as threads:
        asked = [threads.submit(recent) for _ in range(at_once)]
        begun.set()
        assert {one.result() for one in asked} == {0}


@pytest.fixture
def made(tmp_path: Path) -> Iterator[tuple[TestClient, list[Status]]]:
    """A service whose status is kept for ever, and every status that was made."""
    found: list[Status] = []

    def make() -> Status:
        found.append(Status(phase=Phase.GENERATING, accepted=len(found), target=60, round=0, decided=0))
        return found[-1]

    status = Recent(make, every_s=1e9)
    with Pool.open(tmp_path, PoolConfig()) as pool:
        app = build_app(status, lambda: "", "the-token-of-this-run", pool)
        change(app)
        app.add_middleware(ForgetAfterChanges, forget=status.forget)
        with TestClient(app, base_url="http://127.0.0.1", headers=BEARER) as client:
            yield client, found


def change(app: FastAPI) -> None:
    @app.post("/v1/change")
    async def change() -> None:
        """Change something."""


def test_polled_often_the_status_is_made_and_written_once(made: tuple[TestClient, list[Status]]) -> None:
    client, found = made
    first = client.get("/v1/status")
    assert [client.get("/v1/status").json() for _ in range(5)] == [first.json()] * 5
    assert client.get("/v1/status", headers={"if-none-match": first.headers["etag"]}).status_code == 304
    assert "seedbed_accepted_rows 0.0" in client.get("/metrics").text
    assert len(found) == 1


def test_after_a_change_the_status_the_tag_and_the_metrics_are_new(made: tuple[TestClient, list[Status]]) -> None:
    client, found = made
    first = client.get("/v1/status")
    assert "seedbed_accepted_rows 0.0" in client.get("/metrics").text
    assert client.post("/v1/change").status_code == 200
    again = client.get("/v1/status", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.json()["accepted"]) == (200, 1)
    assert "seedbed_accepted_rows 1.0" in client.get("/metrics").text
    assert len(found) == 2


def test_what_is_fresh_is_told_at_once_and_what_is_not_in_a_thread() -> None:
    threads: list[str] = []

    def make() -> int:
        threads.append(threading.current_thread().name)
        return len(threads)

    recent = Recent(make, every_s=1e9)

    async def ask() -> list[int]:
        first = [await without_waiting(recent), await without_waiting(recent)]
        recent.forget()
        return [*first, await without_waiting(recent), await without_waiting(make)]

    assert anyio.run(ask) == [1, 1, 2, 3]
    assert threading.current_thread().name not in threads
