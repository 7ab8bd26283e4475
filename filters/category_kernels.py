"""Compiled parts of telling a row's category: the traits and words of an ASCII row, and its scores.

What is measured, and why, stands in `seeds/traits.py` and `seeds/classifier.py`; a test holds both to the same scores.
Words are compared by 64-bit hashes.
"""

# mypy: disable-error-code="arg-type, assignment, no-any-return, operator, return-value"
# In a kernel numpy's integers and Python's are the same; only signed and unsigned differ.

from typing import NamedTuple
from zlib import crc32

import numpy as np
import numpy.typing as npt

from seedbed.filters.compiled import inlined, kernel
from seedbed.seeds.classifier import WIDTH, WORD_SLOTS
from seedbed.seeds.traits import ENGLISH_UNKNOWN, MOST_CHARACTERS, MOST_CHOICE_WORDS, MOST_WORDS, SIGNS

Bytes = npt.NDArray[np.uint8]
Uint64s = npt.NDArray[np.uint64]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

ASKED, GIVEN, ANSWER = 0, 1, 2
CELLS = 1024
"""Of the table of cues."""
ROW_CELLS = 512
"""Of the tables of one row, which has at most 400 different words in two fields, and 282 marked words."""
ASKED_WORDS, OTHER_WORDS, RUN_WORDS = 80, 60, 60

_OFFSET = np.uint64(0xCBF29CE484222325)
_PRIME = np.uint64(0x100000001B3)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_NONE = np.uint64(0)
_LAST_SLOT = np.uint32(WORD_SLOTS - 1)


class Words(NamedTuple):
    """Words, stems, pairs of words and what each is a sign of; an open hash table."""

    keys: Uint64s
    signs: Int64s
    """A bit for each sort of cue, those of the answer after those of the instruction, then the three below."""
    stem_lengths: Int64s
    asked: int
    answered: int
    """How many sorts of cues the instruction and the answer have."""


class Learned(NamedTuple):
    """What a classifier learned, as kernels take it."""

    rarity: Floats  # (slots,)
    word_weights: Floats  # (slots, categories)
    middle: Floats  # (traits,)
    scale: Floats  # (traits,)
    traits: Floats  # (traits, seeds)
    squares: Floats  # (seeds,)
    weights: Floats  # (seeds, categories)
    log2: Floats
    """Of each small number plus 1."""
    log: Floats
    """1 plus the logarithm of each number of times that a word can stand in a row."""


class _Read(NamedTuple):
    """The words of the three fields."""

    hashes: Uint64s  # (fields, words)
    starts: Int64s  # (fields, words)
    ends: Int64s  # (fields, words)
    signs: Int64s  # (fields, words)
    """What each word is a sign of."""
    counts: Int64s  # (fields,)
    letters: Int64s  # (fields,)
    """How many begin with a letter."""
    english: Floats  # (fields,)


class _Lines(NamedTuple):
    """What is counted of a whole field."""

    breaks: int
    filled: int
    """Lines that are not blank."""
    items: int
    words: int
    """Between blanks."""
    digits: int
    signs: int
    questions: int
    quotes: int
    ends_as_sentence: bool
    has_fence: bool


def _kinds() -> Bytes:
    """Return what each byte is: 1 blank, 2 letter, 4 digit, 8 underscore, 16 one of the signs."""
    kinds = np.zeros(256, np.uint8)
    for code in range(128):
        character = chr(code)
        kinds[code] = (
            character.isspace() + 2 * character.isalpha() + 4 * character.isdigit() + 8 * (character == "_")
        ) + 16 * (character in SIGNS)
    return kinds


def _crc_steps() -> npt.NDArray[np.uint32]:
    """Return the table of CRC-32 by bytes."""
    steps = np.zeros(256, np.uint32)
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (0xEDB88320 if value & 1 else 0)
        steps[byte] = value
    assert int(steps[ord("a") ^ 0xFF]) ^ 0xFFFFFF ^ 0xFFFFFFFF == crc32(b"a")
    return steps


_KINDS, _CRC_STEPS = _kinds(), _crc_steps()
_BLANK, _LETTER, _DIGIT, _WORD, _SIGN = 1, 2, 4, 14, 16
_APOSTROPHE, _LINE_END, _STAR, _SPACE = 39, 10, 42, 32


