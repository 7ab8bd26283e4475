"""Byte strings to numbers and back, in arrays that kernels can read: the words of an index, and its keys.

A hash table with open addressing holds numbers; each number's bytes stand in one long array, and equality is always
decided on the bytes, so no two words ever share a number.
"""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from seedbed.filters.word_kernels import Bytes, Int64s, Strings, append, append_all, find, hash_of, rehash

_Scalar = TypeVar("_Scalar", bound=np.generic)


class Vocabulary:
    """Numbers strings from 0 in order of arrival."""

    def __init__(self) -> None:
        self.strings = Strings(
            np.zeros(64, np.uint32),
            np.empty(16, np.uint32),
            np.zeros(17, np.int64),
            np.empty(128, np.uint8),
            np.zeros(1, np.int64),
        )

    def __len__(self) -> int:
        return int(self.strings.total[0])

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return sum(array.nbytes for array in self.strings)

    def reserve(self, strings: int, content_bytes: int) -> None:
        """Make room for so many more."""
        held = self.strings
        count = len(self) + strings
        used = int(held.starts[len(self)]) + content_bytes
        hashes = grown(held.hashes, count)
        starts = grown(held.starts, count + 1)
        table = held.table
        if count * 2 > len(table):
            table = np.zeros(1 << (count * 2 - 1).bit_length(), np.uint32)
            rehash(table, hashes, len(self))
        self.strings = Strings(table, hashes, starts, grown(held.content, used), held.total)

    def add(self, content: bytes) -> int:
        """Number a string, or give an old string a new number: lookups then find the new one."""
        self.reserve(1, len(content))
        letters = np.frombuffer(content, np.uint8)
        return int(append(self.strings, letters, 0, len(letters), hash_of(letters, 0, len(letters))))

    def find(self, content: bytes) -> int:
        """Return the number of a string, or -1."""
        letters = np.frombuffer(content, np.uint8)
        return int(find(self.strings, letters, 0, len(letters), hash_of(letters, 0, len(letters))))

    @classmethod
    def of(cls, letters: Bytes, starts: Int64s, numbers: Int64s | None = None) -> "Vocabulary":
        """Number strings that lie one after another, all or those given by number, in that order."""
        chosen = np.arange(len(starts) - 1) if numbers is None else numbers
        vocabulary = cls()
        vocabulary.reserve(len(chosen), int((starts[chosen + 1] - starts[chosen]).sum()))
        append_all(vocabulary.strings, letters, starts, chosen)
        return vocabulary

    def __getitem__(self, number: int) -> bytes:
        begin, end = self.strings.starts[number : number + 2]
        return self.strings.content[begin:end].tobytes()


def grown(array: npt.NDArray[_Scalar], size: int) -> npt.NDArray[_Scalar]:
    """Return the array, or a copy with room for `size` rows and an eighth more (twice as many while it is small)."""
    if size <= len(array):
        return array
    larger = np.zeros((max(size + size // 8, min(2 * len(array), 1 << 16)), *array.shape[1:]), array.dtype)
    larger[: len(array)] = array
    return larger
