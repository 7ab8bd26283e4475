"""What a run leaves behind: metrics while it goes, then the adapter, its card, and the manifest last."""

import json
import platform
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import peft
import torch
from safetensors.torch import save

from seedbed.core.files import Line as JsonLine
from seedbed.core.files import read_json_lines, sha256_of, sync_folder, write_atomic, write_json

MANIFEST, METRICS, STATE, ADAPTER = "manifest.json", "metrics.jsonl", "state.json", "adapter"
_LIBRARIES = ("seedbed", "torch", "transformers", "peft", "safetensors", "tokenizers")


def write_state(out: Path, state: Literal["running", "interrupted", "done", "failed"], step: int, steps: int) -> None:
    """Say how the run stands, for whoever watches the folder."""
    write_json(out / STATE, {"state": state, "step": step, "steps": steps})


class Metrics:
    """Appends to `metrics.jsonl` and, where tensorboard is installed, to event files in `tensorboard/`.

    A resumed run first takes out what was told after its checkpoint, so that every step is told once.
    """

    def __init__(self, out: Path, steps_done: int) -> None:
        path = out / METRICS
        self.told: list[dict[str, float]] = [line for line in _lines(path) if line["step"] <= steps_done]
        write_atomic(path, "".join(json.dumps(line) + "\n" for line in self.told))
        self._stream = path.open("a", encoding="utf-8")
        self._board = _board(out / "tensorboard", steps_done)

    def tell(self, step: int, **values: float) -> None:
        """Write one line of numbers that belong to a step."""
        line = {"step": step, **{name: _short(value) for name, value in values.items()}}
        self.told.append(line)
        self._stream.write(json.dumps(line) + "\n")
        self._stream.flush()
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)
            self._board.flush()

    def has(self, step: int, name: str) -> bool:
        """Tell whether a number was told under a name for a step."""
        return any(line["step"] == step and name in line for line in self.told)

    def curve(self, name: str) -> list[float]:
        """Return all values told under a name, in order."""
        return [line[name] for line in self.told if name in line]

    def close(self) -> None:
        self._stream.close()
        if self._board is not None:
            self._board.close()


def _lines(path: Path) -> Iterator[dict[str, float]]:
    if path.exists():
        yield from (line.value for line in read_json_lines(path) if isinstance(line, JsonLine))


def _short(value: float) -> float:
    return float(f"{value:.8g}")


def _board(folder: Path, steps_done: int) -> Any:
    """Open TensorBoard event files, or return None where tensorboard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=steps_done + 1 if steps_done else None)


def save_adapter(model: Any, out: Path, card: str) -> str:
    """Write the adapter as PEFT reads it, replacing an older one, and return the SHA-256 of its tensors."""
    scratch, target = out / ".adapter", out / ADAPTER
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    tensors = peft.get_peft_model_state_dict(model, save_embedding_layers=False)
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomic(scratch / "adapter_model.safetensors", save(plain, metadata={"format": "pt"}))
    settings = {**model.peft_config["default"].to_dict(), "inference_mode": True}
    write_json(scratch / "adapter_config.json", {key: _plain(value) for key, value in sorted(settings.items())})
    write_atomic(scratch / "README.md", card)
    shutil.rmtree(target, ignore_errors=True)
    scratch.replace(target)
    sync_folder(out)
    return sha256_of(target / "adapter_model.safetensors")


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, set) else value


@dataclass(frozen=True, slots=True)
class Summary:
    """A finished run, as its manifest tells it."""

    base: str
    base_sha256: str
    licence: str
    snapshot_id: str
    config: dict[str, Any]
    forms: dict[str, int]
    rows: dict[str, int]
    """`train`, `val`, and the rows left out by reason."""
    steps: int
    train_loss: list[float]
    val_loss: list[float]
    seconds: float
    machine: dict[str, str | int]
    notes: list[str] = field(default_factory=list)
    """What was done otherwise than configured, and why."""


def write_manifest(out: Path, summary: Summary, adapter_sha256: str) -> None:
    """Write the mark of completion. The adapter's own folder holds a copy, so that it can travel alone."""
    manifest = {
        "base": summary.base,
        "base_sha256": summary.base_sha256,
        "licence": summary.licence,
        "snapshot_id": summary.snapshot_id,
        "adapter_sha256": adapter_sha256,
        "template": summary.config["template"],
        "config": summary.config,
        "forms": summary.forms,
        "rows": summary.rows,
        "steps": summary.steps,
        "curves": {"train_loss": _curve(summary.train_loss), "val_loss": _curve(summary.val_loss)},
        "seconds": round(summary.seconds, 1),
        "machine": summary.machine,
        "notes": summary.notes,
        "versions": library_versions(),
        "created_at": time.time(),
    }
    write_json(out / ADAPTER / MANIFEST, manifest)
    write_json(out / MANIFEST, manifest)


def _curve(values: list[float]) -> dict[str, float]:
    return {"first": values[0], "last": values[-1], "lowest": min(values)} if values else {}


def library_versions() -> dict[str, str]:
    """Return the versions of what took part."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # run from a folder that was never installed
            continue
    return found


def machine_facts(device: torch.device, dtype: torch.dtype) -> dict[str, str | int]:
    """Return what the run ran on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "device": device.type,
        "name": name,
        "dtype": str(dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
    }


def model_card(summary: Summary) -> str:
    """Write the adapter's README in the Hugging Face form."""
    losses = summary.val_loss
    fell = f"{losses[0]:.3f} → {losses[-1]:.3f}" if losses else "not measured: the snapshot has no validation rows"
    licence = f"license: {summary.licence}\n" if summary.licence else ""
    return (
        f"---\nlibrary_name: peft\nbase_model: {summary.base}\n{licence}tags: [lora, seedbed]\n---\n"
        f"# LoRA adapter for {summary.base}\n\n"
        f"Trained by Seedbed on {summary.rows['train']:,} machine-written, filtered instruction rows.\n\n"
        "| | |\n|---|---|\n"
        f"| base (SHA-256 of the source artefact) | `{summary.base_sha256}` |\n"
        f"| snapshot | `{summary.snapshot_id}` |\n"
        f"| template | {summary.config['template']} ({', '.join(summary.forms)}) |\n"
        f"| rank, alpha | {summary.config['rank']}, {summary.config['alpha']} |\n"
        f"| steps | {summary.steps} |\n"
        f"| validation loss | {fell} |\n\n"
        "```python\nfrom peft import PeftModel\nfrom transformers import AutoModelForCausalLM\n\n"
        'base = AutoModelForCausalLM.from_pretrained("…")  # the base named above\n'
        'model = PeftModel.from_pretrained(base, "path/to/this/folder")\n```\n\n'
        "Its rows were written by a model: expect that model's errors. `manifest.json` has the full settings.\n"
    )
