"""Control calls to a server: models, health, metrics, adapters. The only file that knows httpx and its exceptions."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import httpx
import orjson
from pydantic import SecretStr

from seedbed.core.addresses import host_of, is_refused
from seedbed.core.errors import (
    EndpointError,
    EndpointRejectedError,
    EndpointResponseError,
    EndpointTimeoutError,
    EndpointUnreachableError,
)
from seedbed.endpoints.wire import Address, shown_url

MAX_BODY_BYTES = 16_000_000
REFUSED = "{host} leads to {address}, a link-local or metadata address, where no model server is asked; set base_url"


@dataclass(frozen=True, slots=True)
class ControlReply:
    """An answer of any status."""

    status: int
    headers: Mapping[str, str]
    """Names as httpx gives them, in lower case."""
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON, None where it is none."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None


class Control:
    """A connection for calls that are few and short."""

    def __init__(self, client: httpx.AsyncClient, base_url: str, name: str, key: SecretStr | None) -> None:
        self._client, self._base_url = client, base_url
        self._name, self._key = name, key
        self.root_url = base_url.removesuffix("/v1")

    async def get(self, path: str, timeout_s: float = 10.0) -> ControlReply:
        """GET a path below the base URL; below its root where it starts with `//`."""
        return await self._send("GET", path, None, timeout_s)

    async def post(self, path: str, body: Mapping[str, Any], timeout_s: float = 60.0) -> ControlReply:
        """POST JSON to a path below the base URL."""
        return await self._send("POST", path, orjson.dumps(body), timeout_s)

    def address(self, path: str, model: str = "") -> Address:
        """Return who is asked, for messages."""
        return Address(self._name, model, shown_url(self._url(path)), self._key)

    def _url(self, path: str) -> str:
        return self.root_url + path[1:] if path.startswith("//") else self._base_url + path

    async def _send(self, method: str, path: str, body: bytes | None, timeout_s: float) -> ControlReply:
        address = self.address(path)
        try:
            with anyio.fail_after(timeout_s):
                async with self._client.stream(method, self._url(path), content=body) as response:
                    content = await _read(response, address)
        except TimeoutError as error:
            raise EndpointTimeoutError(address.says(f"did not answer within {timeout_s:g} s")) from error
        except httpx.HTTPError as error:
            raise _translated(error, address) from error
        return ControlReply(response.status_code, response.headers, content)


@asynccontextmanager
async def controlling(base_url: str, name: str, key: SecretStr | None = None) -> AsyncIterator[Control]:
    """Open a control connection. Follows no redirects, takes no proxy from the environment.

    Raises:
        EndpointRejectedError: The host's name leads to a link-local or metadata address.
    """
    await refuse_where_it_leads(base_url, name)
    headers = {"Content-Type": "application/json", "User-Agent": "seedbed"}
    if key:
        headers["Authorization"] = f"Bearer {key.get_secret_value()}"
    async with httpx.AsyncClient(headers=headers, trust_env=False, timeout=None) as client:  # noqa: S113 - ours, above
        yield Control(client, base_url, name, key)


async def refuse_where_it_leads(base_url: str, name: str) -> None:
    """Look a name up, and refuse it where it leads to a link-local or metadata address.

    A name that leads nowhere is left to who connects.

    Raises:
        EndpointRejectedError: It does.
    """
    host = host_of(base_url)
    try:
        found = await anyio.getaddrinfo(host, None)
    except (OSError, UnicodeError):
        return
    for *_, place in found:
        if is_refused(str(place[0])):
            raise EndpointRejectedError(f'endpoint "{name}": {REFUSED.format(host=host, address=place[0])}')


async def is_healthy(control: Control) -> bool:
    """Whether /health answers 200."""
    try:
        return (await control.get("//health")).status == 200
    except EndpointError:
        return False


async def _read(response: httpx.Response, address: Address) -> bytes:
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > MAX_BODY_BYTES:
            raise EndpointResponseError(address.says(f"sent more than {MAX_BODY_BYTES} bytes"))
    return bytes(content)


def _translated(error: httpx.HTTPError, address: Address) -> EndpointError:
    if isinstance(error, httpx.ConnectError):
        return EndpointUnreachableError(address.says(f"does not answer: {connect_problem(error)}"))
    if isinstance(error, httpx.ProtocolError):
        return EndpointUnreachableError(address.says(f"broke the connection: {error}"))
    return EndpointUnreachableError(address.says(f"does not answer: {type(error).__name__}: {error}"))


def connect_problem(error: BaseException) -> str:
    """Find the operating system's words in a chain of causes; httpx says "all connection attempts failed"."""
    found = str(error)
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno:
            found = os.strerror(cause.errno) if cause.errno > 0 else str(cause.strerror)  # below 0: of getaddrinfo
        cause = cause.__cause__ or cause.__context__
    return found.lower()
