"""The machine a student is trained on."""

import pytest
import torch

from seedbed.trainer.model import choose_machine


@pytest.mark.parametrize(
    ("dtype", "capability", "expected"),
    [
        ("auto", "AVX512", torch.bfloat16),
        ("auto", "AVX2", torch.float32),
        ("auto", "DEFAULT", torch.float32),
        ("bfloat16", "AVX2", torch.bfloat16),
        ("float32", "AVX512", torch.float32),
    ],
)
def test_a_cpu_that_is_slow_at_bfloat16_trains_in_float32_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, dtype: str, capability: str, expected: torch.dtype
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert choose_machine("cpu", dtype, 0).dtype == expected
