"""The FLOPs of a token, against floors that were worked out for one H100."""

from pathlib import Path

import pytest
import torch

from seedbed.core.config import TrainingConfig
from seedbed.prompts.training_text import Form
from seedbed.trainer.data import Row
from seedbed.trainer.model import Machine, add_adapter, load_base
from seedbed.trainer.speed import Work, matrix_rate, work_of

H100_FLOP_PER_S = 798e12


def work(hidden: int, intermediate: int, queries: int, keys: int, layers: int, vocabulary: int) -> Work:
    shapes = [(hidden, queries), (hidden, keys), (hidden, keys), (queries, hidden)]
    shapes += [(hidden, intermediate)] * 2 + [(intermediate, hidden)]
    linear = layers * sum(one * other for one, other in shapes)
    lora = layers * 16 * sum(one + other for one, other in shapes)
    return Work(linear, lora, hidden * vocabulary, layers, queries)


@pytest.mark.parametrize(
    ("work", "tokens_per_s"),
    [
        (work(896, 4864, 896, 128, 24, 151_936), 425_174),
        (work(1536, 8960, 1536, 256, 28, 151_936), 132_036),
        (work(4096, 14336, 4096, 1024, 32, 128_256), 26_749),
    ],
    ids=["0.5B", "1.5B", "8B"],
)
def test_the_floors_of_an_h100(work: Work, tokens_per_s: int) -> None:
    """Documents of 512 tokens, 60% of them trained, r=16, at a measured matrix rate of 798 TFLOP/s."""
    rows = [Row("", Form.ALPACA, (1,) * 512, round(512 * 0.4))] * 10
    assert 5120 / (work.flops(rows) / H100_FLOP_PER_S) == pytest.approx(tokens_per_s, rel=0.005)


def test_a_models_weights_are_counted(tiny_model_folder: Path) -> None:
    """Qwen2 of 2 layers: 64 wide, 128 inside, 4 heads and 2 key heads of 16, 2,000 tokens."""
    machine = Machine(torch.device("cpu"), torch.float32)
    model = add_adapter(load_base(tiny_model_folder, machine), TrainingConfig(rank=4), "tiny")
    linear = 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128)
    lora = 2 * 4 * (2 * 128 + 2 * 96 + 3 * 192)
    assert work_of(model) == Work(linear, lora, 64 * 2000, 2, 64)


def test_the_matrix_rate_is_measured() -> None:
    assert 1e8 < matrix_rate(Machine(torch.device("cpu"), torch.float32)) < 1e13
