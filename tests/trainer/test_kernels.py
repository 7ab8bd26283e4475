"""The kernels compute what the model's own functions do, or are not used.

Without a GPU, Liger's functions are stood in for by torch's, to see that what is right is used and what is off is not;
our own kernel runs in Triton's interpreter. On a GPU both run as they are.
"""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import transformers
from torch.nn import functional
from transformers.models.qwen2 import modeling_qwen2

from seedbed.trainer import kernels
from seedbed.trainer.kernels import use_kernels
from seedbed.trainer.model import Machine

CPU = Machine(torch.device("cpu"), torch.float32)
HAS_GPU = torch.cuda.is_available()
IS_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
PARTS = ["norm", "activation", "rotary positions"]
rotate = modeling_qwen2.apply_rotary_pos_emb


class Norm:
    """Liger's argument order."""

    @staticmethod
    def apply(x: torch.Tensor, weight: torch.Tensor, eps: float, *_: Any) -> torch.Tensor:
        return functional.rms_norm(x, (x.shape[-1],), weight, eps)


class Activation:
    @staticmethod
    def apply(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        return functional.silu(gate) * up


class Rotary:
    @staticmethod
    def apply(q: torch.Tensor, k: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> Any:
        return rotate(q, k, cos, sin)


class Off:
    """Whatever it is asked, it answers with a little more than it was given."""

    @staticmethod
    def apply(x: torch.Tensor, *given: Any) -> Any:
        found = x * 1.05
        return (found, given[0]) if x.ndim == 4 else found


@pytest.fixture
def model(tiny_model_folder: Path) -> Any:
    found = transformers.AutoModelForCausalLM.from_pretrained(tiny_model_folder, dtype=torch.float32)
    found.requires_grad_(requires_grad=False)
    for norm in (module for module in found.modules() if type(module).__name__.endswith("RMSNorm")):
        torch.nn.init.uniform_(norm.get_parameter("weight"), 0.5, 2.0)  # weights of 1 would hide how they are applied
    return found


@pytest.fixture
def liger(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Stand in for Liger, on a machine that passes for a GPU."""
    ops = ModuleType("liger_kernel.ops")
    ops.LigerRMSNormFunction, ops.LigerSiLUMulFunction, ops.LigerRopeFunction = Norm, Activation, Rotary  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "liger_kernel.ops", ops)
    monkeypatch.setattr(kernels, "reason_against", lambda _machine: "")
    monkeypatch.setattr(modeling_qwen2, "apply_rotary_pos_emb", rotate)  # put back what a model of the test replaces
    return ops


def answers(model: Any) -> tuple[torch.Tensor, torch.Tensor]:
    embedded = torch.randn(1, 24, 64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    logits = model(inputs_embeds=embedded, use_cache=False).logits
    logits.square().sum().backward()
    assert embedded.grad is not None
    return logits.detach(), embedded.grad


def test_what_agrees_is_used_and_logits_and_slopes_stay(model: Any, liger: ModuleType) -> None:
    expected = answers(model)
    assert use_kernels(model, CPU) == (PARTS, "")
    replaced = [type(module).__name__ for module in model.modules() if "forward" in vars(module)]
    assert sorted(replaced) == sorted(["Qwen2RMSNorm"] * 5 + ["Qwen2MLP"] * 2)
    for one, other in zip(expected, answers(model), strict=True):
        assert float((one - other).norm() / one.norm()) <= 1e-5


@pytest.mark.parametrize("number", [0, 1, 2])
def test_what_is_off_is_not_used_and_said(model: Any, liger: ModuleType, number: int) -> None:
    setattr(liger, ("LigerRMSNormFunction", "LigerSiLUMulFunction", "LigerRopeFunction")[number], Off)
    used, said = use_kernels(model, CPU)
    assert used == [part for part in PARTS if part != PARTS[number]]
    assert said.startswith(f"{PARTS[number]}: it is ")
    assert "off the model's own" in said
    expected = answers(model)
    assert all(bool(torch.isfinite(one).all()) for one in expected)
    kinds = {type(module).__name__ for module in model.modules() if "forward" in vars(module)}
    assert kinds == {"Qwen2RMSNorm", "Qwen2MLP"} - {("Qwen2RMSNorm", "Qwen2MLP", "")[number]}


def test_a_kernel_that_does_not_run_is_not_used(model: Any, liger: ModuleType) -> None:
    class Broken:
        @staticmethod
        def apply(*_: Any) -> torch.Tensor:
            raise RuntimeError("no kernel image is available for execution on the device")

    liger.LigerRMSNormFunction = Broken  # type: ignore[attr-defined]
    used, said = use_kernels(model, CPU)
    assert used == PARTS[1:]
    assert said == "norm: no kernel image is available for execution on the device"


def test_without_a_gpu_nothing_is_changed_and_said(model: Any) -> None:
    assert use_kernels(model, CPU) == ([], "kernels are for GPUs and half precision")
    assert not any("forward" in vars(module) for module in model.modules())


@pytest.mark.skipif(not HAS_GPU or find_spec("liger_kernel") is None, reason='needs a GPU and "seedbed[gpu]"')
def test_on_a_gpu_all_three_run(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modeling_qwen2, "apply_rotary_pos_emb", rotate)
    machine = Machine(torch.device("cuda"), torch.bfloat16)
    assert use_kernels(model.to(machine.device, machine.dtype), machine) == (PARTS, "")


@pytest.mark.skipif(find_spec("triton") is None, reason="needs triton, which torch for CUDA brings")
@pytest.mark.skipif(HAS_GPU or IS_INTERPRETED, reason="the kernel is tested in this process")
def test_the_loss_kernel_under_the_interpreter() -> None:
    """Triton reads the setting when it is imported, so another process must."""
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", __file__, "-k", "cross_entropy"],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert ended.returncode == 0, ended.stdout
    assert "2 passed" in ended.stdout


@pytest.mark.skipif(not HAS_GPU and not IS_INTERPRETED, reason="needs a GPU or Triton's interpreter")
@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-6), (torch.bfloat16, 8e-3)])
def test_losses_and_slopes_are_those_of_cross_entropy(dtype: torch.dtype, close: float) -> None:
    from seedbed.trainer.loss_kernel import losses_and_slope

    device = "cuda" if HAS_GPU else "cpu"
    generator = torch.Generator().manual_seed(0)
    logits = (6 * torch.randn(5, 5001, generator=generator)).to(device, dtype)  # more than a block, no multiple of it
    targets = torch.tensor([0, 17, 4095, 4096, 5000], device=device)
    weights = torch.tensor([1.0, 0.5, 1.0, 2.0, 0.1], device=device)
    given = logits.double().requires_grad_()
    expected = functional.cross_entropy(given, targets, reduction="none")
    torch.autograd.backward((expected * weights).sum())
    losses, slope = losses_and_slope(logits.clone(), targets, weights, is_trained=True)
    assert losses.tolist() == pytest.approx(expected.tolist(), rel=1e-5)
    assert given.grad is not None
    assert float((slope.double() - given.grad).norm() / given.grad.norm()) <= close
    only, untouched = losses_and_slope(logits.clone(), targets, weights, is_trained=False)
    assert torch.equal(only, losses)
    assert torch.equal(untouched, logits)