def hash_of(word: str) -> np.uint64:
    """Hash a word as the kernels do (FNV-1a)."""
    value = int(_OFFSET)
    for byte in word.encode():
        value = (value ^ byte) * int(_PRIME) & 0xFFFFFFFFFFFFFFFF
    return np.uint64(value)


@kernel
def pair_of(one: np.uint64, other: np.uint64) -> np.uint64:
    """Join the hashes of two words."""
    return ((one * _GOLDEN) ^ (one >> np.uint64(29)) ^ other) * _PRIME


@inlined
def cell_of(keys: Uint64s, key: np.uint64) -> int:
    """Return the cell of a key, or the empty one where it belongs."""
    last = len(keys) - 1
    cell = np.int64((key * _GOLDEN) >> np.uint64(40)) & last
    while keys[cell] != _NONE and keys[cell] != key:
        cell = (cell + 1) & last
    return cell


@kernel
def _read_words(buffer: Bytes, begin: int, end: int, field: int, words: Words, read: _Read) -> None:
    """Cut a field into words, of its beginning alone."""
    hashes, starts, ends, found = read.hashes[field], read.starts[field], read.ends[field], read.signs[field]
    keys, signs = words.keys, words.signs
    end = min(end, begin + MOST_CHARACTERS)
    english_bit = np.int64(1) << (words.asked + words.answered)
    place, count, letters, english = begin, 0, 0, 0
    while place < end and count < MOST_WORDS:
        kind = _KINDS[buffer[place]]
        if kind & _BLANK:
            place += 1
            continue
        start, value = place, _OFFSET
        if kind & _WORD:
            place, value = _hash_run(buffer, place, end, value)
            if place + 1 < end and buffer[place] == _APOSTROPHE and _KINDS[buffer[place + 1]] & _WORD:
                value = (value ^ np.uint64(_APOSTROPHE)) * _PRIME
                place, value = _hash_run(buffer, place + 1, end, value)
        else:
            value = (value ^ np.uint64(buffer[place])) * _PRIME
            place += 1
        sign = signs[cell_of(keys, value)]
        hashes[count], starts[count], ends[count], found[count] = value, start, place, sign
        if kind & _LETTER:
            letters += 1
            english += (sign & english_bit) != 0
        count += 1
    read.counts[field], read.letters[field] = count, letters
    read.english[field] = english / letters if letters > 2 else ENGLISH_UNKNOWN


@inlined
def _hash_run(buffer: Bytes, place: int, end: int, value: np.uint64) -> tuple[int, np.uint64]:
    while place < end and _KINDS[buffer[place]] & _WORD:
        value = (value ^ np.uint64(buffer[place])) * _PRIME
        place += 1
    return place, value


@kernel
def _look_over(buffer: Bytes, begin: int, end: int) -> _Lines:
    """Count what stands in the whole of a field."""
    breaks, filled, items, words, digits, signs, questions, quotes = 0, 0, 0, 0, 0, 0, 0, 0
    is_line_filled, was_blank, ticks, has_fence, last = False, True, 0, False, np.uint8(0)
    for place in range(begin, end):
        byte = buffer[place]
        kind = _KINDS[byte]
        if kind & _BLANK:
            was_blank = True
            if byte == _LINE_END:
                breaks += 1
                is_line_filled = False
        else:
            words += was_blank
            was_blank = False
            if not is_line_filled:
                is_line_filled = True
                filled += 1
                items += _is_item(buffer, place, end)
            last = byte
        digits += (kind & _DIGIT) != 0
        signs += (kind & _SIGN) != 0
        questions += byte == 63
        quotes += byte == 34
        ticks = ticks + 1 if byte == 96 else 0
        has_fence |= ticks == 3
    ends_as_sentence = last in (46, 33)
    return _Lines(breaks, filled, items, words, digits, signs, questions, quotes, ends_as_sentence, has_fence)


@inlined
def _is_item(buffer: Bytes, place: int, end: int) -> bool:
    """Tell whether a line whose first visible character stands here is an item of a list."""
    if buffer[place] == 45 or buffer[place] == _STAR:
        return True
    start = place
    while place < end and _KINDS[buffer[place]] & _DIGIT:
        place += 1
    return place > start and place < end and (buffer[place] == 46 or buffer[place] == 41)


