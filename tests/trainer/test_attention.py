"""Packed documents by varlen attention: the wiring, with SDPA on each document in the kernel's place."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from seedbed.core.config import TrainingConfig
from seedbed.core.errors import TrainingError
from seedbed.prompts.training_text import Form
from seedbed.trainer import attention, student
from seedbed.trainer.attention import bind, disagreement, reason_against_varlen, use_varlen, varlen_kernel
from seedbed.trainer.batches import packed, padded
from seedbed.trainer.data import Row
from seedbed.trainer.loss import model_inputs, summed_loss
from seedbed.trainer.model import Machine, add_adapter, load_base, trained_parameters
from seedbed.trainer.proven import are_documents_isolated

CPU = Machine(torch.device("cpu"), torch.float32)
ROWS = [
    Row(str(n), Form.ALPACA, tuple((7 * n + 3 * at) % 900 + 1 for at in range(size)), size // 3)
    for n, size in enumerate((5, 31, 2, 64, 18))
]


def reference(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, cu_seq: torch.Tensor, scale: float | None
) -> torch.Tensor:
    """Attend within each document by the formula itself: softmax(q k / sqrt(D)) v under the diagonal."""
    assert query.shape[1] == key.shape[1], "a kernel that does not group heads is given as many keys as queries"
    assert cu_seq.dtype == torch.int32
    outputs = []
    for start, end in zip(cu_seq[:-1].tolist(), cu_seq[1:].tolist(), strict=True):
        q, k, v = (one[start:end].transpose(0, 1) for one in (query, key, value))
        scores = q @ k.transpose(1, 2) * (scale or 1 / math.sqrt(q.shape[-1]))
        future = torch.ones(end - start, end - start, dtype=torch.bool).triu(1)
        outputs.append((scores.masked_fill(future, -math.inf).softmax(-1) @ v).transpose(0, 1))
    return torch.cat(outputs)


def as_of_210(
    query: Any, key: Any, value: Any, cu_seq_q: Any, cu_seq_k: Any, max_q: int, max_k: int, is_causal: bool = False
) -> torch.Tensor:
    assert is_causal
    assert max_q == int((cu_seq_q[1:] - cu_seq_q[:-1]).max())
    return reference(query, key, value, cu_seq_q, None)


def as_of_211(
    query: Any,
    key: Any,
    value: Any,
    cu_seq_q: Any,
    cu_seq_k: Any,
    max_q: int,
    max_k: int,
    *,
    scale: float | None = None,
    window_size: tuple[int, int] = (-1, -1),
) -> torch.Tensor:
    assert window_size == (-1, 0)
    return reference(query, key, value, cu_seq_q, scale)


def as_of_213(
    query: Any,
    key: Any,
    value: Any,
    cu_seq_q: Any,
    cu_seq_k: Any,
    max_q: int,
    max_k: int,
    *,
    scale: float | None = None,
    window_size: tuple[int, int] = (-1, -1),
    enable_gqa: bool = False,
) -> torch.Tensor:
    assert window_size == (-1, 0)
    if enable_gqa:
        groups = query.shape[1] // key.shape[1]
        key, value = (one.repeat_interleave(groups, dim=1) for one in (key, value))
    return reference(query, key, value, cu_seq_q, scale)


KERNELS = pytest.mark.parametrize("kernel", [as_of_210, as_of_211, as_of_213])


def adapted(folder: Path) -> Any:
    model = add_adapter(load_base(folder, CPU), TrainingConfig(), "tiny")
    torch.manual_seed(1)
    for parameter in trained_parameters(model).values():
        torch.nn.init.normal_(parameter, std=0.05)
    return model.train()


def gradients(model: Any) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in trained_parameters(model).items() if p.grad is not None}


@KERNELS
@pytest.mark.parametrize("is_chunked", [False, True])
def test_loss_and_gradients_equal_each_row_alone(
    tiny_model_folder: Path, kernel: Callable[..., torch.Tensor], is_chunked: bool
) -> None:
    model = adapted(tiny_model_folder)
    expected_loss = 0.0
    for row in ROWS:
        tokens = torch.tensor([row.tokens])
        labels = tokens.clone()
        labels[0, : row.prompt_tokens] = -100
        loss = model(input_ids=tokens, labels=labels).loss * int((labels[0, 1:] != -100).sum())
        loss.backward()
        expected_loss += loss.item()
    expected = gradients(model)

    use_varlen(model.get_base_model(), bind(kernel))
    model.zero_grad()
    loss = summed_loss(model, packed(ROWS, 0.0), is_chunked=is_chunked)
    torch.autograd.backward(loss)
    found = gradients(model)
    assert loss.item() == pytest.approx(expected_loss, rel=1e-5)
    for name, gradient in expected.items():
        assert float((found[name] - gradient).norm() / gradient.norm()) <= 1e-5, name
    assert are_documents_isolated(model)


def test_a_kernel_without_a_causal_way_is_refused() -> None:
    with pytest.raises(ValueError, match="causal"):
        bind(reference)


def test_torchs_own_kernel_can_be_bound() -> None:
    kernel = varlen_kernel()
    assert kernel is not None
    bind(kernel)


@KERNELS
def test_a_right_kernel_agrees_with_sdpa(kernel: Callable[..., torch.Tensor]) -> None:
    assert disagreement(bind(kernel), CPU, 4, 2, 16) < 1e-5


def test_a_kernel_that_forgets_the_borders_disagrees() -> None:
    def forgetful(
        query: Any, key: Any, value: Any, cu_q: Any, cu_k: Any, max_q: int, max_k: int, is_causal: bool
    ) -> Any:
        q, k, v = query.transpose(0, 1), key.transpose(0, 1), value.transpose(0, 1)
        return functional.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(0, 1)

    assert disagreement(bind(forgetful), CPU, 4, 2, 16) > 0.1


def test_a_pass_without_borders_is_refused(tiny_model_folder: Path) -> None:
    base = load_base(tiny_model_folder, CPU)
    use_varlen(base, bind(as_of_213))
    with pytest.raises(TrainingError, match="see each other"):
        base(torch.arange(1, 9)[None])
    batch = padded(ROWS, 0, 0.0)
    with pytest.raises(TrainingError, match="see each other"):
        base(**model_inputs(base, batch))


def test_on_a_cpu_sdpa_is_taken_without_a_word(tiny_model_folder: Path) -> None:
    found = student.prepare_student(tiny_model_folder, CPU, TrainingConfig(), "tiny", 0)
    assert (found.is_varlen, found.notes) == (False, [])
    assert "GPUs" in reason_against_varlen(found.model.get_base_model(), CPU)


class PretendedGpu:
    """Says that it is a GPU, to whoever asks for its kind only."""

    type = "cuda"


@pytest.mark.parametrize(("kernel", "said"), [(None, "has no varlen attention"), (as_of_213, "drops attention out")])
def test_what_the_kernel_cannot_do_is_said(
    tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch, kernel: Any, said: str
) -> None:
    monkeypatch.setattr(attention, "varlen_kernel", lambda: kernel)
    base = load_base(tiny_model_folder, CPU)
    base.config.attention_dropout = 0.1
    assert said in reason_against_varlen(base, Machine(PretendedGpu(), torch.bfloat16))  # type: ignore[arg-type]


def test_where_the_kernel_is_proven_the_student_trains_by_it(
    tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(student, "reason_against_varlen", lambda _model, _machine: "")
    monkeypatch.setattr(student, "varlen_kernel", lambda: as_of_213)
    losses = []
    for setting in ("sdpa", "auto"):
        config = TrainingConfig.model_validate({"attention": setting})
        found = student.prepare_student(tiny_model_folder, CPU, config, "tiny", 0)
        assert found.is_varlen == (setting == "auto")
        losses.append(sum(found.loss(batch).item() for batch in found.passes(ROWS)))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_kernel_that_leaks_is_left_for_sdpa(tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def leaking(query: Any, key: Any, value: Any, *borders: Any, is_causal: bool) -> Any:
        q, k, v = (one.transpose(0, 1) for one in (query, key, value))
        return functional.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(0, 1)

    monkeypatch.setattr(student, "reason_against_varlen", lambda _model, _machine: "")
    monkeypatch.setattr(student, "varlen_kernel", lambda: leaking)
    found = student.prepare_student(tiny_model_folder, CPU, TrainingConfig(), "tiny", 0)
    assert not found.is_varlen
    assert are_documents_isolated(found.model)
