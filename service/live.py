"""What only the running process knows: the phase it is in, how far it is, its endpoints."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import anyio

from seedbed.core.diversity import Diversity, Reaction
from seedbed.core.errors import MissingFileError
from seedbed.core.events import Events
from seedbed.core.files import read_json
from seedbed.core.records import Phase
from seedbed.endpoints.fleet import Fleet
from seedbed.generator.counters import Counters
from seedbed.service.alarms import Alarms
from seedbed.service.console import Figures, Gauge, Rate
from seedbed.service.control import Control
from seedbed.service.decider import DecisionThread
from seedbed.service.training import read_metrics

NOT_READY: Mapping[Phase, str] = {
    Phase.STARTING: "it is starting",
    Phase.LOADING_FILTERS: "its filters are being loaded",
    Phase.STOPPED: "it is stopping",
}
"""Why no work can be done; in the other phases it can."""


@dataclass(slots=True)
class Live:
    """Mutable on purpose: phases write it, the terminal and the API read it."""

    phase: Phase = Phase.STARTING
    gauge: Gauge = lambda: None
    fleet: Fleet | None = None
    counters: Counters = field(default_factory=Counters)
    control: Control | None = None
    """What the operator wants; None where nobody can ask for anything."""
    decider: DecisionThread | None = None
    """Owns the indexes while rows are generated."""
    index_lock: anyio.Lock = field(default_factory=anyio.Lock)
    """Held while the indexes are loaded or closed, and while a person's decision goes past them."""
    teaching: anyio.Lock = field(default_factory=anyio.Lock)
    """Held while the teacher's endpoints are open: who takes the lead first lets what is in flight come in."""
    diversity: Diversity | None = None
    """Of what was written last, while rows are generated."""
    reactions: tuple[Reaction, ...] = ()
    """What generation does otherwise, since rows are too alike."""
    alarms: Alarms = field(default_factory=lambda: Alarms(Events()))

    def endpoints(self) -> Mapping[str, Mapping[str, Any]]:
        """Return each endpoint's state, empty outside generation."""
        if self.fleet is None:
            return {}
        return {name: asdict(state) for name, state in self.fleet.snapshot().items()}

    def figures(self) -> Figures | None:
        return self.gauge()


class Counted(Protocol):
    """Knows how many rows stand accepted in the pool, at once."""

    def accepted_count(self) -> int: ...


def generation_gauge(pool: Counted, counters: Counters, target: int) -> Gauge:
    """Measure a generation: accepted rows, acceptance, tokens a second over the last minute, cost in requests."""
    tokens = Rate()

    def measure() -> Figures:
        notes = (
            f"acceptance {counters.acceptance:.0%}",
            f"{tokens.per_second(counters.completion_tokens):.0f} tokens/s",
            f"{counters.in_flight} in flight",
        )
        return Figures("generating", min(pool.accepted_count(), target), target, "accepted", notes)

    return measure


def training_gauge(folder: Path) -> Gauge:
    """Measure a training by the metrics it writes: steps, loss, tokens a second."""

    def measure() -> Figures | None:
        try:
            rows = [row for row in read_metrics(folder) if "loss" in row]
        except MissingFileError:
            return None
        if not rows:
            return None
        last, state = rows[-1], read_json(folder / "state.json")
        notes = [f"loss {last['loss']:.3f}"]
        if "tokens_per_s" in last:  # Hugging Face's Trainer does not tell
            notes += [f"{last['tokens_per_s']:.0f} tokens/s", f"MFU {last.get('mfu', 0):.0%}"]
        return Figures("training", last["step"], state["steps"], "steps", tuple(notes))

    return measure


def evaluation_gauge(folder: Path) -> Gauge:
    """Measure an evaluation by the answers it has written."""

    def measure() -> Figures | None:
        try:
            with (folder / "answers.jsonl").open("rb") as stream:
                done = sum(1 for _ in stream)
        except FileNotFoundError:
            return None
        return Figures("evaluating", done, None, "answers")

    return measure
