"""An adapter as llama.cpp takes it: names, shapes and order by hand, and what it does to a real model."""

import json
from pathlib import Path
from typing import Any

import anyio
import gguf
import httpx
import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import load_file, save_file

from seedbed.core.config import BudgetConfig, EndpointConfig, Secrets, TrainingConfig
from seedbed.core.errors import TrainingError
from seedbed.core.events import Event, Events
from seedbed.endpoints.opening import open_fleet
from seedbed.trainer.convert import trainable_folder
from seedbed.trainer.gguf_adapter import write_gguf_adapter
from seedbed.trainer.model import Machine, add_adapter, load_base
from seedbed.weights.cache import cache_folder
from seedbed.weights.resolve import resolve

QUERY = "base_model.model.model.layers.0.self_attn.q_proj"
DOWN = "base_model.model.model.layers.1.mlp.down_proj"


def an_adapter(folder: Path, model_type: str, **changes: Any) -> tuple[Path, Path]:
    """Make an adapter of rank 2 on two matrices of a model of width 8 with two heads of four, and its base."""
    adapter, base = folder / "adapter", folder / "base"
    adapter.mkdir()
    base.mkdir()
    shape = {"model_type": model_type, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1}
    (base / "config.json").write_text(json.dumps(shape))
    (adapter / "adapter_config.json").write_text(json.dumps({"r": 2, "lora_alpha": 6, **changes}))
    numbers = np.arange(16, dtype=np.float32)
    save_file(
        {
            f"{QUERY}.lora_A.weight": numbers.reshape(2, 8),
            f"{QUERY}.lora_B.weight": numbers.reshape(8, 2),
            f"{DOWN}.lora_A.weight": -numbers.reshape(2, 8),
            f"{DOWN}.lora_B.weight": -numbers.reshape(8, 2),
        },
        adapter / "adapter_model.safetensors",
    )
    return adapter, base


def test_names_shapes_and_scale_are_llama_cpps(tmp_path: Path) -> None:
    adapter, base = an_adapter(tmp_path, "qwen2")
    assert write_gguf_adapter(adapter, base, tmp_path / "out.gguf") == 2
    reader = gguf.GGUFReader(tmp_path / "out.gguf")
    fields = {name: field.contents() for name, field in reader.fields.items()}
    assert fields["general.architecture"] == "qwen2"
    assert (fields["general.type"], fields["adapter.type"], fields["adapter.lora.alpha"]) == ("adapter", "lora", 6.0)
    tensors = {tensor.name: tensor.data for tensor in reader.tensors}
    halves = load_file(adapter / "adapter_model.safetensors")
    assert set(tensors) == {f"blk.{name}.weight.lora_{half}" for name in ("0.attn_q", "1.ffn_down") for half in "ab"}
    assert np.array_equal(tensors["blk.0.attn_q.weight.lora_b"], halves[f"{QUERY}.lora_B.weight"])
    assert np.array_equal(tensors["blk.1.ffn_down.weight.lora_a"], halves[f"{DOWN}.lora_A.weight"])


def test_query_rows_of_a_llama_stand_in_rotary_pairs(tmp_path: Path) -> None:
    """Of each head of four rows Transformers pairs 0 with 2 and 1 with 3; llama.cpp keeps a pair together."""
    adapter, base = an_adapter(tmp_path, "llama")
    write_gguf_adapter(adapter, base, tmp_path / "out.gguf")
    tensors = {tensor.name: tensor.data for tensor in gguf.GGUFReader(tmp_path / "out.gguf").tensors}
    before = load_file(adapter / "adapter_model.safetensors")[f"{QUERY}.lora_B.weight"]
    assert np.array_equal(tensors["blk.0.attn_q.weight.lora_b"], before[[0, 2, 1, 3, 4, 6, 5, 7]])
    assert np.array_equal(tensors["blk.1.ffn_down.weight.lora_b"], -np.arange(16).reshape(8, 2))


