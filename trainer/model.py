"""The frozen student and the adapter on it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peft
import torch
import transformers

from seedbed.core.config import TrainingConfig
from seedbed.core.errors import ConfigError, InputError
from seedbed.trainer.quiet import quiet


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a model runs, and in which numbers."""

    device: torch.device
    dtype: torch.dtype


def choose_machine(device: str, dtype: str, threads: int) -> Machine:
    """Resolve `auto`, and set the number of CPU threads (0: leave torch's own choice, one a core).

    Raises:
        ConfigError: A GPU is asked for and torch sees none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError('training.device = "cuda", but torch sees no GPU; set "auto" or "cpu"')
    if threads:
        torch.set_num_threads(threads)
    place = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    # Without AVX-512 oneDNN has no bfloat16 kernels, and torch's own take 70 times as long as float32 going back.
    is_slow = place == "cpu" and torch.backends.cpu.get_cpu_capability() != "AVX512"
    is_wide = dtype == "float32" or (dtype == "auto" and is_slow)
    return Machine(torch.device(place), torch.float32 if is_wide else torch.bfloat16)


def load_tokenizer(folder: Path) -> Any:
    """Load a folder's tokenizer; code that a folder may carry is never run.

    Raises:
        InputError: The folder has none that can be read.
    """
    with quiet():
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{folder} has no tokenizer that can be read: {str(error).splitlines()[0]}") from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token_id = tokenizer.eos_token_id or 0
    return tokenizer


def load_base(folder: Path, machine: Machine) -> Any:
    """Load a folder's model, frozen, without a key-value cache: safetensors only, and none of its code.

    Raises:
        InputError: The folder holds no causal language model that can be read.
    """
    with quiet():
        try:
            model: Any = transformers.AutoModelForCausalLM.from_pretrained(
                folder, dtype=machine.dtype, attn_implementation="sdpa", use_safetensors=True, local_files_only=True
            )
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{folder} holds no model that can be read: {str(error).splitlines()[0]}") from error
    model.requires_grad_(requires_grad=False)
    model.config.use_cache = False  # a cache would let packed documents see each other
    return model.to(machine.device)


def add_adapter(model: Any, config: TrainingConfig, base_name: str) -> Any:
    """Put a fresh LoRA adapter on all linear layers but the output head.

    lora_A is (r, in), lora_B is (out, r) and starts at zero, both float32 whatever the base is.
    """
    torch.manual_seed(config.seed)
    wanted = peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=0.0,  # dropout would rule out the fused paths
        target_modules=_linear_names(model),
        task_type="CAUSAL_LM",
        base_model_name_or_path=base_name.removeprefix("hub:"),
    )
    with quiet():
        adapted = peft.get_peft_model(model, wanted)
    adapted.peft_config["default"].base_model_name_or_path = base_name.removeprefix("hub:")
    return adapted


def _linear_names(model: Any) -> list[str]:
    """Return the last names of all linear layers but the output head, which is what PEFT calls "all-linear".

    PEFT itself would list every layer by its full name, which servers and people read less well.
    """
    head = model.get_output_embeddings()
    found = {
        name.rpartition(".")[2]
        for name, layer in model.named_modules()
        if isinstance(layer, torch.nn.Linear) and layer is not head
    }
    return sorted(found)


def trained_parameters(model: Any) -> dict[str, torch.nn.Parameter]:
    """Return the adapter's parameters by name, in the model's own order."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def is_adapter_still_zero(model: Any) -> bool:
    """Tell whether every lora_B is zero, as before the first step: nothing reached the adapter."""
    found = [parameter for name, parameter in trained_parameters(model).items() if "lora_B" in name]
    return not any(bool(parameter.any()) for parameter in found)
