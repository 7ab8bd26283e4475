"""Compiled parts that read items: what a digest is made of, and what the index has to know of its items."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from seedbed.filters.compiled import kernel
from seedbed.filters.hash_kernels import (
    U64,
    Bytes,
    Hashes,
    Ids,
    Ints,
    hash_grams,
    long_gram,
    new_scratch,
    read_words,
    stretch_hash,
)
from seedbed.filters.overlap_kernels import GATE_LETTERS, Index, Items, items_at, number_of, open_gates


class Made(NamedTuple):
    """What `read_items` writes, by item."""

    words: Ids
    letters: Ids
    hashes: Hashes
    anchors: npt.NDArray[np.uint32]
    gates: npt.NDArray[np.uint16]
    grams: Hashes


@kernel
def read_items(buffer: Bytes, bounds: Ints, codes: Hashes, powers: Hashes, gram: int, made: Made) -> int:
    """Hash items, one text each; return the number of their n-grams, which lie end to end in `made.grams`."""
    longest = 0
    for item in range(len(bounds) - 1):
        longest = max(longest, bounds[item + 1] - bounds[item])
    scratch = new_scratch(longest)
    total = 0
    for item in range(len(bounds) - 1):
        scratch.starts[0] = 0
        count = read_words(buffer, bounds[item], bounds[item + 1], codes, 0, scratch)
        letters = scratch.starts[count]
        level = 1
        while 2 * level <= letters:
            level *= 2
        made.words[item], made.letters[item] = count, letters
        if letters > 0:
            made.hashes[item] = stretch_hash(scratch.letters, powers, 0, letters)
            made.anchors[item] = np.uint32(stretch_hash(scratch.letters, powers, 0, level) >> U64(32))
        if letters >= GATE_LETTERS:
            made.gates[item] = np.uint16(stretch_hash(scratch.letters, powers, 0, GATE_LETTERS) >> U64(48))
        total += hash_grams(scratch.words, count, gram, made.grams[total:])
    return total


@kernel
def count_standing(items: Items, buffer: Bytes, bounds: Ints, met: Ids, counts: Ids) -> None:
    """Count, for each item, the texts it stands whole in."""
    longest = 0
    for row in range(len(bounds) - 1):
        longest = max(longest, bounds[row + 1] - bounds[row])
    scratch = new_scratch(longest)
    last = np.full(len(counts), -1, np.int64)
    for row in range(len(bounds) - 1):
        scratch.starts[0] = 0
        count = read_words(buffer, bounds[row], bounds[row + 1], items.codes, 0, scratch)
        open_gates(items, scratch, count, scratch.gates)
        for word in range(count):
            begin, end = scratch.starts[word], scratch.starts[count]
            for number in range(items_at(items, scratch, begin, end, scratch.gates[word], met)):
                item = met[number]
                if last[item] != row:
                    last[item] = row
                    counts[item] += 1


@kernel
def long_grams_of(grams: Hashes, bounds: Ints, reach: int, steps: Ints, made: Hashes, items: Ids) -> int:
    """Hash the longer n-grams of all items; return how many there are."""
    total = 0
    for item in range(len(bounds) - 1):
        for at in range(bounds[item], bounds[item + 1] - reach):
            made[total] = long_gram(grams, at, steps)
            items[total] = item
            total += 1
    return total


@kernel
def gram_ids_of(index: Index, buffer: Bytes, bounds: Ints) -> Ids:
    """Return which of the index's n-grams begins at each word of the first text, -1 for none."""
    scratch = new_scratch(bounds[1])
    scratch.starts[0] = 0
    count = read_words(buffer, bounds[0], bounds[1], index.items.codes, 0, scratch)
    grams = hash_grams(scratch.words, count, index.gram, scratch.grams)
    for at in range(grams):
        scratch.ids[at] = np.int32(number_of(index.grams, scratch.grams[at]))
    return scratch.ids[:grams]
