"""LoRA's forward and backward as one function: the sum of two products, keeping little but their input.

PEFT casts the input of every adapted matrix to float32, keeps the copy, and adds a float32 product to the base's. Here
the small matrices are cast to the base's numbers instead, and the low-rank product is added into the base's in place.
Matrices that read one input (query, key and value; gate and up) share its low-rank product and the sum of its slopes.
"""

from types import MethodType
from typing import Any

import peft
import torch

SIBLINGS = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
"""Layers of one parent that are called one after the other with the same input."""


class _FusedLora(torch.autograd.Function):
    """y_i = x W_iᵀ + bias_i + scale_i (x A_iᵀ) B_iᵀ for matrices that read one input, weights and biases frozen.

    x (N, in); of each matrix W `weight` (out, in), bias (out,), A `down` (r, in), B `up` (out, r), and the casts of A
    and B to the numbers of x; y (N, out).
    """

    @staticmethod
    def forward(context: Any, x: torch.Tensor, scales: tuple[float, ...], *given: torch.Tensor) -> Any:
        weights, biases, _, _, downs, ups = _by_kind(given)
        ranks = [len(down) for down in downs]
        down = torch.cat(downs) if len(downs) > 1 else downs[0]  # (R, in), R the sum of the ranks
        low = x @ down.T  # (N, R)
        context.save_for_backward(x, low, down, *weights, *ups)
        context.scales, context.ranks = scales, ranks
        found = []
        for part, weight, bias, up, scale in zip(torch.split(low, ranks, 1), weights, biases, ups, scales, strict=True):
            y = torch.nn.functional.linear(x, weight, bias)  # (N, out)
            found.append(y.addmm_(part, up.T, alpha=scale))
        return tuple(found)

    @staticmethod
    def backward(context: Any, *outer: torch.Tensor) -> tuple[torch.Tensor | tuple[float, ...] | None, ...]:
        x, low, down, *rest = context.saved_tensors
        weights, ups = rest[: len(context.scales)], rest[len(context.scales) :]
        slopes = [slope.contiguous() for slope in outer]  # each (N, out)
        up_slopes, low_slopes = [], []
        for slope, up, part, scale in zip(slopes, ups, torch.split(low, context.ranks, 1), context.scales, strict=True):
            up_slopes.append((slope.T @ part).float().mul_(scale))
            low_slopes.append((slope @ up).mul_(scale))
        low_slope = torch.cat(low_slopes, 1) if len(low_slopes) > 1 else low_slopes[0]  # (N, R)
        down_slopes = torch.split((low_slope.T @ x).float(), context.ranks)
        x_slope = None
        if context.needs_input_grad[0]:
            x_slope = torch.mm(low_slope, down)
            for slope, weight in zip(slopes, weights, strict=True):
                x_slope.addmm_(slope, weight)
        by_matrix = zip(down_slopes, up_slopes, strict=True)
        return x_slope, None, *(one for pair in by_matrix for one in (None, None, *pair, None, None))


def _by_kind(given: tuple[torch.Tensor, ...]) -> tuple[tuple[torch.Tensor, ...], ...]:
    return tuple(given[kind::6] for kind in range(6))


