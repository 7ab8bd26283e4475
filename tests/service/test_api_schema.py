"""The API keeps its own OpenAPI: whatever is asked, nothing fails, and every answer has the form that was told."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case, GenerationMode, SerializationContext
from schemathesis.specs.openapi.checks import ignored_auth

from tests.service.running_service import TOKEN, Running, running_service

ENDLESS = "/v1/events"
FEW, MANY = 3, 100
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
KEY = "Idempotency-Key"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_service(tmp_path_factory.mktemp("schema") / "w") as running:
        yield running


@schemathesis.serializer("application/x-ndjson")
def lines(_: SerializationContext, value: Any) -> bytes:
    """Send what was made up for JSON lines as it is."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("examples", [FEW, pytest.param(MANY, marks=pytest.mark.manual)])
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_route_answers_as_its_openapi_says_whatever_is_asked(
    service: Running, mode: GenerationMode, examples: int
) -> None:
    schema = schemathesis.openapi.from_url(f"{service.url}/v1/openapi.json", headers=HEADERS)
    failures = []
    for found in schema.exclude(path=ENDLESS).get_all_operations():
        operation: Any = found.ok()  # type: ignore[union-attr]
        is_asked_for_anything = bool(operation.body) or any(True for _ in operation.iter_parameters())
        if mode is GenerationMode.NEGATIVE and not is_asked_for_anything:
            continue  # there is nothing that could be wrong
        try:
            check(operation, mode, examples)
        except Exception as error:  # noqa: BLE001 - the failures of all routes are told together
            failures.append(error)
    if failures:
        raise ExceptionGroup(f"{len(failures)} routes", failures)


def check(operation: Any, mode: GenerationMode, examples: int) -> None:
    @settings(
        max_examples=examples, deadline=None, derandomize=examples == FEW, suppress_health_check=list(HealthCheck)
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Case[Any]) -> None:
        if mode is GenerationMode.POSITIVE and KEY in case.headers:
            case.headers[KEY] = uuid.uuid4().hex  # one that was used for another request is rightly refused
        # Without the token: test_authorisation.py, for every route; here it would run into the limit of such requests.
        case.call_and_validate(headers=HEADERS, excluded_checks=[ignored_auth], timeout=600)

    ask()
