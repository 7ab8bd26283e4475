"""Errors carry their message through pickling, and their exit code."""

import inspect
import pickle

import pytest

from seedbed.core import errors
from seedbed.core.errors import SeedbedError

TREE = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, SeedbedError)]


@pytest.mark.parametrize("kind", TREE)
def test_every_error_survives_pickling(kind: type[SeedbedError]) -> None:
    error = pickle.loads(pickle.dumps(kind("what happened")))
    assert type(error) is kind
    assert str(error) == "what happened"


@pytest.mark.parametrize("kind", TREE)
def test_every_error_stands_in_the_drawing(kind: type[SeedbedError]) -> None:
    assert kind.__name__ in (errors.__doc__ or "")


@pytest.mark.parametrize("kind", [kind for kind in TREE if kind is not SeedbedError])
def test_every_error_is_also_one_of_the_standard_library(kind: type[SeedbedError]) -> None:
    assert any(base.__module__ == "builtins" and base is not Exception for base in kind.__mro__[1:-3])


def test_a_throttle_keeps_what_the_server_wished_for() -> None:
    error = pickle.loads(pickle.dumps(errors.EndpointThrottledError("wait", 2.5)))
    assert error.retry_after_s == 2.5