@kernel
def _write_marks(
    buffer: Bytes, field: int, first: int, count: int, words: Words, read: _Read, into: Floats, to: int
) -> None:
    """Write 1 for each sort of cue that stands in a field, else 0."""
    hashes, starts, ends, found = read.hashes[field], read.starts[field], read.ends[field], read.signs[field]
    keys, signs, stems = words.keys, words.signs, words.stem_lengths
    marks, opens = np.int64(0), np.int64(1) << (words.asked + words.answered + 1 + (first > 0))
    for place in range(read.counts[field]):
        marks |= found[place]
        if found[place] & opens and place + 1 < read.counts[field]:
            marks |= signs[cell_of(keys, pair_of(hashes[place], hashes[place + 1]))]
        if field != ASKED:  # the cues of answers have no stems
            continue
        start, length, value, at = starts[place], ends[place] - starts[place], _OFFSET, 0
        for stem in stems:
            if stem > length:
                break
            while at < stem:
                value = (value ^ np.uint64(buffer[start + at])) * _PRIME
                at += 1
            marks |= signs[cell_of(keys, (value ^ np.uint64(_STAR)) * _PRIME)]
    for sort in range(count):
        into[to + sort] = np.float64((marks >> (first + sort)) & 1)


@inlined
def _log2(log2: Floats, count: int) -> float:
    return log2[count] if count < len(log2) else np.log2(count + 1.0)


@inlined
def _share(count: int, of: int) -> float:
    return count / max(1, of)


@kernel
def _longest_run(read: _Read) -> int:
    """Return the length of the longest run of the answer's first words that stands in the input or instruction."""
    given = read.counts[GIVEN]
    size = min(given + read.counts[ASKED], MOST_WORDS)
    source, runs = np.empty(size, np.uint64), np.zeros(size + 1, np.int64)
    source[:given] = read.hashes[GIVEN, :given]
    source[given:] = read.hashes[ASKED, : size - given]
    answer = read.hashes[ANSWER]
    longest = 0
    for at in range(min(read.counts[ANSWER], RUN_WORDS)):
        for place in range(size - 1, -1, -1):
            runs[place + 1] = runs[place] + 1 if source[place] == answer[at] else 0
            longest = max(longest, runs[place + 1])
    return longest


@kernel
def write_traits(buffer: Bytes, bounds: Int64s, patterns: Floats, words: Words, log2: Floats, traits: Floats) -> _Read:
    """Measure a row, in the order of `traits._traits`; `buffer` is in lower case.

    Args:
        buffer: The three fields end to end.
        bounds: Where each begins, and the end.
        patterns: Whether each of `seeds.traits.patterns_in` was found, 1 or 0.
        words: The cues.
        log2: See `Learned`.
        traits: Where they go.

    Returns:
        The words of the row.
    """
    read = _Read(
        np.empty((3, MOST_WORDS), np.uint64),
        np.empty((3, MOST_WORDS), np.int64),
        np.empty((3, MOST_WORDS), np.int64),
        np.empty((3, MOST_WORDS), np.int64),
        np.zeros(3, np.int64),
        np.zeros(3, np.int64),
        np.zeros(3, np.float64),
    )
    for field in range(3):
        _read_words(buffer, bounds[field], bounds[field + 1], field, words, read)
    asked, given, answer = (
        _look_over(buffer, bounds[0], bounds[1]),
        _look_over(buffer, bounds[1], bounds[2]),
        _look_over(buffer, bounds[2], bounds[3]),
    )
    in_given, in_either, letters_in_asked = _shared_words(buffer, read)
    counts = read.counts
    filled = max(1, answer.filled)
    for field in range(3):
        traits[field] = _log2(log2, read.letters[field])
    traits[3] = np.float64(given.words == 0)
    traits[4] = _log2(log2, given.breaks)
    traits[5] = _log2(log2, answer.filled)
    traits[6] = np.float64(asked.questions > 0)
    traits[7] = read.english[GIVEN]
    traits[8] = read.english[ANSWER]
    traits[9] = _share(in_given, counts[ANSWER])
    traits[10] = _share(letters_in_asked, read.letters[ANSWER])
    traits[11] = _longest_run(read) / max(1, min(counts[ANSWER], RUN_WORDS))
    traits[12] = _log2(log2, answer.digits) / 3
    traits[13] = _log2(log2, asked.digits + given.digits) / 3
    traits[14] = _log2(log2, answer.signs)
    traits[15] = _log2(log2, given.signs)
    traits[16] = answer.items / filled
    traits[17] = min(4.0, (bounds[3] - bounds[2]) / filled / 60)
    traits[18:20] = 0.0  # characters beyond ASCII
    traits[20] = np.float64(answer.questions > 0)
    traits[21] = np.float64(asked.quotes > 0)
    traits[22] = np.float64(answer.ends_as_sentence)
    traits[23] = np.float64(counts[ANSWER] > 0 and read.hashes[ANSWER, 0] == (_OFFSET ^ np.uint64(105)) * _PRIME)
    traits[24] = np.float64(answer.has_fence)
    at = 25
    _write_marks(buffer, ASKED, 0, words.asked, words, read, traits, at)
    _write_marks(buffer, ANSWER, words.asked, words.answered, words, read, traits, at + words.asked)
    at += words.asked + words.answered
    traits[at] = patterns[0]
    traits[at + 1] = patterns[1]
    at += 2
    is_question, names_source, chooses = asked.questions > 0 or patterns[2] > 0, patterns[3] > 0, patterns[4] > 0
    has_text, is_short = given.words >= 12, answer.words <= 12 and answer.filled <= 1
    is_copied = _share(in_either, counts[ANSWER]) > 0.5
    source = GIVEN if counts[GIVEN] else ASKED
    traits[at] = np.float64(is_question)
    traits[at + 1] = np.float64(is_question and has_text)
    traits[at + 2] = np.float64(is_question and has_text and is_short)
    traits[at + 3] = np.float64(is_question and has_text and is_short and is_copied)
    traits[at + 4] = np.float64(names_source)
    traits[at + 5] = np.float64(names_source and is_question)
    traits[at + 6] = np.float64(answer.words <= MOST_CHOICE_WORDS and chooses)
    traits[at + 7] = np.float64(not is_question and counts[GIVEN] >= 8 and is_copied)
    traits[at + 8] = abs(read.english[source] - read.english[ANSWER])
    traits[at + 9] = np.float64(answer.words <= 3)
    return read


