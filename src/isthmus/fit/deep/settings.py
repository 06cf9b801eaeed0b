"""How a network is trained, apart from the method: plain values that a checkpoint can record."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch

from isthmus.errors import UsageError
from isthmus.fit.deep.schedule import SCHEDULES

OPTIONAL = ("steps_per_epoch", "target_batch_size", "checkpoint_every", "patience")
OPTIMIZERS = ("adamw", "adam", "sgd")


@dataclass(frozen=True)
class Settings:
    """Settings of `isthmus.fit.deep.loop.train`.

    Parameters
    ----------
    epochs : int, default=20
    steps_per_epoch : int, optional
        Default: as many as the source rows fill (the target rows for a source-free method).
    batch_size : int, default=64
        Rows of each domain that one update sees, over all processes and accumulated parts.
    target_batch_size : int, optional
        Default: `batch_size`.
    optimizer : {"adamw", "adam", "sgd"}
    lr : float, default=1e-3
    weight_decay : float, default=1e-4
    momentum : float, default=0.9
        Of SGD (Nesterov).
    schedule : {"constant", "cosine", "linear", "dann"}, default="cosine"
    warmup : float, default=0.0
        Share of the training.
    clip : float, optional
        Largest norm of the gradient of one optimizer's parameters.
    accumulate : int, default=1
        Parts in which a batch is computed, to save memory. Losses that compare rows with one
        another see one part at a time.
    precision : {"float32", "bfloat16"}, default="float32"
        bfloat16: automatic mixed precision; losses stay in float32.
    channels_last : bool, default=False
        Memory layout of images.
    compile : bool, default=False
        Compile the body of the network (torch.compile).
    ema : float, default=0.0
        Decay of an exponential moving average of the weights, e.g. 0.999; it replaces the weights
        at the end. 0: none.
    balance : tuple of str, default=()
        ``"class"`` and ``"domain"``: draw source batches evenly.
    workers : int, default=0
        Processes that read and augment. They cannot change the result.
    checkpoint_every : int, optional
        Steps between checkpoints, beside the one at the end of every epoch.
    patience : int, optional
        Stop after this many epochs without a better score on held-out rows, and take the best
        weights.
    keep : {"last", "evidence"}, default="last"
        Which weights are left at the end without `patience`: the last ones, or those of the epoch
        with the most ``evidence`` (what the watch says; it needs no label of the target).
    device : str, default="cpu"
    seed : int, default=0
    """

    epochs: int = 20
    steps_per_epoch: int | None = None
    batch_size: int = 64
    target_batch_size: int | None = None
    optimizer: str = "adamw"
    lr: float = 1e-3
    weight_decay: float = 1e-4
    momentum: float = 0.9
    schedule: str = "cosine"
    warmup: float = 0.0
    clip: float | None = None
    accumulate: int = 1
    precision: str = "float32"
    channels_last: bool = False
    compile: bool = False
    ema: float = 0.0
    balance: tuple[str, ...] = ()
    workers: int = 0
    checkpoint_every: int | None = None
    patience: int | None = None
    keep: str = "last"
    device: str = "cpu"
    seed: int = 0

    def check(self) -> None:
        """Refuse settings that mean nothing.

        Raises
        ------
        UsageError
        """
        for name in ("epochs", "batch_size", "accumulate", *OPTIONAL):
            value = getattr(self, name)
            if value is not None and value < 1:
                none = ", or None" if name in OPTIONAL else ""
                raise UsageError(f"{name}={value}", remedy=f"Give at least 1{none}")
        for name, known in (
            ("optimizer", OPTIMIZERS),
            ("schedule", tuple(SCHEDULES)),
            ("precision", ("float32", "bfloat16")),
            ("keep", ("last", "evidence")),
        ):
            if getattr(self, name) not in known:
                raise UsageError(
                    f"unknown {name} {getattr(self, name)!r}", remedy=f"Use {', '.join(known)}"
                )
        if not 0 < self.lr < math.inf:
            raise UsageError(f"lr={self.lr}", remedy="Give a finite learning rate above 0")
        if self.clip is not None and not self.clip > 0:
            raise UsageError(f"clip={self.clip}", remedy="Give a norm above 0, or None")
        for name in ("weight_decay", "workers"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UsageError(f"{name}={getattr(self, name)}", remedy="Give 0 or more")
        for name in ("momentum", "warmup"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name}={getattr(self, name)}", remedy="Give a value in [0, 1]")
        self._check_device()
        if self.ema is None or not 0 <= self.ema < 1:
            raise UsageError(f"ema={self.ema}", remedy="Give a decay in [0, 1), e.g. 0.999")

    def _check_device(self) -> None:
        try:
            kind = torch.device(self.device).type
            torch.empty(0, device=self.device)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            raise UsageError(
                f"device={self.device!r} cannot be used here",
                why=str(error).splitlines()[0][:200],
                remedy="Use cpu" + (", or cuda" if torch.cuda.is_available() else ""),
            ) from None
        if kind == "meta":
            raise UsageError("device='meta' computes nothing", remedy="Use cpu")

    def check_parts(self, processes: int) -> None:
        """Refuse batches that cannot be cut evenly: a mean over uneven parts would be biased."""
        parts = processes * self.accumulate
        for size in (self.batch_size, self.target_batch_size or self.batch_size):
            if size % parts:
                raise UsageError(
                    f"a batch of {size} rows cannot be cut into {parts} equal parts",
                    why=f"{processes} processes, {self.accumulate} accumulated parts",
                    remedy=f"Use a multiple of {parts}",
                )

    def identity(self) -> dict[str, Any]:
        """What decides the result: a run may be resumed with other values of the rest."""
        values = asdict(self)
        for name in ("workers", "checkpoint_every", "device"):
            del values[name]
        values["balance"] = list(self.balance)
        return values

    @property
    def place(self) -> torch.device:
        """The device; a process of several takes the GPU of its local rank."""
        import os

        device = torch.device(self.device)
        if device.type == "cuda" and device.index is None:
            return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        return device
