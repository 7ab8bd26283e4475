"""The fast transport: aiohttp. The only file that knows aiohttp's client and its exceptions."""

import socket
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import anyio
from aiohttp.abc import ResolveResult
from aiohttp.client_proto import ResponseHandler
from pydantic import SecretStr

from seedbed.core.addresses import is_refused
from seedbed.core.config import EndpointConfig
from seedbed.core.errors import EndpointError, EndpointResponseError, EndpointTimeoutError, EndpointUnreachableError
from seedbed.core.records import Completion, Request
from seedbed.endpoints.control import REFUSED, connect_problem
from seedbed.endpoints.wire import Address, body_of, completion_of, error_of, shown_url, too_large, too_slow

CONNECTS_AT_ONCE = 64
"""Thousands of connects in one moment starve the event loop until they time out, so they are let in by ramps."""
IDLE_CONNECTION_S = 4.0
"""uvicorn, and so vLLM, closes an idle connection after 5 s; one closed under a request costs a retry."""


class AiohttpEndpoint:
    """An OpenAI-compatible server, asked through aiohttp. Make it inside a running event loop."""

    def __init__(
        self,
        config: EndpointConfig,
        base_url: str,
        key: SecretStr | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name, self.model = config.name, config.model
        self._config, self._clock = config, clock
        self._url = f"{base_url}/chat/completions"
        self._address = Address(config.name, config.model, shown_url(self._url), key)
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity", "User-Agent": "seedbed"}
        if key:
            headers["Authorization"] = f"Bearer {key.get_secret_value()}"
        self._session = aiohttp.ClientSession(
            connector=_RampedConnector(limit=0, resolver=_Resolver(), keepalive_timeout=IDLE_CONNECTION_S),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=config.connect_timeout_s),
            headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def complete(self, request: Request) -> Completion:
        body = body_of(request, self._config, self._address)
        start = self._clock()
        now = anyio.current_time()
        with anyio.CancelScope(deadline=now + self._config.first_byte_timeout_s) as scope:
            try:
                async with self._session.post(self._url, data=body, allow_redirects=False) as response:
                    scope.deadline = now + self._config.total_timeout_s
                    content = await self._read(response)
            except (aiohttp.ClientError, TimeoutError) as error:
                raise translated(error, self._address, self._config) from error
        if scope.cancelled_caught:
            raise too_slow(self._address, self._config, self._clock() - start)
        if response.status != 200:
            raise error_of(response.status, response.headers, content, self._address)
        return completion_of(content, request, self._address, self._clock() - start)

    async def aclose(self) -> None:
        await self._session.close()

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        """Read the body up to the cap; a body past it closes the connection."""
        limit = self._config.max_response_bytes
        chunks: list[bytes] = []
        size = 0
        while chunk := await response.content.readany():
            size += len(chunk)
            if size > limit:
                response.close()
                raise too_large(self._address, self._config)
            chunks.append(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def translated(error: Exception, address: Address, config: EndpointConfig) -> EndpointError:
    """Turn an exception of aiohttp's into ours."""
    if isinstance(error, aiohttp.ConnectionTimeoutError | TimeoutError):
        return EndpointTimeoutError(address.says(f"could not be connected to within {config.connect_timeout_s:g} s"))
    if isinstance(error, aiohttp.ClientConnectorError):
        return EndpointUnreachableError(address.says(f"does not answer: {connect_problem(error)}"))
    if isinstance(error, aiohttp.ClientResponseError):
        return EndpointResponseError(address.says(f"does not speak HTTP as it should: {error.message}"))
    return EndpointUnreachableError(address.says(f"broke the connection: {type(error).__name__}: {error}"))


class _Resolver(aiohttp.ThreadedResolver):
    """Looks names up for each connection; a name that has come to lead to a refused address is not followed."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await super().resolve(host, port, family)
        for place in found:
            if is_refused(place["host"]):
                raise socket.gaierror(socket.EAI_FAIL, REFUSED.format(host=host, address=place["host"]))
        return found


class _RampedConnector(aiohttp.TCPConnector):
    """Opens at most `CONNECTS_AT_ONCE` connections at a time."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._connects = anyio.Semaphore(CONNECTS_AT_ONCE)

    async def _create_connection(self, *arguments: Any) -> ResponseHandler:
        async with self._connects:
            return await super()._create_connection(*arguments)
