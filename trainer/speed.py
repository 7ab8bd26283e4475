"""How much of the machine's arithmetic a training uses: model FLOPs against a matrix product measured here."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from seedbed.trainer.data import Row
from seedbed.trainer.model import Machine, trained_parameters


@dataclass(frozen=True, slots=True)
class Work:
    """What decides the FLOPs of a token of LoRA training."""

    linear: int
    """Weights of the adapted matrices."""
    lora: int
    """Weights of the adapter."""
    head: int
    """Weights of the output head."""
    layers: int
    queries: int
    """Heads times their size."""

    def flops(self, rows: Sequence[Row]) -> float:
        """Return the FLOPs that rows need, forward and backward; what is computed twice or padded counts for nothing.

        4·P_lin + 6·P_lora + 3·A + 4·f·P_head a token: the base is frozen, so its matrices cost a forward product and
        one for the gradient of the input, 2 FLOPs a weight each; the adapter a third one. A = 2·layers·queries·n is
        causal attention over a document of n tokens, f the share of tokens that are trained.
        """
        tokens = sum(map(len, rows))
        trained = sum(len(row) - max(row.prompt_tokens, 1) for row in rows)
        pairs = sum(len(row) ** 2 for row in rows)
        attention = 2 * self.layers * self.queries * pairs
        return tokens * (4 * self.linear + 6 * self.lora) + 3 * attention + 4 * trained * self.head


def work_of(model: Any) -> Work:
    """Count a PEFT model's weights."""
    base = model.get_base_model()
    config = base.config.get_text_config()
    heads = config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    head = base.get_output_embeddings()
    linear = [
        module.weight.numel()
        for name, module in base.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head and "lora_" not in name
    ]
    lora = sum(parameter.numel() for parameter in trained_parameters(model).values())
    return Work(sum(linear), lora, 0 if head is None else head.weight.numel(), config.num_hidden_layers, heads * size)


def matrix_rate(machine: Machine) -> float:
    """Measure the FLOP/s of one large matrix product in the base's numbers; a fifth of a second, the best of a few."""
    is_gpu = machine.device.type == "cuda"
    size = 8192 if is_gpu else 768
    one = torch.randn(size, size, device=machine.device, dtype=machine.dtype)
    best = float("inf")
    until = time.perf_counter() + 0.2
    torch.mm(one, one)  # warms up
    while best == float("inf") or time.perf_counter() < until:
        _wait(is_gpu)
        started = time.perf_counter()
        torch.mm(one, one)
        _wait(is_gpu)
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best


def _wait(is_gpu: bool) -> None:
    if is_gpu:
        torch.cuda.synchronize()
