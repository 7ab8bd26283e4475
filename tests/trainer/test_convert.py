"""A GGUF becomes a folder that can be trained and says the same; small pieces here, real weights where they are."""

from pathlib import Path

import pytest
import torch
import transformers

from seedbed.core.errors import TrainingError
from seedbed.prompts.training_text import Form
from seedbed.trainer.convert import trainable_folder
from seedbed.trainer.generate import LocalModel, Prompted
from seedbed.trainer.model import Machine, load_base, load_tokenizer
from seedbed.weights.resolve import cache_folder, resolve


def test_a_folder_is_taken_as_it_is(tiny_model_folder: Path, tmp_path: Path) -> None:
    weights = resolve(str(tiny_model_folder), cache=tmp_path)
    assert trainable_folder(weights, tmp_path) == weights.path


def test_a_broken_gguf_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + b"\x03\x00\x00\x00" + b"\xff" * 64)
    weights = resolve(str(tmp_path / "broken.gguf"), cache=tmp_path / "cache")
    with pytest.raises(TrainingError, match=r"broken\.gguf cannot be converted"):
        trainable_folder(weights, tmp_path / "cache")
    assert [path.suffix for path in (tmp_path / "cache" / "converted").iterdir()] == [".lock"]


@pytest.mark.real
def test_the_small_instruct_model_keeps_its_knowledge_its_template_and_its_hash() -> None:
    weights = resolve("qwen2.5-coder-0.5b")
    folder = trainable_folder(weights, cache_folder())
    found = resolve(str(folder))
    assert (found.base_sha256, found.licence, found.is_instruct) == (weights.base_sha256, "apache-2.0", True)
    assert transformers.AutoConfig.from_pretrained(folder).tie_word_embeddings
    assert trainable_folder(weights, cache_folder()) == folder
    (answer,) = LocalModel(folder).answer(
        [Prompted(Form.CHAT, "What is the capital of France? Answer in one word.")], max_new_tokens=12
    )
    assert "Paris" in answer.text
    assert answer.ended


@pytest.mark.real
def test_the_base_model_keeps_its_beginning_of_text() -> None:
    weights = resolve("gemma-3-270m", accepted_licences=("gemma",))
    folder = trainable_folder(weights, cache_folder())
    tokenizer = load_tokenizer(folder)
    assert tokenizer("hello").input_ids[0] == tokenizer.bos_token_id
    model = load_base(folder, Machine(torch.device("cpu"), torch.bfloat16))
    tokens = torch.tensor([tokenizer("The capital of France is the city of").input_ids])
    with torch.no_grad():
        following = model(tokens).logits[0, -1].argmax()
    assert tokenizer.decode(following) == " Paris"
