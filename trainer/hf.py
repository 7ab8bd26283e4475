"""Hugging Face's Trainer behind the same command, for those who shard a student with FSDP or DeepSpeed.

It sees the same rows and leaves the same files. It pads, takes the loss from whole logits and leaves LoRA to PEFT;
its checkpoints are its own (`hf/`, pickles of torch among them), and it averages the validation loss by batch.
"""

import math
import os
import time
from pathlib import Path
from typing import Any

import torch
import transformers
from torch.nn.utils.rnn import pad_sequence
from transformers.trainer_utils import get_last_checkpoint

from seedbed.core.config import TrainingConfig
from seedbed.core.errors import ConfigError, TrainingError
from seedbed.core.files import read_json, write_json
from seedbed.trainer.convert import trainable_folder
from seedbed.trainer.data import Row, encode_rows
from seedbed.trainer.job import Job, Stop, differences, show_nothing
from seedbed.trainer.metrics import Metrics
from seedbed.trainer.model import Machine, choose_machine, load_tokenizer
from seedbed.trainer.outputs import Finished, adapter_settings, adapter_tensors, write_results, write_state
from seedbed.trainer.quiet import quiet
from seedbed.trainer.student import fit_passes, prepare_student
from seedbed.trainer.trackers import open_trackers

FOLDER, RUN = "hf", "run.json"
IGNORED = -100
"""The label of a token that is not trained."""
# What follows from our own settings, or from where the run lies.
_OURS = {"output_dir", "learning_rate", "seed", "max_steps", "num_train_epochs", "report_to", "max_grad_norm"}


def train_with_hf(job: Job, stop: Stop) -> bool:
    """Train until done or stopped, and tell which: True when the adapter and its manifest are written.

    Raises:
        ConfigError: A setting is asked for that Hugging Face's Trainer cannot follow, or OUT holds another run.
        TrainingError: Nothing can be trained, or the results cannot be written.
    """
    started = time.monotonic()
    config, out = job.config, job.out
    _refuse_what_it_cannot(config)
    out.mkdir(parents=True, exist_ok=True)
    _claim(out / FOLDER, job)
    count, is_first = int(os.environ.get("WORLD_SIZE", "1")), os.environ.get("RANK", "0") == "0"
    show = job.show if is_first else show_nothing
    machine = choose_machine(config.device, config.dtype, config.threads)

    folder = trainable_folder(job.weights, job.cache, lambda what, *_: show(what, is_passing=True))
    tokenizer = load_tokenizer(folder)
    rows = encode_rows(job.train, tokenizer, config, job.prompts)
    validation = encode_rows(job.validation, tokenizer, config, job.prompts)
    if not rows.kept:
        raise TrainingError(f"none of the snapshot's {len(job.train)} rows can be trained on: {rows.dropped}")

    plain = config.model_copy(update={"packing": False, "chunked_loss": False, "fused_lora": False})
    is_sharded = bool({"fsdp", "deepspeed"} & config.hf_arguments.keys())
    # A sharded student may fit no single GPU: Hugging Face's Trainer places it.
    place = Machine(torch.device("cpu"), machine.dtype) if is_sharded else machine
    student = prepare_student(folder, place, plain, job.weights.name, tokenizer.pad_token_id)
    student.notes.append('backend = "hf": rows are padded, the loss is from whole logits, LoRA is PEFT\'s own')
    if not is_sharded and (note := fit_passes(student, max(map(len, (*rows.kept, *validation.kept))))):
        student.notes.append(note)
    for note in student.notes:
        show(note)

    with quiet():
        arguments = _arguments(config, out, len(rows.kept), count, machine)
        last = get_last_checkpoint(str(out / FOLDER))  # type: ignore[no-untyped-call]
    steps_done = int(Path(last).name.rpartition("-")[2]) if last else 0
    trackers = open_trackers(config.trackers, out, job.identity, steps_done) if is_first else []
    metrics = Metrics(out, steps_done, trackers, is_writing=is_first)
    teller = _Teller(out, metrics, stop, is_first=is_first)
    with quiet():
        trainer = transformers.Trainer(
            model=student.model,
            args=arguments,
            train_dataset=[_example(row) for row in rows.kept],
            eval_dataset=[_example(row) for row in validation.kept] or None,
            data_collator=lambda examples: _collated(examples, student.pad_id),
            callbacks=[teller],
        )
        trainer.remove_callback(transformers.PrinterCallback)
        try:
            if validation.kept and not metrics.has(0, "val_loss") and not last:
                trainer.evaluate()
            trainer.train(resume_from_checkpoint=last)
        finally:
            metrics.close()
    if stop.is_asked and trainer.state.global_step < trainer.state.max_steps:
        if is_first:
            write_state(out, "interrupted", trainer.state.global_step, trainer.state.max_steps)
        show(f"stopped after step {trainer.state.global_step} of {trainer.state.max_steps}; run again to go on")
        return False

    whole = trainer.accelerator.get_state_dict(trainer.model)  # gathers the shards, where there are any
    if is_first:
        seconds = time.monotonic() - started
        steps = trainer.state.max_steps
        run = Finished(job, rows, validation, steps, metrics, machine, count, student.notes, seconds)
        write_results(adapter_tensors(student.model, whole), adapter_settings(student.model), run)
    return True


