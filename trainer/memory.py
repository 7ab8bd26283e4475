"""How many bytes a training pass takes, from the model's shapes, and how many the device has left."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from seedbed.trainer.loss import CHUNK_TOKENS, KERNEL_CHUNK_TOKENS

USABLE_SHARE = 0.9
"""Of the free memory: allocators round up and leave holes."""


@dataclass(frozen=True, slots=True)
class Shapes:
    """What decides how much a pass keeps."""

    layers: int
    hidden: int
    intermediate: int
    queries: int
    """Heads times their size."""
    keys: int
    """Key heads times their size."""
    vocabulary: int
    rank: int
    number_bytes: int
    """Of a number of the frozen base: 2 for bfloat16, 4 for float32."""


def shapes_of(model: Any, rank: int) -> Shapes:
    """Read the shapes from a model's configuration."""
    config = model.config.get_text_config()
    heads = config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    return Shapes(
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        intermediate=getattr(config, "intermediate_size", None) or 4 * config.hidden_size,
        queries=heads * size,
        keys=(getattr(config, "num_key_value_heads", None) or heads) * size,
        vocabulary=config.vocab_size,
        rank=rank,
        number_bytes=model.dtype.itemsize,
    )


def kept_bytes(shapes: Shapes, tokens: int, *, is_fused: bool, has_mask: bool, has_kernels: bool = False) -> int:
    """Return what one layer keeps of a pass for the backward pass, without activation checkpointing.

    With b the bytes of a number, H hidden, I intermediate, Q queries, K keys, T tokens, for each token:

    - two norms compute in float32 and keep their input: 2·4H (b = 4: the input itself)
    - attention keeps query, key, value and output: b(2Q + 2K); with a mask transformers repeats keys and values for
      every head, 4bQ, and SDPA keeps the mask as numbers, bT
    - silu(gate) · up keeps gate, silu(gate) and up: 3bI
    - LoRA, plain, keeps the float32 copy that PEFT makes for each of the seven matrices, and its seven low-rank
      products: 4(5H + Q + I) + 7·4r; where the base is float32 there are no copies, and equal inputs are kept once
    - LoRA, fused, keeps each input once, b(2H + I), the seven low-rank products, b·7r, and, not for each token but
      once, its matrices in the base's numbers: b·r(7H + 2Q + 2K + 3I); where the base is float32 only those that
      siblings join, b·5rH

    With Liger's kernels a norm keeps its input, bH, and silu(gate) · up is computed again from gate and up: 2bI.

    An 8B model (H 4096, I 14336, Q 4096, K 1024, 32 layers, bfloat16): 9.0 MiB a token plain, 5.6 MiB fused.
    """
    b, h, i, q, k = shapes.number_bytes, shapes.hidden, shapes.intermediate, shapes.queries, shapes.keys
    inputs, once = b * (2 * h + i + 7 * shapes.rank), b * shapes.rank * (7 * h + 2 * q + 2 * k + 3 * i)
    if is_fused and b == 4:
        once = b * shapes.rank * 5 * h
    if not is_fused:
        inputs, once = (4 * (5 * h + q + i) if b < 4 else b * (2 * h + i)) + 7 * 4 * shapes.rank, 0
    attention = b * (4 * q + tokens) if has_mask else b * (2 * q + 2 * k)
    norms, inner = (2 * b * h, 2 * b * i) if has_kernels else (2 * 4 * h, 3 * b * i)
    return once + tokens * (norms + attention + inner + inputs)


def pass_bytes(
    shapes: Shapes,
    tokens: int,
    *,
    is_fused: bool,
    is_chunked: bool,
    is_checkpointed: bool,
    has_mask: bool,
    has_kernels: bool = False,
) -> int:
    """Estimate the most that one forward and backward pass holds beside weights, gradients and optimiser.

    Activation checkpointing keeps the input of each layer, bH a token, and one layer in full at a time. The head adds
    a number of the base's and two float32 ones for each logit that is built at once.
    """
    layer = kept_bytes(shapes, tokens, is_fused=is_fused, has_mask=has_mask, has_kernels=has_kernels)
    inputs = shapes.number_bytes * shapes.hidden * tokens
    body = layer + shapes.layers * inputs if is_checkpointed else layer * shapes.layers + inputs
    if not is_chunked:
        return body + tokens * shapes.vocabulary * (shapes.number_bytes + 4 + 4)
    # A chunk by torch has two float32 copies of its logits; one by the kernel, which a GPU may have, none.
    by_torch = min(tokens, CHUNK_TOKENS) * (shapes.number_bytes + 4 + 4)
    by_kernel = min(tokens, KERNEL_CHUNK_TOKENS) * shapes.number_bytes if shapes.number_bytes < 4 else 0
    return body + max(by_torch, by_kernel) * shapes.vocabulary


def free_bytes(device: torch.device) -> int:
    """Return the device's memory that is free now; on a CPU, no more than the control group allows."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    found = [int(line.split()[1]) * 1024 for line in _lines("/proc/meminfo") if line.startswith("MemAvailable:")]
    limit, used = _lines("/sys/fs/cgroup/memory.max"), _lines("/sys/fs/cgroup/memory.current")
    if limit and used and limit[0] != "max":
        found.append(int(limit[0]) - int(used[0]))
    return min(found, default=2**62)  # not Linux: nothing is known, so nothing is too much


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="ascii").splitlines()
    except OSError:
        return []
