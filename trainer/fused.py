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
    """y_i = x W_iᵀ + bias_i + (x Dᵀ)_i B_iᵀ for matrices that read one input, weights and biases frozen.

    x (N, in); D (R, in), the matrices' A one below the other, times LoRA's scale, R the sum of their ranks; then of
    each matrix W `weight` (out, in), bias (out,), A `down` (r, in), B `up` (out, r), and B in the numbers of x;
    y (N, out).
    """

    @staticmethod
    def forward(context: Any, x: torch.Tensor, scale: float, joined: torch.Tensor, *given: torch.Tensor) -> Any:
        weights, biases, downs, _, ups = (given[kind::5] for kind in range(5))
        low = x @ joined.T  # (N, R)
        context.save_for_backward(x, low, joined, *weights, *ups)
        context.scale, context.ranks, context.dtype = scale, [len(down) for down in downs], downs[0].dtype
        found = []
        for part, weight, bias, up in zip(torch.split(low, context.ranks, 1), weights, biases, ups, strict=True):
            found.append(torch.nn.functional.linear(x, weight, bias).addmm_(part, up.T))
        return tuple(found)

    @staticmethod
    def backward(context: Any, *outer: torch.Tensor) -> tuple[Any, ...]:
        x, low, joined, *rest = context.saved_tensors
        weights, ups = rest[: len(context.ranks)], rest[len(context.ranks) :]
        low_slope = torch.empty_like(low)
        slopes, up_slopes = [], []
        lows, low_slopes = (torch.split(one, context.ranks, 1) for one in (low, low_slope))
        for given, up, part, part_slope in zip(outer, ups, lows, low_slopes, strict=True):
            slope = given.contiguous()  # (N, out)
            slopes.append(slope)
            up_slopes.append(slope.T @ part)  # autograd casts it
            torch.mm(slope, up, out=part_slope)
        down_slopes = torch.split((low_slope.T @ x).to(context.dtype).mul_(context.scale), context.ranks)
        x_slope = None
        if context.needs_input_grad[0]:
            x_slope = low_slope @ joined
            for slope, weight in zip(slopes, weights, strict=True):
                x_slope.addmm_(slope, weight)
        by_matrix = zip(down_slopes, up_slopes, strict=True)
        return x_slope, None, None, *(one for pair in by_matrix for one in (None, None, *pair, None))


class _Group:
    """Layers that read one input. The first one asked computes all; the others take what is theirs."""

    def __init__(self, layers: list[Any]) -> None:
        self.layers = layers
        self.cast_of: list[tuple[int, int]] = []
        self.joined = torch.empty(0)
        self.ups: list[torch.Tensor] = []
        self.x: torch.Tensor | None = None
        self.waiting: dict[int, torch.Tensor] = {}

    def take(self, layer: Any, x: torch.Tensor) -> torch.Tensor | None:
        """Return what was computed for a layer when a sibling was asked; None where nothing was."""
        found = self.waiting.pop(id(layer), None) if x is self.x else None
        if not self.waiting:
            self.x = None
        return found

    def compute(self, layer: Any, x: torch.Tensor) -> torch.Tensor:
        """Compute all layers, and return one's."""
        given: list[Any] = []
        for one, up in zip(self.layers, self._cast(x.dtype), strict=True):
            base, name = one.get_base_layer(), one.active_adapters[0]
            given += [base.weight, base.bias, one.lora_A[name].weight, one.lora_B[name].weight, up]
        found = _FusedLora.apply(x.reshape(-1, x.shape[-1]), _scale(self.layers[0]), self.joined, *given)  # type: ignore[no-untyped-call]
        shaped = (y.view(*x.shape[:-1], y.shape[-1]) for y in found)
        self.waiting = dict(zip(map(id, self.layers), shaped, strict=True))
        self.x = x
        mine = self.take(layer, x)
        assert mine is not None
        return mine

    def _cast(self, dtype: torch.dtype) -> list[torch.Tensor]:
        """Return each B in the numbers of the base, and set `joined`; anew only once the optimiser changed them."""
        names = [layer.active_adapters[0] for layer in self.layers]
        downs = [layer.lora_A[name].weight for layer, name in zip(self.layers, names, strict=True)]
        ups = [layer.lora_B[name].weight for layer, name in zip(self.layers, names, strict=True)]
        now = [(matrix.data_ptr(), matrix._version) for matrix in (*downs, *ups)]  # torch has no public name for it
        if now != self.cast_of or self.joined.dtype != dtype:
            with torch.no_grad():
                self.joined = torch.cat([down.detach() for down in downs]).mul_(_scale(self.layers[0])).to(dtype)
                self.ups = [up.detach().to(dtype) for up in ups]
            self.cast_of = now
        return self.ups


def _scale(layer: Any) -> float:
    return float(layer.scaling[layer.active_adapters[0]])


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
            is_whole = own in siblings and all(one in left for one in names)
            if is_whole and len({_scale(left[one]) for one in names}) == 1:
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
        if (ready := group.take(self, x)) is not None:
            return ready
        if args or kwargs or not all(_is_plain(layer, x) for layer in group.layers):
            return type(self).forward(self, x, *args, **kwargs)  # type: ignore[no-any-return]
        return group.compute(self, x)

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