class _Cast:
    """A float32 matrix in the numbers of the base, cast anew once the optimiser changed it."""

    def __init__(self) -> None:
        self.key: tuple[int, int, torch.dtype] | None = None
        self.cast = torch.empty(0)

    def of(self, matrix: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        if matrix.dtype == dtype:
            return matrix.detach()
        key = (matrix.data_ptr(), matrix._version, dtype)  # torch has no public name for it
        if key != self.key:
            self.key, self.cast = key, matrix.detach().to(dtype)
        return self.cast


class _Group:
    """Layers that read one input. The first one asked computes all; the others take what is theirs."""

    def __init__(self, layers: list[Any]) -> None:
        self.layers = layers
        self.casts = [(_Cast(), _Cast()) for _ in layers]
        self.x: torch.Tensor | None = None
        self.waiting: dict[int, torch.Tensor] = {}

    def answer(self, layer: Any, x: torch.Tensor) -> torch.Tensor:
        if x is not self.x or id(layer) not in self.waiting:
            self.waiting, self.x = self._all(x), x
        found = self.waiting.pop(id(layer))
        if not self.waiting:
            self.x = None
        return found

    def _all(self, x: torch.Tensor) -> dict[int, torch.Tensor]:
        given: list[Any] = []
        for layer, (down_cast, up_cast) in zip(self.layers, self.casts, strict=True):
            base, name = layer.get_base_layer(), layer.active_adapters[0]
            down, up = layer.lora_A[name].weight, layer.lora_B[name].weight
            given += [base.weight, base.bias, down, up, down_cast.of(down, x.dtype), up_cast.of(up, x.dtype)]
        scales = tuple(layer.scaling[layer.active_adapters[0]] for layer in self.layers)
        found = _FusedLora.apply(x.reshape(-1, x.shape[-1]), scales, *given)  # type: ignore[no-untyped-call]
        return {id(layer): y.view(*x.shape[:-1], y.shape[-1]) for layer, y in zip(self.layers, found, strict=True)}


def fuse(model: Any) -> str:
    """Let every LoRA layer of a PEFT model compute fused; say why not where one cannot, and then change nothing."""
    layers: dict[str, Any] = {
        name: module for name, module in model.named_modules() if isinstance(module, peft.tuners.lora.LoraLayer)
    }
    if reason := next((reason for layer in layers.values() if (reason := reason_against_fusing(layer))), ""):
        return reason
    for group in _groups(layers):
        for layer in group.layers:
            layer.forward = MethodType(_forward_in(group), layer)
    return ""


def _groups(layers: dict[str, Any]) -> list[_Group]:
    """Put siblings together that are all adapted, and every other layer alone."""
    found, left = [], dict(layers)
    for name in layers:
        parent, _, own = name.rpartition(".")
        for siblings in SIBLINGS:
            names = [f"{parent}.{sibling}" for sibling in siblings]
            if own in siblings and all(one in left for one in names):
                found.append(_Group([left.pop(one) for one in names]))
    return found + [_Group([layer]) for layer in left.values()]


def reason_against_fusing(layer: Any) -> str:
    """Say why PEFT itself computes this layer; empty where the fused function is exact."""
    base = layer.get_base_layer()
    if type(layer) is not peft.tuners.lora.Linear or type(base) is not torch.nn.Linear:
        return f"an adapter on {type(base).__name__} is unproven with fused LoRA"
    if base.weight.requires_grad or (base.bias is not None and base.bias.requires_grad):
        return "the base is trained too"
    if not base.weight.is_floating_point() or base.weight.element_size() < 2:
        return "a quantised base is unproven with fused LoRA"
    if len(layer.active_adapters) != 1:
        return f"{len(layer.active_adapters)} adapters are active"
    (name,) = layer.active_adapters
    if layer.lora_variant.get(name) or getattr(layer, "use_dora", {}).get(name):
        return "a variant of LoRA (DoRA or another) is unproven with fused LoRA"
    if not isinstance(layer.lora_dropout[name], torch.nn.Identity):
        return "lora_dropout is not 0"
    if layer.lora_A[name].bias is not None or layer.lora_B[name].bias is not None or layer.fan_in_fan_out:
        return "its LoRA matrices have biases or are transposed"
    return ""


def _forward_in(group: _Group) -> Any:
    def forward(self: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        if args or kwargs or not all(_is_plain(layer, x) for layer in group.layers):
            return type(self).forward(self, x, *args, **kwargs)  # type: ignore[no-any-return]
        return group.answer(self, x)

    return forward


def _is_plain(layer: Any, x: torch.Tensor) -> bool:
    """Tell whether a layer computes with its one adapter now."""
    names = layer.active_adapters
    return (
        not layer.disable_adapters
        and not layer.merged
        and len(names) == 1
        and names[0] in layer.lora_A
        and x.dtype == layer.weight.dtype
    )