def test_a_rank_stabilised_scale_is_kept(tmp_path: Path) -> None:
    """PEFT multiplies by 6 / sqrt(2) then, and llama.cpp by alpha / 2."""
    adapter, base = an_adapter(tmp_path, "qwen2", use_rslora=True)
    write_gguf_adapter(adapter, base, tmp_path / "out.gguf")
    alpha = gguf.GGUFReader(tmp_path / "out.gguf").fields["adapter.lora.alpha"].contents()
    assert alpha / 2 == pytest.approx(6 / 2**0.5)


@pytest.mark.parametrize(
    ("model_type", "changes", "words"),
    [
        ("mamba", {}, 'of type "mamba"; adapters of these can be converted'),
        ("qwen2", {"use_dora": True}, "uses use_dora"),
        ("qwen2", {"rank_pattern": {"q_proj": 4}}, "uses rank_pattern"),
    ],
)
def test_what_cannot_be_converted_is_refused_and_leaves_no_file(
    tmp_path: Path, model_type: str, changes: dict[str, Any], words: str
) -> None:
    adapter, base = an_adapter(tmp_path, model_type, **changes)
    with pytest.raises(TrainingError, match=words):
        write_gguf_adapter(adapter, base, tmp_path / "out.gguf")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "base"]


@pytest.mark.real
def test_llama_cpp_answers_with_the_adapter_as_transformers_does(tmp_path: Path) -> None:
    """What the adapter does to the log probabilities of the next token is the same in both, up to quantisation."""
    weights = resolve("qwen2.5-coder-0.5b")
    folder = trainable_folder(weights, cache_folder())
    prompts = ["The capital of France is", "def add(a, b):\n    return", "Once upon a time there was a"]
    base = load_base(folder, Machine(torch.device("cpu"), torch.float32))
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    ids = [tokenizer(prompt, return_tensors="pt").input_ids for prompt in prompts]
    before = [_log_probabilities(base, one) for one in ids]
    model = add_adapter(base, TrainingConfig(), str(folder))
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.02)
    after = [_log_probabilities(model, one) for one in ids]
    model.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    assert write_gguf_adapter(tmp_path / "adapter", folder, tmp_path / "adapter.gguf") == 7 * 24
    served = [_served(prompts, tmp_path, *words) for words in ((), ("--lora", str(tmp_path / "adapter.gguf")))]
    ours, theirs = [], []
    for number in range(len(prompts)):
        for token in served[0][number].keys() & served[1][number].keys():
            theirs.append(served[1][number][token] - served[0][number][token])
            ours.append(float(after[number][token] - before[number][token]))
    assert len(ours) >= 30
    assert np.std(ours) > 0.3, "the adapter hardly does anything, so nothing is shown"
    assert np.corrcoef(ours, theirs)[0, 1] > 0.97


def _log_probabilities(model: Any, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return torch.log_softmax(model(input_ids=ids).logits[0, -1].float(), -1)


def _served(prompts: list[str], folder: Path, *words: str) -> list[dict[int, float]]:
    """Return, for each prompt, the log probabilities of the likeliest next tokens by the embedded server."""
    urls: list[str] = []

    def on_event(event: Event) -> None:
        if event.kind == "endpoint.server_up":
            urls.append(str(event.fields["url"]).removesuffix("/v1"))

    async def main() -> list[dict[int, float]]:
        events = Events()
        events.add(on_event)
        endpoint = EndpointConfig(name="local", managed="llama.cpp", model="qwen2.5-coder-0.5b", arguments=words)
        async with (
            open_fleet(
                [endpoint],
                secrets=Secrets(),
                budget=BudgetConfig(),
                max_attempts=1,
                log_folder=folder / "logs",
                events=events,
            ),
            httpx.AsyncClient(timeout=120, trust_env=False) as client,
        ):
            found = []
            for prompt in prompts:
                asked = {"prompt": prompt, "n_predict": 1, "n_probs": 60, "temperature": 0, "cache_prompt": False}
                answer = (await client.post(f"{urls[-1]}/completion", json=asked)).json()
                top = answer["completion_probabilities"][0]["top_logprobs"]
                found.append({one["id"]: one["logprob"] for one in top})
            return found

    return anyio.run(main)
