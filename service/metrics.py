"""What Prometheus scrapes: the status as metrics, gathered when asked for, so that nothing is counted twice."""

from collections.abc import Callable, Iterable

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from seedbed.core.records import Phase, Status

ENDPOINT_GAUGES = {
    "in_flight": "Requests at the endpoint now",
    "limit": "Requests that may be there at once, as it stands now",
    "waiting": "Requests that wait for a place at any endpoint",
    "oldest_in_flight_s": "Age of the oldest request in flight, in seconds",
}
ENDPOINT_COUNTERS = {
    "requests": "Tries that ended, in this process",
    "failures": "Tries that failed, without throttling",
    "throttled": "Tries answered by 429 or 503",
    "prompt_tokens": "Prompt tokens",
    "completion_tokens": "Completion tokens",
    "queue_wait_s": "Seconds that requests waited for a place",
}


def metrics_routes(status: Callable[[], Status]) -> APIRouter:
    """Return `/metrics`; it asks for the token like every other route."""
    routes, registry = APIRouter(), CollectorRegistry()
    registry.register(_StatusCollector(status))

    @routes.get("/metrics", tags=["status"], response_class=Response)
    def metrics() -> Response:
        """Tell the status as Prometheus reads it."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return routes


class _StatusCollector(Collector):
    """Makes metrics of a status, anew at each scrape."""

    def __init__(self, status: Callable[[], Status]) -> None:
        self._status = status

    def describe(self) -> Iterable[Metric]:
        return ()  # so that registering asks for no status

    def collect(self) -> Iterable[Metric]:
        now = self._status()
        yield _gauge("accepted_rows", "Accepted rows in the pool", now.accepted)
        yield _gauge("target_rows", "Accepted rows that start the next training", now.target)
        yield _gauge("round", "The round that is being filled", now.round)
        yield _gauge("requests_in_flight", "Requests without an answer yet", now.requests_in_flight)
        yield _gauge("alarms", "Alarms that stand", len(now.alarms))
        yield _counter("decided_rows", "Candidates decided", now.decided)
        yield _counter("failed_requests", "Requests given up", now.requests_failed)
        yield _counter("cost", "Money spent, in the currency of [budget]", now.cost)
        yield _by("tokens", "Tokens spent", {"prompt": now.prompt_tokens, "completion": now.completion_tokens}, "kind")
        refused = CounterMetricFamily("seedbed_refused_rows", "Refused rows", labels=["filter", "reason"])
        for name, rows in now.refused.items():
            refused.add_metric([*name.partition(".")[::2]], rows)
        yield refused
        phase = GaugeMetricFamily("seedbed_phase", "1 for the phase the service is in", labels=["phase"])
        for each in Phase:
            phase.add_metric([each.value], each is now.phase)
        yield phase
        categories = GaugeMetricFamily("seedbed_category_rows", "Accepted rows by category", labels=["category"])
        for name, rows in now.categories.items():
            categories.add_metric([name], rows)
        yield categories
        yield from _endpoints(now)


def _endpoints(now: Status) -> Iterable[Metric]:
    state = GaugeMetricFamily("seedbed_endpoint_state", "1 for the state it is in", labels=["endpoint", "state"])
    for name, found in now.endpoints.items():
        state.add_metric([name, str(found["state"])], 1)
    yield state
    for key, text in ENDPOINT_GAUGES.items():
        gauge = GaugeMetricFamily(f"seedbed_endpoint_{_in_words(key)}", text, labels=["endpoint"])
        for name, found in now.endpoints.items():
            gauge.add_metric([name], found[key])
        yield gauge
    for key, text in ENDPOINT_COUNTERS.items():
        counter = CounterMetricFamily(f"seedbed_endpoint_{_in_words(key)}", text, labels=["endpoint"])
        for name, found in now.endpoints.items():
            counter.add_metric([name], found[key])
        yield counter


def _in_words(key: str) -> str:
    """Name a unit as Prometheus does."""
    return f"{key[:-2]}_seconds" if key.endswith("_s") else key


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"seedbed_{name}", text, value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"seedbed_{name}", text, value)


def _by(name: str, text: str, values: dict[str, int], label: str) -> Metric:
    family = CounterMetricFamily(f"seedbed_{name}", text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
