"""The loss of a batch: summed cross-entropy of its weighted tokens, with or without building all logits."""

from typing import Any

import torch
from torch.nn import functional

from seedbed.trainer.attention import NAME as VARLEN
from seedbed.trainer.batches import Batch

# Rows of the output head's product held at once: 256 x 152,000 float32 logits are 156 MB.
CHUNK_TOKENS = 256


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
    chosen = batch.weights.flatten() > 0
    weight = base.get_output_embeddings().weight
    return _FrozenHeadLoss.apply(  # type: ignore[no-any-return, no-untyped-call]
        hidden.flatten(0, 1)[chosen], weight, batch.targets.flatten()[chosen], batch.weights.flatten()[chosen]
    )


class _FrozenHeadLoss(torch.autograd.Function):
    """Cross-entropy behind a frozen output head, its gradient formed in the forward pass.

    With p = softmax(h W^T), the gradient of sum(w * loss) by h is w (p - onehot(target)) W: it needs no more than
    the forward pass has at hand, so the head costs two products instead of three and the logits are never kept.
    """

    @staticmethod
    def forward(
        context: Any, hidden: torch.Tensor, head: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor
    ) -> torch.Tensor:
        total = hidden.new_zeros((), dtype=torch.float32)
        gradient = torch.empty_like(hidden)  # (N, H)
        for at in range(0, len(hidden), CHUNK_TOKENS):
            part = slice(at, at + CHUNK_TOKENS)
            logits = (hidden[part] @ head.T).float()  # (n, V)
            log_p = functional.log_softmax(logits, dim=-1)
            rows = torch.arange(len(log_p), device=log_p.device)
            total -= (log_p[rows, targets[part]] * weights[part]).sum()
            if not context.needs_input_grad[0]:
                continue
            slope = log_p.exp_()
            slope[rows, targets[part]] -= 1
            slope *= weights[part, None]
            gradient[part] = slope.to(head.dtype) @ head
        context.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(context: Any, *outer: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (gradient,) = context.saved_tensors
        return gradient * outer[0].to(gradient.dtype), None, None, None
