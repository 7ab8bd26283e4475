"""Packing and the chunked loss give what plain PEFT gives for each row alone."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seedbed.core.config import TrainingConfig
from seedbed.prompts.training_text import Form
from seedbed.trainer.batches import chunks, loss_weight, packed, packs, padded
from seedbed.trainer.data import Row
from seedbed.trainer.loss import summed_loss
from seedbed.trainer.model import Machine, add_adapter, load_base, trained_parameters
from seedbed.trainer.proven import are_documents_isolated, reason_against_chunked_loss, reason_against_packing

LENGTHS = (5, 17, 9, 33, 2, 64, 21)
ROWS = tuple(
    Row(str(number), Form.ALPACA, tuple((7 * number + 3 * at) % 1000 + 1 for at in range(length)), length // 2)
    for number, length in enumerate(LENGTHS)
)


@pytest.fixture
def model(tiny_model_folder: Path) -> Any:
    """Return the tiny model with an adapter that is not zero."""
    base = load_base(tiny_model_folder, Machine(torch.device("cpu"), torch.float32))
    adapted = add_adapter(base, TrainingConfig(), "tiny")
    torch.manual_seed(1)
    for parameter in trained_parameters(adapted).values():
        torch.nn.init.normal_(parameter, std=0.05)
    return adapted.train()


def alone(model: Any, prompt_weight: float = 0.0) -> tuple[float, dict[str, torch.Tensor]]:
    """Return loss and gradients of every row by itself, as the plain causal-LM loss of transformers has them."""
    model.zero_grad()
    total = 0.0
    for row in ROWS:
        tokens = torch.tensor([row.tokens])
        labels = tokens.clone()
        if not prompt_weight:
            labels[0, : row.prompt_tokens] = -100
        trained = int((labels[0, 1:] != -100).sum())
        loss = model(input_ids=tokens, labels=labels).loss * trained  # its loss is a mean
        loss.backward()
        total += loss.item()
    return total, gradients(model)


def gradients(model: Any) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in trained_parameters(model).items() if p.grad is not None}


def worst(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    assert one.keys() == other.keys()
    assert one
    return max(float((one[name] - other[name]).norm() / one[name].norm()) for name in one)


@pytest.mark.parametrize("is_chunked", [False, True])
@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("prompt_weight", [0.0, 1.0])
def test_loss_and_gradients_equal_each_row_alone(
    model: Any, is_packed: bool, is_chunked: bool, prompt_weight: float
) -> None:
    expected_loss, expected = alone(model, prompt_weight)
    model.zero_grad()
    batch = packed(ROWS, prompt_weight) if is_packed else padded(ROWS, 0, prompt_weight)
    loss = summed_loss(model, batch, is_chunked=is_chunked)
    torch.autograd.backward(loss)
    assert loss.item() == pytest.approx(expected_loss, rel=1e-5)
    assert worst(expected, gradients(model)) <= 1e-5


def test_packs_of_any_size_sum_to_the_same_gradient(model: Any) -> None:
    _, expected = alone(model)
    model.zero_grad()
    for pack in packs(ROWS, 70):
        torch.autograd.backward(summed_loss(model, packed(pack, 0.0), is_chunked=True))
    assert worst(expected, gradients(model)) <= 1e-5


def test_a_prompt_weight_lies_between_none_and_all(model: Any) -> None:
    losses = [summed_loss(model, packed(ROWS, weight), is_chunked=True).item() for weight in (0.0, 0.5, 1.0)]
    assert losses[1] == pytest.approx((losses[0] + losses[2]) / 2, rel=1e-6)
    weights = [sum(loss_weight(row, weight) for row in ROWS) for weight in (0.0, 0.5, 1.0)]
    assert weights == [float(packed(ROWS, weight).weights.sum()) for weight in (0.0, 0.5, 1.0)]


def test_the_loss_of_more_tokens_than_a_chunk_is_the_same(model: Any) -> None:
    long = (Row("long", Form.ALPACA, tuple(at % 1500 + 1 for at in range(1500)), 3),)
    whole = summed_loss(model, packed(long, 0.0), is_chunked=False).item()
    assert summed_loss(model, packed(long, 0.0), is_chunked=True).item() == pytest.approx(whole, rel=1e-5)


@pytest.mark.parametrize("leak", ["a mask of ones", "a cache"])
def test_documents_of_a_pack_are_isolated_and_a_leak_is_seen(model: Any, leak: str) -> None:
    assert are_documents_isolated(model)
    assert not reason_against_packing(model.get_base_model())

    class Leaking(torch.nn.Module):
        """Passes what makes transformers forget the borders."""

        def __init__(self) -> None:
            super().__init__()
            self.config, self.device, self.inner = model.config, model.device, model

        def forward(self, **inputs: Any) -> Any:
            forgetful = {"attention_mask": torch.ones_like(inputs["input_ids"])}
            return self.inner(**inputs | (forgetful if leak == "a mask of ones" else {"use_cache": True}))

    assert not are_documents_isolated(Leaking())


@pytest.mark.parametrize(
    ("setting", "value"),
    [("layer_types", ["full_attention", "sliding_attention"]), ("num_experts", 8), ("attn_logit_softcapping", 50.0)],
)
def test_what_is_unproven_is_not_packed(model: Any, setting: str, value: object) -> None:
    base = model.get_base_model()
    setattr(base.config, setting, value)
    assert "unproven" in reason_against_packing(base)


def test_capped_logits_are_not_chunked(model: Any) -> None:
    base = model.get_base_model()
    assert not reason_against_chunked_loss(base)
    base.config.final_logit_softcapping = 30.0
    assert "caps" in reason_against_chunked_loss(base)


row_lists = st.lists(st.integers(2, 300), min_size=1, max_size=60).map(
    lambda lengths: [Row(str(n), Form.ALPACA, tuple(range(size)), 1) for n, size in enumerate(lengths)]
)


@given(row_lists, st.integers(32, 512))
def test_every_row_is_in_one_pack_and_no_pack_is_too_full(rows: list[Row], budget: int) -> None:
    found = packs(rows, budget)
    assert sorted(row.id for pack in found for row in pack) == sorted(row.id for row in rows)
    for pack in found:
        assert len(pack) == 1 or sum(map(len, pack)) <= budget


@given(row_lists, st.integers(64, 512))
def test_packs_are_few(rows: list[Row], budget: int) -> None:
    """Any two packs together overflow, or best fit would have joined them; so at least half is filled."""
    sizes = sorted(sum(map(len, pack)) for pack in packs(rows, budget))
    assert len(sizes) < 2 or sizes[0] + sizes[1] > budget


@given(row_lists, st.integers(1, 16))
def test_chunks_hold_every_row_once(rows: list[Row], size: int) -> None:
    found = chunks(rows, size)
    assert sorted(row.id for group in found for row in group) == sorted(row.id for row in rows)
    assert all(len(group) <= size for group in found)
