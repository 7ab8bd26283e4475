"""Instructions that the user brings: read by line, without those that are answered."""

import json
from pathlib import Path

import pytest

from seedbed.core.config import PoolConfig
from seedbed.core.errors import InputError, MissingFileError
from seedbed.core.recipe_config import AnswerConfig
from seedbed.core.records import Candidate, Decision, Lineage, Subject, Verdict
from seedbed.generator.recipe import Brought
from seedbed.pool.pool import Pool
from seedbed.pool.records import Decided
from seedbed.service.brought import brought_instructions

TRAINED = ("coding", "rewriting")
CONFIG = AnswerConfig(instructions="mine.jsonl")


def read(folder: Path, *lines: object, pool_rows: tuple[Candidate, ...] = ()) -> tuple[Brought, ...]:
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    (folder / "mine.jsonl").write_text(text, encoding="utf-8")
    with Pool.open(folder, PoolConfig()) as pool:
        for row in pool_rows:
            verdict = Verdict(filter="rouge", accepted=True)
            decision = Decision(
                subject=Subject.CANDIDATE,
                subject_id=row.id,
                sequence=0,
                accepted=True,
                verdicts=(verdict,),
                decided_at=0,
            )
            pool.commit([Decided(row, decision)])
        return brought_instructions(folder, CONFIG, TRAINED, pool)


def test_lines_are_read_in_order_and_what_is_left_out_is_empty(tmp_path: Path) -> None:
    rows = read(tmp_path, {"instruction": "Sort it.", "input": "b a", "category": "coding"}, {"instruction": "Hop."})
    assert rows == (Brought("Sort it.", "b a", "coding"), Brought("Hop.", "", ""))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{not json", "line 3"),
        ("[1, 2]", "line 3"),
        ({"input": "alone"}, "line 3: no instruction"),
        ({"instruction": "  "}, "line 3: no instruction"),
        ({"instruction": "Hop.", "output": "Hopped."}, "line 3: output"),
        ({"instruction": "Hop.", "input": 7}, "line 3: input"),
    ],
)
def test_a_malformed_line_is_named_by_its_number(tmp_path: Path, line: object, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        read(tmp_path, {"instruction": "Hop."}, "", line)


def test_a_category_that_is_held_out_or_unknown_is_refused_with_line_and_choice(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r'line 3: .*"secret", which is not trained.*coding, rewriting'):
        read(tmp_path, {"instruction": "Hop."}, "", {"instruction": "Tell.", "category": "secret"})


def test_an_instruction_that_stands_twice_is_answered_once(tmp_path: Path) -> None:
    rows = read(tmp_path, {"instruction": "Hop."}, {"instruction": "Hop."}, {"instruction": "Hop.", "input": "high"})
    assert rows == (Brought("Hop."), Brought("Hop.", "high"))


def test_what_the_pool_has_is_not_asked_again(tmp_path: Path) -> None:
    done = Candidate.of("Hop.", "high", "Hopped.", lineage=Lineage(recipe="answer"), requested_category="coding")
    rows = read(tmp_path, {"instruction": "Hop.", "input": "high"}, {"instruction": "Hop."}, pool_rows=(done,))
    assert rows == (Brought("Hop."),)


def test_a_file_that_is_not_there_is_an_error_and_none_named_is_none(tmp_path: Path) -> None:
    with Pool.open(tmp_path, PoolConfig()) as pool:
        assert brought_instructions(tmp_path, AnswerConfig(), TRAINED, pool) == ()
        with pytest.raises(MissingFileError, match=r"mine\.jsonl"):
            brought_instructions(tmp_path, CONFIG, TRAINED, pool)
