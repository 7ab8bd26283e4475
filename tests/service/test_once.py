"""A request that comes again under its key: bounded in number and age, and never done twice where that does harm."""

import json
import subprocess
import sys
from collections.abc import Iterator, MutableMapping
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from fastapi import HTTPException, Request

from seedbed.core.config import PoolConfig
from seedbed.core.errors import InputError
from seedbed.pool.pool import Pool
from seedbed.service import once as once_module
from seedbed.service.exchanged import Changed
from seedbed.service.once import KEPT_S, PREFIX, SWEEP_EVERY_S, Once

DIES = """
import os, sys
from pathlib import Path
import anyio
from seedbed.core.config import PoolConfig
from seedbed.pool.pool import Pool
from seedbed.service.once import Once
from tests.service.test_once import asked

async def act():
    with Path(sys.argv[2]).open("a") as stream:
        stream.write("acted;")
    os._exit(9)

with Pool.open(Path(sys.argv[1]), PoolConfig()) as pool:
    anyio.run(Once(pool).answer, asked(), "a-key", act)
"""


def asked(path: str = "/v1/adapters/rollback", body: bytes = b"{}") -> Request:
    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": [], "server": ("h", 1)}
    return Request(scope, receive)


class Acting:
    """Counts how often it acted."""

    def __init__(self, error: Exception | None = None) -> None:
        self.times, self.error = 0, error

    async def __call__(self) -> Changed:
        self.times += 1
        if self.error is not None:
            raise self.error
        return Changed(done={"time": self.times})


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    with Pool.open(tmp_path / "w", PoolConfig()) as opened:
        yield opened


def test_who_died_after_acting_does_not_act_again_where_that_does_harm(tmp_path: Path) -> None:
    acted = tmp_path / "acted"
    root = str(Path(__file__).parents[2])
    died = subprocess.run([sys.executable, "-c", DIES, str(tmp_path / "w"), str(acted)], cwd=root, check=False)
    assert died.returncode == 9
    assert acted.read_text() == "acted;"
    act = Acting()
    with Pool.open(tmp_path / "w", PoolConfig()) as pool:
        again = partial(Once(pool).answer, asked(), "a-key", act)
        with pytest.raises(HTTPException, match="may have acted") as refused:
            anyio.run(again)
        assert (refused.value.status_code, act.times) == (409, 0)
        for _ in range(2):
            assert anyio.run(partial(again, is_repeatable=True)) == {"done": {"time": 1}}


@pytest.mark.parametrize("error", [HTTPException(409, "not now"), InputError("not now")])
def test_what_was_refused_may_be_asked_again(pool: Pool, error: Exception) -> None:
    once, act = Once(pool), Acting(error)
    for _ in range(2):
        with pytest.raises(type(error)):
            anyio.run(once.answer, asked(), "a-key", act)
    assert act.times == 2
    assert pool.notes(PREFIX) == {}


def test_what_broke_on_the_way_is_not_done_again_unasked(pool: Pool) -> None:
    act = Acting(RuntimeError("half done"))
    with pytest.raises(RuntimeError):
        anyio.run(Once(pool).answer, asked(), "a-key", act)
    with pytest.raises(HTTPException, match="may have acted"):
        anyio.run(Once(pool).answer, asked(), "a-key", act)
    assert act.times == 1


def test_answers_are_kept_for_a_day_and_then_dropped(pool: Pool) -> None:
    now, act = [1000.0], Acting()
    once = Once(pool, now=lambda: now[0])
    for at in (1000.0, 1000.0 + KEPT_S):
        now[0] = at
        anyio.run(once.answer, asked(), "a-key", act)
    assert act.times == 1
    now[0] += 1
    anyio.run(once.answer, asked(), "a-key", act)
    assert act.times == 2
    now[0] += KEPT_S + SWEEP_EVERY_S
    anyio.run(once.answer, asked(), "another", act)
    assert len(pool.notes(PREFIX)) == 1


def test_of_too_many_answers_the_newest_stay(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(once_module, "MAX_KEPT", 3)
    now, act = [0.0], Acting()
    once = Once(pool, now=lambda: now[0])
    for number in range(6):
        now[0] = float(number)
        anyio.run(once.answer, asked(), f"key-{number}", act)
    pool.note("of others", "stays")
    now[0] = SWEEP_EVERY_S
    anyio.run(once.answer, asked(), "last", act)
    assert sorted(json.loads(text)["at"] for text in pool.notes(PREFIX).values()) == [3.0, 4.0, 5.0, SWEEP_EVERY_S]
    assert pool.noted("of others") == "stays"
