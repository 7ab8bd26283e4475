"""GGUF weights → a Hugging Face folder that can be trained: bfloat16 safetensors, tokenizer, chat template.

About a minute for 0.5B parameters, once: the folder stays in the cache and carries its source's hash.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
import transformers

from seedbed.core.errors import TrainingError
from seedbed.core.files import sync_folder, write_json
from seedbed.trainer.quiet import quiet
from seedbed.weights.cache import alone
from seedbed.weights.resolve import CONVERSION_MANIFEST, Progress, Weights

# Bump when a conversion would come out otherwise, so that older folders are made anew.
_VERSION = 1
# A GGUF may hold the embedding twice, once quantised more coarsely (Q5_0 of a matrix whose Q8_0 is the output
# head differs by 4%); matrices that were trained apart differ by more than 100%.
_SAME_MATRIX = 0.2
_PROBE_TEXT = "List three colours of the rainbow: red,"


def trainable_folder(weights: Weights, cache: Path, progress: Progress | None = None) -> Path:
    """Return a folder of safetensors with the weights, converting a GGUF file on first use.

    Raises:
        TrainingError: The file cannot be converted, or the folder does not give back what was converted.
    """
    if weights.format == "folder":
        return weights.path
    folder = cache / "converted" / f"{weights.base_sha256[:16]}-bf16-v{_VERSION}"
    if (folder / CONVERSION_MANIFEST).exists():
        return folder
    with alone(folder.with_suffix(".lock")):
        if not (folder / CONVERSION_MANIFEST).exists():
            _convert(weights, folder, progress or _silent)
    return folder


def _silent(what: str, done_bytes: int, total_bytes: int) -> None:
    """Progress that nobody watches."""


def _convert(weights: Weights, folder: Path, progress: Progress) -> None:
    total = weights.path.stat().st_size
    shutil.rmtree(folder, ignore_errors=True)  # without a manifest it was never finished
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".converting-") as scratch:
        progress(f"converting {weights.name}", 0, total)
        try:
            expected = _write_folder(weights, Path(scratch))
        except (ValueError, KeyError, NotImplementedError, RuntimeError) as error:
            raise TrainingError(f"{weights.path} cannot be converted for training: {error}") from error
        progress(f"checking {weights.name}", total // 2, total)
        _check(Path(scratch), expected)
        write_json(Path(scratch) / CONVERSION_MANIFEST, _manifest(weights))
        Path(scratch).chmod(0o755)
        Path(scratch).replace(folder)
        Path(scratch).mkdir()  # what the context manager will remove
    sync_folder(folder.parent)
    progress(f"converting {weights.name}", total, total)


def _manifest(weights: Weights) -> dict[str, Any]:
    return {
        "name": weights.name,
        "base_sha256": weights.base_sha256,
        "licence": weights.licence,
        "is_instruct": weights.is_instruct,
        "dtype": "bfloat16",
        "version": _VERSION,
        "transformers": transformers.__version__,
    }


def _write_folder(weights: Weights, folder: Path) -> torch.Tensor:
    """Write model and tokenizer, and return the logits that the folder must give back."""
    source, file = str(weights.path.parent), weights.path.name
    with quiet():
        tokenizer = transformers.AutoTokenizer.from_pretrained(source, gguf_file=file, local_files_only=True)
        model = transformers.AutoModelForCausalLM.from_pretrained(
            source,
            gguf_file=file,
            dtype=torch.bfloat16,
            quantization_config=transformers.GgufConfig(dequantize=True),
            local_files_only=True,
        )
        _tie_again(model)
        if len(tokenizer) > model.config.vocab_size:
            raise TrainingError(f"{weights.path}: its tokenizer has {len(tokenizer)} tokens, more than its embedding")
        model.config._name_or_path = weights.name
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return _logits(model, tokenizer)


def _tie_again(model: Any) -> None:
    """Make input and output embedding one tensor again where they are the same matrix, keeping the finer one.

    llama.cpp stores the tied matrix of small Qwen models twice, in two quantisations; left so, the folder would
    have 136 million parameters that the architecture does not have, and servers would refuse or miscount it.
    """
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    if head is None or head.weight is embedding.weight or head.weight.shape != embedding.weight.shape:
        return
    fine, coarse = head.weight.detach()[:4096].float(), embedding.weight.detach()[:4096].float()
    if (fine - coarse).norm() > _SAME_MATRIX * fine.norm():
        return
    embedding.weight = head.weight
    model.config.tie_word_embeddings = True
    model.tie_weights()


def _logits(model: Any, tokenizer: Any) -> torch.Tensor:
    tokens = torch.tensor([tokenizer(_PROBE_TEXT).input_ids])
    with torch.no_grad():
        return torch.as_tensor(model(tokens).logits[0, -1].float())  # (V,)


def _check(folder: Path, expected: torch.Tensor) -> None:
    with quiet():
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, local_files_only=True)
    found = _logits(model, tokenizer)
    if not torch.isfinite(found).all() or not torch.allclose(found, expected, atol=1e-2, rtol=1e-2):
        worst = (found - expected).abs().max().item()
        raise TrainingError(f"the converted folder does not give back the converted model: logits differ by {worst}")
