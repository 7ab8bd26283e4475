"""Several processes that train one adapter, as torchrun starts them: rows are dealt out, gradients are summed.

The base is frozen, so a step's gradients are the adapter's alone, and one sum of them a step is all that travels. The
passes of a step need nothing from each other, and one process may do its own again after an out-of-memory error.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import distributed

from seedbed.trainer.data import Row
from seedbed.trainer.job import Stop, StopAskedError

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among all that train; alone, everything here costs nothing."""

    rank: int = 0
    count: int = 1
    place: str = "cpu"
    """Where tensors must lie to travel."""

    @property
    def is_first(self) -> bool:
        """Tell whether this one writes files and speaks."""
        return self.rank == 0

    def share(self, rows: Sequence[Row]) -> list[Row]:
        """Return this process's part of a step's rows; dealt by length, there and back, so that all get alike."""
        if self.count == 1:
            return list(rows)
        turn = 2 * self.count
        dealt = sorted(rows, key=len, reverse=True)
        return [row for at, row in enumerate(dealt) if at % turn in {self.rank, turn - 1 - self.rank}]

    def total(self, *values: float) -> list[float]:
        """Return each value summed over all processes."""
        if self.count == 1:
            return list(values)
        summed = torch.tensor(values, dtype=torch.float64, device=self.place)
        distributed.all_reduce(summed)
        return [float(value) for value in summed]

    def sum_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Give every process the sum of all gradients; one that had no rows adds nothing."""
        if self.count == 1:
            return
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([gradient.flatten() for gradient in grads])
        distributed.all_reduce(flat)
        parts = torch.split(flat, [gradient.numel() for gradient in grads])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.grad = part.view_as(parameter)

    def start_alike(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Give every process the first one's parameters."""
        if self.count > 1:
            for parameter in parameters:
                distributed.broadcast(parameter.data, src=0)

    def check_alone(self, stop: Stop) -> None:
        """Stop in the middle of a step, where no other process would wait for it."""
        if self.count == 1:
            stop.check()

    def check_together(self, stop: Stop) -> None:
        """Stop before a step, if any process was asked to; signals reach them at different times."""
        if self.count > 1 and self.total(float(stop.is_asked))[0]:
            raise StopAskedError

    def first_then_all(self, work: Callable[[], Made]) -> Made:
        """Do work that leaves files in the first process, then in the others, which find them."""
        if self.is_first:
            made = work()
        self.wait()
        return made if self.is_first else work()

    def wait(self) -> None:
        """Go on when all are here."""
        if self.count > 1:
            distributed.barrier()

    def leave(self) -> None:
        """End the connection to the others."""
        if self.count > 1:
            distributed.destroy_process_group()


def join_processes(device: str) -> Processes:
    """Join the others that torchrun started; without torchrun there is one."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return Processes()
    is_gpu = device != "cpu" and torch.cuda.is_available()
    if is_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if is_gpu else "gloo")
    return Processes(distributed.get_rank(), count, "cuda" if is_gpu else "cpu")
