"""The OpenAI-compatible protocol as pure functions: request to payload, response to completion or error."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import orjson
from pydantic import SecretStr

from seedbed.core.config import EndpointConfig
from seedbed.core.errors import (
    EndpointError,
    EndpointRejectedError,
    EndpointResponseError,
    EndpointThrottledError,
    EndpointTimeoutError,
)
from seedbed.core.records import Completion, FinishReason, Request

CHARACTERS_PER_TOKEN = 4
"""Of English text, by OpenAI's rule of thumb. Only for estimates, which are marked as such."""
_FINISH = {"stop": FinishReason.STOP, "length": FinishReason.LENGTH}


@dataclass(frozen=True, slots=True)
class Address:
    """Who was asked, for messages and records; the key is here only to be taken out of messages."""

    name: str
    model: str
    url: str
    """Where the request goes, as it may be shown: without user and password."""
    key: SecretStr | None = None

    def says(self, what: str) -> str:
        """Begin an error message with the endpoint, and leave out the key where a server echoed it."""
        message = f'endpoint "{self.name}" ({self.url}) {what}'
        key = self.key.get_secret_value() if self.key else ""
        return message.replace(key, "***") if key else message


def shown_url(url: str) -> str:
    """Drop user and password from a URL."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def payload_of(request: Request, model: str) -> dict[str, Any]:
    """Build the body of POST /chat/completions. A sampling value of None is left out; `seed` is never sent."""
    sampling = request.sampling
    payload: dict[str, Any] = {
        "model": model,
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        "temperature": sampling.temperature,
        "max_tokens": sampling.max_tokens,
    }
    for key in ("top_p", "presence_penalty", "frequency_penalty"):
        value = getattr(sampling, key)
        if value is not None:
            payload[key] = value
    if sampling.stop:
        payload["stop"] = list(sampling.stop)
    if sampling.json_schema is not None:
        schema = {"name": "answer", "strict": True, "schema": sampling.json_schema}
        payload["response_format"] = {"type": "json_schema", "json_schema": schema}
    return payload


def in_words_of(config: EndpointConfig, payload: Mapping[str, Any]) -> dict[str, Any]:
    """Rename the sampling parameters that a server calls otherwise, and leave out those that it does not take."""
    named = ((config.parameters.get(key, key), value) for key, value in payload.items())  # type: ignore[call-overload]
    return {name: value for name, value in named if name}


def body_of(request: Request, config: EndpointConfig, address: Address) -> bytes:
    """Serialise the payload as a server wants it.

    Raises:
        EndpointRejectedError: The request's text cannot be written as UTF-8.
    """
    try:
        return orjson.dumps(in_words_of(config, payload_of(request, config.model)))
    except orjson.JSONEncodeError as error:
        raise EndpointRejectedError(address.says(f"cannot be sent request {request.id}: {error}")) from error


def completion_of(body: bytes, request: Request, address: Address, latency_s: float) -> Completion:
    """Read the body of a 200.

    Null content, as from a reasoning model that ran out of tokens, is an empty text: it was paid for, and the
    parser refuses it by name.

    Raises:
        EndpointResponseError: It is not JSON, or has no choice with a message.
    """
    answer = _object_of(body, address)
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise EndpointResponseError(address.says(f"sent an answer without choices: {excerpt(body)}"))
    message = choices[0].get("message")
    if not isinstance(message, dict):
        raise EndpointResponseError(address.says(f"sent a choice without a message: {excerpt(body)}"))
    text = _text_of(message.get("content"))
    prompt_tokens, completion_tokens = _usage_of(answer.get("usage"))
    is_counted = prompt_tokens is not None and completion_tokens is not None
    model = answer.get("model")
    return Completion(
        request_id=request.id,
        text=text,
        finish_reason=_FINISH.get(str(choices[0].get("finish_reason")), FinishReason.OTHER),
        prompt_tokens=estimated_prompt_tokens(request) if prompt_tokens is None else prompt_tokens,
        completion_tokens=estimated_tokens(text) if completion_tokens is None else completion_tokens,
        is_usage_counted=is_counted,
        model=model if isinstance(model, str) and model else address.model,
        endpoint=address.name,
        latency_s=latency_s,
    )


def error_of(
    status: int, headers: Mapping[str, str], body: bytes, address: Address, now: Callable[[], float] = time.time
) -> EndpointError:
    """Turn any status but 200 into the error that says what to do about it."""
    seen = f"{status} {excerpt(body)}".strip()
    if status == 429 and b"insufficient_quota" in body:
        return EndpointRejectedError(address.says(f"has no quota left: {seen}; check the account"), status)
    if status in {429, 503}:
        retry_after_s = parse_retry_after(headers.get("Retry-After", ""), now)
        return EndpointThrottledError(address.says(f"asks to wait: {seen}"), retry_after_s)
    if status == 408:
        return EndpointTimeoutError(address.says(f"gave up waiting: {seen}"))
    if status in {409, 425} or status >= 500:
        return EndpointResponseError(address.says(f"failed: {seen}"))
    return EndpointRejectedError(address.says(_refusal(status, headers, seen, address)), status)


def too_slow(address: Address, config: EndpointConfig, elapsed_s: float) -> EndpointTimeoutError:
    """Say which deadline passed."""
    key = "first_byte_timeout_s" if elapsed_s < min(config.total_timeout_s, config.first_byte_timeout_s + 1) else ""
    key = key or "total_timeout_s"
    return EndpointTimeoutError(address.says(f"did not finish within {getattr(config, key):g} s ({key})"))


def too_large(address: Address, config: EndpointConfig) -> EndpointResponseError:
    """Say how much was too much."""
    return EndpointResponseError(address.says(f"sent more than {config.max_response_bytes} bytes (max_response_bytes)"))


def parse_retry_after(value: str, now: Callable[[], float] = time.time) -> float | None:
    """Read a Retry-After header, seconds or an HTTP date (RFC 9110, 10.2.3), as seconds from now; None if neither."""
    value = value.strip()
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - now()
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def estimated_tokens(text: str) -> int:
    """Estimate the tokens of a text: characters / 4, but at least one for each character beyond ASCII."""
    if text.isascii():
        return -(-len(text) // CHARACTERS_PER_TOKEN)
    ascii_characters = len(text.encode("ascii", "ignore"))
    return len(text) - ascii_characters + -(-ascii_characters // CHARACTERS_PER_TOKEN)


def estimated_prompt_tokens(request: Request) -> int:
    """Estimate the tokens of a request's messages, with 4 more each for the chat template's marks."""
    return sum(estimated_tokens(message.content) + 4 for message in request.messages)


def excerpt(body: bytes, limit: int = 200) -> str:
    """Return the start of a body as one printable line, or of its error message where it has one."""
    text = body[: limit * 8].decode("utf-8", "replace")
    try:
        found = orjson.loads(body)["error"]
        text = str(found["message"] if isinstance(found, dict) else found)
    except (orjson.JSONDecodeError, KeyError, TypeError, IndexError):
        pass
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= limit else line[:limit] + "…"


def _refusal(status: int, headers: Mapping[str, str], seen: str, address: Address) -> str:
    if status in {401, 403}:
        return f"refuses the key: {seen}; set the environment variable that its api_key_env names"
    if status == 404:
        return f'knows no such path or model: {seen}; check base_url and model = "{address.model}"'
    if 300 <= status < 400:
        where = shown_url(headers.get("Location", ""))
        return f"redirects to {where or 'nowhere'} ({status}), which is not followed; set base_url to where it answers"
    return f"refuses the request: {seen}"


def _object_of(body: bytes, address: Address) -> dict[str, Any]:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise EndpointResponseError(address.says(f"sent what is not JSON ({error}): {excerpt(body)}")) from error
    if not isinstance(answer, dict):
        raise EndpointResponseError(address.says(f"sent JSON that is no object: {excerpt(body)}"))
    if "error" in answer and not answer.get("choices"):
        raise EndpointResponseError(address.says(f"sent an error with status 200: {excerpt(body)}"))
    return answer


def _text_of(content: object) -> str:
    """Read a message's content: a text, null, or a list of parts of which the texts count."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = (part.get("text") for part in content if isinstance(part, dict))
        return "".join(part for part in parts if isinstance(part, str))
    return ""


def _usage_of(usage: object) -> tuple[int | None, int | None]:
    if not isinstance(usage, dict):
        return None, None
    return _count_of(usage.get("prompt_tokens")), _count_of(usage.get("completion_tokens"))


def _count_of(value: object) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53
    return value if is_count and isinstance(value, int) else None