@kernel
def _shared_words(buffer: Bytes, read: _Read) -> tuple[int, int, int]:
    """Count the answer's words in the input, in input or instruction, and those with a letter in the instruction."""
    keys, fields = np.zeros(ROW_CELLS, np.uint64), np.zeros(ROW_CELLS, np.uint8)
    for field in range(2):
        hashes = read.hashes[field]
        for place in range(read.counts[field]):
            cell = cell_of(keys, hashes[place])
            keys[cell] = hashes[place]
            fields[cell] |= 1 << field
    hashes, starts = read.hashes[ANSWER], read.starts[ANSWER]
    in_given, in_either, letters_in_asked = 0, 0, 0
    for place in range(read.counts[ANSWER]):
        where = fields[cell_of(keys, hashes[place])]
        in_given += (where & (1 << GIVEN)) != 0
        in_either += where != 0
        is_letter = (_KINDS[buffer[starts[place]]] & _LETTER) != 0
        letters_in_asked += is_letter and (where & (1 << ASKED)) != 0
    return in_given, in_either, letters_in_asked


class _Marked(NamedTuple):
    """The marked words of a row, counted, and the slot of each."""

    keys: Uint64s
    counts: Int32s
    slots: Int32s


@inlined
def _note(keys: Uint64s, counts: Int32s, slots: Int32s, key: np.uint64, crc: np.uint32) -> None:
    cell = cell_of(keys, key)
    keys[cell] = key
    counts[cell] += 1
    slots[cell] = np.int32((crc ^ np.uint32(0xFFFFFFFF)) & _LAST_SLOT)


@inlined
def _crc(crc: np.uint32, byte: np.uint8) -> np.uint32:
    return (crc >> np.uint32(8)) ^ _CRC_STEPS[(crc ^ np.uint32(byte)) & np.uint32(0xFF)]


@inlined
def _crc_of(crc: np.uint32, buffer: Bytes, begin: int, end: int) -> np.uint32:
    for place in range(begin, end):
        crc = _crc(crc, buffer[place])
    return crc


@inlined
def _begun(mark: int) -> np.uint32:
    """Return the state of CRC-32 after a mark and a blank."""
    return _crc(_crc(np.uint32(0xFFFFFFFF), np.uint8(mark)), np.uint8(_SPACE))


