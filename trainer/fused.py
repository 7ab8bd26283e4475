"""LoRA's forward and backward as one function: the sum of two products, keeping nothing but their input.

PEFT casts the input of every adapted matrix to float32, keeps the copy, and adds a float32 product to the base's. Here
the small matrices are cast to the base's numbers instead, the low-rank product is added into the base's in place,
and the backward pass computes x Aᵀ again rather than keep it.
"""

from types import MethodType
from typing import Any

import peft
import torch


class _FusedLora(torch.autograd.Function):
    """y = x Wᵀ + bias + scale (x Aᵀ) Bᵀ, weight and bias frozen.

    x (N, in), W `weight` (out, in), A `down` (r, in), B `up` (out, r), y (N, out).
    """

    @staticmethod
    def forward(
        context: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        down: torch.Tensor,
        up: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        context.save_for_backward(x, weight, down, up)
        context.scale = scale
        y = torch.nn.functional.linear(x, weight, bias)  # (N, out)
        return y.addmm_(x @ down.to(x.dtype).T, up.to(x.dtype).T, alpha=scale)

    @staticmethod
    def backward(context: Any, *outer: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight, down, up = context.saved_tensors
        slope = outer[0].contiguous()  # (N, out)
        a, b = down.to(x.dtype), up.to(x.dtype)
        low = (slope @ b).mul_(context.scale)  # (N, r)
        up_slope = (slope.T @ (x @ a.T)).to(up.dtype).mul_(context.scale)
        down_slope = (low.T @ x).to(down.dtype)
        x_slope = (slope @ weight).addmm_(low, a) if context.needs_input_grad[0] else None
        return x_slope, None, None, down_slope, up_slope, None


def fuse(model: Any) -> str:
    """Let every LoRA layer of a PEFT model compute fused; say why not where one cannot, and then change nothing."""
    layers: list[Any] = [module for module in model.modules() if isinstance(module, peft.tuners.lora.LoraLayer)]
    if reason := next((reason for layer in layers if (reason := reason_against_fusing(layer))), ""):
        return reason
    for layer in layers:
        layer.forward = MethodType(_fused_forward, layer)
    return ""


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


def _fused_forward(self: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    name = self.active_adapters[0] if len(self.active_adapters) == 1 else ""
    if (
        self.disable_adapters
        or self.merged
        or args
        or kwargs
        or name not in self.lora_A
        or x.dtype != self.weight.dtype
    ):
        return type(self).forward(self, x, *args, **kwargs)  # type: ignore[no-any-return]
    base = self.get_base_layer()
    weights = (base.weight, base.bias, self.lora_A[name].weight, self.lora_B[name].weight)
    y = _FusedLora.apply(x.reshape(-1, x.shape[-1]), *weights, self.scaling[name])  # type: ignore[no-untyped-call]
    return y.view(*x.shape[:-1], y.shape[-1])  # type: ignore[no-any-return]
