"""What tells one kind of task from another, measured on a row: lengths, forms, what is asked, and how.

The cues are English words that requests of one sort have in common; which kind of task they point to is learned from
the seed tasks (`seeds/classifier.py`), so other categories need no other cues, only seeds.
"""

import math
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

_WORD = re.compile(r"\w+(?:'\w+)?|[^\w\s]")
MOST_WORDS, MOST_CHARACTERS = 200, 1600
"""Looked at in each field: a task says what it is at once."""
ENGLISH_UNKNOWN = 0.3
"""The share of the commonest English words where there is next to no text: about what it is in English prose."""
_ENGLISH_WORDS = """
the a an of to and in is it that for on with as was are be by at from this or his her its not they he she you we i have
has had but which their were one all there when what who how if will would can do
"""
ENGLISH = frozenset(_ENGLISH_WORDS.split())

_ASKING = (
    "what|who|whom|whose|which|why|how|when|where|does|do|did|is|are|was|were|can|could|may|should|in which|to whom|"
    "by what|at what|from which|for how"
)
_QUESTION = re.compile(rf"(?:^|[:,.;!] |\bsay |\band )(?:{_ASKING})\b", re.IGNORECASE)
_STARTS_AS_QUESTION = re.compile(r"^\W*(?:what|who|which|why|how|when|where|does|do|is|are|can|name)\b", re.IGNORECASE)
_SOURCE = re.compile(
    r"\b(?:according to|based on|judging by|(?:from|in) the (?:text|passage|email|notice|table|rules|report)|"
    r"the (?:passage|paragraph|text|article|notice|report|fable|email|table|rules|description|claim|witness|letter))\b",
    re.IGNORECASE,
)
_CHOICE = re.compile(
    r"\b(?:classif|categor|label|sort |decide|assign|sentiment|tone|mood)|, or | or \w+[.?\"]", re.IGNORECASE
)
# What offers a choice: alternatives joined by "or" or quoted, or a request to tell the kind of something.
_KINDS = "kind|type|sort|class|group|category|genre|topic|season|tone|mood|language|department|section"
_OFFERS = re.compile(
    r"\bor\b|[\"“][^\"“”\n]{1,40}[\"”].{1,40}[\"“]|\bclassif|\bcategori|\blabel|\bsort\b|\bodd one out\b|\bsentiment\b|"
    rf"\b(?:which|what)\b(?: of (?:the|these)\b|(?: \w+)? (?:{_KINDS})\b)|"
    rf"\b(?:identify|determine|tell|name|state|say|detect)\b.{{0,40}}\b(?:{_KINDS})\b|"
    r":[^:.?!]+,[^:.?!]+|\byes\b|\btrue\b",
    re.IGNORECASE | re.DOTALL,
)
_TELLS = "describe|explain|list|write|create|define|compose|imagine|discuss|provide|outline|what are|how"
_IS_TOLD = re.compile(rf"^\W*(?:please )?(?:{_TELLS})\b", re.IGNORECASE)

MOST_CHOICE_WORDS = 4
"""A longer answer is no choice."""

# A word that ends in * stands for all that begin so (with five letters or more); two words are a phrase.
_CUES = {
    "language": "trans* english french german spanish italian dutch portuguese swedish danish norwegian polish "
    "russian turkish greek latin arabic hindi chinese mandarin japanese korean finnish czech hungarian "
    "ukrainian hebrew",
    "source": "according passage paragraph text article based notice excerpt report email letter review message "
    "sentence note description below following given this",
    "shorter": "summa* shorten shortened condense condensed abstract compress nutshell recap essence gist headline "
    "brief sum_up boil_down main_point main_points key_point key_points",
    "parts": "extract find identify collect spot mentioned name names date dates list_every list_all pull_out pick_out",
    "labels": "classif* categor* label labels either positive negative sentiment spam decide_whether true_or yes_or "
    "which_category which_kind which_type which_group which_class",
    "code": "python javascript java sql html css bash shell regex regular_expression function code program script "
    "query class bug loop algorithm unit_test unit_tests print prints return returns compile compiles rust git",
    "form": "json csv yaml xml markdown table column columns row rows key keys field fields format schema toml ini",
    "invented": "poem haiku limerick story stories tale dialogue slogan verse rhyme song lyrics fable scene character "
    "fictional imagine invent riddle monologue narrator narrate tagline",
    "drafted": "write draft compose letter email announcement invitation notice post speech essay article describe "
    "explain description paragraph toast message review",
    "restated": "rewrite rephrase reword paraphrase formal informal polite politely tone active_voice passive tense "
    "simpler plain correct grammar turn change edit proofread person replace make_it make_this make_the",
    "ideas": "idea ideas brainst* suggest suggestions ways tips possible names_for come_up think_of propose options "
    "uses_for alternatives",
    "planned": "plan schedule itinerary checklist steps timeline agenda order week day days recipe programme prepare "
    "organise organize routine timetable before hour hours",
    "numbers": "calcul* comput* solve percent percentage sum how_many how_much average area equation total probability "
    "divide multiply cost speed fraction round number + * / = × ÷ %",
    "inferred": "conclu* deduce deduced logic logical reason reasoning infer therefore must puzzle assume assumpt* "
    "follows statement statements premises premise why cause caused who which if",
    "harm": "hack hacks hacking steal stealing weapon weapons bomb bombs poison poisons poisonous illeg* kill killed "
    "killing drug drugs password fraud fake spy stalk threat threaten forge break_into hurt secretly without_her "
    "without_his without_their without_them without_being lock knife explo* blackmail cheat",
    "mine": "my me i our us we",
}
_ANSWERED = {
    "declined": "can't_be can't_help can't_know can't_tell i_can't i_cannot i_won't not_able nobody sorry please_send "
    "please_tell please_paste please_give please_share no_way don't_see don't_know don't_have depends_on",
    "reasons": "so because therefore hence thus since",
    "worked_out": "the_answer",
    "addressed": "you your dear",
}


