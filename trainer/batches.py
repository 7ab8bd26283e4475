"""Rows → tensors for one forward pass: padded side by side, or packed one after the other.

Packed documents must not see each other. transformers isolates them only where `position_ids` restart at each
document, `attention_mask` is None and `use_cache` is False; a batch of ours is the first two, `model.py` the third,
and `proven.py` proves it on the model at hand before a run relies on it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch

from seedbed.trainer.data import Row


@dataclass(frozen=True, slots=True)
class Batch:
    """One forward pass."""

    input_ids: torch.Tensor  # (B, T)
    position_ids: torch.Tensor  # (B, T)
    attention_mask: torch.Tensor | None  # (B, T), None where packed
    targets: torch.Tensor  # (B, T), the token that follows
    weights: torch.Tensor  # (B, T) float32, of the target in the loss; 0 where nothing is trained
    trained: torch.Tensor  # (N,), where `weights`, laid flat, are not 0: found before the batch goes to a GPU
    useful_tokens: int
    """Tokens that are not padding."""
    borders: torch.Tensor | None = None  # (documents + 1,) int32: where packed documents begin and end
    longest: int = 0
    """Tokens of the longest row."""

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device."""
        mask = None if self.attention_mask is None else self.attention_mask.to(device)
        return Batch(
            self.input_ids.to(device),
            self.position_ids.to(device),
            mask,
            self.targets.to(device),
            self.weights.to(device),
            self.trained.to(device),
            self.useful_tokens,
            None if self.borders is None else self.borders.to(device),
            self.longest,
        )


def loss_weight(row: Row, prompt_loss_weight: float) -> float:
    """Return the sum of a row's weights in the loss. Its first token has no predecessor to predict it."""
    return prompt_loss_weight * max(row.prompt_tokens - 1, 0) + len(row) - max(row.prompt_tokens, 1)


def padded(rows: Sequence[Row], pad_id: int, prompt_loss_weight: float) -> Batch:
    """Lay rows side by side, filled up on the right to the longest."""
    longest = max(len(row) for row in rows)
    shape = (len(rows), longest)
    input_ids, mask = torch.full(shape, pad_id), torch.zeros(shape, dtype=torch.long)
    targets, weights = torch.zeros(shape, dtype=torch.long), torch.zeros(shape)
    for number, row in enumerate(rows):
        size = len(row)
        input_ids[number, :size] = torch.tensor(row.tokens)
        mask[number, :size] = 1
        targets[number, : size - 1] = torch.tensor(row.tokens[1:])
        weights[number, : size - 1] = _weights(row, prompt_loss_weight)
    positions = torch.arange(longest).expand(shape)
    useful = sum(len(row) for row in rows)
    return Batch(input_ids, positions, mask, targets, weights, _trained(weights), useful, longest=longest)


def packed(rows: Sequence[Row], prompt_loss_weight: float) -> Batch:
    """Lay rows one after the other; positions restart, and no row's last token predicts the next row's first."""
    input_ids, positions, targets, weights = [], [], [], []
    for row in rows:
        tokens = torch.tensor(row.tokens)
        input_ids.append(tokens)
        positions.append(torch.arange(len(row)))
        targets.append(torch.cat((tokens[1:], torch.zeros(1, dtype=torch.long))))
        weights.append(torch.cat((_weights(row, prompt_loss_weight), torch.zeros(1))))
    of_targets = torch.cat(weights)[None]
    return Batch(
        torch.cat(input_ids)[None],
        torch.cat(positions)[None],
        None,
        torch.cat(targets)[None],
        of_targets,
        _trained(of_targets),
        sum(len(row) for row in rows),
        torch.tensor([0, *accumulate(len(row) for row in rows)], dtype=torch.int32),
        max(len(row) for row in rows),
    )


def _trained(weights: torch.Tensor) -> torch.Tensor:
    return weights.flatten().nonzero().flatten()


def _weights(row: Row, prompt_loss_weight: float) -> torch.Tensor:
    weights = torch.ones(len(row) - 1)
    weights[: max(row.prompt_tokens - 1, 0)] = prompt_loss_weight
    return weights


def chunks(rows: Sequence[Row], size: int) -> list[list[Row]]:
    """Group rows of like length, `size` at a time, so that little is padded."""
    by_length = sorted(rows, key=len, reverse=True)
    return [by_length[at : at + size] for at in range(0, len(by_length), size)]


def packs(rows: Sequence[Row], budget_tokens: int) -> list[list[Row]]:
    """Group rows into packs of at most `budget_tokens`, best fit decreasing; a longer row is a pack of its own.

    Best fit decreasing takes the longest row first and puts it where least room stays; it fills 0.9996 of
    2,048-token packs of instruction data.
    """
    sizes = [len(row) for row in rows]
    count = len(_filled(rows, budget_tokens))
    # As many packs, as even as can be: attention and memory grow with the largest, and a small one wastes a pass.
    least = max(-(-sum(sizes) // max(count, 1)), max(sizes, default=0))
    for share in (1.0, 1.01, 1.03, 1.1, 1.3):
        even = int(least * share)
        if even < budget_tokens and len(found := _filled(rows, even)) == count:
            return found
    return _filled(rows, budget_tokens)


def _filled(rows: Sequence[Row], budget_tokens: int) -> list[list[Row]]:
    filled: list[tuple[int, list[Row]]] = []
    for row in sorted(rows, key=len, reverse=True):
        fits = [number for number, (used, _) in enumerate(filled) if used + len(row) <= budget_tokens]
        if not fits:
            filled.append((len(row), [row]))
            continue
        best = max(fits, key=lambda number: filled[number][0])
        used, pack = filled[best]
        filled[best] = (used + len(row), [*pack, row])
    return [pack for _, pack in filled]
