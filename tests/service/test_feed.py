"""One task serves all who watch, and one who reads too slowly holds nobody up."""

from collections.abc import AsyncIterator
from functools import partial
from itertools import count
from pathlib import Path

import anyio

from seedbed.core.errors import PoolFullError
from seedbed.core.events import Events
from seedbed.endpoints.fleet import beside
from seedbed.service.feed import MAX_WATCHERS, QUEUE, Feed


async def until(watch: AsyncIterator[str], wanted: str) -> list[str]:
    """Read up to the first message that has these words."""
    found: list[str] = []
    async for message in watch:
        found.append(message)
        if wanted in message:
            return found
    raise AssertionError(f"{wanted} never came: {found}")


def test_however_many_watch_figures_are_made_once_for_all(tmp_path: Path) -> None:
    made, events = count(), Events()
    feed = Feed(tmp_path / "events.jsonl", lambda: f'{{"number": {next(made)}}}')
    events.add(feed)
    found: list[list[str]] = []

    async def watch() -> None:
        found.append(await until(feed.watch(), "second"))

    async def main() -> None:
        with anyio.fail_after(30):
            async with beside() as tasks, anyio.create_task_group() as watching:
                for _ in range(MAX_WATCHERS):
                    watching.start_soon(watch)
                await anyio.wait_all_tasks_blocked()
                tasks.start_soon(feed.follow)
                await anyio.sleep(0.5)
                assert feed.watchers == MAX_WATCHERS
                events.emit("first")
                events.emit("second")

    anyio.run(main)
    assert len(found) == MAX_WATCHERS
    for messages in found:
        kinds = [message.partition(":")[0] for message in messages]
        assert kinds == ["retry", "event", "id", "id"]
        assert '"number": 0' in messages[1]
    assert next(made) == 1


def test_who_reads_too_slowly_is_let_go_and_the_others_get_everything(tmp_path: Path) -> None:
    events = Events(now=lambda: 5.0)
    feed = Feed(tmp_path / "events.jsonl", lambda: "{}")
    events.add(feed)

    async def main() -> tuple[list[str], list[str]]:
        with anyio.fail_after(30):
            async with beside() as tasks:
                slow, fast = feed.watch(), feed.watch()
                assert [await anext(slow), await anext(fast)] == ["retry: 2000\n\n"] * 2
                tasks.start_soon(feed.follow)
                read = list[str]()
                for batch in range(2):
                    for number in range(QUEUE - 10):
                        events.emit("happened", number=batch * 1000 + number)
                    last = f'"number": {batch * 1000 + QUEUE - 11}'
                    read += await until(fast, last)
                rest = [message async for message in slow]
                assert feed.watchers == 1
                again = await until(feed.watch(rest[-1].partition("\n")[0].removeprefix("id: ")), last)
        return [one for one in read if "happened" in one], [one for one in [*rest, *again] if "happened" in one]

    fast, slow = anyio.run(main)
    assert len(fast) == 2 * (QUEUE - 10)
    assert slow == fast


def test_a_feed_that_cannot_make_figures_goes_on_telling_events(tmp_path: Path) -> None:
    def fail() -> str:
        raise PoolFullError("the disk is full")

    events, feed = Events(), Feed(tmp_path / "events.jsonl", fail)
    events.add(feed)

    async def main() -> None:
        with anyio.fail_after(30):
            async with beside() as tasks:
                watch = feed.watch()
                assert await anext(watch) == "retry: 2000\n\n"
                tasks.start_soon(feed.follow)
                await anyio.sleep(0.6)
                events.emit("told")
                await until(watch, "told")

    anyio.run(main)


def test_closing_ends_what_watchers_read(tmp_path: Path) -> None:
    feed = Feed(tmp_path / "events.jsonl", lambda: "{}")

    found: list[str] = []

    async def main() -> None:
        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(feed.follow)
                tasks.start_soon(partial(close_later, feed))
                found.extend([message async for message in feed.watch()])

    anyio.run(main)
    assert found[0] == "retry: 2000\n\n"
    assert feed.watchers == 0


async def close_later(feed: Feed) -> None:
    await anyio.sleep(0.4)
    feed.close()
