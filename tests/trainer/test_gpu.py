"""On a GPU: all fast ways together lie no farther from float32 than plain PEFT in the same numbers does."""

from typing import Any

import pytest
import torch
import transformers

from seedbed.core.config import TrainingConfig
from seedbed.prompts.training_text import Form
from seedbed.trainer.data import Row
from seedbed.trainer.model import Machine
from seedbed.trainer.quiet import quiet
from seedbed.trainer.student import make_student

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

PLAIN: dict[str, Any] = {
    "packing": False,
    "chunked_loss": False,
    "fused_lora": False,
    "attention": "sdpa",
    "kernels": "off",
    "activation_checkpointing": "off",
}
ROWS = [
    Row(str(size), Form.ALPACA, tuple(2 + (7 * size + 3 * at) % 1900 for at in range(size)), size // 3)
    for size in (5, 31, 64, 100, 130, 300)
]


def gradients(dtype: torch.dtype, **settings: Any) -> tuple[float, dict[str, torch.Tensor], Any]:
    machine = Machine(torch.device("cuda"), dtype)
    config = transformers.Qwen2Config(
        vocab_size=2048,
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    with quiet():
        base: Any = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")  # type: ignore[no-untyped-call]
    base.requires_grad_(requires_grad=False)
    base.config.use_cache = False
    student = make_student(base.to(machine.device, dtype), machine, TrainingConfig(**settings), "test", 0)
    torch.manual_seed(1)
    for name, parameter in student.model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    loss = torch.zeros((), device=machine.device)
    for batch in student.passes(ROWS):
        part = student.loss(batch)
        part.backward()  # type: ignore[no-untyped-call]
        loss += part.detach()
    found = {name: p.grad for name, p in student.model.named_parameters() if p.grad is not None}
    return loss.item(), found, student


def distance(expected: dict[str, torch.Tensor], found: dict[str, torch.Tensor]) -> float:
    assert expected.keys() == found.keys()
    off = sum(float((found[name].float() - one).square().sum()) for name, one in expected.items())
    return float((off / sum(float(one.square().sum()) for one in expected.values())) ** 0.5)


def test_gradients_are_as_near_to_float32_as_those_of_plain_peft() -> None:
    exact_loss, exact, _ = gradients(torch.float32, **PLAIN)
    plain_loss, plain, _ = gradients(torch.bfloat16, **PLAIN)
    loss, fast, student = gradients(torch.bfloat16)
    assert (student.is_packed, student.is_fused, student.is_chunked, student.is_varlen) == (True,) * 4, student.notes
    print(student.notes, f"loss {exact_loss}, plain {plain_loss}, fast {loss}")
    print(f"off float32: plain {distance(exact, plain)}, fast {distance(exact, fast)}")
    assert distance(exact, fast) <= 1.25 * distance(exact, plain)
    assert abs(loss - exact_loss) <= 1.25 * max(abs(plain_loss - exact_loss), 1e-3 * exact_loss)


def test_float32_packed_and_chunked_on_a_gpu_is_exact() -> None:
    exact_loss, exact, _ = gradients(torch.float32, **PLAIN)
    loss, fast, _ = gradients(torch.float32)
    assert loss == pytest.approx(exact_loss, rel=1e-5)
    assert distance(exact, fast) <= 1e-4
