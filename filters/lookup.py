"""Building the tables that the compiled lookups read."""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from seedbed.filters import overlap_kernels as kernels
from seedbed.filters.hash_kernels import letter_codes, letter_powers

_Kind = TypeVar("_Kind", bound=np.generic)


def lookup_of(
    keys: npt.NDArray[np.uint64],
    items: npt.NDArray[np.int32],
    reference: npt.NDArray[np.int32] | None = None,
    most: int = 0,
) -> kernels.Lookup:
    """Build the table from keys to their items; `keys[i]` belongs to `items[i]`, and items ascend.

    Where `reference` tells which reference an item is of, a key that stands in more than `most` items of one
    reference keeps its place and loses its items.
    """
    order = np.argsort(keys, kind="stable")
    keys, items = keys[order], items[order]
    is_new = _changes(keys) | _changes(items)  # an item that has a key twice counts once
    keys, items = keys[is_new], items[is_new]
    is_first = _changes(keys)
    number = np.cumsum(is_first) - 1
    distinct = keys[is_first]
    counts = np.bincount(number, minlength=len(distinct))
    if reference is not None:
        starts = np.flatnonzero(is_first | _changes(reference[items]))
        sizes = np.diff(np.append(starts, len(keys)))
        is_boilerplate = np.zeros(len(distinct), dtype=np.bool_)
        is_boilerplate[number[starts[sizes > most]]] = True
        items = items[~is_boilerplate[number]]
        counts[is_boilerplate] = 0
    offsets = np.zeros(len(distinct) + 1, dtype=np.int64)
    np.cumsum(counts, out=offsets[1:])
    room = max(64, 1 << int(2 * len(distinct)).bit_length())
    lookup = kernels.Lookup(
        np.zeros(room, np.uint8), np.full(room, -1, np.int32), distinct, offsets, np.ascontiguousarray(items)
    )
    kernels.fill_lookup(lookup.keys, lookup.bits, lookup.slots)
    return lookup


def items_of(
    letters: npt.NDArray[np.int64],
    hashes: npt.NDArray[np.uint64],
    anchors: npt.NDArray[np.uint32],
    gates: npt.NDArray[np.uint16],
    is_wanted: npt.NDArray[np.bool_],
) -> kernels.Items:
    """Build the table of items by their first letters, of those that are wanted."""
    numbers = np.flatnonzero(is_wanted).astype(np.int32)
    keys = anchors[numbers].astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)  # as `overlap_kernels.anchor_key`
    bits = np.uint32(1) << np.floor(np.log2(np.maximum(letters, 1))).astype(np.uint32)
    is_gated = is_wanted & (letters >= kernels.GATE_LETTERS)
    levels = np.zeros(1 << 16, dtype=np.uint32)
    np.bitwise_or.at(levels, gates[is_gated], bits[is_gated])
    return kernels.Items(
        anchors=lookup_of(keys, numbers),
        letters=letters,
        hashes=hashes,
        levels=levels,
        short_levels=np.bitwise_or.reduce(bits[is_wanted & ~is_gated], initial=np.uint32(0)),
        powers=letter_powers(int(letters.max(initial=kernels.GATE_LETTERS))),
        codes=letter_codes(),
    )


def whole_keys(hashes: npt.NDArray[np.uint64], words: npt.NDArray[Any], short_words: int) -> npt.NDArray[np.uint64]:
    """Return the keys under which items are looked up whole, see `overlap_kernels.Index.whole`."""
    counted = np.where(words < short_words, words, 0).astype(np.uint64)
    return hashes + counted * np.uint64(kernels.SHORT_STEP)


def together(arrays: Sequence[npt.NDArray[Any]], kind: type[_Kind]) -> npt.NDArray[_Kind]:
    """Lay arrays end to end as one of a kind; none make an empty one."""
    return np.concatenate([np.empty(0, kind), *arrays]).astype(kind)


def joined(texts: Sequence[bytes]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Lay texts end to end; text i is `buffer[bounds[i]:bounds[i + 1]]`."""
    bounds = np.zeros(len(texts) + 1, dtype=np.int64)
    np.cumsum([len(text) for text in texts], out=bounds[1:])
    return np.frombuffer(b"".join(texts), dtype=np.uint8), bounds


def _changes(values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Mark the values that differ from the one before, and the first."""
    changes = np.ones(len(values), dtype=np.bool_)
    changes[1:] = values[1:] != values[:-1]
    return changes
