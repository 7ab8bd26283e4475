"""The terminal of a running command: what happens now, how fast, how long still. Lines where there is no terminal."""

import math
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import anyio
from rich.console import Console as RichConsole
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from seedbed.core.events import Event

LINE_EVERY_S = 20.0
REFRESH_S = 1.0
WINDOW_S = 60.0


@dataclass(frozen=True, slots=True)
class Figures:
    """How far a phase is."""

    label: str
    done: float
    total: float | None
    """None where it is not known."""
    unit: str
    notes: tuple[str, ...] = ()


Gauge = Callable[[], Figures | None]


class Rate:
    """A quantity that grows, and how fast it grew over the last minute."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._seen: deque[tuple[float, float]] = deque()

    def per_second(self, value: float) -> float:
        """Take in the present value; return the growth a second, 0 until two values a second apart are known."""
        at = self._now()
        self._seen.append((at, value))
        while self._seen[0][0] < at - WINDOW_S and len(self._seen) > 2:
            self._seen.popleft()
        first_at, first = self._seen[0]
        return (value - first) / (at - first_at) if at - first_at >= 1 else 0.0


class Console:
    """Says things, and keeps a progress display on a terminal or prints a line now and then elsewhere."""

    def __init__(self, *, is_quiet: bool = False) -> None:
        self.rich = RichConsole(stderr=True, highlight=False, soft_wrap=True)
        self.out = RichConsole(highlight=False)
        self.is_quiet = is_quiet
        self._rate, self._label = Rate(), ""
        self._said_at = -math.inf

    def say(self, text: str) -> None:
        """Print a line; text from models and servers is shown as it is, never read as markup."""
        if not self.is_quiet:
            self.rich.print(text, markup=False)

    def on_event(self, event: Event) -> None:
        """Be a sink: say what an operator wants to know at once."""
        line = describe(event)
        if line:
            self.say(line)

    def download(self, what: str, done_bytes: int, total_bytes: int) -> None:
        """Be a progress callback for downloads."""
        share = done_bytes / total_bytes if total_bytes else 0.0
        at = time.monotonic()
        if at - self._said_at >= 5 or done_bytes >= total_bytes:
            self._said_at = at
            self.say(f"  {what}: {done_bytes / 1e6:.0f} of {total_bytes / 1e6:.0f} MB ({share:.0%})")

    async def watch(self, gauge: Gauge) -> None:
        """Show a gauge until cancelled."""
        if self.is_quiet:
            return
        if not sys.stderr.isatty():
            await self._watch_in_lines(gauge)
            return
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[notes]}"))
        with Progress(*columns, TimeElapsedColumn(), console=self.rich, transient=True) as progress:
            task = progress.add_task("", notes="")
            while True:
                figures = gauge()
                if figures is not None:
                    if figures.label != self._label:
                        progress.reset(task)
                    progress.update(
                        task,
                        description=figures.label,
                        completed=figures.done,
                        total=figures.total,
                        notes=self._text(figures),
                    )
                await anyio.sleep(REFRESH_S)

    async def _watch_in_lines(self, gauge: Gauge) -> None:
        while True:
            figures = gauge()
            if figures is not None:
                self.say(f"  {figures.label}: {self._text(figures)}")
            await anyio.sleep(LINE_EVERY_S)

    def _text(self, figures: Figures) -> str:
        if figures.label != self._label:
            self._label, self._rate = figures.label, Rate()
        rate = self._rate.per_second(figures.done)
        of_total = "" if figures.total is None else f" of {figures.total:g}"
        parts = [f"{figures.done:g}{of_total} {figures.unit}", *figures.notes]
        if rate > 0 and figures.total is not None and figures.total > figures.done:
            parts.append(f"about {duration((figures.total - figures.done) / rate)} to go")
        return ", ".join(parts)


def duration(seconds: float) -> str:
    """Write seconds as people say them: `45 s`, `3 min`, `2 h 05 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def describe(event: Event) -> str:
    """Return the line an event is worth on a terminal; empty for those that only the log keeps."""
    fields = event.fields
    lines = {
        "endpoint.server_up": "the server of endpoint {endpoint} answers at {url}",
        "endpoint.server_ended": "the server of endpoint {endpoint} ended: {reason}; started again in {restart_in_s} s",
        "endpoint.awaited": "{reason}; tried again in {again_in_s:g} s",
        "endpoint.opened": "endpoint {endpoint} rests: {reason}",
        "endpoint.other_model": "endpoint {endpoint} was asked for {asked} and answers as {answered}",
        "endpoint.answered_again": "endpoint {endpoint} answers again",
        "category.saturated": "category {category} is saturated: {accepted} of its last {rows} rows were accepted",
        "diversity.reacted": "generation reacts: {changes} (since {reason})",
        "diversity.recovered": "generation goes on as before: {cause} is over",
        "filters.loading": "loading the filters (the first time, their kernels are compiled: about a minute) …",
        "generation.started": "generating with {model} until {target} rows are accepted ({accepted} are)",
        "generation.ended": "generation ended: {ended} {message}",
        "round.given_up": "round {round} is given up: {error}",
        "snapshot.frozen": "round {round}: froze snapshot {snapshot} of {rows} training rows",
        "training.started": "round {round}: training on snapshot {snapshot}",
        "training.failed": "round {round}: attempt {attempt} failed: {error}",
        "training.ended": "round {round}: trained adapter {adapter}",
        "training.interrupted": "round {round}: training stopped at a checkpoint; the next run resumes it",
        "evaluation.started": "evaluating {adapter} on held-out tasks",
        "evaluation.judging": "{judge} compares {rows} answers of {adapter} with the base's",
        "evaluation.judged": "the judge prefers {adapter} on {wins} of {rows} rows, the base on {losses}",
        "evaluation.unjudged": "the judge could not compare answers of {adapter}: {reason}",
        "adapter.promoted": "promoted {adapter}: {reason}",
        "adapter.held": "held {adapter} back: {reason}",
        "adapter.loaded": "{adapter}: {said}",
        "adapter.not_loaded": "{adapter}: {said}",
        "adapter.none_served": "{said}",
        "gpu.leased": "endpoint {endpoint} sleeps while its GPU is used for training",
        "gpu.returned": "endpoint {endpoint} is awake again",
        "gpu.awaited": "round {round}: {reason}; tried again in {again_in_s:g} s",
        "adapter.rolled_back": "rolled {adapter} back: {reason}",
        "adapter.tainted": "adapter {adapter} is tainted: {rows} of its training rows overlap with references",
        "leadership.awaited": "another service leads the pool ({leader}): generating for it until it ends",
        "node.joined": "the service {node} on {host} joined: it generates for this pool",
        "node.left": "the service {node} on {host} left",
        "node.lost": "the service {node} on {host} is gone; lost with it: {requests} requests in flight",
        "leadership.taken": "this service leads the pool now",
        "leadership.lost": "this service does not lead the pool any more: waiting to lead again",
        "pool.pruned": "removed what is old: {bytes_freed} bytes ([retention])",
        "prune.failed": "what is old could not be removed: {error}",
        "alarm.raised": "ALARM: {alarm}",
        "alarm.cleared": "all clear: {alarm}",
        "webhook.failed": "an alarm could not be posted ({problem}); it was: {alarm}",
    }
    template = lines.get(event.kind, "")
    return template.format_map(_Known(fields)) if template else ""


class _Known(dict[str, object]):
    """Fields by name; one an event lacks is shown as a question mark."""

    def __missing__(self, key: str) -> str:
        return "?"
