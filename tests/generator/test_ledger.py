"""Writing many at once for coroutines that each write one."""

import threading
import time
from collections.abc import Sequence

import anyio
import pytest

from seedbed.core.errors import EndpointTimeoutError, PoolFullError, SeedbedError
from seedbed.core.records import Completion, Message, Request
from seedbed.generator.ledger import Grouped, GroupedLedger
from tests.generator.parts import completion

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_everyone_returns_with_its_item_written_once_and_groups_form() -> None:
    groups: list[Sequence[int]] = []

    def write(items: Sequence[int]) -> None:
        time.sleep(0.002)
        groups.append(items)

    grouped = Grouped(write)

    async def add(item: int) -> None:
        await grouped.add(item)
        assert item in [written for group in groups for written in group]

    async with anyio.create_task_group() as group:
        for item in range(200):
            group.start_soon(add, item)
    assert sorted(item for one in groups for item in one) == list(range(200))
    assert len(groups) <= 10


async def test_no_group_is_larger_than_allowed() -> None:
    groups: list[Sequence[int]] = []
    grouped = Grouped(groups.append, most=16)
    async with anyio.create_task_group() as group:
        for item in range(100):
            group.start_soon(grouped.add, item)
    assert max(map(len, groups)) <= 16
    assert sorted(item for one in groups for item in one) == list(range(100))


async def test_a_failed_write_is_raised_for_each_that_was_in_it_and_for_no_other() -> None:
    def write(items: Sequence[int]) -> None:
        if 3 in items:
            raise PoolFullError("the disk is full")

    grouped = Grouped(write, most=5)
    failed, written = list[int](), list[int]()

    async def add(item: int) -> None:
        try:
            await grouped.add(item)
        except PoolFullError:
            failed.append(item)
        else:
            written.append(item)

    async with anyio.create_task_group() as group:
        for item in range(50):
            group.start_soon(add, item)
    assert 3 in failed
    assert len(failed) <= 5
    assert sorted(failed + written) == list(range(50))


async def test_one_that_is_cancelled_while_it_waits_is_not_written_and_holds_nobody_up() -> None:
    may_write = threading.Event()
    written: list[int] = []

    def write(items: Sequence[int]) -> None:
        may_write.wait(10)
        written.extend(items)

    grouped = Grouped(write)
    async with anyio.create_task_group() as group:
        group.start_soon(grouped.add, 1)
        await anyio.wait_all_tasks_blocked()
        with anyio.move_on_after(0.01):
            await grouped.add(2)
        group.start_soon(grouped.add, 3)
        await anyio.wait_all_tasks_blocked()
        may_write.set()
    assert written == [1, 3]


async def test_a_ledger_writes_requests_completions_and_failures() -> None:
    requests, completions, failures = (list[Request](), list[Completion](), list[tuple[Request, SeedbedError]]())
    ledger = GroupedLedger(
        add_requests=requests.extend, add_completions=completions.extend, add_failures=failures.extend
    )
    request = Request(id="r", purpose="test", messages=(Message(role="user", content="Hello"),))
    error = EndpointTimeoutError("nothing within 900 s")
    await ledger.asked(request)
    await ledger.answered(completion(request, "Hi"))
    await ledger.failed(request, error)
    assert requests == [request]
    assert [one.text for one in completions] == ["Hi"]
    assert failures == [(request, error)]
