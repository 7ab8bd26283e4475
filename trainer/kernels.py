"""Norm, activation and rotary positions in one GPU kernel each, where that is proven on the model at hand.

Eager torch runs each of them as several kernels, every one of which reads and writes all activations again. The
kernels are Liger's, in Triton (`pip install "seedbed[gpu]"`); the cross-entropy is ours (`loss_kernel.py`), since
Liger's keeps losses in the numbers of the logits. Each is tried against the model's own function first.
"""

import sys
from collections.abc import Callable
from importlib.util import find_spec
from types import MethodType
from typing import Any

import torch

from seedbed.trainer.attention import heads_of
from seedbed.trainer.model import Machine

TOLERANCE = 0.02
"""Relative, of outputs and gradients in bfloat16, which rounds at 2^-8; both sides round on the way."""


def use_kernels(model: Any, machine: Machine) -> tuple[list[str], str]:
    """Let a base's parts compute by kernels of their own; return which, and why not where none or not all do."""
    if reason := reason_against(machine):
        return [], reason
    used, refused = [], []
    for name, put in (("norm", _use_norm), ("activation", _use_activation), ("rotary positions", _use_rotary)):
        try:
            reason = put(model, machine)
        except (RuntimeError, ValueError, TypeError, AttributeError, ImportError) as problem:
            reason = str(problem).splitlines()[0]
        if reason:
            refused.append(f"{name}: {reason}")
        else:
            used.append(name)
    return used, "; ".join(refused)


def reason_against(machine: Machine) -> str:
    """Say why there are no kernels on this machine; empty where there are."""
    if machine.device.type != "cuda" or machine.dtype not in {torch.bfloat16, torch.float16}:
        return "kernels are for GPUs and half precision"
    return "" if find_spec("liger_kernel") else 'liger-kernel is not installed (pip install "seedbed[gpu]")'


def _use_norm(model: Any, machine: Machine) -> str:
    from liger_kernel.ops import LigerRMSNormFunction

    norms = [module for module in model.modules() if type(module).__name__.endswith("RMSNorm")]
    if not norms or not all(hasattr(one, "weight") and hasattr(one, "variance_epsilon") for one in norms):
        return "the model's norms are of another kind"
    if any(one.weight.requires_grad for one in norms):
        return "the model's norms are trained"

    def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
        settings = (self.weight, self.variance_epsilon, 0.0, "llama", False)
        return LigerRMSNormFunction.apply(x, *settings)  # type: ignore[no-any-return]

    return _replace(norms, forward, lambda norm: _random(machine, 1, 33, len(norm.weight)))


def _use_activation(model: Any, machine: Machine) -> str:
    from liger_kernel.ops import LigerSiLUMulFunction

    parts = ("gate_proj", "up_proj", "down_proj", "act_fn")
    found = [module for module in model.modules() if all(hasattr(module, part) for part in parts)]
    if not found:
        return "the model has no gated layers"
    if not all("silu" in type(one.act_fn).__name__.lower() for one in found):
        return f"{type(found[0].act_fn).__name__} is no SiLU"

    def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
        inner = LigerSiLUMulFunction.apply(self.gate_proj(x), self.up_proj(x))
        return self.down_proj(inner)  # type: ignore[no-any-return]

    return _replace(found, forward, lambda one: _random(machine, 1, 33, one.gate_proj.in_features))


def _replace(
    modules: list[Any], forward: Callable[[Any, torch.Tensor], torch.Tensor], make: Callable[[Any], torch.Tensor]
) -> str:
    """Give modules another forward function, unless it answers otherwise than the first one's own."""
    first = modules[0]
    if reason := _off(first, lambda x: forward(first, x), make(first)):
        return reason
    for module in modules:
        module.forward = MethodType(forward, module)
    return ""


def _use_rotary(model: Any, machine: Machine) -> str:
    from liger_kernel.ops import LigerRopeFunction

    home = sys.modules[type(model).__module__]
    own = getattr(home, "apply_rotary_pos_emb", None)
    if own is None:
        return "the model's module has no apply_rotary_pos_emb"
    if getattr(own, "is_kernel", False):  # another model of this kind was here before
        return ""
    heads, keys, size = heads_of(model)

    def rotate(q: torch.Tensor, k: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, unsqueeze_dim: int = 1) -> Any:
        if q.device.type != machine.device.type or unsqueeze_dim != 1 or cos.ndim != 3:
            return own(q, k, cos, sin, unsqueeze_dim=unsqueeze_dim)
        return LigerRopeFunction.apply(q, k, cos, sin)

    positions = torch.arange(33, device=machine.device)[None] % 20  # two documents
    cos, sin = model.get_decoder().rotary_emb(_random(machine, 1, 33, size), positions)

    def both(way: Callable[..., Any]) -> Callable[[torch.Tensor], torch.Tensor]:
        def run(x: torch.Tensor) -> torch.Tensor:
            q, k = torch.split(x, [heads, keys], dim=2)  # (1, T, heads, D)
            # Liger's rotates in place, so each way has copies of its own.
            return torch.cat(way(q.clone().transpose(1, 2), k.clone().transpose(1, 2), cos, sin), dim=1)

        return run

    if reason := _off(both(own), both(rotate), _random(machine, 1, 33, heads + keys, size)):
        return reason
    rotate.is_kernel = True  # type: ignore[attr-defined]
    home.apply_rotary_pos_emb = rotate  # type: ignore[attr-defined]
    return ""


def _off(
    own: Callable[[torch.Tensor], torch.Tensor], other: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor
) -> str:
    """Say how far the other way lies from the model's own, in output or gradient; empty where they agree."""
    found = []
    for way in (own, other):
        given = x.clone().requires_grad_()
        y = way(given)
        slope = torch.linspace(-1, 1, y.numel(), device=y.device).view_as(y).to(y.dtype)
        found.append((y.detach(), torch.autograd.grad(y, given, slope)[0]))
    error = max(_relative(*pair) for pair in zip(*found, strict=True))
    return f"it is {error:.1%} off the model's own" if not error <= TOLERANCE else ""


def _relative(expected: torch.Tensor, found: torch.Tensor) -> float:
    return float((found.float() - expected.float()).norm() / expected.float().norm())


def _random(machine: Machine, *shape: int) -> torch.Tensor:
    generator = torch.Generator(device=machine.device).manual_seed(0)
    return torch.randn(shape, generator=generator, device=machine.device, dtype=machine.dtype)
