"""The numbers of a run, told once each: appended to `metrics.jsonl`, and handed to trackers."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from seedbed.core.files import Line as JsonLine
from seedbed.core.files import read_json_lines, write_atomic
from seedbed.trainer.trackers import Tracker

METRICS = "metrics.jsonl"


class Metrics:
    """What was told so far, on disk and at hand.

    A resumed run first takes out what was told after its checkpoint, so that every step is told once.
    """

    def __init__(
        self, out: Path, steps_done: int, trackers: Sequence[Tracker] = (), *, is_writing: bool = True
    ) -> None:
        path = out / METRICS
        self.told: list[dict[str, float]] = [line for line in _lines(path) if line["step"] <= steps_done]
        self._trackers = trackers
        self._stream = None
        if is_writing:
            write_atomic(path, "".join(json.dumps(line) + "\n" for line in self.told))
            self._stream = path.open("a", encoding="utf-8")

    def tell(self, step: int, **values: float) -> None:
        """Write one line of numbers that belong to a step."""
        line = {"step": step, **{name: _short(value) for name, value in values.items()}}
        self.told.append(line)
        if self._stream is not None:
            self._stream.write(json.dumps(line) + "\n")
            self._stream.flush()
        for tracker in self._trackers:
            tracker.tell(step, values)

    def has(self, step: int, name: str) -> bool:
        """Tell whether a number was told under a name for a step."""
        return any(line["step"] == step and name in line for line in self.told)

    def curve(self, name: str) -> list[float]:
        """Return all values told under a name, in order."""
        return [line[name] for line in self.told if name in line]

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
        for tracker in self._trackers:
            tracker.close()


def _lines(path: Path) -> Iterator[dict[str, float]]:
    if path.exists():
        yield from (line.value for line in read_json_lines(path) if isinstance(line, JsonLine))


def _short(value: float) -> float:
    return float(f"{value:.8g}")
