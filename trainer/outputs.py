"""What a run leaves behind: its state while it goes, then the adapter, its card, and the manifest last."""

import platform
import shutil
import time
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import peft
import torch
from safetensors.torch import save

from seedbed.core.errors import TrainingError
from seedbed.core.files import sha256_of, sync_folder, write_atomic, write_json
from seedbed.trainer.convert import trainable_folder
from seedbed.trainer.data import Rows
from seedbed.trainer.gguf_adapter import write_gguf_adapter
from seedbed.trainer.job import Job
from seedbed.trainer.metrics import Metrics
from seedbed.trainer.model import Machine

MANIFEST, STATE, ADAPTER, GGUF = "manifest.json", "state.json", "adapter", "adapter.gguf"
_LIBRARIES = ("seedbed", "torch", "transformers", "peft", "safetensors", "tokenizers")


State = Literal["running", "interrupted", "done", "failed"]


def write_state(out: Path, state: State, step: int, steps: int) -> None:
    """Say how the run stands, for whoever watches the folder."""
    write_json(out / STATE, {"state": state, "step": step, "steps": steps})


@dataclass(frozen=True, slots=True)
class Finished:
    """A run whose last step is done, before anything of it is written."""

    job: Job
    rows: Rows
    validation: Rows
    steps: int
    metrics: Metrics
    machine: Machine
    processes: int
    notes: list[str]
    seconds: float


def write_results(tensors: dict[str, torch.Tensor], settings: dict[str, Any], run: Finished) -> None:
    """Write the adapter, its card and the manifest, and say that the run is done.

    Raises:
        TrainingError: They cannot be written (a full disk); nothing half-written counts as an adapter.
    """
    job = run.job
    summary = Summary(
        base=job.weights.name,
        base_sha256=job.weights.base_sha256,
        licence=job.weights.licence,
        snapshot_id=job.snapshot_id,
        config=job.config.model_dump(mode="json"),
        prompts=job.prompts.overridden("training"),
        forms=run.rows.forms,
        rows=_row_counts(run.rows, run.validation),
        steps=run.steps,
        train_loss=run.metrics.curve("loss"),
        val_loss=run.metrics.curve("val_loss"),
        seconds=run.seconds,
        machine=machine_facts(run.machine, run.processes),
        notes=run.notes,
    )
    try:
        adapter_sha256 = save_adapter(tensors, settings, job.out, model_card(summary))
        _write_gguf(job, summary.notes)
        write_manifest(job.out, summary, adapter_sha256)
        write_state(job.out, "done", run.steps, run.steps)
    except OSError as error:
        raise TrainingError(f"the adapter cannot be written to {job.out}: {error}; run again to write it") from error


def _write_gguf(job: Job, notes: list[str]) -> None:
    """Where the base is a GGUF file, write the adapter as a server of that file takes it, too."""
    if job.weights.format != "gguf":
        return
    try:
        write_gguf_adapter(job.out / ADAPTER, trainable_folder(job.weights, job.cache), job.out / GGUF)
    except TrainingError as error:
        notes.append(f"no {GGUF} was written: {error}")


def _row_counts(rows: Rows, validation: Rows) -> dict[str, int]:
    counts = {"train": len(rows.kept), "val": len(validation.kept)}
    for name, part in (("train", rows), ("val", validation)):
        counts |= {f"{name}_{reason}": count for reason, count in part.dropped.items()}
    return counts


def adapter_tensors(model: Any, gathered: dict[str, torch.Tensor] | None = None) -> dict[str, torch.Tensor]:
    """Return the adapter of a PEFT model, or of its gathered shards, under the names that PEFT gives it on disk."""
    found: dict[str, torch.Tensor] = peft.get_peft_model_state_dict(
        model, state_dict=gathered, save_embedding_layers=False
    )
    return found


def adapter_settings(model: Any) -> dict[str, Any]:
    """Return what PEFT must know to load the adapter."""
    return {**model.peft_config["default"].to_dict(), "inference_mode": True}


def save_adapter(tensors: dict[str, torch.Tensor], settings: dict[str, Any], out: Path, card: str) -> str:
    """Write the adapter as PEFT reads it, replacing an older one, and return the SHA-256 of its tensors."""
    scratch, target = out / ".adapter", out / ADAPTER
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomic(scratch / "adapter_model.safetensors", save(plain, metadata={"format": "pt"}))
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
    prompts: dict[str, str]
    """Templates that are not the package's own, with their hashes."""
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
        "prompts": summary.prompts,
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


def machine_facts(machine: Machine, processes: int) -> dict[str, str | int]:
    """Return what the run ran on."""
    device = machine.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "device": device.type,
        "name": name,
        "dtype": str(machine.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "processes": processes,
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
