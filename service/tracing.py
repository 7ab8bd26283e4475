"""Traces by OpenTelemetry: one for each assignment, through its recipe, its requests, the filters and the pool.

What is handed to the engine and the decider is wrapped where tracing is on; where it is off nothing of this is on the
way of a row. No prompt, answer, key or message of an error is in a span: names, numbers and reasons only.
"""

import os
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from seedbed import __version__
from seedbed.core.config import TelemetryConfig
from seedbed.core.errors import ConfigError, SeedbedError
from seedbed.core.records import Candidate, Completion, Proposal, Request
from seedbed.generator.recipe import Ask, Assignment, Emit, NoteUnreadable, Recipe, Screen
from seedbed.pool.records import Committed, Decided
from seedbed.service.decider import DecisionStore

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer
    from opentelemetry.util.types import AttributeValue

COLLECTORS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
END_S = 5.0
"""How long the end of a generation waits for a collector that does not answer."""


@asynccontextmanager
async def tracing(
    config: TelemetryConfig, environment: Mapping[str, str] = os.environ
) -> AsyncIterator["Tracing | None"]:
    """Trace while the block runs; None where neither the config nor OpenTelemetry's own variables name a collector.

    Raises:
        ConfigError: One is named, and the extra `tracing` is not installed.
    """
    is_wanted = bool(config.otlp_endpoint or any(environment.get(name) for name in COLLECTORS))
    if not is_wanted or environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        yield None
        return
    provider = _provider(config.otlp_endpoint, environment)
    try:
        yield Tracing(provider.get_tracer("seedbed", __version__))
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(partial(_end, provider))


def _provider(endpoint: str, environment: Mapping[str, str]) -> "TracerProvider":
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise ConfigError(f"traces are wanted, and the extra `tracing` is not installed: {error}") from error
    name = environment.get("OTEL_SERVICE_NAME") or "seedbed"
    provider = TracerProvider(
        resource=Resource.create({"service.name": name, "service.version": __version__}), shutdown_on_exit=False
    )
    where = f"{endpoint}/v1/traces" if endpoint else None
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=where, timeout=END_S)))
    return provider


def _end(provider: "TracerProvider") -> None:
    provider.force_flush(int(END_S * 1000))
    provider.shutdown()


class Tracing:
    """Wraps what a generation is made of."""

    def __init__(self, tracer: "Tracer") -> None:
        self._tracer = tracer
        self._undecided: dict[str, list[Context]] = {}
        """Candidate to the assignments that found it. Filled by the event loop, emptied by the decider's thread."""

    def recipes(self, recipes: Mapping[str, Recipe]) -> dict[str, Recipe]:
        """Make each assignment a trace."""
        return {name: partial(self._recipe, recipe) for name, recipe in recipes.items()}

    def ask(self, ask: Ask) -> Ask:
        """Make each request a span, with its retries and waits inside."""

        async def traced(request: Request) -> Completion:
            from opentelemetry.trace import SpanKind

            asked = {"gen_ai.operation.name": "chat", "seedbed.request": request.id, "seedbed.purpose": request.purpose}
            with self._span("ask", asked, kind=SpanKind.CLIENT) as span:
                completion = await ask(request)
                span.set_attributes(
                    {
                        "seedbed.endpoint": completion.endpoint,
                        "gen_ai.response.model": completion.model,
                        "gen_ai.response.finish_reasons": (completion.finish_reason.value,),
                        "gen_ai.usage.input_tokens": completion.prompt_tokens,
                        "gen_ai.usage.output_tokens": completion.completion_tokens,
                    }
                )
                return completion

        return traced

    def store(self, store: DecisionStore) -> DecisionStore:
        """Make the filters' and the pool's part of each decision spans of the assignment that found the row."""
        return _TracedStore(store, self._tell)

    async def _recipe(
        self, recipe: Recipe, ask: Ask, screen: Screen, assignment: Assignment, emit: Emit, note: NoteUnreadable
    ) -> None:
        from opentelemetry.context import Context
        from opentelemetry.trace import set_span_in_context

        about: dict[str, AttributeValue] = {
            "seedbed.recipe": assignment.recipe,
            "seedbed.category": assignment.requested_category,
            "seedbed.assignment": assignment.number,
        }
        with self._span("assignment", about, context=Context()) as span:
            here = set_span_in_context(span)

            async def screened(proposals: Sequence[Proposal]) -> list[bool]:
                with self._span("screen", {"seedbed.proposals": len(proposals)}) as inner:
                    is_novel = await screen(proposals)
                    inner.set_attribute("seedbed.novel", sum(is_novel))
                    return is_novel

            async def emitted(candidates: Sequence[Candidate]) -> None:
                for candidate in candidates:
                    self._undecided.setdefault(candidate.id, []).append(here)
                with self._span("emit", {"seedbed.candidates": len(candidates)}):
                    await emit(candidates)

            async def noted(request: Request, reason: str, text: str) -> None:
                span.add_event("unreadable", {"seedbed.request": request.id, "seedbed.reason": reason})
                await note(request, reason, text)

            await recipe(ask, screened, assignment, emitted, noted)

    @contextmanager
    def _span(self, name: str, attributes: "Mapping[str, AttributeValue]", **how: object) -> "Iterator[Span]":
        """Open a span in which an error is told by its kind alone: its message may quote a server."""
        from opentelemetry.trace import StatusCode

        quiet = {"record_exception": False, "set_status_on_exception": False}
        with self._tracer.start_as_current_span(name, attributes=attributes, **how, **quiet) as span:  # type: ignore[arg-type]
            try:
                yield span
            except SeedbedError as error:
                span.set_attribute("error.type", type(error).__name__)
                span.set_status(StatusCode.ERROR)
                raise

    def _tell(self, decided: Sequence[Decided], began_ns: int, committing_ns: int, committed_ns: int) -> None:
        for one in decided:
            if not isinstance(one.subject, Candidate):
                continue
            for context in self._undecided.pop(one.subject.id, ()):
                filtered = self._tracer.start_span("filter", context, attributes=_verdict(one), start_time=began_ns)
                filtered.end(committing_ns)
                self._tracer.start_span("commit", context, start_time=committing_ns).end(committed_ns)


def _verdict(one: Decided) -> "dict[str, AttributeValue]":
    refusal = one.decision.deciding
    found: dict[str, AttributeValue] = {
        "seedbed.candidate": one.decision.subject_id,
        "seedbed.verdict": "accepted" if one.decision.accepted else "refused",
    }
    if isinstance(one.subject, Candidate):
        found["seedbed.category"] = one.subject.category or one.subject.requested_category
    if refusal is not None:
        found |= {"seedbed.filter": refusal.filter, "seedbed.reason": refusal.reason}
        if refusal.score is not None:
            found["seedbed.score"] = refusal.score
    return found


class _TracedStore:
    """The decider's store, which notes when a batch comes, is filtered, and is committed. Of one thread."""

    def __init__(self, store: DecisionStore, tell: Callable[[Sequence[Decided], int, int, int], None]) -> None:
        self._store, self._tell = store, tell
        self._began_ns = 0

    def known(self, candidate_ids: Sequence[str]) -> Iterable[str]:
        self._began_ns = time.time_ns()
        return self._store.known(candidate_ids)

    def commit(self, decided: Sequence[Decided]) -> Committed:
        committing_ns = time.time_ns()
        committed = self._store.commit(decided)
        self._tell(decided, self._began_ns, committing_ns, time.time_ns())
        return committed
