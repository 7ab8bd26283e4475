"""Routes that show the pool: rows by filter and page, one row with its verdicts and lineage."""

import base64
import binascii
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Path, Query
from pydantic import Field

from seedbed.core.records import Candidate, Decision, Record, Request, SeedTask
from seedbed.pool.pool import Pool
from seedbed.pool.records import Listed, Wanted
from seedbed.service.ancestry import Ancestor
from seedbed.service.explain import explain_in
from seedbed.service.funnel import Funnel, funnel_of

MAX_PAGE_ROWS = 200
_SQLITE_INTEGER = 2**63

Name = Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
RowId = Annotated[str, Path(pattern=r"^[A-Za-z0-9-]{1,64}$")]


class Row(Record):
    """A row in a list, with how it stands."""

    candidate: Candidate
    is_accepted: bool
    filter: str
    """The filter that refused it; empty where accepted."""
    reason: str


class Page(Record):
    """Some rows, newest first."""

    rows: tuple[Row, ...]
    next: str | None = None
    """The cursor of the next page; None on the last."""


class Piece(Record):
    """A piece of an answer that the parser could make nothing of."""

    request_id: str
    reason: str
    text: str


class Explained(Record):
    """A row or proposal with everything that was decided on it."""

    subject: dict[str, Any]
    decisions: tuple[Decision, ...]
    neighbour: dict[str, Any] | None = None
    """The text that the deciding verdict names."""
    ancestors: tuple[Ancestor, ...] = ()
    """What was shown when it was written, and what was shown for that, back to the seeds."""
    requests: tuple[Request, ...] = Field(default=())
    """What the model was asked for it."""


def pool_routes(pool: Pool, seeds: Sequence[SeedTask]) -> APIRouter:
    """Return the routes that show a pool."""
    routes = APIRouter(prefix="/v1/pool", tags=["pool"])

    @routes.get("/rows")
    def list_rows(
        state: Literal["accepted", "refused"] | None = None,
        filter: Name = None,
        reason: Name = None,
        category: Annotated[str | None, Query(max_length=200)] = None,
        recipe: Name = None,
        text: Annotated[str | None, Query(max_length=200)] = None,
        cursor: Annotated[str | None, Query(max_length=40)] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE_ROWS)] = 50,
    ) -> Page:
        """List rows, newest first; rows that arrive while a client walks the pages do not shift them."""
        wanted = Wanted(None if state is None else state == "accepted", filter, reason, category, recipe, text)
        # One row more than asked tells whether there is a next page.
        found = pool.listed(limit + 1, None if cursor is None else read_cursor(cursor), wanted)
        more = found[limit - 1].number if len(found) > limit else None
        return Page(rows=tuple(_row(one) for one in found[:limit]), next=None if more is None else write_cursor(more))

    @routes.get("/rows/{identity}")
    def read_row(identity: RowId) -> Explained:
        """Tell all about one row: every verdict, its neighbour, the requests it came from."""
        if not (pool.candidate(identity) or pool.proposal(identity)):
            raise HTTPException(404, f"there is no row {identity}")
        return Explained.model_validate(explain_in(seeds, pool, identity))

    @routes.get("/funnel")
    def read_funnel() -> Funnel:
        """Tell what became of the candidates, filter by filter."""
        return funnel_of(pool.counts())

    @routes.get("/unreadable")
    def list_unreadable(reason: Name = None, limit: Annotated[int, Query(ge=1, le=MAX_PAGE_ROWS)] = 50) -> list[Piece]:
        """List pieces of answers that nothing could be made of, newest first."""
        found = pool.unreadable(reason, limit)
        return [Piece(request_id=one.request_id, reason=one.reason, text=one.text) for one in found]

    return routes


def write_cursor(number: int) -> str:
    """Make a cursor of the number of the last row seen; opaque, so that what it holds may change."""
    return base64.urlsafe_b64encode(f"n{number}".encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> int:
    """Return the number in a cursor.

    Raises:
        HTTPException: It is none of ours.
    """
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError) as error:
        raise HTTPException(422, "cursor: not one of this service") from error
    digits = text.removeprefix("n")
    if not (text.startswith("n") and digits.isdecimal() and int(digits) < _SQLITE_INTEGER):
        raise HTTPException(422, "cursor: not one of this service")
    return int(digits)


def _row(one: Listed) -> Row:
    return Row(candidate=one.candidate, is_accepted=one.is_accepted, filter=one.filter, reason=one.reason)