@kernel
def _mark_words(buffer: Bytes, read: _Read, marked: _Marked) -> None:
    """Count the words of a row as `traits.words_of` marks them."""
    keys, counts, slots = marked.keys, marked.counts, marked.slots
    for field, mark, most in ((ASKED, 97, ASKED_WORDS), (GIVEN, 105, OTHER_WORDS), (ANSWER, 111, OTHER_WORDS)):
        begun, kind = _begun(mark), np.uint64(mark)
        hashes, starts, ends = read.hashes[field], read.starts[field], read.ends[field]
        for place in range(min(read.counts[field], most)):
            crc = _crc_of(begun, buffer, starts[place], ends[place])
            _note(keys, counts, slots, pair_of(kind, hashes[place]), crc)
    asked, begun = min(read.counts[ASKED], ASKED_WORDS), _begun(98)
    hashes, starts, ends = read.hashes[ASKED], read.starts[ASKED], read.ends[ASKED]
    for place in range(1, asked):
        crc = _crc_of(begun, buffer, starts[place - 1], ends[place - 1])
        crc = _crc_of(_crc(crc, np.uint8(_SPACE)), buffer, starts[place], ends[place])
        _note(keys, counts, slots, pair_of(np.uint64(98), pair_of(hashes[place - 1], hashes[place])), crc)
    for count in range(1, 4):
        crc = _crc(_crc(np.uint32(0xFFFFFFFF), np.uint8(115)), np.uint8(48 + count))
        crc = _crc(crc, np.uint8(_SPACE))
        for place in range(min(asked, count)):
            if place:
                crc = _crc(crc, np.uint8(_SPACE))
            crc = _crc_of(crc, buffer, starts[place], ends[place])
        _note(keys, counts, slots, pair_of(np.uint64(115), np.uint64(count)), crc)


@kernel
def _add_words(marked: _Marked, learned: Learned, scores: Floats) -> None:
    """Add what the words say."""
    keys, counts, slots = marked.keys, marked.counts, marked.slots
    used, values, weights = np.zeros(ROW_CELLS, np.uint64), np.zeros(ROW_CELLS, np.float64), learned.word_weights
    for cell in range(ROW_CELLS):
        if keys[cell] != _NONE:
            slot = np.uint64(slots[cell]) + np.uint64(1)
            place = cell_of(used, slot)
            used[place] = slot
            values[place] += learned.log[counts[cell]]
    squares = 0.0
    for place in range(ROW_CELLS):
        if used[place] != _NONE:
            values[place] *= learned.rarity[np.int64(used[place]) - 1]
            squares += values[place] * values[place]
    length = max(np.sqrt(squares), 1e-9)
    for place in range(ROW_CELLS):
        if used[place] != _NONE:
            weight, slot = values[place] / length, np.int64(used[place]) - 1
            for category in range(len(scores)):
                scores[category] += weight * weights[slot, category]


@kernel
def _add_traits(traits: Floats, learned: Learned, scores: Floats) -> None:
    """Add what the traits say: a Gaussian of the distance to each seed."""
    seeds = len(learned.squares)
    products, own = np.zeros(seeds, np.float64), 0.0
    for trait in range(len(traits)):
        scaled = (traits[trait] - learned.middle[trait]) * learned.scale[trait]
        own += scaled * scaled
        for seed in range(seeds):
            products[seed] += scaled * learned.traits[trait, seed]
    for seed in range(seeds):
        near = np.exp(-WIDTH * max(own + learned.squares[seed] - 2 * products[seed], 0.0))
        for category in range(len(scores)):
            scores[category] += near * learned.weights[seed, category]


@kernel
def score_row(buffer: Bytes, bounds: Int64s, patterns: Floats, words: Words, learned: Learned, scores: Floats) -> None:
    """Write the score of a row for each category; `buffer` is in lower case."""
    traits = np.empty(len(learned.middle), np.float64)
    read = write_traits(buffer, bounds, patterns, words, learned.log2, traits)
    marked = _Marked(np.zeros(ROW_CELLS, np.uint64), np.zeros(ROW_CELLS, np.int32), np.empty(ROW_CELLS, np.int32))
    _mark_words(buffer, read, marked)
    scores[:] = 0.0
    _add_traits(traits, learned, scores)
    _add_words(marked, learned, scores)
