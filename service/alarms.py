"""Alarms: raised once when something is wrong, cleared when it is no more, told to the log, terminal and status."""

from collections import deque
from collections.abc import Mapping

from seedbed.core.config import AlarmsConfig
from seedbed.core.events import Events
from seedbed.endpoints.fleet import Fleet
from seedbed.endpoints.protocol import EndpointState, State
from seedbed.generator.counters import Counters

LOOK_EVERY_S = 5.0
DOWN = frozenset({State.STARTING, State.OPEN, State.HALF_OPEN, State.REJECTING})
"""States of an endpoint that answers nothing."""


class Alarms:
    """The alarms that stand, by their cause."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._standing: dict[str, str] = {}

    @property
    def standing(self) -> tuple[str, ...]:
        """What is wrong now, a line each."""
        return tuple(self._standing.values())

    def set(self, cause: str, text: str) -> None:
        """Raise an alarm, or clear it where `text` is empty. One that stands already is not raised again."""
        was = self._standing.get(cause, "")
        if text:
            self._standing[cause] = text
            if not was:
                self._events.emit("alarm.raised", cause=cause, alarm=text)
        elif was:
            del self._standing[cause]
            self._events.emit("alarm.cleared", cause=cause, alarm=was)

    def clear(self, prefix: str) -> None:
        """Clear all alarms whose cause begins so."""
        for cause in [cause for cause in self._standing if cause.startswith(prefix)]:
            self.set(cause, "")


class GenerationWatch:
    """Looks at a generation now and then for what an operator should be told."""

    def __init__(self, alarms: Alarms, config: AlarmsConfig) -> None:
        self._alarms, self._config = alarms, config
        self._down_since: dict[str, float] = {}
        self._seen: deque[tuple[int, int]] = deque(((0, 0),))
        """Candidates and accepted rows of this generation at earlier looks, back to one window."""

    def look(self, fleet: Fleet, counters: Counters, now: float) -> None:
        """Raise and clear alarms by what is seen now; `now` is of any clock that goes on evenly, in seconds."""
        self._look_at_endpoints(fleet.snapshot(), now)
        self._look_at_budget(fleet.budget.spent_share)
        self._look_at_acceptance(counters)

    def _look_at_endpoints(self, states: Mapping[str, EndpointState], now: float) -> None:
        for name, state in states.items():
            if state.state not in DOWN:
                self._down_since.pop(name, None)
                self._alarms.set(f"endpoint/{name}", "")
                continue
            since = self._down_since.setdefault(name, now)
            if now - since >= self._config.endpoint_down_s:
                self._alarms.set(f"endpoint/{name}", f"endpoint {name} is {state.state}: {state.reason}")

    def _look_at_budget(self, share: float) -> None:
        is_near = share >= self._config.budget_share
        self._alarms.set("budget", f"{share:.0%} of the budget is spent (alarms.budget_share)" if is_near else "")

    def _look_at_acceptance(self, counters: Counters) -> None:
        window = self._config.acceptance_window
        self._seen.append((counters.candidates, counters.accepted))
        while len(self._seen) > 1 and counters.candidates - self._seen[1][0] >= window:
            self._seen.popleft()
        candidates, accepted = self._seen[0]
        if counters.candidates - candidates < window or candidates < window:
            return
        before = accepted / candidates
        lately = (counters.accepted - accepted) / (counters.candidates - candidates)
        text = (
            f"acceptance fell to {lately:.0%} of the last {counters.candidates - candidates} candidates, "
            f"from {before:.0%} before; most is lost to: {counters.top_reasons()}"
        )
        self._alarms.set("acceptance", text if lately < self._config.acceptance_fall * before else "")
