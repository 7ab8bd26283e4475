"""Cutting a stream into lists, as `itertools.batched` does from Python 3.12 on."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield items in lists of `size`, the last one shorter; no more of them are taken than are asked for."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
