"""What happened, told as it happens: to the log file, the terminal and whoever watches."""

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

Value: TypeAlias = str | int | float | bool | list[str] | dict[str, float] | None

logger = logging.getLogger("seedbed")


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened."""

    kind: str
    """Dotted, past tense where it ended something: `request.failed`, `snapshot.frozen`."""
    at: float
    """Seconds since 1970."""
    fields: dict[str, Value] = field(default_factory=dict)


Sink: TypeAlias = Callable[[Event], None]


class Events:
    """Hands each event to every sink, in order; safe to call from any thread.

    A sink that raises is taken out, with its traceback in the log: telling must not stop doing.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._sinks: tuple[Sink, ...] = ()

    def add(self, sink: Sink) -> None:
        self._sinks = (*self._sinks, sink)

    def remove(self, sink: Sink) -> None:
        self._sinks = tuple(kept for kept in self._sinks if kept != sink)

    def emit(self, kind: str, **fields: Value) -> None:
        """Tell all sinks of an event that happens now."""
        event = Event(kind, self._now(), fields)
        for sink in self._sinks:
            try:
                sink(event)
            except Exception:
                logger.exception("an event sink failed and is taken out: %r", sink)
                self.remove(sink)


class EventFile:
    """Appends events to a file as JSON lines, starting a new one (`.1`, `.2` …) past `max_bytes`."""

    def __init__(self, path: Path, max_bytes: int = 20_000_000, keep: int = 5) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._max_bytes, self._keep = path, max_bytes, keep
        self._stream = path.open("a", encoding="utf-8", errors="replace")
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        record = {"at": round(event.at, 3), "kind": event.kind, **event.fields}
        with self._lock:
            self._stream.write(json.dumps(record, ensure_ascii=False) + "\n")
            self._stream.flush()
            if self._stream.tell() > self._max_bytes:
                self._rotate()

    def close(self) -> None:
        self._stream.close()

    def _rotate(self) -> None:
        self._stream.close()
        for number in range(self._keep - 1, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            if older.exists():
                older.replace(self._path.with_name(f"{self._path.name}.{number + 1}"))
        self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        self._stream = self._path.open("a", encoding="utf-8", errors="replace")
