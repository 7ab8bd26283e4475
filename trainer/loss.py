"""The loss of a batch: summed cross-entropy of its weighted tokens, with or without building all logits."""

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch.nn import functional

from seedbed.trainer.attention import NAME as VARLEN
from seedbed.trainer.batches import Batch

# Rows of the output head's product held at once: 256 x 152,000 float32 logits are 156 MB.
CHUNK_TOKENS = 256
# The kernel writes over half-precision logits and has no float32 ones: 622 MB there.
KERNEL_CHUNK_TOKENS = 2048


def summed_loss(model: Any, batch: Batch, *, is_chunked: bool) -> torch.Tensor:
    """Return the batch's loss, summed over its tokens by weight; divide by the step's total weight."""
    return _chunked(model, batch) if is_chunked else _plain(model, batch)


def model_inputs(model: Any, batch: Batch) -> dict[str, Any]:
    """Return what a model is called with: borders where it attends by them, else positions that restart."""
    inputs: dict[str, Any] = {
        "input_ids": batch.input_ids,
        "position_ids": batch.position_ids,
        "attention_mask": batch.attention_mask,
        "use_cache": False,
    }
    if getattr(model.config, "_attn_implementation", "") == VARLEN:
        inputs |= {"cu_seq_lens_q": batch.borders, "cu_seq_lens_k": batch.borders}
        inputs |= {"max_length_q": batch.longest, "max_length_k": batch.longest}
    return inputs


def _plain(model: Any, batch: Batch) -> torch.Tensor:
    logits = model(**model_inputs(model, batch)).logits.float()  # (B, T, V)
    losses = functional.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), reduction="none")  # (B*T,)
    return (losses * batch.weights.flatten()).sum()


def _chunked(model: Any, batch: Batch) -> torch.Tensor:
    """Take only the positions that are trained to the head, and a few of them at a time."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    hidden = base.get_decoder()(**model_inputs(model, batch)).last_hidden_state  # (B, T, H)
    weight = base.get_output_embeddings().weight
    parts = [one[batch.trained] for one in (hidden.flatten(0, 1), batch.targets.flatten(), batch.weights.flatten())]
    return _FrozenHeadLoss.apply(weight, *parts)  # type: ignore[no-any-return, no-untyped-call]


class _FrozenHeadLoss(torch.autograd.Function):
    """Cross-entropy behind a frozen output head, its gradient formed in the forward pass.

    With p = softmax(h W^T), the gradient of sum(w * loss) by h is w (p - onehot(target)) W: it needs no more than
    the forward pass has at hand, so the head costs two products instead of three and the logits are never kept.
    """

    @staticmethod
    def forward(
        context: Any, head: torch.Tensor, hidden: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor
    ) -> torch.Tensor:
        kernel = _kernel() if hidden.is_cuda and hidden.element_size() < 4 else None
        size = KERNEL_CHUNK_TOKENS if kernel else CHUNK_TOKENS
        is_trained = bool(context.needs_input_grad[1])
        total = hidden.new_zeros((), dtype=torch.float32)
        gradient = torch.empty_like(hidden)  # (N, H)
        for at in range(0, len(hidden), size):
            part = slice(at, at + size)
            logits = hidden[part] @ head.T  # (n, V)
            take = kernel or _losses_and_slope
            losses, slope = take(logits, targets[part], weights[part], is_trained=is_trained)
            total += (losses * weights[part]).sum()
            if is_trained:
                gradient[part] = slope @ head
        context.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(context: Any, *outer: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (gradient,) = context.saved_tensors
        return None, gradient * outer[0].to(gradient.dtype), None, None


def _losses_and_slope(
    logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor, *, is_trained: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the losses (n,) float32, and weights x d loss/d logits (n, V) in the numbers of the logits."""
    log_p = functional.log_softmax(logits.float(), dim=-1)
    rows = torch.arange(len(log_p), device=log_p.device)
    losses = -log_p[rows, targets]
    if not is_trained:
        return losses, log_p
    slope = log_p.exp_()
    slope[rows, targets] -= 1
    slope *= weights[:, None]
    return losses, slope.to(logits.dtype)


@cache
def _kernel() -> Callable[..., tuple[torch.Tensor, torch.Tensor]] | None:
    """Return the same in one GPU kernel; None where this torch came without Triton."""
    if find_spec("triton") is None:
        return None
    from seedbed.trainer.loss_kernel import losses_and_slope

    return losses_and_slope
