"""Who may ask the HTTP service: a token or a page's cookie on every route but health, known names, no foreign page."""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Collection
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from seedbed.service.answering import problem

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
OPEN_ROUTES = frozenset({"/healthz", "/readyz", "/login"})
COOKIE = "seedbed_session"
SESSION_S = 7 * 24 * 3600.0
LINK_S = 3600.0
MAX_BODY_BYTES = 1_000_000
UPLOADS = {"/v1/pool/import": 2 * 10**9, "/v1/references/": 256 * 10**6}
"""Routes whose body goes to a file as it comes, with its limit in bytes; a name that ends in / stands for all below."""
MAX_AT_ONCE = 64
REQUESTS_PER_S, BURST = 500.0, 1000.0
REFUSALS_PER_S, REFUSAL_BURST = 5.0, 200.0
TOO_LARGE = "the body is too large"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
HEADERS = {
    "content-security-policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Gate:
    """The secrets that open the service: this run's token, one-time login codes, sessions of the page.

    Only hashes are kept.
    """

    def __init__(self, token: str, now: Callable[[], float] = time.monotonic) -> None:
        self._token, self._now = _hash(token), now
        self._codes: dict[bytes, float] = {}
        self._sessions: dict[bytes, float] = {}

    def takes_token(self, token: str) -> bool:
        return hmac.compare_digest(_hash(token), self._token)

    def new_code(self) -> str:
        """Make a login code that opens one session, within the hour."""
        code = secrets.token_urlsafe(24)
        self._codes[_hash(code)] = self._now() + LINK_S
        return code

    def session_of(self, code: str) -> str | None:
        """Exchange a login code for a session; None where it is unknown, used or too old."""
        until = self._codes.pop(_hash(code), 0.0)
        if until < self._now():
            return None
        self._sessions = {key: end for key, end in self._sessions.items() if end > self._now()}
        session = secrets.token_urlsafe(32)
        self._sessions[_hash(session)] = self._now() + SESSION_S
        return session

    def takes_session(self, session: str) -> bool:
        return self._sessions.get(_hash(session), 0.0) > self._now()

    def end_session(self, session: str) -> None:
        self._sessions.pop(_hash(session), None)


class Guard:
    """ASGI middleware before every route: streams pass through it as they come.

    Args:
        app: What is guarded.
        gate: The secrets.
        hosts: Names that a Host header may have, beside this machine's own.
        now: Clock of the rate limits, in seconds.
    """

    def __init__(
        self, app: ASGIApp, gate: Gate, hosts: Collection[str] = (), now: Callable[[], float] = time.monotonic
    ) -> None:
        self._app, self._gate, self._hosts = app, gate, LOOPBACK | frozenset(hosts)
        self._asked, self._refused = _Bucket(REQUESTS_PER_S, BURST, now), _Bucket(REFUSALS_PER_S, REFUSAL_BURST, now)
        self._at_once = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        told = _with_headers(send)
        refusal = self._refusal(scope)
        if refusal is None:
            most = _most_bytes(scope["path"])
            if most != MAX_BODY_BYTES:
                receive = _counted(receive, most)
            else:
                body, receive = await _bounded(scope, receive)
                refusal = None if body else problem(413, TOO_LARGE, f"at most {MAX_BODY_BYTES} bytes")
        if refusal is not None:
            await refusal(scope, receive, told)
            return
        self._at_once += 1
        try:
            await self._app(scope, receive, told)
        finally:
            self._at_once -= 1

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        headers, path = Headers(scope=scope), scope["path"]
        host, origin = headers.get("host", ""), headers.get("origin")
        by_cookie = False
        if path not in OPEN_ROUTES and not self._has_token(headers):
            by_cookie = self._gate.takes_session(session_in(headers))
            if not by_cookie:
                return self._unauthorised()
        if _name_of(host) not in self._hosts:
            return problem(421, "this host is not served here", "ask 127.0.0.1, or set service.allowed_hosts")
        if origin is not None and not _is_same_origin(origin, host):
            return problem(
                403, "a page of another origin may not ask", "a browser's requests must come from this service"
            )
        if by_cookie and origin is None and scope["method"] not in SAFE_METHODS:
            return problem(403, "a page's request must name its origin", "scripts take the bearer token")
        if path in {"/healthz", "/readyz"}:
            return None
        if self._at_once >= MAX_AT_ONCE or not self._asked.take():
            return _later("too many requests", f"at most {MAX_AT_ONCE} at once and {REQUESTS_PER_S:.0f} a second")
        return None

    def _unauthorised(self) -> JSONResponse:
        if not self._refused.take():
            return _later("too many requests without the right token", "wait a little")
        detail = "service.json in the workspace has the token of this run; `seedbed page` prints a link for browsers"
        answer = problem(401, "a bearer token is needed", detail)
        answer.headers["www-authenticate"] = "Bearer"
        return answer

    def _has_token(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self._gate.takes_token(given)


class _Bucket:
    """A rate limit: so many a second, after a burst."""

    def __init__(self, rate: float, burst: float, now: Callable[[], float]) -> None:
        self._rate, self._burst, self._now = rate, burst, now
        self._left, self._at = burst, now()

    def take(self) -> bool:
        now = self._now()
        self._left, self._at = min(self._burst, self._left + (now - self._at) * self._rate), now
        if self._left < 1:
            return False
        self._left -= 1
        return True


def session_in(headers: Headers) -> str:
    """Return the session in a request's cookie, empty where there is none."""
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel else ""


def _later(title: str, detail: str) -> JSONResponse:
    answer = problem(429, title, detail)
    answer.headers["retry-after"] = "1"
    return answer


def _with_headers(send: Send) -> Send:
    async def told(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return told


async def _bounded(scope: Scope, receive: Receive) -> tuple[bool, Receive]:
    """Read a request's body, up to the limit, and give it back; False where it is longer."""
    if scope["method"] in SAFE_METHODS:
        return True, receive
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            break
        parts.append(message.get("body", b""))
        size, more = size + len(parts[-1]), message.get("more_body", False)
        if size > MAX_BODY_BYTES:
            return False, receive
    waiting: list[Message] = [{"type": "http.request", "body": b"".join(parts), "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return True, again


def _most_bytes(path: str) -> int:
    found = (most for name, most in UPLOADS.items() if path == name or (name.endswith("/") and path.startswith(name)))
    return next(found, MAX_BODY_BYTES)


def _counted(receive: Receive, most: int) -> Receive:
    """Pass a body on as it comes, up to a limit."""
    size = 0

    async def counted() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > most:
            raise HTTPException(413, f"{TOO_LARGE}: at most {most} bytes")
        return message

    return counted


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _name_of(host: str) -> str:
    """Return the name in a Host header: a page elsewhere could rebind its own name to this machine."""
    return (host[: host.rfind("]") + 1].strip("[]") if host.startswith("[") else host.partition(":")[0]).lower()


def _is_same_origin(origin: str, host: str) -> bool:
    """Tell whether an Origin header, which only browsers send, names the host asked; `null` never does."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    schemes = {"http"} if _name_of(host) in LOOPBACK else {"http", "https"}
    return parts.scheme in schemes and parts.netloc == host
