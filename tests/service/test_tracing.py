"""Traces of a small run, received by a collector of this process over HTTP and read by OpenTelemetry's own records."""

import gzip
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import anyio
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from seedbed.core.config import TelemetryConfig
from seedbed.core.load import parse_config
from seedbed.core.records import Request
from seedbed.endpoints.scripted import plausible_answers
from seedbed.endpoints.scripted_server import serve_scripted
from seedbed.service.context import writing
from seedbed.service.generation import generate
from seedbed.service.init import create_workspace
from seedbed.service.live import Live
from seedbed.service.stopping import Stop
from seedbed.service.tracing import tracing
from seedbed.service.workspace import open_workspace

TARGET = 12


@dataclass(frozen=True)
class Span:
    name: str
    trace: bytes
    id: bytes
    parent: bytes
    start: int
    end: int
    attributes: Mapping[str, Any]


@dataclass
class Collector:
    url: str = ""
    bodies: list[bytes] = field(default_factory=list)

    def spans(self) -> list[Span]:
        found = []
        for body in self.bodies:
            for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in of_resource.scope_spans:
                    found += [_span(one) for one in scope.spans]
        return found


def _span(one: Any) -> Span:
    attributes = {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in one.attributes}
    return Span(
        one.name,
        one.trace_id,
        one.span_id,
        one.parent_span_id,
        one.start_time_unix_nano,
        one.end_time_unix_nano,
        attributes,
    )


@contextmanager
def collecting() -> Iterator[Collector]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert self.path == "/v1/traces"
            collector.bodies.append(gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield collector
        server.shutdown()
        thread.join()


@dataclass
class Ran:
    spans: list[Span]
    bodies: bytes
    requests: int
    decided: int
    accepted: int
    refused: Mapping[str, int]
    prompts: list[str]
    texts: list[str]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("traced") / "workspace"
    create_workspace(folder, base_url="http://unused/v1", model="m")
    prompts: list[str] = []
    texts: list[str] = []
    answers = plausible_answers(7)

    def answer(request: Request) -> Any:
        prompts.append(request.messages[0].content)
        text = answers(request)
        texts.append(str(text))
        return text

    async def main(collector: Collector) -> Ran:
        async with serve_scripted(answer, model="m", key="a-canary-key-of-the-endpoint") as url:
            settings = {
                "teacher": "one",
                "endpoints": [{"name": "one", "base_url": url, "model": "m", "api_key_env": "ONE_KEY"}],
                "telemetry": {"otlp_endpoint": collector.url},
                "generation": {"recipes": {"alpaca": 1.0, "self_instruct": 1.0}, "concurrency": 4},
            }
            workspace = replace(open_workspace(folder), config=parse_config(settings, "test"))
            with writing(workspace) as context:
                outcome = await generate(context, target=TARGET, stop=Stop(), live=Live())
                assert outcome is not None
                counters = outcome.counters
                return Ran(
                    collector.spans(),
                    b"".join(collector.bodies),
                    counters.requests,
                    counters.candidates,
                    counters.accepted,
                    dict(counters.refused),
                    prompts,
                    texts,
                )

    with pytest.MonkeyPatch.context() as patch, collecting() as collector:
        patch.setenv("ONE_KEY", "a-canary-key-of-the-endpoint")
        return anyio.run(main, collector)


def named(ran: Ran, name: str) -> list[Span]:
    return [span for span in ran.spans if span.name == name]


def test_every_assignment_is_one_trace(ran: Ran) -> None:
    roots = [span for span in ran.spans if not span.parent]
    assert {span.name for span in roots} == {"assignment"}
    assert len({span.trace for span in roots}) == len(roots)
    assert {span.attributes["seedbed.recipe"] for span in roots} <= {"alpaca", "self_instruct"}
    assert all(span.attributes["seedbed.category"] for span in roots)
    ids = {span.id for span in ran.spans}
    assert all(span.parent in ids for span in ran.spans if span.parent)


def test_every_request_is_a_span_that_names_its_endpoint(ran: Ran) -> None:
    asks = named(ran, "ask")
    assert len(asks) == ran.requests
    answered = [span for span in asks if "error.type" not in span.attributes]
    assert {span.attributes["seedbed.endpoint"] for span in answered} == {"one"}
    assert all(span.attributes["gen_ai.usage.output_tokens"] > 0 for span in answered)


def test_every_decision_is_a_span_of_the_assignment_that_found_the_row(ran: Ran) -> None:
    filtered = named(ran, "filter")
    assert len(filtered) == len(named(ran, "commit")) == ran.decided
    verdicts = [span.attributes["seedbed.verdict"] for span in filtered]
    assert verdicts.count("accepted") == ran.accepted
    refused: dict[str, int] = defaultdict(int)
    for span in filtered:
        if span.attributes["seedbed.verdict"] == "refused":
            refused[f"{span.attributes['seedbed.filter']}.{span.attributes['seedbed.reason']}"] += 1
    assert refused == {name: rows for name, rows in ran.refused.items() if rows}


def test_a_trace_tells_what_came_after_what(ran: Ran) -> None:
    of_trace: dict[bytes, list[Span]] = defaultdict(list)
    for span in ran.spans:
        of_trace[span.trace].append(span)
    whole = [spans for spans in of_trace.values() if {"ask", "filter", "commit"} <= {span.name for span in spans}]
    assert whole
    for spans in whole:
        first = {name: min(span.start for span in spans if span.name == name) for name in ("ask", "filter", "commit")}
        assert first["ask"] < first["filter"] <= first["commit"]
        assert all(span.start <= span.end for span in spans)


def test_no_prompt_no_answer_and_no_key_is_told(ran: Ran) -> None:
    assert ran.prompts
    values = [str(value) for span in ran.spans for value in span.attributes.values()]
    assert max(map(len, values)) < 100
    assert b"canary" not in ran.bodies
    for text in (*ran.prompts, *ran.texts):
        assert text[:60].encode() not in ran.bodies


def test_nothing_is_traced_where_no_collector_is_named() -> None:
    async def main() -> None:
        for environment in ({}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"}):
            async with tracing(TelemetryConfig(), environment) as traces:
                assert traces is None

    anyio.run(main)
