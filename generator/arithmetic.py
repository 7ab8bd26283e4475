"""Recomputing the sums that a text states, exactly, without ever running it.

Only what is surely a sum is looked at: numbers joined by + - * / ^ on one side of an equals sign and a number or
another sum on the other. What has letters, percent signs or dates in it is left alone.
"""

import ast
import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

MAX_EXPRESSION_CHARACTERS = 200
MAX_EXPONENT = 64
MAX_DIGITS = 40

_SIGNS = str.maketrans({"×": "*", "x": "*", "÷": "/", "·": "*", "−": "-", "–": "-", "$": " ", "€": " ", "£": " "})
_SIDE = r"[\d\s.,+\-−–*/×÷·^()$€£x]"
_LEFT = re.compile(rf"{_SIDE}*\Z")
_RIGHT = re.compile(rf"{_SIDE}*")
_EQUALS = re.compile(r"(?<![=<>!:+*/%-])(?:=|≈)(?![=>])")
_CLAUSE = re.compile(r"[.,](?=\s|\Z)|\n")
_THOUSANDS = re.compile(r"(?<![\d.])\d{1,3}(?:,\d{3})+(?![\d,])")
_FENCE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_LETTER_TIMES = re.compile(r"(?<=[\d\s)])x(?=[\s\d(])")
_QUESTION = re.compile(
    r"\b(?:what is|what's|calculate|compute|evaluate|work out|solve)\b[^\d(\n-]{0,30}(?P<sum>[\d(-].*)", re.IGNORECASE
)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")

_OPERATIONS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@dataclass(frozen=True, slots=True)
class Sum:
    """One sum that a text states."""

    text: str
    """As it stands: `3 * 4 = 12`."""
    is_right: bool


def sums_in(text: str) -> tuple[Sum, ...]:
    """Return the sums that a text states, each recomputed; what stands in a code fence is no statement."""
    return tuple(found for line in _FENCE.sub("\n", text).split("\n") for found in _sums_in_line(line[:2000]))


def value_of(expression: str) -> Fraction | None:
    """Compute an expression of numbers; None where it is none, or so large that nobody means it."""
    plain = _plain(expression)
    if not plain or len(plain) > MAX_EXPRESSION_CHARACTERS:
        return None
    try:
        return _computed(ast.parse(plain, mode="eval").body)
    except (SyntaxError, ValueError, ArithmeticError, RecursionError, MemoryError):
        return None


def asked_sum(instruction: str) -> Fraction | None:
    """Return the value of the one sum that an instruction asks for, as in "What is 12 * 7?"; None if it does not."""
    match = _QUESTION.search(instruction.strip())
    if not match:
        return None
    expression = match["sum"].strip().rstrip("?.! =")
    return value_of(expression) if _has_operation(expression) else None


def last_number(text: str) -> Fraction | None:
    """Return the last number of a text."""
    numbers = _NUMBER.findall(_THOUSANDS.sub(lambda match: match[0].replace(",", ""), text))
    return Fraction(numbers[-1]) if numbers and len(numbers[-1]) <= MAX_DIGITS else None


def equals(stated: Fraction, computed: Fraction, decimals: int) -> bool:
    """Tell whether a stated number is a value, rounded or cut to its decimals."""
    return stated == computed or (decimals > 0 and abs(stated - computed) < Fraction(1, 10**decimals))


def _sums_in_line(line: str) -> Iterator[Sum]:
    line = _LETTER_TIMES.sub("*", line)
    for match in _EQUALS.finditer(line):
        left, right = _left_side(line[: match.start()]), _right_side(line[match.end() :])
        if left is None or right is None or not (_has_operation(left) or _has_operation(right)):
            continue
        one, other = value_of(left), value_of(right)
        if one is not None and other is not None:
            yield Sum(f"{left} = {right}", _agree(one, other, right, is_loose=match[0] == "≈"))


def _agree(one: Fraction, other: Fraction, right: str, *, is_loose: bool) -> bool:
    if is_loose:
        return abs(one - other) * 20 <= max(abs(one), abs(other))
    decimals = len(right.strip().partition(".")[2]) if not _has_operation(right) else 0
    return equals(other, one, decimals)


def _left_side(before: str) -> str | None:
    """Take the sum that ends at an equals sign; None where a letter or a sign before it could belong to it."""
    found = _LEFT.search(before)
    assert found
    side, earlier = found.group(), before[: found.start()].rstrip()
    clauses = _CLAUSE.split(side)
    if len(clauses) == 1 and (earlier[-1:] in tuple("%_)]}|<>!&°'\"\\") or _touches(before, found.start())):
        return None
    return _whole(clauses[-1])


def _touches(before: str, start: int) -> bool:
    """Tell whether a letter stands right before a side, as in `2y + 3` or `x + 3`."""
    head = before[:start]
    return bool(head) and head[-1].isalpha() and (not before[start].isspace() if start < len(before) else True)


def _right_side(after: str) -> str | None:
    found = _RIGHT.match(after)
    assert found
    side, later = found.group(), after[found.end() :]
    clauses = _CLAUSE.split(side)
    if len(clauses) == 1 and later:
        if later[0] in "%_[{|°'\"\\" or (later[0].isalpha() and side[-1:].isdigit() and not later[1:2].isalpha()):
            return None
        if side.rstrip()[-1:] in tuple("+-*/×÷·^(−–"):
            return None
    return _whole(clauses[0])


def _whole(side: str) -> str | None:
    """Return a side that begins and ends as a sum does."""
    side = side.strip()
    return side if side and (side[0].isdigit() or side[0] in "(-−$€£") and side[-1] not in "+-*/(" else None


def _plain(expression: str) -> str:
    text = _THOUSANDS.sub(lambda match: match[0].replace(",", ""), expression).translate(_SIGNS)
    if "," in text or "_" in text or re.search(r"\d\s+\d", text) or "//" in text:
        return ""
    return re.sub(r"(?<![\d.])0+(?=\d)", "", text).replace("^", "**").strip()


def _has_operation(side: str) -> bool:
    return re.search(r"[\d)]\s*[+\-−–*/×÷·^x]+\s*[\d($€£-]", side) is not None


def _computed(node: ast.expr) -> Fraction:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return Fraction(str(number))
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            return -_computed(inner)
        case ast.UnaryOp(op=ast.UAdd(), operand=inner):
            return _computed(inner)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _power(_computed(left), _computed(right))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATIONS:
            return _bounded(_OPERATIONS[type(op)](_computed(left), _computed(right)))
    raise ValueError("not a sum")


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1 or abs(exponent) > MAX_EXPONENT:
        raise ValueError("not a power that is computed")
    return _bounded(base ** int(exponent))


def _bounded(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > 4 * MAX_DIGITS:
        raise ValueError("too many digits")
    return value
