"""Rows of a snapshot → token ids, and the order in which an optimiser sees them.

No row is ever cut: one that is too long, or in which nothing would be trained, is left out and counted.
"""

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from seedbed.core.config import TrainingConfig
from seedbed.core.records import Example
from seedbed.prompts.library import PromptLibrary
from seedbed.prompts.training_text import PACKAGED, Form, choose_form
from seedbed.trainer.encode import prompt_ids, response_ids


@dataclass(frozen=True, slots=True)
class Row:
    """One encoded row."""

    id: str
    form: Form
    tokens: tuple[int, ...]
    """Prompt, response and end."""
    prompt_tokens: int
    """How many of `tokens` are prompt; the loss is on the rest."""

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True, slots=True)
class Rows:
    """The encoded rows of one part of a snapshot."""

    kept: tuple[Row, ...]
    dropped: dict[str, int]
    """Reason to rows left out: `too_long`, `nothing_to_train`."""

    @property
    def forms(self) -> dict[str, int]:
        """Rows kept of each form, sorted by name."""
        return dict(sorted(Counter(str(row.form) for row in self.kept).items()))

    @property
    def tokens(self) -> int:
        return sum(len(row) for row in self.kept)


def encode_rows(
    examples: Sequence[Example], tokenizer: Any, config: TrainingConfig, library: PromptLibrary = PACKAGED
) -> Rows:
    """Encode examples, each in the form that its id and the seed choose."""
    kept, dropped = [], Counter[str]()
    for example in examples:
        if not example.output.strip():
            dropped["nothing_to_train"] += 1
            continue
        row = _encode(example, tokenizer, choose_form(config.template, example.id, config.seed), library)
        if len(row) > config.max_length:
            dropped["too_long"] += 1
        else:
            kept.append(row)
    return Rows(tuple(kept), dict(sorted(dropped.items())))


def _encode(example: Example, tokenizer: Any, form: Form, library: PromptLibrary) -> Row:
    prompt = prompt_ids(tokenizer, form, example.instruction, example.input, library)
    response = response_ids(tokenizer, form, example.output)
    return Row(example.id, form, (*prompt, *response), len(prompt))


def plan_steps(row_count: int, config: TrainingConfig) -> list[tuple[int, ...]]:
    """Return the row numbers of every optimiser step, in order: each pass over the rows is shuffled anew.

    A pure function of its arguments, so that a resumed run sees the same rows as one that never stopped.
    The last step may be smaller; the loss is weighted by tokens, so it counts as much as its tokens.
    """
    total = max(1, math.floor(row_count * config.epochs))
    order: list[int] = []
    epoch = 0
    while len(order) < total:
        one_pass = list(range(row_count))
        random.Random(f"{config.seed}/{epoch}").shuffle(one_pass)
        order += one_pass
        epoch += 1
    steps = [tuple(order[at : min(at + config.batch_rows, total)]) for at in range(0, total, config.batch_rows)]
    return steps[: config.max_steps] if config.max_steps else steps
