"""Attention of packed documents by torch's varlen kernel, which visits no pair of tokens of different documents.

SDPA takes the borders as a mask of T x T and computes what it then throws away. The kernel is torch's own
(`torch.nn.attention.varlen`, since 2.10); its signature moved between releases, so it is read when it is bound.
"""

import inspect
import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
import transformers
from torch.nn import functional

from seedbed.core.errors import TrainingError
from seedbed.trainer.model import Machine

NAME = "seedbed_varlen"
"""Under which transformers knows it. No mask function is registered under it, so no mask is made."""

TOLERANCE = 0.03
"""Relative, of outputs and gradients against SDPA. bfloat16 rounds at 2^-8; both sides round on the way."""

Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, int, float], torch.Tensor]
"""(T, heads, D), twice (T, key heads, D), borders (documents + 1,), longest, scale → (T, heads, D), causal."""


def varlen_kernel() -> Callable[..., Any] | None:
    """Return torch's kernel, None where this torch has none."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    return varlen_attn  # type: ignore[no-any-return, unused-ignore]


def bind(kernel: Callable[..., Any], *, is_repeating: bool = True) -> Attend:
    """Call the kernel causally, whichever release it is of.

    Args:
        kernel: Torch's.
        is_repeating: Whether keys and values are repeated for each head where the kernel names no `enable_gqa`. Some
            group heads without naming it (`bind_proven` finds out).

    torch 2.10 has `is_causal` and no `scale`; later ones say causal by `window_size` (-1, 0); the newest group heads.

    Raises:
        ValueError: The signature is none of these.
    """
    known = inspect.signature(kernel).parameters
    if not {"is_causal", "window_size"} & known.keys():
        raise ValueError(f"varlen_attn of torch {torch.__version__} says nothing of causal attention")
    causal: dict[str, Any] = {"window_size": (-1, 0)} if "window_size" in known else {"is_causal": True}

    def attend(
        query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, borders: torch.Tensor, longest: int, scale: float
    ) -> torch.Tensor:
        settings = dict(causal)
        groups = query.shape[1] // key.shape[1]
        if groups > 1 and "enable_gqa" in known:
            settings["enable_gqa"] = True
        elif groups > 1 and is_repeating:
            key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
        if "scale" in known:
            settings["scale"] = scale
        else:  # the kernel scales by 1/sqrt(D)
            query = query * (scale * math.sqrt(query.shape[-1]))
        found: torch.Tensor = kernel(query, key, value, borders, borders, longest, longest, **settings)
        return found

    return attend


def bind_proven(kernel: Callable[..., Any], model: Any, machine: Machine) -> Attend:
    """Bind the kernel; without repeated keys and values where it agrees with SDPA so."""
    attend = bind(kernel, is_repeating=False)
    try:
        error = disagreement(attend, machine, *heads_of(model))
    except (RuntimeError, ValueError, TypeError):
        return bind(kernel)
    return attend if error <= TOLERANCE else bind(kernel)


def attend_by_document(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, borders: torch.Tensor, longest: int, scale: float
) -> torch.Tensor:
    """Attend as the kernel must, by SDPA on each document alone: what the kernel is checked against."""
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    documents = list(pairwise(borders.tolist()))
    assert max(end - start for start, end in documents) == longest
    parts = []
    for start, end in documents:
        q, k, v = (one[start:end].transpose(0, 1) for one in (query, key, value))
        parts.append(functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale).transpose(0, 1))
    return torch.cat(parts)


def reason_against_varlen(model: Any, machine: Machine) -> str:
    """Say why SDPA is taken; empty where the kernel runs here and agrees with SDPA at this model's shapes."""
    kernel = varlen_kernel()
    if machine.device.type != "cuda" or machine.dtype not in {torch.bfloat16, torch.float16}:
        return "the varlen kernel is for GPUs and half precision"
    if kernel is None:
        return f"torch {torch.__version__} has no varlen attention"
    if getattr(model.config.get_text_config(), "attention_dropout", 0.0):
        return "the model drops attention out"
    try:
        error = disagreement(bind(kernel), machine, *heads_of(model))
    except (RuntimeError, ValueError, TypeError) as problem:
        return f"the varlen kernel does not run here: {str(problem).splitlines()[0]}"
    return f"the varlen kernel is {error:.1%} off SDPA" if error > TOLERANCE else ""


def heads_of(model: Any) -> tuple[int, int, int]:
    """Return the number of heads, of key heads, and their size."""
    config = model.config.get_text_config()
    heads = config.num_attention_heads
    keys = getattr(config, "num_key_value_heads", None) or heads
    return heads, keys, getattr(config, "head_dim", None) or config.hidden_size // heads


def disagreement(attend: Attend, machine: Machine, heads: int, keys: int, size: int) -> float:
    """Return how far output and gradients of three random documents lie from SDPA on each alone, relative."""
    generator = torch.Generator(device=machine.device).manual_seed(0)
    borders = torch.tensor([0, 5, 69, 100], dtype=torch.int32, device=machine.device)
    inputs = [
        torch.randn(100, n, size, generator=generator, device=machine.device, dtype=machine.dtype).requires_grad_()
        for n in (heads, keys, keys)
    ]
    found = []
    for way in (attend, attend_by_document):
        output = way(*inputs, borders, 64, size**-0.5)  # type: ignore[arg-type, call-arg]
        found.append([output.detach(), *torch.autograd.grad(output.float().square().sum(), inputs)])
    pairs = zip(found[0], found[1], strict=True)
    return max(float((one.float() - other.float()).norm() / other.float().norm()) for one, other in pairs)


def use_varlen(model: Any, attend: Attend) -> None:
    """Let a model attend by `attend`. From then on each pass must say where its documents begin and end."""

    def forward(
        _module: Any,
        query: torch.Tensor,  # (1, heads, T, D)
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        scaling: float | None = None,
        **given: Any,
    ) -> tuple[torch.Tensor, None]:
        borders, longest = given.get("cu_seq_lens_q"), given.get("max_length_q")
        if borders is None or longest is None or attention_mask is not None or query.shape[0] != 1:
            raise TrainingError("a pass without the borders of its documents would let them see each other")
        if given.get("sliding_window") is not None or given.get("softcap") is not None:
            raise TrainingError("sliding or capped attention is unproven with varlen attention")
        rows = [one[0].transpose(0, 1) for one in (query, key, value)]  # (T, heads, D)
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        return attend(*rows, borders, longest, scale)[None], None  # type: ignore[arg-type, call-arg]

    transformers.AttentionInterface.register(NAME, forward)
    model.set_attn_implementation(NAME)
