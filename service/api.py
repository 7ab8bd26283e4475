"""The HTTP service, put together: health, status, the routes of each resource, the page; loopback by default."""

import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import uvicorn
from fastapi import FastAPI, Request, Response

from seedbed import __version__
from seedbed.core.diversity import DiversityConfig
from seedbed.core.errors import ConfigError
from seedbed.core.files import write_json
from seedbed.core.records import SeedTask, Status
from seedbed.endpoints.fleet import beside
from seedbed.pool.pool import Pool
from seedbed.service.answering import TAGGED, Remembered, answer_problems, describe_answers, tagged
from seedbed.service.api_changes import Desk, change_routes
from seedbed.service.api_export import export_routes
from seedbed.service.api_import import import_routes
from seedbed.service.api_ledger import ledger_routes
from seedbed.service.api_look import look_routes
from seedbed.service.api_page import page_routes
from seedbed.service.api_pool import pool_routes
from seedbed.service.api_references import reference_routes
from seedbed.service.api_stages import stage_routes
from seedbed.service.diversity import DiversityReport, report_diversity
from seedbed.service.exchanged import Health, Readiness
from seedbed.service.guarding import COOKIE, LOOPBACK, OPEN_ROUTES, Gate, Guard
from seedbed.service.metrics import metrics_routes
from seedbed.service.once import Once
from seedbed.service.recent import without_waiting
from seedbed.service.remote import ACCESS_FILE


@dataclass(frozen=True, slots=True)
class Access:
    """Where a running service answers, and the token of this run."""

    url: str
    token: str


def build_app(
    status: Callable[[], Status],
    not_ready: Callable[[], str],
    gate: Gate | str,
    pool: Pool,
    seeds: Sequence[SeedTask] = (),
    *,
    desk: Desk | None = None,
    hosts: Sequence[str] = (),
    diversity: Callable[[], DiversityReport] | None = None,
) -> FastAPI:
    """Build the application.

    Args:
        status: Asked for the status.
        not_ready: Tells why no work can be done; empty where it can.
        gate: What opens it, or the token alone. The token itself is not kept, only its hash.
        pool: What is shown.
        seeds: The seed tasks, for neighbours.
        desk: What the changing routes work with; None: it only shows.
        hosts: Names it may be asked by, beside this machine's own.
        diversity: Measures the rows; None: by the default bounds.
    """
    gate = Gate(gate) if isinstance(gate, str) else gate
    app = FastAPI(
        title="Seedbed",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url="/v1/openapi.json",
        redirect_slashes=False,
    )
    app.add_middleware(Guard, gate=gate, hosts=tuple(hosts))
    answer_problems(app)
    describe_answers(app, sorted(OPEN_ROUTES), COOKIE)

    @app.get("/healthz", tags=["status"])
    async def healthz() -> Health:
        """Tell that the process is alive."""
        return Health()

    @app.get("/readyz", tags=["status"], responses={503: {"model": Readiness, "description": "Not able to work"}})
    async def readyz(response: Response) -> Readiness:
        """Tell whether it is able to work, or why not."""
        reason = not_ready()
        response.status_code = 503 if reason else 200
        return Readiness(status="not ready" if reason else "ready", reason=reason)

    status_answers = Remembered()

    @app.get("/v1/status", response_model=Status, responses=TAGGED, tags=["status"])
    async def read_status(request: Request) -> Response:
        """Tell what is going on."""
        now = await without_waiting(status)
        return status_answers.answer(request, now, lambda: now)

    measured = diversity or (lambda: report_diversity(pool, DiversityConfig()))

    @app.get("/v1/diversity", response_model=DiversityReport, responses=TAGGED, tags=["pool"])
    def read_diversity(request: Request) -> Response:
        """Tell how diverse the latest rows are, and those kept in the whole pool."""
        return tagged(request, measured())

    app.include_router(pool_routes(pool, seeds))
    app.include_router(ledger_routes(pool))
    app.include_router(export_routes(pool))
    app.include_router(metrics_routes(status))
    app.include_router(page_routes(gate))
    if desk is not None:
        app.state.beside = desk.feed.follow
        once = Once(pool)
        changing = (*change_routes(desk, once), stage_routes(desk, once), import_routes(desk, once))
        for routes in (*changing, reference_routes(desk, once), *look_routes(desk)):
            app.include_router(routes)
    return app


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the service drains on signals by itself."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving(
    app: FastAPI, *, host: str, port: int, token: str, folder: Path, is_guarded: bool = False
) -> AsyncIterator[Access]:
    """Serve `app` while the block runs; where it answers, and the token, stand in a file of mode 0600.

    Raises:
        ConfigError: The host is not loopback and no token and hosts were set, or the port is taken.
    """
    if host not in LOOPBACK and not is_guarded:
        raise ConfigError(
            f"service.host {host} is not loopback: set service.token_env (a token of yours) and service.allowed_hosts"
        )
    config = uvicorn.Config(
        app, host=host, port=port, log_level="warning", lifespan="off", timeout_graceful_shutdown=3, server_header=False
    )
    server = _Server(config)
    async with anyio.create_task_group() as group, beside() as tasks:
        if hasattr(app.state, "beside"):
            tasks.start_soon(app.state.beside)
        group.start_soon(_serve, server, host, port)
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await anyio.sleep(0.02)
        bound = server.servers[0].sockets[0].getsockname()[1]
        access = Access(f"http://{_reached_by(host)}:{bound}", token)
        write_json(folder / ACCESS_FILE, {"url": access.url, "token": token}, mode=0o600)
        try:
            yield access
        finally:
            (folder / ACCESS_FILE).unlink(missing_ok=True)
            server.should_exit = True


def _reached_by(host: str) -> str:
    """Return the name by which this machine reaches what is bound to `host`: the wildcards are no such name."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - it is not bound here
    return f"[{host}]" if ":" in host else host


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