class Cues:
    """Words, stems and phrases, each with the places of the sorts that it belongs to."""

    def __init__(self, sorts: dict[str, str]) -> None:
        self.count = len(sorts)
        self.places: dict[str, tuple[int, ...]] = {}
        """Of each word; a stem ends in `*`, and the two words of a phrase have a blank between them."""
        for place, words in enumerate(sorts.values()):
            for word in words.split():
                key = word.replace("_", " ")
                self.places[key] = (*self.places.get(key, ()), place)
        self._words = frozenset(self.places)
        self.openers = frozenset(key.partition(" ")[0] for key in self.places if " " in key)
        """First words of phrases."""
        self.stems = tuple(sorted({len(key) - 1 for key in self.places if key.endswith("*") and len(key) > 1}))
        """Lengths of stems."""

    def marks(self, field: "_Field") -> list[float]:
        """Tell which sorts stand in a field, 1 or 0 each."""
        marks = [0.0] * self.count
        for key in self._found(field):
            for place in self.places[key]:
                marks[place] = 1.0
        return marks

    def _found(self, field: "_Field") -> Iterator[str]:
        yield from self._words & field.different
        for letters in self.stems:
            yield from self._words & {f"{word[:letters]}*" for word in field.different if len(word) >= letters}
        if not self.openers.isdisjoint(field.different):
            pairs = {f"{one} {other}" for one, other in pairwise(field.words) if one in self.openers}
            yield from self._words & pairs


ASKED_CUES, ANSWER_CUES = Cues(_CUES), Cues(_ANSWERED)
_STEP = re.compile(r"^\s*(?:step|day|week|\d+[.:)]|mon|tue|\d{1,2}:\d\d)", re.IGNORECASE)
_ITEM = re.compile(r"\s*(?:[-*•]|\d+[.)])")
SIGNS = "{}[]<>|;="


def cues_of(instruction: str, output: str) -> list[float]:
    """Tell which sorts of words a row has, 1 or 0 each."""
    return [
        *ASKED_CUES.marks(_read(instruction)),
        *ANSWER_CUES.marks(_read(output)),
        float(_STARTS_AS_QUESTION.match(instruction) is not None),
        float(_STEP.match(output) is not None),
    ]


def patterns_in(instruction: str, output: str) -> tuple[bool, bool, bool, bool, bool]:
    """Tell what only patterns find, for kernels: a question's start, a step's, a question, a source, a choice.

    A question mark, or an answer of many words, spares the patterns that say nothing beside it.
    """
    return (
        _STARTS_AS_QUESTION.match(instruction) is not None,
        _STEP.match(output) is not None,
        "?" not in instruction and _QUESTION.search(instruction) is not None,
        _SOURCE.search(instruction) is not None,
        len(output.split(None, MOST_CHOICE_WORDS)) <= MOST_CHOICE_WORDS and _CHOICE.search(instruction) is not None,
    )


