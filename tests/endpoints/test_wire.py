import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from seedbed.core.errors import (
    EndpointRejectedError,
    EndpointResponseError,
    EndpointThrottledError,
    EndpointTimeoutError,
)
from seedbed.core.records import FinishReason
from seedbed.endpoints.wire import (
    Address,
    completion_of,
    error_of,
    estimated_tokens,
    excerpt,
    parse_retry_after,
    payload_of,
    shown_url,
)
from tests.endpoints.parts import make_request

ADDRESS = Address("local", "m", "http://127.0.0.1:8000/v1/chat/completions", SecretStr("sk-canary-123"))


def body_with(**changes: Any) -> bytes:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "blue"}}
    usage = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}
    return json.dumps({"model": "m-2026", "choices": [choice], "usage": usage, **changes}).encode()


def choice_with(**changes: Any) -> list[dict[str, Any]]:
    return [{"index": 0, "finish_reason": "stop", "message": {"content": "blue"}, **changes}]


def test_a_payload_leaves_out_what_the_server_should_choose() -> None:
    assert payload_of(make_request(temperature=0.5, max_tokens=7), "m") == {
        "model": "m",
        "messages": [{"role": "user", "content": "Name a colour."}],
        "temperature": 0.5,
        "max_tokens": 7,
    }


def test_a_payload_carries_all_that_is_set_and_never_a_seed() -> None:
    schema = {"type": "object"}
    request = make_request(top_p=0.9, presence_penalty=1, frequency_penalty=0.5, stop=("a", "b"), json_schema=schema)
    payload = payload_of(request, "m")
    assert (payload["top_p"], payload["presence_penalty"], payload["frequency_penalty"]) == (0.9, 1, 0.5)
    assert payload["stop"] == ["a", "b"]
    assert payload["response_format"]["json_schema"]["schema"] == schema
    assert "seed" not in payload


def test_a_completion_is_read_with_its_counts_and_the_model_the_server_names() -> None:
    completion = completion_of(body_with(), make_request(), ADDRESS, 1.5)
    assert (completion.text, completion.finish_reason) == ("blue", FinishReason.STOP)
    assert (completion.prompt_tokens, completion.completion_tokens, completion.is_usage_counted) == (12, 3, True)
    assert (completion.model, completion.endpoint, completion.latency_s) == ("m-2026", "local", 1.5)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": None, "reasoning_content": "hm, colours"}, ""),
        ({"content": "blue", "reasoning": "hm"}, "blue"),
        ({"content": [{"type": "text", "text": "bl"}, {"type": "image"}, {"type": "text", "text": "ue"}]}, "blue"),
        ({"role": "assistant"}, ""),
    ],
)
def test_an_odd_content_is_read_as_the_text_it_holds(message: dict[str, Any], text: str) -> None:
    body = body_with(choices=choice_with(message=message, finish_reason="length"))
    completion = completion_of(body, make_request(), ADDRESS, 1)
    assert (completion.text, completion.finish_reason) == (text, FinishReason.LENGTH)


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": -1, "completion_tokens": True}, "much"])
def test_missing_counts_are_estimated_and_marked(usage: Any) -> None:
    completion = completion_of(body_with(usage=usage), make_request("x" * 40), ADDRESS, 1)
    # 40 / 4 and 4 marks of the template; "blue" is 4 characters.
    assert (completion.prompt_tokens, completion.completion_tokens, completion.is_usage_counted) == (14, 1, False)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>busy</html>",
        b"[]",
        b'{"choices": []}',
        b'{"choices": null}',
        b'{"choices": [{"text": "hm"}]}',
        b'{"error": {"message": "engine died"}}',
        b'{"choices": [{"message": {"content": "bl',
    ],
)
def test_what_is_no_completion_is_an_error_that_shows_it(body: bytes) -> None:
    with pytest.raises(EndpointResponseError, match=r'endpoint "local" \(http://127'):
        completion_of(body, make_request(), ADDRESS, 1)


@given(
    st.binary() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda v: json.dumps(v).encode())
)
def test_no_body_breaks_the_reader(body: bytes) -> None:
    with pytest.raises(EndpointResponseError):
        completion_of(body, make_request(), ADDRESS, 1)


SHREDS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["message", "content", "text", "prompt_tokens", "id"]), inner, max_size=4)
    ),
)


@given(choices=SHREDS, usage=SHREDS, model=SHREDS)
def test_no_shape_of_answer_breaks_the_reader(choices: Any, usage: Any, model: Any) -> None:
    body = json.dumps({"choices": choices, "usage": usage, "model": model}).encode()
    try:
        completion = completion_of(body, make_request(), ADDRESS, 1)
    except EndpointResponseError:
        return
    assert completion.prompt_tokens >= 0
    assert completion.model


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (400, EndpointRejectedError, "refuses the request"),
        (401, EndpointRejectedError, "api_key_env"),
        (403, EndpointRejectedError, "api_key_env"),
        (404, EndpointRejectedError, 'model = "m"'),
        (422, EndpointRejectedError, "refuses the request"),
        (307, EndpointRejectedError, "set base_url"),
        (408, EndpointTimeoutError, "gave up waiting"),
        (429, EndpointThrottledError, "asks to wait"),
        (503, EndpointThrottledError, "asks to wait"),
        (500, EndpointResponseError, "failed"),
        (502, EndpointResponseError, "failed"),
    ],
)
def test_each_status_becomes_the_error_that_says_what_to_do(status: int, kind: type[Exception], words: str) -> None:
    error = error_of(status, {}, b'{"error": {"message": "because"}}', ADDRESS)
    assert type(error) is kind
    assert words in str(error)


def test_a_used_up_quota_is_not_waited_for() -> None:
    body = b'{"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}'
    assert isinstance(error_of(429, {"Retry-After": "1"}, body, ADDRESS), EndpointRejectedError)


def test_a_key_that_the_server_echoes_is_left_out_of_the_message() -> None:
    error = error_of(401, {}, b'{"error": {"message": "Incorrect API key provided: sk-canary-123."}}', ADDRESS)
    assert "***" in str(error)
    assert "sk-canary-123" not in f"{error} {error!r} {ADDRESS!r}"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3", 3.0),
        ("0.5", 0.5),
        (" 7 ", 7.0),
        ("-4", 0.0),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 40.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(value: str, seconds: float | None) -> None:
    assert parse_retry_after(value, now=lambda: 60.0) == seconds


@given(st.text())
def test_no_retry_after_breaks_the_reader(value: str) -> None:
    seconds = parse_retry_after(value)
    assert seconds is None or (seconds >= 0 and math.isfinite(seconds))


def test_user_and_password_are_not_shown_of_a_url() -> None:
    assert shown_url("https://me:secret@host:8000/v1?x=1") == "https://host:8000/v1?x=1"


def test_an_excerpt_is_one_printable_line() -> None:
    assert excerpt(b"<html>\r\n\x1b[31m busy\x00</html>") == "<html> [31m busy </html>"
    assert len(excerpt(b"x" * 10_000)) == 201


def test_characters_beyond_ascii_count_as_a_token_each() -> None:
    assert estimated_tokens("abcdefgh") == 2
    assert estimated_tokens("天地人") == 3
