"""The second transport: the `openai` SDK, for its ways of authentication.

The only file that knows the SDK, and httpx2, which it runs on. It takes about ten times the CPU of the first. Its
own retries and timeouts are off: a retry that the fleet does not see hides throttling from the limits, and its
timeout is for each read, so a trickling server would hang for ever.
"""

import time
from collections.abc import AsyncIterator, Callable

import aiohttp
import anyio
import httpx2
import openai
from pydantic import SecretStr

from seedbed.core.config import EndpointConfig
from seedbed.core.errors import EndpointError, EndpointResponseError, EndpointUnreachableError
from seedbed.core.records import Completion, Request
from seedbed.endpoints.aiohttp_transport import translated
from seedbed.endpoints.wire import (
    Address,
    completion_of,
    error_of,
    in_words_of,
    payload_of,
    shown_url,
    too_large,
    too_slow,
)


class OpenaiEndpoint:
    """An OpenAI-compatible server, asked through the `openai` SDK."""

    def __init__(
        self,
        config: EndpointConfig,
        base_url: str,
        key: SecretStr | None = None,
        *,
        client: openai.AsyncOpenAI | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name, self.model = config.name, config.model
        self._config, self._clock = config, clock
        self._address = Address(config.name, config.model, shown_url(f"{base_url}/chat/completions"), key)
        self._client = client or _client_for(config, base_url, key)

    async def complete(self, request: Request) -> Completion:
        start = self._clock()
        now = anyio.current_time()
        content = b""
        with anyio.CancelScope(deadline=now + self._config.first_byte_timeout_s) as scope:
            try:
                async with self._client.chat.completions.with_streaming_response.create(
                    **in_words_of(self._config, payload_of(request, self.model))
                ) as response:
                    scope.deadline = now + self._config.total_timeout_s
                    content = await self._read(response.iter_bytes())
            except (openai.OpenAIError, httpx2.HTTPError) as error:
                raise self._translated(error) from error
        if scope.cancelled_caught:
            raise too_slow(self._address, self._config, self._clock() - start)
        return completion_of(content, request, self._address, self._clock() - start)

    async def aclose(self) -> None:
        await self._client.close()

    async def _read(self, chunks: AsyncIterator[bytes]) -> bytes:
        content = bytearray()
        async for chunk in chunks:
            content += chunk
            if len(content) > self._config.max_response_bytes:
                raise too_large(self._address, self._config)
        return bytes(content)

    def _translated(self, error: Exception) -> EndpointError:
        if isinstance(error, openai.APIStatusError):
            response = error.response
            return error_of(response.status_code, response.headers, response.content, self._address)
        if (cause := _aiohttp_cause_of(error)) is not None:
            return translated(cause, self._address, self._config)
        if isinstance(error, openai.APIConnectionError | httpx2.HTTPError):
            return EndpointUnreachableError(self._address.says(f"broke the connection: {error.__cause__ or error}"))
        return EndpointResponseError(self._address.says(f"failed: {error}"))


def _aiohttp_cause_of(error: BaseException) -> aiohttp.ClientError | None:
    """Find what aiohttp said, below the SDK, which calls a refused and a lost connection both a timeout."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, aiohttp.ClientError):
        cause = cause.__cause__
    return cause


def _client_for(config: EndpointConfig, base_url: str, key: SecretStr | None) -> openai.AsyncOpenAI:
    """Make the SDK's client on aiohttp: no retries, no redirects, no proxies, no read timeout."""
    http_client = openai.DefaultAioHttpClient(
        timeout=httpx2.Timeout(None, connect=config.connect_timeout_s),
        limits=httpx2.Limits(max_connections=config.max_in_flight, max_keepalive_connections=config.max_in_flight),
        follow_redirects=False,
        trust_env=False,
    )
    # The SDK insists on a key; a server that wants none ignores it.
    api_key = key.get_secret_value() if key else "none"
    return openai.AsyncOpenAI(
        api_key=api_key, base_url=base_url, max_retries=0, timeout=http_client.timeout, http_client=http_client
    )