def shape_of(instruction: str, input: str, output: str) -> list[float]:
    """Measure lengths, lines, signs and what the output shares with the input; small numbers of like size."""
    asked, given, answer = (_read(text) for text in (instruction, input, output))
    lines = [line for line in output.split("\n") if line.strip()]
    return [
        *(_log(len(field.letters)) for field in (asked, given, answer)),
        float(not input.strip()),
        _log(input.count("\n")),
        _log(len(lines)),
        float("?" in instruction),
        given.english,
        answer.english,
        _share(answer.words, given.different),
        _share(answer.letters, asked.different),
        _longest_run(answer.words[:60], (given.words + asked.words)[:MOST_WORDS]) / max(1, min(len(answer.words), 60)),
        _log(_digits(output)) / 3,
        _log(_digits(instruction) + _digits(input)) / 3,
        _log(sum(map(output.count, SIGNS))),
        _log(sum(map(input.count, SIGNS))),
        sum(_ITEM.match(line) is not None for line in lines) / max(1, len(lines)),
        min(4.0, len(output) / max(1, len(lines)) / 60),
        _log(_beyond_ascii(output)),
        _log(_beyond_ascii(input)),
        float("?" in output),
        float('"' in instruction or "“" in instruction),
        float(output.rstrip().endswith((".", "!"))),
        float(answer.words[:1] == ("i",)),
        float("```" in output),
    ]


def request_of(instruction: str, input: str, output: str) -> list[float]:
    """Tell how it is asked: as a question about a given text with a short answer, as a choice, as an order."""
    asked, given, answer = (_read(text) for text in (instruction, input, output))
    is_question = "?" in instruction or _QUESTION.search(instruction) is not None
    has_text = len(input.split()) >= 12
    answer_words = len(output.split())
    is_short = answer_words <= 12 and len([line for line in output.split("\n") if line.strip()]) <= 1
    is_copied = _share(answer.words, given.different | asked.different) > 0.5
    names_source = _SOURCE.search(instruction) is not None
    return [
        float(is_question),
        float(is_question and has_text),
        float(is_question and has_text and is_short),
        float(is_question and has_text and is_short and is_copied),
        float(names_source),
        float(names_source and is_question),
        float(answer_words <= MOST_CHOICE_WORDS and _CHOICE.search(instruction) is not None),
        float(not is_question and len(given.words) >= 8 and is_copied),
        abs((given if given.words else asked).english - answer.english),
        float(answer_words <= 3),
    ]


def offers_choice(instruction: str) -> bool:
    """Tell whether an instruction offers labels, or a kind to be told, so that an answer is a choice and no text."""
    return _IS_TOLD.search(instruction) is None and _OFFERS.search(instruction) is not None


def words_of(instruction: str, input: str, output: str) -> list[str]:
    """Return the words of a row, each marked with where it stands; pairs and the first words of the instruction too."""
    asked = _read(instruction).words[:80]
    found = [f"a {word}" for word in asked]
    found += [f"b {one} {other}" for one, other in pairwise(asked)]
    found += [f"s{count} {' '.join(asked[:count])}" for count in (1, 2, 3)]
    found += [f"i {word}" for word in _read(input).words[:60]]
    return found + [f"o {word}" for word in _read(output).words[:60]]


@dataclass(frozen=True, slots=True)
class _Field:
    """What is looked at of one field."""

    words: tuple[str, ...]
    different: frozenset[str]
    letters: tuple[str, ...]
    """The words that begin with a letter."""
    english: float
    """The share of the commonest English words among those."""


@lru_cache(maxsize=16)  # the fields of one row are asked for several times
def _read(text: str) -> _Field:
    words = tuple(_WORD.findall(text[:MOST_CHARACTERS].lower().replace("’", "'"))[:MOST_WORDS])
    letters = tuple([word for word in words if word[0].isalpha()])
    return _Field(words, frozenset(words), letters, _share(letters, ENGLISH) if len(letters) > 2 else ENGLISH_UNKNOWN)


def _share(words: Sequence[str], of: Collection[str]) -> float:
    return sum(map(of.__contains__, words)) / max(1, len(words))


def _digits(text: str) -> int:
    if text.isascii():
        return sum(map(text.count, "0123456789"))  # a tenth of the time that looking at each character takes
    return sum(char.isdigit() for char in text)


def _beyond_ascii(text: str) -> int:
    return 0 if text.isascii() else sum(char > "\x7f" for char in text)


def _log(count: int) -> float:
    return math.log2(count + 1)


def _longest_run(words: Sequence[str], source: Sequence[str]) -> int:
    """Return the length of the longest run of words that stands in the source as it is."""
    places: dict[str, list[int]] = {}
    for place, word in enumerate(source):
        places.setdefault(word, []).append(place)
    longest, before = 0, dict[int, int]()
    for word in words:
        now = {place: before.get(place - 1, 0) + 1 for place in places.get(word, ())}
        longest = max(longest, *now.values()) if now else longest
        before = now
    return longest
