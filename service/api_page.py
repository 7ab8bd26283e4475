"""The page for people: its files, and the way in by a one-time link."""

from importlib.resources import files
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.responses import RedirectResponse

from seedbed.service.exchanged import LoginLink
from seedbed.service.guarding import COOKIE, SESSION_S, Gate, session_in

KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def page_routes(gate: Gate) -> APIRouter:
    """Return the routes of the page."""
    routes = APIRouter()
    folder = files("seedbed.service") / "page"
    served = {one.name: one.read_bytes() for one in folder.iterdir() if one.name.rpartition(".")[2] in KINDS}

    def answer(name: str) -> Response:
        if name not in served:
            raise HTTPException(404, "the page has no such file")
        kind = KINDS[name.rpartition(".")[2]]
        headers = {"content-security-policy": POLICY}
        return Response(served[name], media_type=f"{kind}; charset=utf-8", headers=headers)

    @routes.get("/", include_in_schema=False)
    async def page() -> Response:
        """Show the page."""
        return answer("index.html")

    @routes.get("/page/{name}", include_in_schema=False)
    async def file(name: str) -> Response:
        """Give one of the page's files."""
        return answer(name)

    @routes.get("/login", include_in_schema=False)
    async def login(request: Request, code: Annotated[str, Query(max_length=100)] = "") -> Response:
        """Exchange a one-time code for the page's cookie."""
        session = gate.session_of(code)
        if session is None:
            raise HTTPException(401, "this link was used or is too old; `seedbed page` prints a new one")
        response = RedirectResponse("/", 303)
        response.set_cookie(
            COOKIE,
            session,
            max_age=int(SESSION_S),
            path="/",
            secure=request.headers.get("x-forwarded-proto") == "https",  # a proxy brings TLS, and says so
            httponly=True,
            samesite="strict",
        )
        return response

    @routes.post("/v1/login-links", tags=["page"])
    async def new_link() -> LoginLink:
        """Make a link that opens the page once."""
        return LoginLink(path=f"/login?code={gate.new_code()}")

    @routes.post("/v1/logout", tags=["page"], status_code=204)
    async def logout(request: Request) -> Response:
        """End this browser's session."""
        gate.end_session(session_in(request.headers))
        response = Response(status_code=204)
        response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
        return response

    return routes
