"""The HTTP service: who is alive, what is going on. Loopback only; a token on every route but health."""

import hashlib
import hmac
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from seedbed import __version__
from seedbed.core.errors import ConfigError
from seedbed.core.files import write_json
from seedbed.core.records import Status

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
OPEN_ROUTES = frozenset({"/healthz", "/readyz"})
ACCESS_FILE = "service.json"


@dataclass(frozen=True, slots=True)
class Access:
    """Where a running service answers, and the token of this run."""

    url: str
    token: str


def build_app(status: Callable[[], Status], is_ready: Callable[[], bool], token: str) -> FastAPI:
    """Build the application. The token itself is not kept, only its hash."""
    expected = hashlib.sha256(token.encode()).digest()
    app = FastAPI(title="Seedbed", version=__version__, docs_url=None, redoc_url=None, openapi_url="/v1/openapi.json")

    @app.middleware("http")
    async def guard(request: Request, forward: Callable[[Request], Awaitable[Response]]) -> Response:
        if request.url.path not in OPEN_ROUTES and not _is_authorised(request, expected):
            return problem(401, "a bearer token is needed", "service.json in the workspace has the one of this run")
        if not _is_local(request.headers.get("host", "")):
            return problem(421, "this host is not served here", "ask 127.0.0.1 or localhost")
        return await forward(request)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Tell that the process is alive."""
        return {"status": "alive"}

    @app.get("/readyz")
    async def readyz() -> JSONResponse:
        """Tell whether it is able to work."""
        ready = is_ready()
        return JSONResponse({"status": "ready" if ready else "not ready"}, 200 if ready else 503)

    @app.get("/v1/status")
    async def read_status() -> Status:
        """Tell what is going on."""
        return await anyio.to_thread.run_sync(status)

    return app


def problem(status: int, title: str, detail: str) -> JSONResponse:
    """Answer with an error in the form of RFC 9457."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return JSONResponse(body, status, media_type="application/problem+json")


def _is_authorised(request: Request, expected: bytes) -> bool:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(hashlib.sha256(given.encode()).digest(), expected)


def _is_local(host: str) -> bool:
    """Tell whether a Host header names this machine: a page elsewhere could rebind its name to loopback."""
    name = host[: host.rindex("]") + 1].strip("[]") if host.startswith("[") else host.partition(":")[0]
    return name in LOOPBACK


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the service drains on signals by itself."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving(app: FastAPI, *, host: str, port: int, token: str, folder: Path) -> AsyncIterator[Access]:
    """Serve `app` while the block runs; where it answers, and the token, stand in a file of mode 0600.

    Raises:
        ConfigError: The host is not loopback, or the port is taken.
    """
    if host not in LOOPBACK:
        raise ConfigError(f"service.host must be a loopback address, got {host}; put a proxy of yours before it")
    server = _Server(uvicorn.Config(app, host=host, port=port, log_level="warning", lifespan="off"))
    async with anyio.create_task_group() as group:
        group.start_soon(_serve, server, host, port)
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await anyio.sleep(0.02)
        bound = server.servers[0].sockets[0].getsockname()[1]
        access = Access(f"http://{'[::1]' if host == '::1' else host}:{bound}", token)
        write_json(folder / ACCESS_FILE, {"url": access.url, "token": token}, mode=0o600)
        try:
            yield access
        finally:
            (folder / ACCESS_FILE).unlink(missing_ok=True)
            server.should_exit = True


async def _serve(server: uvicorn.Server, host: str, port: int) -> None:
    try:
        await server.serve()
    except SystemExit as error:  # uvicorn's way of saying that it could not bind
        raise ConfigError(
            f"port {port} on {host} cannot be served; is it taken? Choose another service.port"
        ) from error


def new_token() -> str:
    """Make a token for one run of the service."""
    return secrets.token_urlsafe(32)
