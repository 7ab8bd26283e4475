"""A judge that compares answers, and what follows from its verdicts."""

import json
import math
from random import Random

import numpy as np
import pytest
from scipy.optimize import minimize

from seedbed.core.errors import BudgetExhaustedError, EndpointTimeoutError
from seedbed.core.records import Completion, Request
from seedbed.evaluation.answers import AnswerLine
from seedbed.evaluation.comparing import Compared, Comparer, Pair, Side, pairs_of, read_choice
from seedbed.evaluation.preference import length_controlled, preference
from seedbed.prompts.library import PromptLibrary
from tests.generator.parts import completion, counting_ids

pytestmark = pytest.mark.anyio
A, B, TIE = Side.ADAPTER, Side.BASE, Side.TIE


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def pair(number: int, base: str = "from base", adapter: str = "from adapter", task: str = "") -> Pair:
    return Pair(
        id=str(number), task=task or str(number), category="qa", instruction=f"Do {number}.", base=base, adapter=adapter
    )


def choice(better: object) -> str:
    return json.dumps({"why": "it is right", "better": better})


async def compare(answer: object, pairs: list[Pair]) -> list[Compared]:
    """Let a judge answer by a function of the two answers in the order in which it sees them."""

    async def ask(request: Request) -> Completion:
        text = request.messages[0].content
        first, second = (text.split(f"Answer {name}: ")[1].split("\n===")[0] for name in "AB")
        return completion(request, answer(text, first, second))  # type: ignore[operator]

    comparer = Comparer(ask, PromptLibrary(), counting_ids(), use_json_schema=True, books=None)
    return await comparer.compared(pairs)


async def test_a_judge_that_knows_the_better_answer_finds_it_in_either_place() -> None:
    def longer(_: str, first: str, second: str) -> str:
        return choice("A" if len(first) > len(second) else "B")

    rows = await compare(longer, [pair(0), pair(1, base="the longest of all answers")])
    assert [(row.base_first, row.adapter_first, row.value) for row in rows] == [(A, A, 1.0), (B, B, 0.0)]


async def test_a_judge_that_always_takes_the_first_answer_says_nothing() -> None:
    rows = await compare(lambda *_: choice("A"), [pair(number) for number in range(3)])
    assert [(row.base_first, row.adapter_first, row.value) for row in rows] == [(B, A, 0.5)] * 3
    found = preference("m", rows, draws=200)
    assert (found.ties, found.share, found.orders_agree, found.first_place) == (3, 0.5, 0.0, 1.0)


async def test_equal_answers_are_a_tie_that_nobody_is_asked_about() -> None:
    asked: list[str] = []

    def answer(text: str, *_: str) -> str:
        asked.append(text)
        return choice("tie")

    rows = await compare(answer, [pair(0, base="same", adapter="same"), pair(1)])
    assert len(asked) == 2
    assert [(row.value, row.is_asked) for row in rows] == [(0.5, False), (0.5, True)]
    assert preference("m", rows, draws=200).orders_agree == 1.0


async def test_a_row_that_the_judge_fails_on_is_left_out_and_counted() -> None:
    def answer(text: str, first: str, _: str) -> str:
        if "Do 0." in text:
            raise EndpointTimeoutError("too late")
        return "I cannot choose" if "Do 1." in text else choice("B" if first == "from base" else "A")

    found = preference("m", await compare(answer, [pair(number) for number in range(3)]), draws=200)
    assert (found.n, found.unread, found.wins, found.share) == (1, 2, 1, 1.0)


async def test_a_spent_budget_comes_out_as_it_is() -> None:
    def answer(*_: str) -> str:
        raise BudgetExhaustedError("spent")

    with pytest.raises(BudgetExhaustedError, match="spent"):
        await compare(answer, [pair(number) for number in range(3)])


