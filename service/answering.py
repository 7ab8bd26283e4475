"""How the HTTP service answers: errors as problem+json, polled records with an ETag."""

import hashlib
from collections.abc import Sequence
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from pydantic_core import to_json
from starlette.exceptions import HTTPException

Problem = JSONResponse


def problem(status: int, title: str, detail: str) -> Problem:
    """Answer with an error in the form of RFC 9457."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return JSONResponse(body, status, media_type="application/problem+json")


def tagged(request: Request, record: BaseModel | Sequence[BaseModel]) -> Response:
    """Answer with a record, or with 304 where the client has just this one."""
    body = to_json(record)
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    known = {one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")}
    if known & {etag, "*"}:
        return Response(status_code=304, headers={"etag": etag})
    return Response(body, media_type="application/json", headers={"etag": etag})


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

    @app.exception_handler(Exception)
    async def unforeseen(_: Request, __: Exception) -> Response:
        # Nothing of the error: it may hold paths or rows. The server's log has it.
        return problem(500, "internal server error", "the service failed at this request; its log tells why")
