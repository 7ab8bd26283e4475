"""A client of the HTTP service, for Python and for the command line: a method for each route, with records for JSON.

with Client("http://127.0.0.1:8377", token) as client:
print(client.status().accepted)
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import TypeAdapter, ValidationError

from seedbed.core.errors import ServiceError, ServiceUnreachableError
from seedbed.core.records import Adapter, Decision, Snapshot, Status, TrainingRun
from seedbed.core.reports import EvalReport
from seedbed.pool.records import Intent
from seedbed.service.diversity import DiversityReport
from seedbed.service.exchanged import (
    Answers,
    Changed,
    Curve,
    Evaluation,
    Explained,
    ExportForm,
    Health,
    Imported,
    Kind,
    LoginLink,
    Over,
    Page,
    Piece,
    Problem,
    PrunedShown,
    Quarantined,
    Readiness,
    ReferenceShown,
    RescannedShown,
    RunShown,
    Tail,
)
from seedbed.service.funnel import Funnel
from seedbed.service.settings import SettingsShown
from seedbed.service.spread import Spread

T = TypeVar("T")
By = Literal["cascade", "by_hand"]


class Client:
    """Asks one service. Not for several threads at once.

    Args:
        url: Where it answers: `http://127.0.0.1:8377`.
        token: Its token.
        timeout_s: For what is answered at once; imports and rescans have no limit.
        transport: What carries requests, for tests.

    Every method raises `ServiceError`, which carries the problem that the service told, and `ServiceUnreachableError`
    where nobody answers. Methods that change something take an idempotency `key`: asked again under the same key, the
    service answers as the first time and does not act again.
    """

    def __init__(
        self, url: str, token: str, *, timeout_s: float = 60.0, transport: httpx.BaseTransport | None = None
    ) -> None:
        self.url = url.rstrip("/")
        self._http = httpx.Client(
            base_url=self.url,
            headers={"authorization": f"Bearer {token}"},
            timeout=timeout_s,
            transport=transport,
            trust_env=False,  # a proxy would see the token
            follow_redirects=False,
        )

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # What it is at

    def is_alive(self) -> bool:
        return self._get("/healthz", Health).status == "alive"

    def readiness(self) -> Readiness:
        """Tell whether it is able to work, and why not."""
        with self._sent("GET", "/readyz", allowed={503}) as answer:
            return _parsed(Readiness, answer)

    def is_ready(self) -> bool:
        return self.readiness().status == "ready"

    def status(self) -> Status:
        return self._get("/v1/status", Status)

    def diversity(self) -> DiversityReport:
        return self._get("/v1/diversity", DiversityReport)

    def history(self) -> Over:
        """Return samples of the status since the service started."""
        return self._get("/v1/history", Over)

    def settings(self) -> SettingsShown:
        return self._get("/v1/settings", SettingsShown)

    def metrics(self) -> str:
        """Return the status as Prometheus reads it."""
        with self._sent("GET", "/metrics") as answer:
            return answer.read().decode()

    def openapi(self) -> dict[str, Any]:
        return self._get("/v1/openapi.json", dict[str, Any])

    def events(self, last_event_id: str = "") -> Iterator[str]:
        """Yield the lines of server-sent events as they come; it ends with the service.

        Args:
            last_event_id: The last one seen: those after it come first.
        """
        headers = {"last-event-id": last_event_id} if last_event_id else {}
        with self._sent("GET", "/v1/events", headers=headers, timeout=None) as answer:
            yield from answer.iter_lines()

    # What is wanted of it

    def intent(self) -> Intent:
        return self._get("/v1/control", Intent)

    def control(self, action: Literal["start", "pause", "drain", "stop"], *, key: str = "") -> Intent:
        return self._change("POST", f"/v1/control/{action}", Intent, key=key)

    def set_target(self, target: int | None, *, key: str = "") -> Intent:
        return self._change("PUT", "/v1/control/target", Intent, {"target": target}, key=key)

    def set_concurrency(self, concurrency: int | None, *, key: str = "") -> Intent:
        return self._change("PUT", "/v1/control/concurrency", Intent, {"concurrency": concurrency}, key=key)

    def set_budget(self, max_tokens: int | None, max_cost: float | None, *, key: str = "") -> Intent:
        body = {"max_tokens": max_tokens, "max_cost": max_cost}
        return self._change("PUT", "/v1/control/budget", Intent, body, key=key)

    def set_shares(self, shares: Mapping[str, float], note: str = "by hand", *, key: str = "") -> Changed:
        return self._change("PUT", "/v1/control/shares", Changed, {"shares": dict(shares), "note": note}, key=key)

    # Rows

    def rows(
        self,
        *,
        state: Literal["accepted", "refused"] | None = None,
        filter: str | None = None,
        reason: str | None = None,
        category: str | None = None,
        recipe: str | None = None,
        text: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page:
        """Return one page of rows, newest first; `cursor` is the `next` of the page before."""
        asked = {"state": state, "filter": filter, "reason": reason, "category": category, "recipe": recipe}
        return self._get("/v1/pool/rows", Page, **asked, text=text, cursor=cursor, limit=limit)

    def row(self, identity: str) -> Explained:
        return self._get(f"/v1/pool/rows/{_name(identity)}", Explained)

    def accept(self, identity: str, note: str = "by hand", *, key: str = "") -> Decision:
        return self._change("POST", f"/v1/pool/rows/{_name(identity)}/accept", Decision, {"note": note}, key=key)

    def refuse(self, identity: str, note: str = "by hand", *, key: str = "") -> Decision:
        return self._change("POST", f"/v1/pool/rows/{_name(identity)}/refuse", Decision, {"note": note}, key=key)

    def quarantine(
        self, ancestor: Kind, name: str, note: str = "by hand", *, dry_run: bool = True, key: str = ""
    ) -> Quarantined:
        """Refuse what descends from a seed or row, a prompt or a model; unless told otherwise, only count it."""
        body = {"ancestor": ancestor, "name": name, "note": note, "dry_run": dry_run}
        return self._change("POST", "/v1/pool/quarantine", Quarantined, body, key=key)

    def import_rows(self, file: Path, decide: By = "cascade", note: str = "imported", *, key: str = "") -> Imported:
        """Take a file of JSON lines into the pool."""
        with file.open("rb") as stream:
            return self._upload(
                "POST", "/v1/pool/import", Imported, stream, "application/x-ndjson", key, decide=decide, note=note
            )

    def prune(self, *, dry_run: bool = True, key: str = "") -> PrunedShown:
        """Remove what is old; unless told otherwise, only find it."""
        return self._change("POST", "/v1/pool/prune", PrunedShown, {"dry_run": dry_run}, key=key, timeout=None)

    def funnel(self) -> Funnel:
        return self._get("/v1/pool/funnel", Funnel)

    def spread(self) -> Spread:
        return self._get("/v1/pool/spread", Spread)

    def unreadable(self, reason: str | None = None, limit: int = 50) -> list[Piece]:
        return self._get("/v1/pool/unreadable", list[Piece], reason=reason, limit=limit)

    def export(self, file: Path, form: ExportForm = "alpaca") -> int:
        """Write the accepted rows to a new file; return its bytes.

        Raises:
            FileExistsError: It is there.
        """
        with self._sent("GET", "/v1/export", params={"form": form}, timeout=None) as answer, file.open("xb") as out:
            return sum(out.write(chunk) for chunk in answer.iter_bytes())

    # References

    def references(self) -> list[ReferenceShown]:
        return self._get("/v1/references", list[ReferenceShown])

    def add_reference(
        self, name: str, file: Path, form: str = "jsonl", fields: str = "", *, key: str = ""
    ) -> RescannedShown:
        """Keep a benchmark out, and quarantine what overlaps with it."""
        with file.open("rb") as stream:
            return self._upload(
                "PUT",
                f"/v1/references/{_name(name)}",
                RescannedShown,
                stream,
                "application/octet-stream",
                key,
                form=form,
                fields=fields,
            )

    def rescan(self, *, key: str = "") -> RescannedShown:
        """Look for all references in the whole pool."""
        return self._change("POST", "/v1/rescan", RescannedShown, key=key, timeout=None)

    # Training

    def snapshots(self) -> list[Snapshot]:
        return self._get("/v1/snapshots", list[Snapshot])

    def snapshot(self, identity: str) -> Snapshot:
        return self._get(f"/v1/snapshots/{_name(identity)}", Snapshot)

    def freeze(self, *, key: str = "") -> Snapshot:
        """Freeze what is accepted now."""
        return self._change("POST", "/v1/snapshots", Snapshot, key=key, timeout=None)

    def runs(self) -> list[TrainingRun]:
        return self._get("/v1/runs", list[TrainingRun])

    def run(self, round: int) -> RunShown:
        return self._get(f"/v1/runs/{round}", RunShown)

    def loss(self, round: int) -> Curve:
        return self._get(f"/v1/runs/{round}/loss", Curve)

    def log(self, round: int) -> Tail:
        """Return the end of a training's log."""
        return self._get(f"/v1/runs/{round}/log", Tail)

    def start_training(self, *, key: str = "") -> TrainingRun:
        return self._change("POST", "/v1/runs", TrainingRun, key=key)

    def cancel_training(self, round: int, *, key: str = "") -> TrainingRun:
        return self._change("POST", f"/v1/runs/{round}/cancel", TrainingRun, key=key)

    def adapters(self) -> list[Adapter]:
        return self._get("/v1/adapters", list[Adapter])

    def answers(self, adapter: str, start: int = 0, limit: int = 20) -> Answers:
        """Return answers of base and adapter side by side."""
        return self._get(f"/v1/adapters/{_name(adapter)}/answers", Answers, start=start, limit=limit)

    def evaluate(self, adapter: str, *, key: str = "") -> Evaluation:
        """Ask for an evaluation, or get the report of one that is done."""
        return self._change("POST", f"/v1/adapters/{_name(adapter)}/evaluate", Evaluation, key=key)

    def promote(self, adapter: str, note: str = "by hand", *, key: str = "") -> Changed:
        path = f"/v1/adapters/{_name(adapter)}/promote"
        return self._change("POST", path, Changed, {"note": note}, key=key, timeout=None)

    def roll_back(self, note: str = "by hand", *, key: str = "") -> Changed:
        return self._change("POST", "/v1/adapters/rollback", Changed, {"note": note}, key=key, timeout=None)

    def reports(self) -> list[EvalReport]:
        return self._get("/v1/reports", list[EvalReport])

    # The page

    def login_link(self) -> LoginLink:
        """Make a link that opens the page once."""
        return self._change("POST", "/v1/login-links", LoginLink)

    def logout(self) -> None:
        """End the session of a browser whose cookie is sent; there is none here."""
        with self._sent("POST", "/v1/logout") as answer:
            answer.read()

    def _get(self, path: str, kind: type[T], **params: str | int | None) -> T:
        given = {name: value for name, value in params.items() if value is not None}
        with self._sent("GET", path, params=given) as answer:
            return _parsed(kind, answer)

    def _change(self, method: str, path: str, kind: type[T], body: Any = None, *, key: str = "", **more: Any) -> T:
        headers = {"idempotency-key": key} if key else {}
        given = {} if body is None else {"json": body}
        with self._sent(method, path, headers=headers, **given, **more) as answer:
            return _parsed(kind, answer)

    def _upload(
        self, method: str, path: str, kind: type[T], stream: IO[bytes], content: str, key: str, **params: str
    ) -> T:
        headers = {"content-type": content} | ({"idempotency-key": key} if key else {})
        with self._sent(method, path, headers=headers, params=params, content=stream, timeout=None) as answer:
            return _parsed(kind, answer)

    @contextmanager
    def _sent(
        self, method: str, path: str, *, allowed: frozenset[int] | set[int] = frozenset(), **more: Any
    ) -> Iterator[httpx.Response]:
        """Send a request, and yield the answer before its body is read."""
        try:
            with self._http.stream(method, path, **more) as answer:
                if not answer.is_success and answer.status_code not in allowed:
                    raise _error_of(answer)
                yield answer
        except httpx.HTTPError as error:
            what = str(error) or type(error).__name__
            raise ServiceUnreachableError(f"no service answers at {self._http.base_url}: {what}") from error


def _name(text: str) -> str:
    """Return a name as one part of a path, whatever stands in it."""
    return quote(text, safe="")


def _parsed(kind: type[T], answer: httpx.Response) -> T:
    try:
        return TypeAdapter(kind).validate_json(answer.read())
    except ValidationError as error:
        where = error.errors(include_input=False)[0]
        message = f"the service is of another version: {where['loc']} {where['msg']}"
        raise ServiceError(message, answer.status_code) from error


def _error_of(answer: httpx.Response) -> ServiceError:
    try:
        told = Problem.model_validate_json(answer.read())
    except ValidationError:
        return ServiceError(f"{answer.url} answered {answer.status_code} without a reason", answer.status_code)
    return ServiceError(told.detail, told.status, told.title)
