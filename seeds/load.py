"""Reading seed tasks and their categories, with a message for every line that is wrong."""

import difflib
import math
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seedbed.core.errors import ConfigError, InputError
from seedbed.core.files import BadLine, read_json_lines
from seedbed.core.records import SeedTask
from seedbed.core.text import triple_id

PACKAGED_TASKS = Path(__file__).parent / "seed_tasks.jsonl"
PACKAGED_CATEGORIES = Path(__file__).parent / "categories.toml"

_CATEGORY_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_CATEGORY_KEYS = ("share", "held_out", "description")
_SURROGATE = re.compile("[\ud800-\udfff]")
_REQUIRED = ("id", "category", "instruction", "output")
_TEXTS = ("id", "category", "instruction", "input", "output")
_DIFFICULTIES = ("easy", "medium", "hard")


@dataclass(frozen=True, slots=True)
class Category:
    """One kind of task."""

    name: str
    share: float
    """Wanted share of the pool, 0 to 1; 0 for a held-out category."""
    is_held_out: bool
    """Kept for evaluation: never demonstrated, never requested, refused where it turns up."""
    description: str


@dataclass(frozen=True, slots=True)
class Categories:
    """All categories, in the order of their file."""

    all: tuple[Category, ...]

    @property
    def trained(self) -> tuple[Category, ...]:
        return tuple(category for category in self.all if not category.is_held_out)

    @property
    def held_out(self) -> tuple[Category, ...]:
        return tuple(category for category in self.all if category.is_held_out)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(category.name for category in self.all)

    def shares(self) -> dict[str, float]:
        """Return the wanted shares of the trained categories, which add up to 1."""
        return {category.name: category.share for category in self.trained}


@dataclass(frozen=True, slots=True)
class SeedProblem:
    """Something that is wrong with one line of a seed file."""

    line: int
    """From 1; 0 where the whole file is meant."""
    problem: str


def load_categories(path: Path) -> Categories:
    """Read a `categories.toml`: one table `[categories.NAME]` each, see the packaged one.

    Raises:
        ConfigError: The file is missing or wrong; the message names category and value.
    """
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"there is no category file {path}") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    tables = tree.get("categories")
    if set(tree) != {"categories"} or not isinstance(tables, dict) or not tables:
        raise ConfigError(f"{path} must hold tables [categories.NAME] and nothing else")
    categories = Categories(tuple(_category(path, name, table) for name, table in tables.items()))
    total = math.fsum(category.share for category in categories.trained)
    if not math.isclose(total, 1.0, abs_tol=1e-6):
        raise ConfigError(f"{path}: the shares of the trained categories must add up to 1, they make {total:.6g}")
    return categories


def load_seed_tasks(path: Path, categories: Categories | None = None) -> tuple[SeedTask, ...]:
    """Read a seed file whole, or refuse it. `categories` of None lets any category pass.

    Raises:
        InputError: A line is wrong; the message names file, line and problem, and how many more there are.
        MissingFileError: There is no such file.
    """
    problems = check_seed_tasks(path, categories)
    if problems:
        first = problems[0]
        where = f"{path} line {first.line}" if first.line else f"{path}"
        more = f" (and {len(problems) - 1} more problems)" if len(problems) > 1 else ""
        raise InputError(f"{where}: {first.problem}{more}")
    return tuple(SeedTask.model_validate(line.value) for line in read_json_lines(path) if not isinstance(line, BadLine))


def check_seed_tasks(path: Path, categories: Categories | None) -> list[SeedProblem]:
    """Return everything that is wrong with a seed file, in the order of its lines.

    Raises:
        MissingFileError: There is no such file.
    """
    problems: list[SeedProblem] = []
    first_lines: dict[tuple[str, str], int] = {}
    line_count = 0
    for line in read_json_lines(path):
        line_count += 1
        if isinstance(line, BadLine):
            problems.append(SeedProblem(line.number, line.problem))
            continue
        found = [*_field_problems(line.value), *_category_problems(line.value, categories)]
        found += _repetitions(line.value, line.number, first_lines)
        problems += [SeedProblem(line.number, problem) for problem in found]
    if not line_count:
        problems.append(SeedProblem(0, "there are no seed tasks in it"))
    return problems


