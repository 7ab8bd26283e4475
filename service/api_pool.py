"""Routes that show the pool: rows by filter and page, one row with its verdicts and lineage."""

from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, HTTPException, Path, Query, Request, Response

from seedbed.core.records import SeedTask
from seedbed.generator.parse import Unreadable as Reason
from seedbed.pool.pool import Pool
from seedbed.pool.records import Listed, Unreadable, Wanted
from seedbed.service.answering import TAGGED, tagged
from seedbed.service.exchanged import Explained, Page, Piece, Row
from seedbed.service.explain import explain_in
from seedbed.service.funnel import Funnel, funnel_of

MAX_PAGE_ROWS = 200

Name = Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
Cursor = Annotated[str | None, Query(pattern=r"^n[0-9]{1,18}$")]
"""The number of the last row seen; opaque to clients, so that what it holds may change."""
RowId = Annotated[str, Path(pattern=r"^[A-Za-z0-9-]{1,64}$")]


def pool_routes(pool: Pool, seeds: Sequence[SeedTask]) -> APIRouter:
    """Return the routes that show a pool."""
    routes = APIRouter(prefix="/v1/pool", tags=["pool"])

    @routes.get("/rows", response_model=Page, responses=TAGGED)
    def list_rows(
        request: Request,
        state: Literal["accepted", "refused"] | None = None,
        filter: Name = None,
        reason: Name = None,
        category: Annotated[str | None, Query(max_length=200)] = None,
        recipe: Name = None,
        text: Annotated[str | None, Query(max_length=200)] = None,
        cursor: Cursor = None,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE_ROWS)] = 50,
    ) -> Response:
        """List rows, newest first; rows that arrive while a client walks the pages do not shift them."""
        wanted = Wanted(None if state is None else state == "accepted", filter, reason, category, recipe, text)
        # One row more than asked tells whether there is a next page.
        found = pool.listed(limit + 1, None if cursor is None else int(cursor[1:]), wanted)
        more = found[limit - 1].number if len(found) > limit else None
        following = None if more is None else f"n{more}"
        return tagged(request, Page(rows=tuple(_row(one) for one in found[:limit]), next=following))

    @routes.get("/rows/{identity}", response_model=Explained, responses=TAGGED)
    def read_row(identity: RowId, request: Request) -> Response:
        """Tell all about one row: every verdict, its neighbour, the requests it came from."""
        if not (pool.candidate(identity) or pool.proposal(identity)):
            raise HTTPException(404, f"there is no row {identity}")
        return tagged(request, Explained.model_validate(explain_in(seeds, pool, identity)))

    @routes.get("/funnel", response_model=Funnel, responses=TAGGED)
    def read_funnel(request: Request) -> Response:
        """Tell what became of the candidates, filter by filter."""
        return tagged(request, funnel_of(pool.counts()))

    @routes.get("/unreadable", response_model=list[Piece], responses=TAGGED)
    def list_unreadable(
        request: Request, reason: Name = None, limit: Annotated[int, Query(ge=1, le=MAX_PAGE_ROWS)] = 50
    ) -> Response:
        """List pieces of answers that nothing could be made of, newest first."""
        found = pool.unreadable(reason, limit)
        return tagged(request, [_piece(one) for one in found])

    return routes


def _piece(one: Unreadable) -> Piece:
    blanked = not one.text and one.reason != Reason.EMPTY
    return Piece(request_id=one.request_id, reason=one.reason, text=one.text, is_blanked=blanked)


def _row(one: Listed) -> Row:
    row = one.candidate
    blanked = row.is_blanked
    return Row(candidate=row, is_accepted=one.is_accepted, filter=one.filter, reason=one.reason, is_blanked=blanked)
