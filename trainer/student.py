"""The student as it is trained: its adapter, and which of the fast ways are proven on it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch

from seedbed.core.config import TrainingConfig
from seedbed.core.errors import TrainingError
from seedbed.trainer.attention import bind_proven, reason_against_varlen, use_varlen, varlen_kernel
from seedbed.trainer.batches import Batch, chunks, packed, packs, padded
from seedbed.trainer.checkpoint import random_state, restore_random_state
from seedbed.trainer.data import Row
from seedbed.trainer.fused import fuse
from seedbed.trainer.kernels import use_kernels
from seedbed.trainer.loss import summed_loss
from seedbed.trainer.memory import USABLE_SHARE, free_bytes, pass_bytes, shapes_of
from seedbed.trainer.model import Machine, add_adapter, load_base, trained_parameters
from seedbed.trainer.proven import are_documents_isolated, reason_against_chunked_loss, reason_against_packing

CPU_PASS_TOKENS, LEAST_PASS_TOKENS = 1024, 4096
"""Of a packed pass where the setting leaves it open: on a CPU, and the fewest on a GPU."""
GPU_PASS_TOKENS = (32_768, 24_576, 16_384, 12_288, 10_240, 8192, 6144, LEAST_PASS_TOKENS)

Given = TypeVar("Given")
Made = TypeVar("Made")


@dataclass(slots=True)
class Student:
    """A model with a fresh adapter, and how its passes are made."""

    model: Any
    config: TrainingConfig
    machine: Machine
    pad_id: int
    is_packed: bool
    is_chunked: bool
    is_fused: bool
    is_varlen: bool = False
    has_kernels: bool = False
    """Norms and activation keep less: each is one kernel."""
    pass_tokens: int = CPU_PASS_TOKENS
    """The most in a packed pass, but for a longer row."""
    is_checkpointed: bool = False
    notes: list[str] = field(default_factory=list)
    """What is done otherwise than configured, and why."""

    def passes(self, rows: list[Row]) -> list[Batch]:
        """Lay a step's rows out in passes that fit."""
        weight = self.config.prompt_loss_weight
        if self.is_packed:
            return [packed(pack, weight) for pack in packs(rows, self.pass_tokens)]
        return [padded(group, self.pad_id, weight) for group in chunks(rows, self.config.micro_batch_rows)]

    def loss(self, batch: Batch) -> torch.Tensor:
        """Return a pass's loss, summed over its tokens by weight, in nats."""
        return summed_loss(self.model, batch.to(self.machine.device), is_chunked=self.is_chunked)

    def checkpoint_activations(self) -> None:
        """From now on keep the input of each layer only, and compute the layer again in the backward pass."""
        base = self.model.get_base_model()
        kwargs = {"use_reentrant": False}
        if hasattr(base, "activation_checkpointing_enable"):
            base.activation_checkpointing_enable(activation_checkpointing_kwargs=kwargs)
        else:  # transformers before 5.20
            base.gradient_checkpointing_enable(gradient_checkpointing_kwargs=kwargs)
        self.is_checkpointed = True

    def survive(self, work: Callable[[Given], Made], given: Given) -> Made:
        """Do a step's passes; once out of memory, make do with less and do them again from the same start.

        Less are smaller passes where their size is ours to choose, and then checkpointed activations.

        Raises:
            TrainingError: Activations are checkpointed already, or must not be.
        """
        start = random_state()
        try:
            return work(given)
        except torch.OutOfMemoryError as error:
            can_shrink = not self.config.micro_batch_tokens and self.is_packed and self.pass_tokens > LEAST_PASS_TOKENS
            if not can_shrink and (self.is_checkpointed or self.config.activation_checkpointing == "off"):
                raise TrainingError(
                    f"out of memory ({str(error).splitlines()[0][:200]}); lower micro_batch_tokens "
                    f"({self.pass_tokens}), micro_batch_rows ({self.config.micro_batch_rows}) or "
                    f'max_length ({self.config.max_length}), or let activation_checkpointing be "auto"'
                ) from None
        # Outside the handler: the exception's traceback would keep the failed pass's tensors alive.
        self.model.zero_grad(set_to_none=True)
        if self.machine.device.type == "cuda":
            torch.cuda.empty_cache()
        restore_random_state(start)
        if can_shrink:
            self.pass_tokens = max(self.pass_tokens // 2, LEAST_PASS_TOKENS)
            self.notes.append(f"a pass has at most {self.pass_tokens} tokens since a step ran out of memory")
        else:
            self.checkpoint_activations()
            self.notes.append("activations are checkpointed since a step ran out of memory")
        return self.survive(work, given)


def prepare_student(folder: Path, machine: Machine, config: TrainingConfig, name: str, pad_id: int) -> Student:
    """Load a base and make a student of it."""
    return make_student(load_base(folder, machine), machine, config, name, pad_id)


def make_student(base: Any, machine: Machine, config: TrainingConfig, name: str, pad_id: int) -> Student:
    """Put an adapter on a frozen base. What is unproven on it falls back to the plain way, and is told."""
    notes = []
    is_packed, is_chunked, is_fused = config.packing, config.chunked_loss, config.fused_lora
    if is_packed and (reason := reason_against_packing(base)):
        is_packed = False
        notes.append(f"rows are padded, not packed: {reason}")
    if is_chunked and (reason := reason_against_chunked_loss(base)):
        is_chunked = False
        notes.append(f"the loss is taken from whole logits: {reason}")
    kernels: list[str] = []
    if config.kernels == "auto":
        kernels, reason = use_kernels(base, machine)
        if reason and machine.device.type == "cuda":
            notes.append(f"eager torch computes what kernels could: {reason}")
    is_varlen = is_packed and config.attention == "auto"
    if is_varlen and (reason := _try_varlen(base, machine)):
        is_varlen = False
        if machine.device.type == "cuda":  # elsewhere SDPA is no fallback but the way
            notes.append(f"attention is SDPA's: {reason}")
    model = add_adapter(base, config, name)
    if is_fused and (reason := fuse(model)):
        is_fused = False
        notes.append(f"LoRA is computed by PEFT, not fused: {reason}")
    model.train()
    has_kernels = {"norm", "activation"} <= set(kernels)
    ways = {"is_fused": is_fused, "is_varlen": is_varlen, "has_kernels": has_kernels}
    return Student(model, config, machine, pad_id, is_packed, is_chunked, **ways, notes=notes)


def _try_varlen(base: Any, machine: Machine) -> str:
    """Let a base attend by the varlen kernel, or say why not and leave it with SDPA."""
    kernel = varlen_kernel()
    if (reason := reason_against_varlen(base, machine)) or kernel is None:
        return reason
    use_varlen(base, bind_proven(kernel, base, machine))
    if not are_documents_isolated(base):
        base.set_attn_implementation("sdpa")
        return "with the varlen kernel this model lets packed documents see each other"
    return ""


def fit_passes(student: Student, longest: int) -> str:
    """Choose how large a pass is, and checkpoint activations where asked for or where it would not fit; tell why.

    Args:
        student: Loaded, so that what is free is free for its passes.
        longest: Tokens of the longest row.
    """
    config = student.config
    free = int(free_bytes(student.machine.device) * USABLE_SHARE)
    if config.micro_batch_tokens:
        student.pass_tokens = config.micro_batch_tokens
    elif student.is_packed and student.machine.device.type == "cuda":
        student.pass_tokens = next(
            (one for one in GPU_PASS_TOKENS if _pass_bytes(student, max(one, longest)) <= free), LEAST_PASS_TOKENS
        )
    if config.activation_checkpointing == "off":
        return ""
    tokens = max(student.pass_tokens, longest) if student.is_packed else config.micro_batch_rows * longest
    needed = _pass_bytes(student, tokens)
    if config.activation_checkpointing == "auto" and needed <= free:
        return ""
    student.checkpoint_activations()
    asked = "asked for" if config.activation_checkpointing == "on" else "a pass would not fit"
    return f"activations are checkpointed: {asked} ({needed / 2**30:.1f} GiB estimated, {free / 2**30:.1f} GiB usable)"


def _pass_bytes(student: Student, tokens: int) -> int:
    """Estimate what a pass takes without activation checkpointing, and the optimiser with it."""
    needed = pass_bytes(
        shapes_of(student.model, student.config.rank),
        tokens,
        is_fused=student.is_fused,
        is_chunked=student.is_chunked,
        is_checkpointed=False,
        has_mask=not student.is_varlen,
        has_kernels=student.has_kernels,
    )
    # Gradient and two moments of each adapter weight, float32, are still to come.
    return needed + 12 * sum(parameter.numel() for parameter in trained_parameters(student.model).values())
