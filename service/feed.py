"""Events for those who watch over HTTP: a bounded ring, and the stored events where a watcher has missed more."""

import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread

from seedbed.core.events import Event

RING = 2000
MAX_WATCHERS = 16
FIGURES_EVERY_S = 2.0


class Feed:
    """An event sink with watchers. Ids are `MILLISECONDS-NUMBER`: the number orders a run, the time outlives it."""

    def __init__(self, stored: Path, figures: Callable[[], str]) -> None:
        self._stored, self._figures = stored, figures
        self._ring: deque[tuple[str, str]] = deque(maxlen=RING)
        self._number = 0
        self.watchers = 0
        self._is_closed = False

    def __call__(self, event: Event) -> None:
        self._number += 1
        self._ring.append((f"{int(event.at * 1000)}-{self._number}", _message(event.kind, event.at, event.fields)))

    def close(self) -> None:
        """End what watchers read."""
        self._is_closed = True

    async def watch(self, last_id: str = "") -> AsyncIterator[str]:
        """Yield server-sent events: what happened after `last_id`, then what happens, and live figures between."""
        self.watchers += 1
        try:
            seen = self._ring[-1][0] if self._ring and not last_id else last_id
            if last_id and not any(identity == last_id for identity, _ in self._ring):
                for identity, message in await anyio.to_thread.run_sync(self._missed, last_id):
                    yield f"id: {identity}\ndata: {message}\n\n"
                seen = self._ring[-1][0] if self._ring else ""
            shown, since = "", float("-inf")
            yield "retry: 2000\n\n"
            while not self._is_closed:
                for identity, message in self._after(seen):
                    seen = identity
                    yield f"id: {identity}\ndata: {message}\n\n"
                if anyio.current_time() - since >= FIGURES_EVERY_S:
                    since = anyio.current_time()
                    figures = await anyio.to_thread.run_sync(self._figures)
                    yield f"event: status\ndata: {figures}\n\n" if figures != shown else ": still here\n\n"
                    shown = figures
                await anyio.sleep(0.25)
        finally:
            self.watchers -= 1

    def _after(self, identity: str) -> list[tuple[str, str]]:
        ring = list(self._ring)
        number = int(identity.partition("-")[2] or 0) if identity else 0
        return [one for one in ring if int(one[0].partition("-")[2]) > number]

    def _missed(self, last_id: str) -> list[tuple[str, str]]:
        """Read from the event files what happened after an id; the newest so many as the ring holds."""
        text = last_id.partition("-")[0]
        since = int(text) if text.isdecimal() else 0
        found: deque[tuple[str, str]] = deque(maxlen=RING)
        for path in (self._stored.with_name(f"{self._stored.name}.1"), self._stored):
            if path.exists():
                for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                    record = _record(line)
                    if record and int(record["at"] * 1000) > since:
                        at, kind = record.pop("at"), record.pop("kind")
                        found.append((f"{int(at * 1000)}-0", _message(kind, at, record)))
        return list(found)


def _record(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and isinstance(record.get("at"), float | int) else None


def _message(kind: str, at: float, fields: Any) -> str:
    return json.dumps({"kind": kind, "at": round(at, 3), "fields": fields}, ensure_ascii=True, default=str)
