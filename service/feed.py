"""Events for those who watch over HTTP: a bounded ring, and the stored events where a watcher has missed more."""

import json
import sys
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from seedbed.core.errors import SeedbedError
from seedbed.core.events import Event

RING = 2000
MAX_WATCHERS = 16
QUEUE = 256
"""Messages that may wait for one watcher; who reads no faster is let go, and catches up when it comes again."""

LOOK_EVERY_S = 0.25
FIGURES_EVERY_S = 2.0


class Feed:
    """An event sink with watchers. Ids are `MILLISECONDS-NUMBER`: the number orders a run, the time outlives it.

    One task looks for what is new and hands it to all watchers, however many there are.
    """

    def __init__(self, stored: Path, figures: Callable[[], str]) -> None:
        self._stored, self._figures = stored, figures
        self._ring: deque[_Told] = deque(maxlen=RING)
        self._lock = threading.Lock()
        self._number = 0
        self._handed = 0
        self._watchers: list[_Watcher] = []
        self._is_closed = False

    @property
    def watchers(self) -> int:
        """How many watch."""
        return len(self._watchers)

    def __call__(self, event: Event) -> None:
        message = _message(event.kind, event.at, event.fields)
        with self._lock:
            self._number += 1
            self._ring.append(_Told(self._number, int(event.at * 1000), message))

    def close(self) -> None:
        """End what watchers read."""
        self._is_closed = True

    async def follow(self) -> None:
        """Hand out what happens, and live figures between, until closed or cancelled."""
        since = float("-inf")
        try:
            while not self._is_closed:
                if self._number > self._handed:
                    self._hand_out()
                is_new = any(not one.shown for one in self._watchers)
                if self._watchers and (is_new or anyio.current_time() - since >= FIGURES_EVERY_S):
                    since = anyio.current_time()
                    await self._show()
                await anyio.sleep(LOOK_EVERY_S)
        finally:
            for one in self._watchers:
                one.end()

    async def watch(self, last_id: str = "") -> AsyncIterator[str]:
        """Yield server-sent events: what happened after `last_id`, then what happens, and live figures between."""
        known, me = self._hand_out(), _Watcher()  # to the others, so that this one begins where they are
        self._watchers.append(me)
        try:
            if last_id and not any(one.id == last_id for one in known):
                until = known[-1].at_ms if known else None
                for identity, message in await anyio.to_thread.run_sync(self._missed, last_id, until):
                    yield f"id: {identity}\ndata: {message}\n\n"
                known = []
            yield "retry: 2000\n\n"
            number = int(last_id.partition("-")[2]) if last_id else sys.maxsize
            for one in known:
                if one.number > number:
                    yield one.text
            async for text in me.messages:
                yield text
        finally:
            self._watchers.remove(me)
            me.end()
            me.messages.close()

    async def _show(self) -> None:
        try:
            figures = await anyio.to_thread.run_sync(self._figures)
        except SeedbedError:  # a full disk; who works on it tells of it
            return
        for one in self._watchers:
            one.show(figures)

    def _hand_out(self) -> "list[_Told]":
        """Give what is new to all who watch; returns what is known by now."""
        with self._lock:
            known, handed = list(self._ring), self._handed
            self._handed = self._number
        for told in known:
            if told.number > handed:
                for one in self._watchers:
                    one.give(told.text)
        return known

    def _missed(self, last_id: str, until_ms: int | None) -> list[tuple[str, str]]:
        """Read from the event files what happened after an id; the newest so many as the ring holds."""
        text = last_id.partition("-")[0]
        since = int(text) if text.isdecimal() else 0
        found: deque[tuple[str, str]] = deque(maxlen=RING)
        for path in (self._stored.with_name(f"{self._stored.name}.1"), self._stored):
            if path.exists():
                for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                    record = _record(line)
                    if record and since < int(record["at"] * 1000) <= (until_ms or sys.maxsize):
                        at, kind = record.pop("at"), record.pop("kind")
                        found.append((f"{int(at * 1000)}-0", _message(kind, at, record)))
        return list(found)


@dataclass(frozen=True, slots=True)
class _Told:
    """An event as watchers get it."""

    number: int
    at_ms: int
    message: str

    @property
    def id(self) -> str:
        return f"{self.at_ms}-{self.number}"

    @property
    def text(self) -> str:
        return f"id: {self.id}\ndata: {self.message}\n\n"


class _Watcher:
    """One who watches: what waits for it, and what it was shown last."""

    def __init__(self) -> None:
        self._send, self.messages = anyio.create_memory_object_stream[str](QUEUE)
        self.shown = ""

    def give(self, text: str) -> None:
        """Put a message where it waits; where too many do, this is the end."""
        try:
            self._send.send_nowait(text)
        except anyio.WouldBlock:
            self._send.close()
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            pass  # it is going, or was let go

    def show(self, figures: str) -> None:
        """Tell live figures, or, where they are the same, that we are still here."""
        self.give(f"event: status\ndata: {figures}\n\n" if figures != self.shown else ": still here\n\n")
        self.shown = figures

    def end(self) -> None:
        self._send.close()


def _record(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and isinstance(record.get("at"), float | int) else None


def _message(kind: str, at: float, fields: Any) -> str:
    return json.dumps({"kind": kind, "at": round(at, 3), "fields": fields}, ensure_ascii=True, default=str)
