"""Routes that show what came of the rows: training runs and their attempts, adapters, evaluation reports."""

from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Request, Response

from seedbed.core.records import Adapter, TrainingRun
from seedbed.core.reports import EvalReport
from seedbed.pool.pool import Pool
from seedbed.service.answering import TAGGED, tagged
from seedbed.service.exchanged import RunShown

Round = Annotated[int, Path(ge=0, lt=2**31)]


def ledger_routes(pool: Pool) -> APIRouter:
    """Return the routes that show a pool's runs, adapters and reports."""
    routes = APIRouter(prefix="/v1", tags=["training"])

    @routes.get("/runs", response_model=list[TrainingRun], responses=TAGGED)
    def list_runs(request: Request) -> Response:
        """List training runs by round."""
        return tagged(request, pool.runs())

    @routes.get("/runs/{round}", response_model=RunShown, responses=TAGGED)
    def read_run(request: Request, round: Round) -> Response:
        """Tell about one round's training."""
        run = pool.run(round)
        if run is None:
            raise HTTPException(404, f"round {round} was not triggered")
        return tagged(request, RunShown(run=run, attempts=tuple(pool.attempts(round))))

    @routes.get("/adapters", response_model=list[Adapter], responses=TAGGED)
    def list_adapters(request: Request) -> Response:
        """List adapters, oldest first."""
        return tagged(request, pool.adapters())

    @routes.get("/reports", response_model=list[EvalReport], responses=TAGGED)
    def list_reports(request: Request) -> Response:
        """List evaluation reports, oldest first."""
        return tagged(request, pool.reports())

    return routes
