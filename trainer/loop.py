"""The training loop, flat and read top to bottom: a snapshot's rows in, a LoRA adapter out."""

import math
import time
from typing import Any

import torch

from seedbed.core.config import TrainingConfig
from seedbed.core.errors import TrainingError
from seedbed.trainer.batches import loss_weight
from seedbed.trainer.checkpoint import load_checkpoint, save_checkpoint
from seedbed.trainer.convert import trainable_folder
from seedbed.trainer.data import Row, encode_rows, plan_steps
from seedbed.trainer.job import Job, Stop, StopAskedError, show_nothing
from seedbed.trainer.metrics import Metrics
from seedbed.trainer.model import (
    choose_machine,
    is_adapter_still_zero,
    load_tokenizer,
    trained_parameters,
)
from seedbed.trainer.outputs import (
    Finished,
    State,
    adapter_settings,
    adapter_tensors,
    write_results,
    write_state,
)
from seedbed.trainer.processes import join_processes
from seedbed.trainer.speed import matrix_rate, work_of
from seedbed.trainer.student import fit_passes, prepare_student
from seedbed.trainer.trackers import open_trackers


def train(job: Job, stop: Stop) -> bool:  # noqa: PLR0912, PLR0915 - flat on purpose, read top to bottom
    """Train until done or stopped, and tell which: True when the adapter and its manifest are written.

    Raises:
        ConfigError: The settings do not fit the student or the machine, or OUT holds another run.
        TrainingError: Nothing can be trained, the loss is no number, or the disk is full.
    """
    started = time.monotonic()
    config, out = job.config, job.out
    out.mkdir(parents=True, exist_ok=True)
    processes = join_processes(config.device)  # as torchrun started them, or this one alone
    show = job.show if processes.is_first else show_nothing
    if processes.is_first:
        write_state(out, "running", 0, 0)
    machine = choose_machine(config.device, config.dtype, config.threads)

    # Rows first: what is wrong with them is known before a gigabyte is loaded.
    folder = processes.first_then_all(
        lambda: trainable_folder(job.weights, job.cache, lambda what, *_: show(what, is_passing=True))
    )
    tokenizer = load_tokenizer(folder)
    rows = encode_rows(job.train, tokenizer, config, job.prompts)
    validation = encode_rows(job.validation, tokenizer, config, job.prompts)
    if not rows.kept:
        raise TrainingError(f"none of the snapshot's {len(job.train)} rows can be trained on: {rows.dropped}")
    steps = plan_steps(len(rows.kept), config)
    show(f"{len(rows.kept)} rows, {rows.tokens:,} tokens, {len(steps)} steps; left out: {rows.dropped or 'none'}")

    # The student. What is unproven on it falls back to the plain way, and is told.
    student = prepare_student(folder, machine, config, job.weights.name, tokenizer.pad_token_id)
    model = student.model
    for note in student.notes:
        show(note)
    if note := fit_passes(student, max(len(row) for row in (*rows.kept, *validation.kept))):
        show(note)
    work, rate_limit = work_of(model), matrix_rate(machine)
    show(f"this machine multiplies matrices at {rate_limit / 1e12:.2f} TFLOP/s")
    parameters = trained_parameters(model)
    # No weight decay: it would pull the adapter, and only the adapter, towards zero, that is towards the base.
    settings: dict[str, Any] = {"lr": config.learning_rate, "betas": (0.9, 0.999), "weight_decay": 0.0}
    optimiser = torch.optim.AdamW(parameters.values(), **settings, fused=machine.device.type == "cuda")

    def gradients(chosen: list[Row]) -> tuple[float, int]:
        """Sum the gradients of a step's rows; return their part of its mean loss, in nats, and their tokens."""
        # A token counts the same wherever it stands: the sum over the whole step is divided by its total
        # weight, so neither the split into passes nor the padding changes the gradient.
        total_weight = sum(loss_weight(row, config.prompt_loss_weight) for row in chosen)
        loss, tokens = torch.zeros((), dtype=torch.float64, device=machine.device), 0
        for batch in student.passes(processes.share(chosen)):
            processes.check_alone(stop)  # a step begun is given up; the one before it is whole
            part = student.loss(batch) / total_weight
            part.backward()  # type: ignore[no-untyped-call]
            loss += part.detach()  # read once a step: a GPU need not wait for each pass
            tokens += batch.useful_tokens
        return loss.item(), tokens

    def validation_loss() -> float:
        """Mean loss of a validation token, in nats."""
        model.eval()
        total = 0.0
        with torch.no_grad():
            for batch in student.passes(processes.share(validation.kept)):
                processes.check_alone(stop)
                total += student.loss(batch).item()
        model.train()
        return processes.total(total)[0] / sum(loss_weight(row, config.prompt_loss_weight) for row in validation.kept)

    done = load_checkpoint(out / "checkpoint", job.identity, parameters, optimiser)
    saved = done
    if done:
        show(f"resumed after step {done} of {len(steps)}")
    processes.start_alike(list(parameters.values()))
    trackers = open_trackers(config.trackers, out, job.identity, done) if processes.is_first else []
    metrics = Metrics(out, done, trackers, is_writing=processes.is_first)
    processes.wait()  # until all have read what was told before

    def validate_if_due(step: int) -> None:
        is_due = step in (0, len(steps)) or step % config.evaluate_every_steps == 0
        if validation.kept and is_due and not metrics.has(step, "val_loss"):
            metrics.tell(step, val_loss=(measured := validation_loss()))
            show(f"step {step}/{len(steps)}  validation loss {measured:.4f}")

    def save(step: int) -> None:
        if processes.is_first:
            save_checkpoint(out / "checkpoint", step, job.identity, parameters, optimiser)

    def say(state: State, step: int) -> None:
        if processes.is_first:
            write_state(out, state, step, len(steps))

    say("running", done)
    loop_started, resumed_at = time.monotonic(), done
    try:
        validate_if_due(done)
        for step, numbers in enumerate(steps[done:], done + 1):
            processes.check_together(stop)
            step_started = time.monotonic()
            chosen = [rows.kept[number] for number in numbers]
            loss, tokens = processes.total(*student.survive(gradients, chosen))
            processes.sum_gradients(list(parameters.values()))
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
            mfu = work.flops(chosen) / (now - step_started) / (rate_limit * processes.count)
            told = {"tokens": round(tokens), "tokens_per_s": speed, "mfu": mfu, "grad_norm": norm.item()}
            metrics.tell(step, loss=loss, learning_rate=rate, **told)
            line = f"step {step}/{len(steps)}  loss {loss:.4f}  {speed:,.0f} tokens/s  MFU {mfu:.0%}"
            show(f"{line}  {_minutes(left_s)} left", is_passing=True)
            validate_if_due(step)
            if step == len(steps) or step % config.checkpoint_every_steps == 0:
                save(step)
                saved = step
            say("running", step)
    except StopAskedError:
        if done > saved:
            save(done)
        say("interrupted", done)
        show(f"stopped after step {done} of {len(steps)}; run again to go on")
        processes.leave()
        return False
    finally:
        metrics.close()

    if processes.is_first:
        seconds = time.monotonic() - started
        run = Finished(job, rows, validation, len(steps), metrics, machine, processes.count, student.notes, seconds)
        write_results(adapter_tensors(model), adapter_settings(model), run)
    processes.wait()
    processes.leave()
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


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"
