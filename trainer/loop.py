"""The training loop, flat and read top to bottom: a snapshot's rows in, a LoRA adapter out."""

import math
import time

import torch

from seedbed.core.config import TrainingConfig
from seedbed.core.errors import TrainingError
from seedbed.trainer.batches import loss_weight
from seedbed.trainer.checkpoint import load_checkpoint, save_checkpoint
from seedbed.trainer.convert import trainable_folder
from seedbed.trainer.data import Row, Rows, encode_rows, plan_steps
from seedbed.trainer.job import Job, Stop, StopAskedError
from seedbed.trainer.model import (
    choose_machine,
    is_adapter_still_zero,
    load_tokenizer,
    trained_parameters,
)
from seedbed.trainer.outputs import (
    Metrics,
    Summary,
    machine_facts,
    model_card,
    save_adapter,
    write_manifest,
    write_state,
)
from seedbed.trainer.speed import matrix_rate, work_of
from seedbed.trainer.student import choose_checkpointing, prepare_student


def train(job: Job, stop: Stop) -> bool:  # noqa: PLR0912, PLR0915 - flat on purpose, read top to bottom
    """Train until done or stopped, and tell which: True when the adapter and its manifest are written.

    Raises:
        ConfigError: The settings do not fit the student or the machine, or OUT holds another run.
        TrainingError: Nothing can be trained, the loss is no number, or the disk is full.
    """
    started = time.monotonic()
    config, out = job.config, job.out
    out.mkdir(parents=True, exist_ok=True)
    write_state(out, "running", 0, 0)
    machine = choose_machine(config.device, config.dtype, config.threads)

    # Rows first: what is wrong with them is known before a gigabyte is loaded.
    folder = trainable_folder(job.weights, job.cache, lambda what, *_: job.show(what, is_passing=True))
    tokenizer = load_tokenizer(folder)
    rows = encode_rows(job.train, tokenizer, config)
    validation = encode_rows(job.validation, tokenizer, config)
    if not rows.kept:
        raise TrainingError(f"none of the snapshot's {len(job.train)} rows can be trained on: {rows.dropped}")
    steps = plan_steps(len(rows.kept), config)
    job.show(f"{len(rows.kept)} rows, {rows.tokens:,} tokens, {len(steps)} steps; left out: {rows.dropped or 'none'}")

    # The student. What is unproven on it falls back to the plain way, and is told.
    student = prepare_student(folder, machine, config, job.weights.name, tokenizer.pad_token_id)
    model = student.model
    for note in student.notes:
        job.show(note)
    if note := choose_checkpointing(student, max(len(row) for row in (*rows.kept, *validation.kept))):
        job.show(note)
    work, rate_limit = work_of(model), matrix_rate(machine)
    job.show(f"this machine multiplies matrices at {rate_limit / 1e12:.2f} TFLOP/s")
    parameters = trained_parameters(model)
    # No weight decay: it would pull the adapter, and only the adapter, towards zero, that is towards the base.
    optimiser = torch.optim.AdamW(parameters.values(), lr=config.learning_rate, betas=(0.9, 0.999), weight_decay=0.0)

    def gradients(chosen: list[Row]) -> tuple[float, int]:
        """Sum the gradients of a step's rows; return their mean loss by weight, in nats, and their tokens."""
        # A token counts the same wherever it stands: the sum over the whole step is divided by its total
        # weight, so neither the split into passes nor the padding changes the gradient.
        total_weight = sum(loss_weight(row, config.prompt_loss_weight) for row in chosen)
        loss, tokens = 0.0, 0
        for batch in student.passes(chosen):
            stop.check()  # a step begun is given up; the one before it is whole
            part = student.loss(batch) / total_weight
            part.backward()  # type: ignore[no-untyped-call]
            loss += part.item()
            tokens += batch.useful_tokens
        return loss, tokens

    def validation_loss() -> float:
        """Mean loss of a validation token, in nats."""
        model.eval()
        total = 0.0
        with torch.no_grad():
            for batch in student.passes(list(validation.kept)):
                stop.check()
                total += student.loss(batch).item()
        model.train()
        return total / sum(loss_weight(row, config.prompt_loss_weight) for row in validation.kept)

    done = load_checkpoint(out / "checkpoint", job.identity, parameters, optimiser)
    saved = done
    if done:
        job.show(f"resumed after step {done} of {len(steps)}")
    metrics = Metrics(out, done)

    def validate_if_due(step: int) -> None:
        is_due = step in (0, len(steps)) or step % config.evaluate_every_steps == 0
        if validation.kept and is_due and not metrics.has(step, "val_loss"):
            metrics.tell(step, val_loss=(measured := validation_loss()))
            job.show(f"step {step}/{len(steps)}  validation loss {measured:.4f}")

    write_state(out, "running", done, len(steps))
    loop_started, resumed_at = time.monotonic(), done
    try:
        validate_if_due(done)
        for step, numbers in enumerate(steps[done:], done + 1):
            step_started = time.monotonic()
            chosen = [rows.kept[number] for number in numbers]
            loss, tokens = student.survive(gradients, chosen)
            if not math.isfinite(loss):
                raise TrainingError(f"the loss of step {step} is {loss}; lower learning_rate ({config.learning_rate})")
            rate = learning_rate(step, len(steps), config)
            for group in optimiser.param_groups:
                group["lr"] = rate
            norm = torch.nn.utils.clip_grad_norm_(parameters.values(), config.clip_norm)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            done = step
            if step == 1 and is_adapter_still_zero(model):
                raise TrainingError("after the first step every lora_B is still zero: no gradient reached the adapter")

            now = time.monotonic()
            speed = tokens / (now - step_started)
            left_s = (now - loop_started) / (step - resumed_at) * (len(steps) - step)
            mfu = work.flops(chosen) / (now - step_started) / rate_limit
            told = {"tokens": tokens, "tokens_per_s": speed, "mfu": mfu, "grad_norm": norm.item()}
            metrics.tell(step, loss=loss, learning_rate=rate, **told)
            line = f"step {step}/{len(steps)}  loss {loss:.4f}  {speed:,.0f} tokens/s  MFU {mfu:.0%}"
            job.show(f"{line}  {_minutes(left_s)} left", is_passing=True)
            validate_if_due(step)
            if step == len(steps) or step % config.checkpoint_every_steps == 0:
                save_checkpoint(out / "checkpoint", step, job.identity, parameters, optimiser)
                saved = step
            write_state(out, "running", step, len(steps))
    except StopAskedError:
        if done > saved:
            save_checkpoint(out / "checkpoint", done, job.identity, parameters, optimiser)
        write_state(out, "interrupted", done, len(steps))
        job.show(f"stopped after step {done} of {len(steps)}; run again to go on")
        return False
    finally:
        metrics.close()

    summary = Summary(
        base=job.weights.name,
        base_sha256=job.weights.base_sha256,
        licence=job.weights.licence,
        snapshot_id=job.snapshot_id,
        config=config.model_dump(mode="json"),
        forms=rows.forms,
        rows=_row_counts(rows, validation),
        steps=len(steps),
        train_loss=metrics.curve("loss"),
        val_loss=metrics.curve("val_loss"),
        seconds=time.monotonic() - started,
        machine=machine_facts(machine.device, machine.dtype),
        notes=student.notes,
    )
    try:
        adapter_sha256 = save_adapter(model, out, model_card(summary))
        write_manifest(out, summary, adapter_sha256)
    except OSError as error:
        raise TrainingError(f"the adapter cannot be written to {out}: {error}; run again to write it") from error
    write_state(out, "done", len(steps), len(steps))
    return True


def learning_rate(step: int, steps: int, config: TrainingConfig) -> float:
    """Return the rate of a step, counted from 1: a linear rise over the first steps, then the schedule to 0."""
    warmup = math.ceil(steps * config.warmup_share)
    if step <= warmup:
        return config.learning_rate * step / warmup
    if config.schedule == "constant":
        return config.learning_rate
    share = (step - warmup - 1) / max(steps - warmup, 1)  # 0 at the first step after the rise
    fall = (1 + math.cos(math.pi * share)) / 2 if config.schedule == "cosine" else 1 - share
    return config.learning_rate * fall


def _row_counts(rows: Rows, validation: Rows) -> dict[str, int]:
    counts = {"train": len(rows.kept), "val": len(validation.kept)}
    for name, part in (("train", rows), ("val", validation)):
        counts |= {f"{name}_{reason}": count for reason, count in part.dropped.items()}
    return counts


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"
