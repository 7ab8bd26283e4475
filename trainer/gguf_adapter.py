"""A PEFT adapter as a GGUF file, as llama.cpp takes it beside the base it was trained on."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from seedbed.core.errors import TrainingError
from seedbed.core.files import read_json, replacing_path

Matrix = NDArray[np.float32]

ARCHITECTURES = {
    "qwen2": gguf.MODEL_ARCH.QWEN2,
    "qwen3": gguf.MODEL_ARCH.QWEN3,
    "gemma3_text": gguf.MODEL_ARCH.GEMMA3,
    "llama": gguf.MODEL_ARCH.LLAMA,
    "mistral": gguf.MODEL_ARCH.LLAMA,
}
"""`model_type` of a base's `config.json` to llama.cpp's architecture; of others the order of rows is not known here."""
INTERLEAVED = frozenset({gguf.MODEL_ARCH.LLAMA})
"""Architectures whose query and key rows llama.cpp keeps in pairs of rotary halves, and Transformers half by half."""
_PREFIX = "base_model.model."


def write_gguf_adapter(adapter: Path, base: Path, out: Path) -> int:
    """Write the adapter in a PEFT folder to one GGUF file, in float32; returns how many matrices have one.

    Args:
        adapter: The folder with `adapter_config.json` and `adapter_model.safetensors`.
        base: The Hugging Face folder of the base, of which `config.json` is read.
        out: The file; whole or not there.

    Raises:
        TrainingError: The adapter or the base is of a kind that cannot be converted.
    """
    how, model = read_json(adapter / "adapter_config.json"), read_json(base / "config.json")
    architecture = _architecture_of(model, base)
    _require_plain(how, adapter)
    names = gguf.get_tensor_name_map(architecture, model["num_hidden_layers"])
    halves = {key: value.astype(np.float32) for key, value in load_file(adapter / "adapter_model.safetensors").items()}
    with replacing_path(out) as scratch:
        writer = gguf.GGUFWriter(scratch, gguf.MODEL_ARCH_NAMES[architecture])
        writer.add_type("adapter")
        writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
        writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, _alpha_of(how))
        for key in sorted(key for key in halves if key.endswith(".lora_A.weight")):
            module = key.removeprefix(_PREFIX).removesuffix(".lora_A.weight")
            name = names.get_name(f"{module}.weight", try_suffixes=(".weight",))
            if name is None:
                raise TrainingError(
                    f"{adapter} adapts {module}, which llama.cpp does not know in {model['model_type']}"
                )
            lora_b = halves[key.replace(".lora_A.", ".lora_B.")]
            if architecture in INTERLEAVED:
                lora_b = _interleaved(lora_b, module, model)
            writer.add_tensor(f"{name}.lora_a", halves[key])
            writer.add_tensor(f"{name}.lora_b", np.ascontiguousarray(lora_b))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return len(halves) // 2


def _architecture_of(model: dict[str, Any], base: Path) -> gguf.MODEL_ARCH:
    kind = model.get("model_type", "")
    if kind not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        raise TrainingError(f'{base} is a model of type "{kind}"; adapters of these can be converted: {known}')
    return ARCHITECTURES[kind]


def _require_plain(how: dict[str, Any], adapter: Path) -> None:
    for key in ("use_dora", "rank_pattern", "alpha_pattern", "modules_to_save", "lora_bias"):
        if how.get(key):
            raise TrainingError(
                f"{adapter} uses {key}, which a GGUF adapter cannot hold; merge it into its base instead"
            )


def _alpha_of(how: dict[str, Any]) -> float:
    """Return the alpha by which llama.cpp comes to PEFT's scale: it divides by the rank, always."""
    alpha, rank = float(how["lora_alpha"]), int(how["r"])
    return alpha * rank**0.5 if how.get("use_rslora") else alpha


def _interleaved(lora_b: Matrix, module: str, model: dict[str, Any]) -> Matrix:
    """Put the rows of a query or key projection into llama.cpp's order; others stay."""
    heads = {"q_proj": model["num_attention_heads"], "k_proj": model.get("num_key_value_heads") or 0}
    count = heads.get(module.rpartition(".")[2], 0)
    if not count:
        return lora_b
    rows, rank = lora_b.shape
    return lora_b.reshape(count, 2, rows // count // 2, rank).swapaxes(1, 2).reshape(rows, rank)
