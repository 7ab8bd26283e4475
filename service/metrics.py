"""What Prometheus scrapes: the status as metrics, gathered when asked for, so that nothing is counted twice."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from seedbed.core.records import Phase, Status
from seedbed.service.recent import without_waiting

ENDPOINT_GAUGES = {
    "in_flight": "Requests at the endpoint now",
    "limit": "Requests that may be there at once, as it stands now",
    "waiting": "Requests that wait for a place at any endpoint",
    "oldest_in_flight_s": "Age of the oldest request in flight, in seconds",
}
DIVERSITY_GAUGES = {
    "category_entropy": "Entropy of the categories, in bits",
    "distinct_2": "Different word pairs of all in the instructions",
    "near_duplicates": "Share refused as like another row",
    "leading_share": "Share that begins with the commonest verb",
    "acceptance_slope": "Acceptance of the newer half minus that of the older",
    "mean_depth": "Generations of machine-written rows behind a row",
}
ENDPOINT_COUNTERS = {
    "requests": "Tries that ended, in this process",
    "failures": "Tries that failed, without throttling",
    "throttled": "Tries answered by 429 or 503",
    "prompt_tokens": "Prompt tokens",
    "completion_tokens": "Completion tokens",
    "queue_wait_s": "Seconds that requests waited for a place",
}

NODE_GAUGES = {
    "last_seen_s": "Seconds since the service told of itself",
    "in_flight": "Requests without an answer at the service",
    "undecided": "Candidates it handed over that wait for a decision",
    "accepted_per_min": "Accepted rows a minute, over the last minute",
    "tokens_per_s": "Completion tokens a second, over the last minute",
}


def metrics_routes(status: Callable[[], Status]) -> APIRouter:
    """Return `/metrics`; it asks for the token like every other route."""
    routes, written = APIRouter(), _Written()

    @routes.get("/metrics", tags=["status"], response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:
        """Tell the status as Prometheus reads it."""
        return Response(written.of(await without_waiting(status)), media_type=CONTENT_TYPE_LATEST)

    return routes


class _Written:
    """The text of the last status; who scrapes that very one again gets it again."""

    def __init__(self) -> None:
        self._kept: tuple[Status, bytes] | None = None

    def of(self, status: Status) -> bytes:
        kept = self._kept
        if kept is None or kept[0] is not status:
            registry = CollectorRegistry()
            registry.register(_StatusCollector(status))
            self._kept = kept = (status, generate_latest(registry))
        return kept[1]


class _StatusCollector(Collector):
    """Makes metrics of a status."""

    def __init__(self, status: Status) -> None:
        self._status = status

    def describe(self) -> Iterable[Metric]:
        return ()  # so that registering collects nothing

    def collect(self) -> Iterable[Metric]:
        now = self._status
        yield _gauge("accepted_rows", "Accepted rows in the pool", now.accepted)
        yield _gauge("target_rows", "Accepted rows that start the next training", now.target)
        yield _gauge("round", "The round that is being filled", now.round)
        yield _gauge("requests_in_flight", "Requests without an answer yet", now.requests_in_flight)
        yield _gauge("alarms", "Alarms that stand", len(now.alarms))
        yield _counter("decided_rows", "Candidates decided", now.decided)
        yield _counter("failed_requests", "Requests given up", now.requests_failed)
        yield _counter("cost", "Money spent, in the currency of [budget]", now.cost)
        spent = {("prompt",): now.prompt_tokens, ("completion",): now.completion_tokens}
        yield _counter("tokens", "Tokens spent", spent, "kind")
        refused = {name.partition(".")[::2]: rows for name, rows in now.refused.items()}
        yield _counter("refused_rows", "Refused rows", refused, "filter", "reason")
        phases = {(phase.value,): float(phase is now.phase) for phase in Phase}
        yield _gauge("phase", "1 for the phase the service is in", phases, "phase")
        categories = {(name,): rows for name, rows in now.categories.items()}
        yield _gauge("category_rows", "Accepted rows by category", categories, "category")
        disk = {(kind,): size for kind, size in now.disk.items()}
        yield _gauge("disk_bytes", "Bytes in the workspace by kind", disk, "kind")
        if now.diversity is not None:
            for name, text in DIVERSITY_GAUGES.items():
                yield _gauge(f"diversity_{name}", f"{text}, of the latest rows", getattr(now.diversity, name))
        reactions = {(one.cause.value,): 1.0 for one in now.reactions}
        yield _gauge("diversity_reaction", "1 for each collapse that generation reacts to", reactions, "cause")
        yield from _endpoints(now)
        yield from _nodes(now)


def _endpoints(now: Status) -> Iterable[Metric]:
    states = {(name, str(found["state"])): 1 for name, found in now.endpoints.items()}
    yield _gauge("endpoint_state", "1 for the state it is in", states, "endpoint", "state")
    for make, metrics in ((_gauge, ENDPOINT_GAUGES), (_counter, ENDPOINT_COUNTERS)):
        for key, text in metrics.items():
            values = {(name,): found[key] for name, found in now.endpoints.items()}
            yield make(f"endpoint_{_in_words(key)}", text, values, "endpoint")


def _nodes(now: Status) -> Iterable[Metric]:
    labels = ("node", "name", "host", "role")
    for key, text in NODE_GAUGES.items():
        values = {(one.id, one.name, one.host, one.role.value): getattr(one, key) for one in now.nodes}
        yield _gauge(f"node_{_in_words(key)}", text, values, *labels)


def _in_words(key: str) -> str:
    """Name a unit as Prometheus does."""
    return f"{key[:-2]}_seconds" if key.endswith("_s") else key


Values = float | Mapping[Any, float]
"""One number, or one for each tuple of labels."""


def _gauge(name: str, text: str, values: Values, *labels: str) -> Metric:
    return _filled(GaugeMetricFamily(f"seedbed_{name}", text, labels=labels), values)


def _counter(name: str, text: str, values: Values, *labels: str) -> Metric:
    return _filled(CounterMetricFamily(f"seedbed_{name}", text, labels=labels), values)


def _filled(family: GaugeMetricFamily | CounterMetricFamily, values: Values) -> Metric:
    for labels, value in values.items() if isinstance(values, Mapping) else (((), values),):
        family.add_metric(labels, value)
    return family
