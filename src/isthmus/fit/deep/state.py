"""What a run is beyond its weights: how far it is, its log, its best moment; saved and resumed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from isthmus.align.base import Procedure
from isthmus.fit.deep import checkpoint
from isthmus.fit.deep.ema import MovingAverage
from isthmus.fit.deep.network import Network
from isthmus.fit.deep.parallel import World
from isthmus.fit.deep.settings import Settings
from isthmus.fit.deep.surgery import copies


@dataclass
class Trained:
    """The end of a run.

    Parameters
    ----------
    network : Network
        In evaluation mode.
    lines : list of dict
        The metric log: one entry an epoch.
    steps : int
        Updates that were made.
    stopped : str
        Why it ended, in words.
    """

    network: Network
    lines: list[dict[str, Any]] = field(default_factory=list)
    steps: int = 0
    stopped: str = ""


class RunState:
    """The moment that a run is in.

    Parameters
    ----------
    network : Network
    procedure : Procedure
        After its `build`: its modules and optimizers are saved too.
    average : MovingAverage, optional
    settings : Settings
    world : World
        Process 0 writes.

    Attributes
    ----------
    step : int
        Updates that are done.
    finished : str
        Why it ended, in words; empty while it has not.
    lines : list of dict
        The metric log, one entry an epoch.
    """

    def __init__(
        self,
        network: Network,
        procedure: Procedure,
        average: MovingAverage | None,
        settings: Settings,
        world: World,
    ) -> None:
        self.network, self.procedure, self.average = network, procedure, average
        self.settings, self.world = settings, world
        self.folder: Path | None = None
        self.identity: Mapping[str, Any] = {}
        self.step, self.finished = 0, ""
        self.lines: list[dict[str, Any]] = []
        self._sums: dict[str, Any] = {}
        self._counts: dict[str, int] = {}
        self._best: dict[str, Tensor] = {}

    def keep_in(self, folder: Path, identity: Mapping[str, Any]) -> None:
        """Checkpoints go to this folder; go on from the one that is there already.

        Parameters
        ----------
        folder : Path
        identity : mapping
            What the run is, see `isthmus.fit.deep.identity`.

        Raises
        ------
        UsageError, BundleError
            See `isthmus.fit.deep.checkpoint.load`.
        """
        self.folder, self.identity = folder, identity
        found = checkpoint.load(folder, identity=identity)
        if found is None:
            return
        self.step, tensors, self.lines, facts = found
        checkpoint.restore_state(
            self.procedure.modules(), self.procedure.optimizers(), tensors, facts["plain"]
        )
        self._sums, self._counts = dict(facts["sums"]), dict(facts["counts"])
        self.finished = str(facts["finished"])
        kept = {
            name: {key[len(name) :]: t for key, t in tensors.items() if key.startswith(name)}
            for name in ("ema/", "best/")
        }
        self._best = kept["best/"]
        if self.average is not None:
            self.average.restore(kept["ema/"])

    def start_epoch(self) -> None:
        """Losses are summed anew."""
        self._sums, self._counts = {}, {}

    def add(self, losses: Mapping[str, float | Tensor]) -> None:
        """Take in what a step, or a part of it, logged; a GPU's values are not waited for."""
        for name, value in losses.items():
            if isinstance(value, Tensor):
                value = value.detach()
                value = value.item() if value.device.type == "cpu" else value.double()
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + 1

    def means(self) -> dict[str, float]:
        """Mean losses of the epoch so far, each over the steps that logged it."""
        return {name: float(value) / self._counts[name] for name, value in self._sums.items()}

    def end_epoch(self, line: Mapping[str, Any]) -> None:
        """Log an epoch; keep the weights if they are the best so far, finish if none were long.

        ``held_out`` in the line (higher is better) decides, or ``evidence`` where the settings
        keep by it.
        """
        self.lines.append(_plain(line))
        patience = self.settings.patience
        name = "evidence" if self.settings.keep == "evidence" else "held_out"
        if (patience is None and name == "held_out") or self.lines[-1].get(name) is None:
            return
        scores = [-math.inf if e.get(name) is None else e[name] for e in self.lines]
        best = scores.index(max(scores))
        if best == len(scores) - 1:
            state = self.average.state() if self.average else self.network.state_dict()
            self._best = copies(state)
        elif patience is not None and len(scores) - 1 - best >= patience:
            by = "by the evidence" if name == "evidence" else "on held-out rows"
            self.finished = f"no better {by} for {patience} epochs; best: epoch {best}"

    def settle(self) -> None:
        """The network takes the weights that the run ends with: the best, averaged or last ones."""
        if self._best:
            self.network.load_state_dict(self._best)
        elif self.average is not None:
            self.network.load_state_dict(self.average.state())

    def average_buffers(self) -> None:
        """Statistics of all processes become one."""
        buffers = [b for m in self.procedure.modules().values() for b in m.buffers()]
        self.world.average(b for b in buffers if b.is_floating_point())

    def save(self) -> None:
        """Write a checkpoint; nothing happens before `keep_in`."""
        if self.folder is None:
            return
        self.average_buffers()
        if self.world.rank == 0:
            tensors, plain = checkpoint.gather_state(
                self.procedure.modules(), self.procedure.optimizers()
            )
            average = self.average.state() if self.average else {}
            for name, state in (("ema", average), ("best", self._best)):
                tensors |= {f"{name}/{key}": value for key, value in state.items()}
            checkpoint.save(
                self.folder,
                step=self.step,
                tensors=tensors,
                lines=self.lines,
                identity=self.identity,
                facts={
                    "plain": plain,
                    "sums": {name: float(value) for name, value in self._sums.items()},
                    "counts": self._counts,
                    "finished": self.finished,
                },
            )
        self.world.wait()


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON-ready: numbers that are none become None."""
    out: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            out[name] = _plain(value)
        elif isinstance(value, (float, np.floating)):
            out[name] = float(value) if value - value == 0 else None
        elif isinstance(value, np.integer):
            out[name] = int(value)
        else:
            out[name] = value
    return out
