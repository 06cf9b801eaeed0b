"""Several processes, one result: each takes its share of a batch, gradients are averaged.

Started by ``torchrun`` or ``accelerate launch`` (both set the same variables); a single process
needs nothing. No wrapper is put around the network: a wrapper's hooks know one `forward` and one
`backward` a step, and an adversarial method has several of both, on parts of the network.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class World:
    """This process among the others.

    Parameters
    ----------
    rank : int
        0, ..., size - 1; process 0 writes.
    size : int
    """

    rank: int = 0
    size: int = 1

    def share(self, count: int) -> tuple[int, int]:
        """First and last-plus-one of this process's part of `count` rows."""
        return self.rank * count // self.size, (self.rank + 1) * count // self.size

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Mean over the processes, in place; one message for all tensors of a type."""
        if self.size == 1:
            return
        kinds: dict[torch.dtype, list[Tensor]] = {}
        for tensor in tensors:
            kinds.setdefault(tensor.dtype, []).append(tensor)
        for group in kinds.values():
            flat = torch.cat([tensor.reshape(-1) for tensor in group])
            dist.all_reduce(flat)
            flat /= self.size
            parts = flat.split([tensor.numel() for tensor in group])
            for tensor, part in zip(group, parts, strict=True):
                tensor.copy_(part.view_as(tensor))

    def gather(self, rows: Tensor) -> Tensor:
        """Rows of all processes in the order of one process's batch; gradients flow back.

        For losses of a whole batch (a discrepancy between two clouds): every process computes the
        loss of all rows. Its backward pass sums what each process sent, and `average` divides by
        their number, so the mean gradient is the gradient of one process. Every process must
        bring equally many rows.
        """
        if self.size == 1:
            return rows
        from torch.distributed.nn.functional import all_gather

        return torch.cat(cast("tuple[Tensor, ...]", all_gather(rows.contiguous())))

    def wait(self) -> None:
        """Until every process is here."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def joined(device: torch.device) -> Iterator[World]:
    """The group of processes that the launcher started, or the single one.

    A group that the caller has joined already is used and left as it is.
    """
    if dist.is_available() and dist.is_initialized():
        yield World(dist.get_rank(), dist.get_world_size())
        return
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size <= 1 or "RANK" not in os.environ:
        yield World()
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    # Left at exit: a training of several stages meets the same processes again.
    atexit.register(_leave)
    yield World(dist.get_rank(), dist.get_world_size())


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
