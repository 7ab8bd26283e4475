"""The HTTP service, put together: health, status and the routes of each resource; served on loopback only."""

import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
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
from seedbed.core.records import SeedTask, Status
from seedbed.pool.pool import Pool
from seedbed.service.answering import answer_problems, tagged
from seedbed.service.api_ledger import ledger_routes
from seedbed.service.api_pool import pool_routes
from seedbed.service.guarding import LOOPBACK, guard

ACCESS_FILE = "service.json"


@dataclass(frozen=True, slots=True)
class Access:
    """Where a running service answers, and the token of this run."""

    url: str
    token: str


def build_app(
    status: Callable[[], Status], is_ready: Callable[[], bool], token: str, pool: Pool, seeds: Sequence[SeedTask] = ()
) -> FastAPI:
    """Build the application. The token itself is not kept, only its hash."""
    app = FastAPI(title="Seedbed", version=__version__, docs_url=None, redoc_url=None, openapi_url="/v1/openapi.json")
    guard(app, token)
    answer_problems(app)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Tell that the process is alive."""
        return {"status": "alive"}

    @app.get("/readyz")
    async def readyz() -> JSONResponse:
        """Tell whether it is able to work."""
        ready = is_ready()
        return JSONResponse({"status": "ready" if ready else "not ready"}, 200 if ready else 503)

    @app.get("/v1/status", response_model=Status)
    async def read_status(request: Request) -> Response:
        """Tell what is going on."""
        return tagged(request, await anyio.to_thread.run_sync(status))

    app.include_router(pool_routes(pool, seeds))
    app.include_router(ledger_routes(pool))
    return app


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
