"""One run in several processes, started by torchrun: who we are, and our rows of each batch."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch
import torch.distributed as dist
from torch import nn

from neurolm.checks import bad
from neurolm.lm.language_model import State
from neurolm.training.batches import Batch
from neurolm.training.objectives import Objective


@contextlib.contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Join the processes that torchrun started, and leave them; alone, do nothing."""
    if "RANK" not in os.environ or dist.is_initialized():
        yield
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def n_processes() -> int:
    """How many processes share this run."""
    return dist.get_world_size() if dist.is_initialized() else 1


def process_index() -> int:
    """Which of them this one is; 0 writes the files."""
    return dist.get_rank() if dist.is_initialized() else 0


def our_rows(batch_size: int, accumulate: int) -> list[slice]:
    """This process's rows of a global batch, as `accumulate` parts of equal size.

    Raises
    ------
    InputError
        If the batch cannot be cut evenly.
    """
    n_parts = n_processes() * accumulate
    if accumulate < 1 or batch_size % n_parts:
        raise bad("batch_size", f"be a multiple of processes x accumulate = {n_processes()} x {accumulate}", batch_size)
    size = batch_size // n_parts
    first = process_index() * accumulate
    return [slice(size * part, size * (part + 1)) for part in range(first, first + accumulate)]


def gather(tensor: torch.Tensor) -> list[torch.Tensor]:
    """The same tensor of every process, in order."""
    if n_processes() == 1:
        return [tensor]
    parts = [torch.empty_like(tensor) for _ in range(n_processes())]
    dist.all_gather(parts, tensor.contiguous())
    return parts


def summed(value: torch.Tensor) -> torch.Tensor:
    """The sum of a scalar over all processes."""
    if n_processes() > 1:
        dist.all_reduce(value)
    return value


def wait_for_all() -> None:
    """Go on when every process is here."""
    if n_processes() > 1:
        dist.barrier()


class ObjectiveModule(nn.Module):
    """An objective as a module, so that DistributedDataParallel and torch.compile see one forward."""

    def __init__(self, objective: Objective) -> None:
        super().__init__()
        self.module = objective.module
        self.objective = objective

    def forward(self, batch: Batch, state: State) -> tuple[torch.Tensor, torch.Tensor, State]:
        loss = self.objective(batch, state)
        return loss.total, loss.error, loss.state


def in_parallel(objective: Objective) -> nn.Module:
    """The objective; its gradients are averaged over processes where there are several."""
    module = ObjectiveModule(objective)
    if n_processes() == 1:
        return module
    return nn.parallel.DistributedDataParallel(module)
