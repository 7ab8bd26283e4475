"""A name that leads to a link-local or metadata address is not followed, nor is a redirect to one."""

import socket
from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from seedbed.core.errors import EndpointError, EndpointRejectedError
from seedbed.endpoints.control import controlling
from seedbed.endpoints.scripted_server import Received, Reply, serve_scripted
from seedbed.endpoints.site import Site, check, transport_to
from tests.endpoints.parts import make_config, make_request

NAME = "models.example"
BASE_URL = f"http://{NAME}/v1"


@pytest.fixture(params=["169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "fd00:ec2::254", "100.100.100.200"])
def address(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let the name lead there; nothing else is looked up."""
    leads_to = str(request.param)

    def looked_up(host: str | bytes, port: Any, *_: Any, **__: Any) -> Sequence[Any]:
        assert host in {NAME, NAME.encode()}
        family = socket.AF_INET6 if ":" in leads_to else socket.AF_INET
        place = (leads_to, port or 0, 0, 0) if family == socket.AF_INET6 else (leads_to, port or 0)
        return [(family, socket.SOCK_STREAM, 6, "", place)]

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    return leads_to


def test_an_endpoint_whose_name_leads_there_is_refused_before_it_is_asked(address: str) -> None:
    async def main() -> None:
        with pytest.raises(EndpointRejectedError, match=f"{NAME} leads to {address}") as caught:
            await check(Site(make_config(base_url=BASE_URL), BASE_URL))
        assert "\n" not in str(caught.value)

    anyio.run(main)


def test_a_name_that_comes_to_lead_there_is_not_followed(address: str) -> None:
    async def main() -> None:
        endpoint = transport_to(Site(make_config(base_url=BASE_URL), BASE_URL))
        try:
            with pytest.raises(EndpointError, match="link-local or metadata"):
                await endpoint.complete(make_request())
        finally:
            await endpoint.aclose()

    anyio.run(main)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_of_the_models_list_is_not_followed(status: int) -> None:
    seen: list[str] = []

    def respond(received: Received) -> Reply:
        seen.append(received.path)
        return Reply(b"", status, {"Location": "/v1/elsewhere"})

    async def main() -> None:
        async with serve_scripted(respond=respond) as base_url:
            async with controlling(base_url, "local") as control:
                assert (await control.get("/models")).status == status
            with pytest.raises(EndpointError, match="redirects"):
                await check(Site(make_config(base_url=base_url), base_url))

    anyio.run(main)
    assert set(seen) == {"/v1/models"}