def _category(path: Path, name: str, table: Any) -> Category:
    where = f"{path}: category {name}"
    if not _CATEGORY_NAME.fullmatch(name):
        raise ConfigError(f"{where}: a name is lower-case letters, digits and _, starting with a letter")
    if not isinstance(table, dict):
        raise ConfigError(f"{where} must be a table [categories.{name}], not {table!r}")
    for key in table:
        if key not in _CATEGORY_KEYS:
            raise ConfigError(f'{where} has an unknown key "{key}"{_nearest(key, _CATEGORY_KEYS)}')
    is_held_out = table.get("held_out", False)
    if not isinstance(is_held_out, bool):
        raise ConfigError(f"{where}: held_out must be true or false, not {is_held_out!r}")
    description = table.get("description", "")
    if not isinstance(description, str):
        raise ConfigError(f"{where}: description must be text, not {description!r}")
    return Category(name, _share(where, table.get("share"), is_held_out=is_held_out), is_held_out, description)


def _share(where: str, share: Any, *, is_held_out: bool) -> float:
    if is_held_out:
        if share is not None:
            raise ConfigError(f"{where} is held out, so it has no share: remove share = {share!r}")
        return 0.0
    if share is None:
        raise ConfigError(f"{where} needs a share, or held_out = true")
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        raise ConfigError(f"{where}: share must be a number from 0 to 1, not {share!r}")
    return float(share)


def _field_problems(value: dict[str, Any]) -> Iterator[str]:
    known = tuple(SeedTask.model_fields)
    for name in value:
        if name not in known:
            yield f'unknown field "{name}"{_nearest(name, known)}'
    for name in _REQUIRED:
        if name not in value:
            yield f"{name} is missing"
    for name in _TEXTS:
        text = value.get(name, "")
        if not isinstance(text, str):
            yield f"{name} must be text, not {_json_type(text)}"
        elif name in _REQUIRED and name in value and not text.strip():
            yield f"{name} is empty"
        elif _SURROGATE.search(text):
            yield f"{name} holds half a character, such as \\ud83d without its second half; write the character itself"
    if not isinstance(value.get("is_classification", False), bool):
        yield f"is_classification must be true or false, not {value['is_classification']!r}"
    if value.get("difficulty", "medium") not in _DIFFICULTIES:
        yield f"difficulty must be one of {', '.join(_DIFFICULTIES)}, not {value['difficulty']!r}"


def _category_problems(value: dict[str, Any], categories: Categories | None) -> Iterator[str]:
    name = value.get("category")
    if categories is not None and isinstance(name, str) and name.strip() and name not in categories.names:
        yield f'category "{name}" is unknown{_nearest(name, categories.names)}; there are {", ".join(categories.names)}'


def _repetitions(value: dict[str, Any], number: int, first_lines: dict[tuple[str, str], int]) -> Iterator[str]:
    """Yield what stood on an earlier line, and remember this line in `first_lines`."""
    identity = value.get("id")
    if isinstance(identity, str) and identity.strip():
        first = first_lines.setdefault(("id", identity), number)
        if first != number:
            yield f'id "{identity}" was given on line {first}'
    triple = [value.get(name, "") for name in ("instruction", "input", "output")]
    if all(isinstance(text, str) for text in triple) and any(triple):
        first = first_lines.setdefault(("triple", triple_id(*triple)), number)
        if first != number:
            yield f"the same instruction, input and output stand on line {first}"


def _nearest(name: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f'; did you mean "{near[0]}"?' if near else ""


def _json_type(value: Any) -> str:
    if value is None:
        return "null"
    return {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}[type(value)]
