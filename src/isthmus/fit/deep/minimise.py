"""One update: backward, averaged over processes, clipped, stepped; a loss that is NaN stops."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from isthmus.errors import DataError, IsthmusError, UsageError
from isthmus.fit.deep.parallel import World
from isthmus.fit.deep.rows import Batch, Rows


def full_precision(device: str) -> AbstractContextManager[Any]:
    """No autocast inside; where there is none around it, nothing is entered: that takes time."""
    if torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()


@contextmanager
def alone_explained(where: str) -> Iterator[None]:
    """A batch of one row in batch norm, which torch refuses by the shape of an inner array."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise DataError(
            "a batch of one row cannot train batch normalisation",
            where=where,
            why="one row has no spread to normalise by",
            remedy="Give more rows or a larger batch, or keep the norms as they are "
            "(strategy='head-only', 'lp-ft')",
        ) from error


class NonFiniteLossError(IsthmusError, ArithmeticError):
    """A loss became NaN or infinite; the message names the rows of the batch."""


class Minimiser:
    """What a procedure gets as `minimise`.

    Parameters
    ----------
    world : World
    clip : float, optional
        Largest gradient norm of the parameters of one call.
    parts : int
        Accumulated parts of a step: parameters move after the last one.
    sides : pair of Rows or None
        Source and target, which know what messages call their rows.
    """

    def __init__(
        self,
        world: World,
        *,
        clip: float | None = None,
        parts: int = 1,
        sides: tuple[Rows | None, Rows | None] = (None, None),
    ) -> None:
        self.world, self.clip, self.parts, self.sides = world, clip, parts, sides
        self._count = 0  # optimizers of the procedure
        self._pending: tuple[Tensor, str, tuple[Batch | None, ...]] | None = None

    def start_epoch(self, optimizers: Iterable[torch.optim.Optimizer]) -> None:
        """Look which parameters are trained now; nothing of an earlier gradient is left.

        Raises
        ------
        UsageError
            If there are none.
        """
        known = list(optimizers)
        self._count = len(known)
        self._parameters: dict[int, list[nn.Parameter]] = {}
        for optimizer in known:
            members = [p for group in optimizer.param_groups for p in group["params"]]
            for parameter in members:
                parameter.grad = None
            self._parameters[id(optimizer)] = [p for p in members if p.requires_grad]
        if not any(self._parameters.values()):
            raise UsageError(
                "there is nothing to train",
                why="every weight that the method moves is frozen",
                remedy="Unfreeze some (strategy='full', 'top-k', ...), or leave the method out",
            )

    def start_part(self, part: int, where: str, batches: tuple[Batch | None, ...]) -> None:
        """Part 0, 1, ... of a step begins."""
        self._part, self._where, self._batches = part, where, batches
        self._used: set[int] = set()

    def __call__(self, loss: Tensor, optimizers: Iterable[torch.optim.Optimizer]) -> bool:
        """Move the parameters of `optimizers`, and of no other, against the gradient of `loss`.

        Returns
        -------
        bool
            Whether they moved: not before the last part of a step.
        """
        chosen = list(optimizers)
        self._look(loss)
        if self.parts > 1:
            if any(id(optimizer) in self._used for optimizer in chosen):
                raise UsageError(
                    "this method moves the same parameters more than once a step",
                    why="their gradients cannot be accumulated over parts of a batch",
                    remedy="Use accumulate=1 and a smaller batch",
                )
            self._used |= {id(optimizer) for optimizer in chosen}
            loss = loss / self.parts
        parameters = [p for o in chosen for p in self._parameters[id(o)]]
        with full_precision(loss.device.type):
            if len(chosen) == self._count:
                loss.backward()
            elif parameters:  # a loss of some parts must leave no gradient in the others
                loss.backward(inputs=parameters)
        if self._part + 1 < self.parts:
            return False
        if self.world.size > 1:
            for p in parameters:  # a process may not have used a part that another one has
                if p.grad is None:
                    p.grad = torch.zeros_like(p)
            self.world.average(p.grad for p in parameters if p.grad is not None)
        if self.clip is not None:
            nn.utils.clip_grad_norm_(parameters, self.clip)
        for optimizer in chosen:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return True

    def _look(self, loss: Tensor) -> None:
        """Refuse a loss that is no number. A GPU's is looked at one step later: no waiting."""
        if loss.device.type == "cpu":
            self._refuse(loss.detach(), self._where, self._batches)
            return
        self.flush()
        self._pending = (loss.detach(), self._where, self._batches)

    def look_at_weights(self, where: str) -> None:
        """Refuse weights that became NaN or infinite under a finite loss.

        Raises
        ------
        NonFiniteLossError
        """
        for members in self._parameters.values():
            if not all(bool(torch.isfinite(p).all()) for p in members):
                raise NonFiniteLossError(
                    "the weights are no longer finite",
                    where=where,
                    why="a gradient was not, under a finite loss",
                    remedy="Lower the learning rate or set clip=1",
                )

    def flush(self) -> None:
        """Look at the last loss before anything is written."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            self._refuse(*pending)

    def _refuse(self, loss: Tensor, where: str, batches: tuple[Batch | None, ...]) -> None:
        value = loss.item()
        if value - value == 0:  # neither NaN nor infinite
            return
        named = []
        for name, batch, side in zip(("source", "target"), batches, self.sides, strict=True):
            if batch is None:
                continue
            bad = _bad_rows(batch)
            which = f"{name} rows with NaN or infinity: " if bad else f"{name} rows: "
            rows = bad or batch.rows.tolist()
            rows = rows if side is None else side.named(np.array(rows)).tolist()
            more = ", ..." if len(rows) > 64 else ""
            named.append(which + ", ".join(map(str, rows[:64])) + more)
        raise NonFiniteLossError(
            f"the loss is {value}",
            where=where,
            why="; ".join(named),
            remedy="Look at these rows; if they are sound, lower the learning rate or set clip=1",
        )


def _bad_rows(batch: Batch) -> list[int]:
    """Positions of rows whose input or label is not finite."""
    bad = torch.zeros(len(batch), dtype=torch.bool, device=batch.rows.device)
    inputs: Any = batch.inputs
    for value in [*(inputs.values() if isinstance(inputs, dict) else [inputs]), batch.labels]:
        if isinstance(value, Tensor) and value.is_floating_point():
            bad |= ~torch.isfinite(value.reshape(len(batch), -1)).all(dim=1)
    found: list[int] = batch.rows[bad].tolist()
    return found
