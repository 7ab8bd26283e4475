"""What happened, told as it happens: to the log file, the terminal and whoever watches."""

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
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
    """Appends events to a file as JSON lines, starting a new one (`.1`, `.2` …) past `max_bytes`.

    Events that a full disk does not take are counted, and the count is written as soon as it takes one again.
    """

    def __init__(self, path: Path, max_bytes: int = 20_000_000, keep: int = 5) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._max_bytes, self._keep = path, max_bytes, keep
        self._stream = path.open("ab", buffering=0)
        self._lock = threading.Lock()
        self._lost, self._is_cut = 0, False

    def __call__(self, event: Event) -> None:
        with self._lock:
            lost = _line("log.lost", event.at, {"events": self._lost}) if self._lost else b""
            end_of_line = b"\n" if self._is_cut else b""
            if not self._written(end_of_line + lost + _line(event.kind, event.at, event.fields)):
                self._lost += 1
                return
            self._lost = 0
            if self._stream.tell() > self._max_bytes:
                self._rotate()

    def close(self) -> None:
        self._stream.close()

    def _written(self, lines: bytes) -> bool:
        """Write what is not longer than a disk takes; False where it took none of it, or not all."""
        try:
            taken = self._stream.write(lines)
        except OSError:
            return False
        self._is_cut = taken != len(lines)
        return not self._is_cut

    def _rotate(self) -> None:
        """Start a new file; where the disk refuses, the old one goes on and the next event tries again."""
        try:
            if self._path.exists():  # else it was moved, and then the disk had no place for a new one
                self._move()
            fresh = self._path.open("ab", buffering=0)
        except OSError:
            return
        self._stream.close()
        self._stream = fresh

    def _move(self) -> None:
        for number in range(self._keep - 1, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            if older.exists():
                older.replace(self._path.with_name(f"{self._path.name}.{number + 1}"))
        self._path.replace(self._path.with_name(f"{self._path.name}.1"))


def _line(kind: str, at: float, fields: Mapping[str, Value]) -> bytes:
    record = {"at": round(at, 3), "kind": kind, **fields}
    return json.dumps(record, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
