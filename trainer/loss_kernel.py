"""Cross-entropy and its slope in one GPU kernel, written over the logits. Needs Triton, which torch for CUDA brings."""

from typing import Any

import torch
import triton
import triton.language as tl

BLOCK = 4096


@triton.jit  # type: ignore[untyped-decorator]
def _slope_kernel(  # type: ignore[no-untyped-def]  # noqa: ANN202
    logits,  # noqa: ANN001
    targets,  # noqa: ANN001
    weights,  # noqa: ANN001
    losses,  # noqa: ANN001
    row_stride,  # noqa: ANN001
    columns,  # noqa: ANN001
    is_trained: tl.constexpr,
    block: tl.constexpr,
):
    """Each program takes one row of `logits` (N, V): loss = log Σ exp(x) - x[target], slope = w (softmax - onehot)."""
    row = tl.program_id(0).to(tl.int64)
    start = logits + row * row_stride
    target = tl.load(targets + row)
    lanes = tl.arange(0, block)
    # Each lane keeps its own maximum and sum, so that only the end needs the whole block.
    highest = tl.full((block,), -1e30, tl.float32)
    total = tl.zeros((block,), tl.float32)
    for at in range(0, columns, block):
        x = tl.load(start + at + lanes, mask=at + lanes < columns, other=-1e30).to(tl.float32)
        higher = tl.maximum(highest, x)
        total = total * tl.exp(highest - higher) + tl.exp(x - higher)
        highest = higher
    top = tl.max(highest, 0)
    log_sum = top + tl.log(tl.sum(total * tl.exp(highest - top), 0))
    tl.store(losses + row, log_sum - tl.load(start + target).to(tl.float32))
    if is_trained:
        tl.debug_barrier()  # every thread has read x[target] before it is written over
        weight = tl.load(weights + row)
        for at in range(0, columns, block):
            mask = at + lanes < columns
            x = tl.load(start + at + lanes, mask=mask, other=-1e30).to(tl.float32)
            slope = tl.exp(x - log_sum) - tl.where(at + lanes == target, 1.0, 0.0)
            tl.store(start + at + lanes, slope * weight, mask=mask)


def losses_and_slope(
    logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor, *, is_trained: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each row's loss (N,) float32 in nats, and weights x d loss/d logits (N, V) in the place of the logits.

    Args:
        logits: (N, V), rows contiguous; written over.
        targets: (N,) int64.
        weights: (N,) float32.
        is_trained: Whether the slope is wanted.
    """
    losses = torch.empty(len(logits), dtype=torch.float32, device=logits.device)
    kernel: Any = _slope_kernel
    kernel[(len(logits),)](
        logits, targets, weights, losses, logits.stride(0), logits.shape[1], is_trained, BLOCK, num_warps=8
    )
    return losses, logits