def _refuse_what_it_cannot(config: TrainingConfig) -> None:
    if config.prompt_loss_weight:
        raise ConfigError(
            f'training.prompt_loss_weight is {config.prompt_loss_weight}, but backend = "hf" trains responses only; '
            'set it to 0, or backend = "seedbed"'
        )
    if taken := sorted(_OURS & config.hf_arguments.keys()):
        raise ConfigError(f"training.hf_arguments sets {', '.join(taken)}, which other settings of [training] set")


def _claim(folder: Path, job: Job) -> None:
    """Write down whose checkpoints these are, and refuse another run's."""
    path = folder / RUN
    if path.exists() and (differing := differences(read_json(path), job.identity)):
        raise ConfigError(
            f"{folder} is of another run ({', '.join(differing)} differ): name another output folder, or remove it"
        )
    folder.mkdir(exist_ok=True)
    write_json(path, job.identity)


def _arguments(config: TrainingConfig, out: Path, row_count: int, processes: int, machine: Machine) -> Any:
    rows = min(config.micro_batch_rows, config.batch_rows)
    passes = max(1, round(config.batch_rows / (rows * processes)))
    steps = math.ceil(max(1, math.floor(row_count * config.epochs)) / config.batch_rows)
    steps = min(steps, config.max_steps) if config.max_steps else steps
    schedule = "constant_with_warmup" if config.schedule == "constant" else config.schedule
    settings: dict[str, Any] = {
        "output_dir": str(out / FOLDER),
        "per_device_train_batch_size": rows,
        "per_device_eval_batch_size": rows,
        "gradient_accumulation_steps": passes,
        "max_steps": steps,
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": schedule,
        "warmup_steps": math.ceil(steps * config.warmup_share),
        "weight_decay": 0.0,
        "max_grad_norm": config.clip_norm,
        "seed": config.seed,
        "logging_steps": 1,
        "eval_strategy": "steps",
        "eval_steps": config.evaluate_every_steps,
        "save_steps": config.checkpoint_every_steps,
        "save_total_limit": 2,
        "use_cpu": machine.device.type == "cpu",
        "report_to": [],
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "label_names": ["labels"],
    }
    try:
        return transformers.TrainingArguments(**{**settings, **config.hf_arguments})
    except (TypeError, ValueError) as error:
        raise ConfigError(f"training.hf_arguments is not what transformers takes: {error}") from error


def _example(row: Row) -> dict[str, torch.Tensor]:
    labels = torch.tensor(row.tokens)
    labels[: row.prompt_tokens] = IGNORED
    return {"input_ids": torch.tensor(row.tokens), "labels": labels}


def _collated(examples: list[dict[str, torch.Tensor]], pad_id: int) -> dict[str, torch.Tensor]:
    """Pad on the right: input_ids, attention_mask and labels, (B, T) each."""
    tokens = [example["input_ids"] for example in examples]
    return {
        "input_ids": pad_sequence(tokens, batch_first=True, padding_value=pad_id),
        "attention_mask": pad_sequence([torch.ones_like(one) for one in tokens], batch_first=True),
        "labels": pad_sequence([one["labels"] for one in examples], batch_first=True, padding_value=IGNORED),
    }


class _Teller(transformers.TrainerCallback):
    """Hands numbers to our metrics, and a wish to stop to the Trainer."""

    def __init__(self, out: Path, metrics: Metrics, stop: Stop, *, is_first: bool) -> None:
        self._out, self._metrics, self._stop, self._is_first = out, metrics, stop, is_first

    def on_log(self, args: Any, state: Any, control: Any, **given: Any) -> None:  # noqa: ARG002 - the library's names
        names = {"loss": "loss", "learning_rate": "learning_rate", "grad_norm": "grad_norm", "eval_loss": "val_loss"}
        told = {names[name]: value for name, value in given.get("logs", {}).items() if name in names}
        if told and not any(self._metrics.has(state.global_step, name) for name in told):
            self._metrics.tell(state.global_step, **told)

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:  # noqa: ARG002
        control.should_evaluate |= state.global_step == state.max_steps
        if self._stop.is_asked and state.global_step < state.max_steps:
            control.should_save = control.should_training_stop = True
        if self._is_first:
            write_state(self._out, "running", state.global_step, state.max_steps)
