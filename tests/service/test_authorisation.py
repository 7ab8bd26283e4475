"""Who may ask what: every route of the OpenAPI, by every method, with each kind of credentials."""

import re
from collections.abc import Iterable, Iterator

import httpx
import pytest
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from seedbed.service import guarding
from seedbed.service.guarding import COOKIE
from tests.service.running_service import TOKEN, Running, running_service

METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE")
OPEN = {"/healthz", "/readyz"}
OF_THE_PAGE = {"/", "/page/{name}", "/login"}
REFUSED = {
    "nothing": {},
    "a wrong token": {"authorization": "Bearer wrong"},
    "the token as a password": {"authorization": f"Basic {TOKEN}"},
    "the bare token": {"authorization": TOKEN},
    "a wrong cookie": {"cookie": f"{COOKIE}=wrong", "origin": "{url}"},
    "the token as a cookie": {"cookie": f"{COOKIE}={TOKEN}", "origin": "{url}"},
}
RIGHT = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guarding, "REFUSAL_BURST", 1e6)  # test_api.py tests the limit; here it would hide the matrix
        with running_service(tmp_path_factory.mktemp("authorisation") / "w") as running:
            yield running


@pytest.fixture(scope="module")
def client(service: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, trust_env=False, timeout=60) as opened:
        yield opened


def paths(service: Running) -> dict[str, set[str]]:
    """Return the OpenAPI's paths and each one's methods; parameters are filled with what is no name of anything."""
    found = service.app.openapi()["paths"]
    return {re.sub(r"{\w+}", "0", path): {method.upper() for method in item} for path, item in found.items()}


def routes(given: Iterable[BaseRoute]) -> Iterator[APIRoute]:
    for route in given:
        if isinstance(route, APIRoute):
            yield route
        elif router := getattr(route, "original_router", None):  # as FastAPI keeps what was included
            yield from routes(router.routes)


def status_of(client: httpx.Client, method: str, path: str, headers: dict[str, str]) -> int:
    with client.stream(method, path, headers=headers) as answer:  # events have no end, so no body is read
        return answer.status_code


def test_the_openapi_has_every_route_but_the_pages_own_files(service: Running) -> None:
    told = set(service.app.openapi()["paths"])
    assert {route.path for route in routes(service.app.routes)} - told == OF_THE_PAGE
    assert len(told) > 30


@pytest.mark.parametrize("credentials", REFUSED)
def test_no_route_answers_whoever_has_not_the_token(service: Running, client: httpx.Client, credentials: str) -> None:
    headers = {name: value.format(url=service.url) for name, value in REFUSED[credentials].items()}
    before = service.context.pool.intent()
    asked = [path for path in [*paths(service), "/v1/openapi.json", "/", "/page/page.js"] if path not in OPEN]
    answers = {(method, path): status_of(client, method, path, headers) for path in asked for method in METHODS}
    assert {one: status for one, status in answers.items() if status != 401} == {}
    assert service.context.pool.intent() == before


def test_every_route_takes_the_token_by_its_own_methods_and_by_no_other(service: Running, client: httpx.Client) -> None:
    for path, methods in paths(service).items():
        for method in METHODS:
            status = status_of(client, method, path, RIGHT)
            # One more answer is 422: `POST /v1/control/target` asks for the action named "target".
            refused = {401, 403, 405} if method in methods else set(range(600)) - {405, 422}
            assert status not in refused, (method, path, status)


def test_the_pages_cookie_opens_the_same_routes_to_the_page_itself_alone(
    service: Running, client: httpx.Client
) -> None:
    link = client.post("/v1/login-links", headers=RIGHT).json()["path"]
    cookie = client.get(link).headers["set-cookie"].partition(";")[0]
    client.cookies.clear()
    for path, methods in paths(service).items():
        for method in sorted(methods - {"GET"}) if path != "/v1/logout" else ():
            for origin, expected in ((service.url, False), ("https://evil.example", True), ("null", True)):
                status = status_of(client, method, path, {"cookie": cookie, "origin": origin})
                assert (status == 403) is expected, (method, path, origin)
