"""How the HTTP service answers: errors as problem+json, polled records with an ETag, and how OpenAPI tells of both."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import anyio
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from pydantic_core import to_json
from starlette.exceptions import HTTPException

from seedbed.core.errors import NotLeadingError, PoolUnavailableError
from seedbed.service.exchanged import Problem

PROBLEM_JSON = "application/problem+json"
TAGGED: dict[int | str, dict[str, Any]] = {304: {"description": "It is still as the client has it"}}
"""The responses of a route that answers with `tagged`."""


def problem(status: int, title: str, detail: str) -> JSONResponse:
    """Answer with an error in the form of RFC 9457."""
    body = Problem(title=title, status=status, detail=detail).model_dump()
    return JSONResponse(body, status, media_type=PROBLEM_JSON)


def free(alone: anyio.Lock, what: str) -> anyio.Lock:
    """Return the lock of what runs one at a time.

    Raises:
        HTTPException: It is held: nobody waits behind work that may take hours.
    """
    if alone.locked():
        raise HTTPException(409, f"{what} is running; wait until it is done")
    return alone


def tagged(request: Request, record: BaseModel | Sequence[BaseModel]) -> Response:
    """Answer with a record, or with 304 where the client has just this one."""
    return _answer(request, _written(record))


class Remembered:
    """Answers like `tagged`, writing and hashing a record once for all who ask while its source is the same object."""

    def __init__(self) -> None:
        self._kept: tuple[object, _Written] | None = None

    def answer(self, request: Request, source: object, make: Callable[[], BaseModel]) -> Response:
        """Answer with what `make` makes of `source`."""
        kept = self._kept
        if kept is None or kept[0] is not source:
            self._kept = kept = (source, _written(make()))
        return _answer(request, kept[1])


@dataclass(frozen=True, slots=True)
class _Written:
    """A record as it is sent."""

    body: bytes
    etag: str


def _written(record: BaseModel | Sequence[BaseModel]) -> _Written:
    body = to_json(record)
    return _Written(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


def _answer(request: Request, written: _Written) -> Response:
    known = {one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")}
    if known & {written.etag, "*"}:
        return Response(status_code=304, headers={"etag": written.etag})
    return Response(written.body, media_type="application/json", headers={"etag": written.etag})


def answer_problems(app: FastAPI) -> None:
    """Let errors of the framework, too, be answered as problem+json."""

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> Response:
        answer = problem(error.status_code, HTTPStatus(error.status_code).phrase.lower(), str(error.detail))
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        # Where and why only: the value itself may be anything, a secret too.
        reasons = [f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors()]
        return problem(422, "the request is not valid", "; ".join(reasons))

    @app.exception_handler(NotLeadingError)
    async def not_leading(_: Request, __: NotLeadingError) -> Response:
        return problem(409, "conflict", "another service leads this pool and makes its changes; ask that one")

    @app.exception_handler(PoolUnavailableError)
    async def unavailable(_: Request, __: PoolUnavailableError) -> Response:
        answer = problem(503, "service unavailable", "the pool cannot be read or written now; ask again in a while")
        answer.headers["retry-after"] = "5"
        return answer

    @app.exception_handler(Exception)
    async def unforeseen(_: Request, __: Exception) -> Response:
        # Nothing of the error: it may hold paths or rows. The server's log has it.
        return problem(500, "internal server error", "the service failed at this request; its log tells why")


def describe_answers(app: FastAPI, open_paths: Sequence[str], cookie: str) -> None:
    """Write into the OpenAPI what holds for every route: the token it asks for, problems, ETags.

    Args:
        app: What is described.
        open_paths: Those that need no token.
        cookie: The name of the page's cookie, which opens the rest as well as the token does.
    """
    make = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _described(make(), open_paths, cookie)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _described(schema: dict[str, Any], open_paths: Sequence[str], cookie: str) -> dict[str, Any]:
    parts = schema.setdefault("components", {})
    schemas = parts.setdefault("schemas", {})
    schemas["Problem"] = Problem.model_json_schema()
    for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's own form of 422, which ours replaces
        schemas.pop(name, None)
    parts["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer"},
        "page": {"type": "apiKey", "in": "cookie", "name": cookie},
    }
    schema["security"] = [{"token": []}, {"page": []}]
    for path, methods in schema["paths"].items():
        for operation in methods.values():
            _describe(operation, is_open=path in open_paths)
    return schema


def _describe(operation: dict[str, Any], *, is_open: bool) -> None:
    if is_open:
        operation["security"] = []
    responses = operation["responses"]
    responses.pop("422", None)
    told = {"content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    responses.setdefault("4XX", {"description": "The request is refused", **told})
    responses.setdefault("5XX", {"description": "The service failed", **told})
    if "304" in responses:
        etag = {"etag": {"description": "Of this very content", "schema": {"type": "string"}}}
        responses["200"]["headers"] = responses["304"]["headers"] = etag
        known = {"name": "If-None-Match", "in": "header", "required": False, "schema": {"type": "string"}}
        operation.setdefault("parameters", []).append(
            {**known, "description": "ETags that the client has; 304 where one is of this content"}
        )
