"""Who may ask the HTTP service: a token on every route but health, this machine's names, no foreign page."""

import hashlib
import hmac
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from fastapi import FastAPI, Request, Response

from seedbed.service.answering import Problem, problem

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
OPEN_ROUTES = frozenset({"/healthz", "/readyz"})
HEADERS = {
    "content-security-policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


def guard(app: FastAPI, token: str) -> None:
    """Let only those through who may ask. The token itself is not kept, only its hash."""
    expected = hashlib.sha256(token.encode()).digest()

    @app.middleware("http")
    async def check(request: Request, forward: Callable[[Request], Awaitable[Response]]) -> Response:
        answer = _refusal(request, expected) or await forward(request)
        answer.headers.update(HEADERS)
        return answer


def _refusal(request: Request, expected: bytes) -> Problem | None:
    host, origin = request.headers.get("host", ""), request.headers.get("origin")
    if request.url.path not in OPEN_ROUTES and not _is_authorised(request, expected):
        answer = problem(401, "a bearer token is needed", "service.json in the workspace has the one of this run")
        answer.headers["www-authenticate"] = "Bearer"
        return answer
    if not _is_local(host):
        return problem(421, "this host is not served here", "ask 127.0.0.1 or localhost")
    if origin is not None and not _is_same_origin(origin, host):
        return problem(403, "a page of another origin may not ask", "requests of browsers must come from this service")
    return None


def _is_authorised(request: Request, expected: bytes) -> bool:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(hashlib.sha256(given.encode()).digest(), expected)


def _is_local(host: str) -> bool:
    """Tell whether a Host header names this machine: a page elsewhere could rebind its name to loopback."""
    name = host[: host.rfind("]") + 1].strip("[]") if host.startswith("[") else host.partition(":")[0]
    return name in LOOPBACK


def _is_same_origin(origin: str, host: str) -> bool:
    """Tell whether an Origin header, which only browsers send, names the host asked; `null` never does."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme == "http" and parts.netloc == host