async def test_the_prompt_has_task_answers_and_a_persons_answer_and_no_trace_of_whose_is_whose() -> None:
    asked: list[Request] = []

    async def ask(request: Request) -> Completion:
        asked.append(request)
        return completion(request, choice("tie"))

    task = pair(7).model_copy(update={"input": "of seven", "references": ("seven",)})
    comparer = Comparer(ask, PromptLibrary(), counting_ids(), use_json_schema=False, books=None)
    await comparer.compared([task])
    assert [request.sampling.temperature for request in asked] == [0, 0]
    assert {request.purpose for request in asked} == {"judge.answers"}
    text = asked[0].messages[0].content
    assert "Instruction: Do 7.\nInput: of seven\nAn answer that a person wrote: seven\n" in text
    orders = {
        tuple(request.messages[0].content.split(f"Answer {name}: ")[1].split("\n")[0] for name in "AB")
        for request in asked
    }
    assert orders == {("from base", "from adapter"), ("from adapter", "from base")}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (choice("A"), "A"),
        (choice("b"), "B"),
        (choice("Tie"), "tie"),
        (f"Well:\n```json\n{choice('B')}\n```", "B"),
        (f"{choice('A')} no, {choice('B')}", "B"),
        (choice("C"), None),
        (choice(1), None),
        ("A", None),
        ("", None),
        ("{" * 5000, None),
    ],
)
async def test_a_choice_is_read_from_the_last_object(text: str, found: str | None) -> None:
    assert read_choice(text) == found


async def test_wins_ties_and_losses_are_counted_as_by_hand() -> None:
    verdicts = [(A, A), (A, TIE), (A, B), (TIE, TIE), (B, B), (B, TIE), (TIE, A), (A, A)]
    rows = [
        Compared(pair=pair(number), base_first=one, adapter_first=two) for number, (one, two) in enumerate(verdicts)
    ]
    found = preference("m", rows, draws=500)
    # (A, A), (A, tie), (tie, A), (A, A) are won; (A, B) and (tie, tie) tie; (4 + 2/2) / 8.
    assert (found.wins, found.ties, found.losses, found.share) == (4, 2, 2, 0.625)
    # Of eleven choices of a side: the base in first place twice, the adapter in first place three times.
    assert found.first_place == 5 / 11
    assert found.orders_agree == 0.5
    assert found.interval.low < 0.625 < found.interval.high


async def test_the_share_at_equal_length_is_the_constant_of_a_logistic_regression() -> None:
    """scipy's optimiser finds the same constant for the same penalised likelihood."""
    rng = Random(1)
    lengths = [rng.gauss(40, 100) for _ in range(300)]
    wins = [float(rng.random() < 1 / (1 + math.exp(-(0.4 + 1.5 * math.tanh(length / 100))))) for length in lengths]
    spread = np.tanh(np.array(lengths) / np.std(lengths))

    def loss(fitted: np.ndarray) -> float:
        odds = fitted[0] + fitted[1] * spread
        likelihood = np.sum(np.array(wins) * odds - np.logaddexp(0, odds))
        return float(-likelihood + 0.5 * (1e-3 * fitted[0] ** 2 + 1e-1 * fitted[1] ** 2))

    expected = 1 / (1 + math.exp(-minimize(loss, np.zeros(2), tol=1e-12).x[0]))
    tasks = [str(number) for number in range(300)]
    found = length_controlled(wins, lengths, tasks, draws=400)
    assert found.mean == pytest.approx(expected, abs=1e-5)
    assert found.low < expected < found.high
    # Longer answers win here, and the adapter's are longer: at equal length it wins less often.
    assert found.mean < sum(wins) / len(wins)


async def test_a_judge_that_looks_at_length_alone_is_told_as_such() -> None:
    lengths = [float(10 + number % 7) * (1 if number % 5 else -1) for number in range(200)]
    wins = [float(length > 0) for length in lengths]
    found = length_controlled(wins, lengths, [str(number) for number in range(200)], draws=200)
    assert sum(wins) / 200 == 0.8
    assert abs(found.mean - 0.5) < 0.2


async def test_verdicts_that_are_all_alike_give_a_finite_share() -> None:
    found = length_controlled([1.0] * 20, [5.0] * 20, [str(number) for number in range(20)], draws=100)
    assert 0.9 < found.mean <= 1.0


async def test_pairs_are_the_held_out_answers_of_base_and_adapter_by_row() -> None:
    arms = ("base", "base_template", "adapter", "copy_input")
    lines = [
        AnswerLine(key="k", arm=arm, id=row, part=part, instruction=f"Do {row}", input="", answer=f"{arm} {row}")
        for arm in arms
        for row, part in (("1", "held_out"), ("2", "held_out"), ("3", "safety"))
    ]
    found = pairs_of(lines, [("2", "t2", "qa"), ("1", "t1", "qa"), ("9", "t9", "qa")])
    assert [(one.id, one.task, one.base, one.adapter) for one in found] == [
        ("2", "t2", "base 2", "adapter 2"),
        ("1", "t1", "base 1", "adapter 1"),
    ]
