"""The loop: batches in, updates out, and at every moment a checkpoint to go on from.

**How a method plugs in.** An `Objective` (one more loss) goes into
`isthmus.fit.deep.task_alignment.TaskAlignment`. A method with steps of its own is a `Procedure`:

1. ``build(network, num_classes, optimizer)``: keep the network, make modules and optimizers with
   ``optimizer(parameters)`` (or groups with an ``lr_scale``); it runs under a seeded generator.
2. ``modules()`` and ``optimizers()`` name all of them, the network too: they are put on the
   device, in training mode, into checkpoints.
3. ``begin(source, target)`` sees the data sets once, for buffers of their size; ``begin_epoch``
   comes before the first step of each epoch, for pseudo-labels (``target.in_order()`` gives
   batches without augmentation; put the network in ``eval()`` meanwhile, the loop sets
   ``train()`` afterwards).
4. ``step(source, target, progress, minimise)`` computes losses with
   ``network.outputs(batch.inputs)`` and calls ``minimise(loss, optimizers)`` for each update: only
   the parameters of those optimizers move. It returns what to log.

A procedure draws from torch's default generator and from nothing else, and keeps what it must
remember in buffers of its modules; then a run that was killed continues bit for bit.

Every random number is a function of (seed, step): nothing is carried over that a checkpoint could
forget. Learning rates are a function of progress.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from isthmus.align.base import Procedure
from isthmus.errors import DataError, UsageError
from isthmus.fit.deep import checkpoint
from isthmus.fit.deep.batches import StepBatches
from isthmus.fit.deep.ema import MovingAverage
from isthmus.fit.deep.identity import identity_of
from isthmus.fit.deep.minimise import Minimiser
from isthmus.fit.deep.network import Network
from isthmus.fit.deep.optimizers import OptimizerFactory, set_rates
from isthmus.fit.deep.parallel import World, joined
from isthmus.fit.deep.rows import Batch, Rows
from isthmus.fit.deep.schedule import make_schedule
from isthmus.fit.deep.seeds import counter_seed, own_randomness, set_seed
from isthmus.fit.deep.settings import Settings

logger = logging.getLogger(__name__)

BUILD, STEP = 101, 102  # tags of the seeds
Watch = Callable[[Network, int, Mapping[str, float]], Mapping[str, Any]]


class Plan(Protocol):
    """Which parameters are trained when, and how fast; see `isthmus.fit.deep.strategy`."""

    def prepare(self, network: Network) -> None:
        """Change the network once (low-rank layers); before optimizers are made."""

    def begin_epoch(self, network: Network, epoch: int, epochs: int) -> None:
        """Freeze and unfreeze for this epoch: a function of the epoch alone."""

    def scales(self, network: Network) -> Mapping[int, float]:
        """Factors of the learning rate, by id of the parameter."""

    def factor(self, progress: float) -> float:
        """One more factor of all learning rates."""


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


def train(
    network: Network,
    procedure: Procedure,
    *,
    source: Rows | None = None,
    target: Rows | None = None,
    settings: Settings | None = None,
    plan: Plan | None = None,
    watch: Watch | None = None,
    folder: str | Path | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> Trained:
    """Run a procedure to its end, or go on where an interrupted run left off.

    Parameters
    ----------
    network : Network
        Changed in place.
    procedure : Procedure
    source : Rows
        Labelled; None only for a source-free procedure.
    target : Rows, optional
        Its labels, if any, are not read.
    settings : Settings, optional
    plan : Plan, optional
        Default: everything is trained.
    watch : callable, optional
        ``watch(network, epoch, losses) -> dict`` after each epoch, the network in evaluation
        mode; what it returns is logged. ``held_out`` in it (higher is better) is what
        `Settings.patience` waits for, ``evidence`` what `Settings.keep` goes by.
    folder : path-like, optional
        Checkpoints and ``metrics.jsonl``. The same call with the same folder resumes.
    on_step : callable, optional
        ``on_step(done, total)``.

    Raises
    ------
    NonFiniteLossError
        Naming the rows of the batch.
    UsageError
        If settings contradict each other, or the folder belongs to another run.
    """
    settings = settings or Settings()
    settings.check()
    if not isinstance(network, Network):
        raise UsageError(
            f"a {type(network).__name__} does not tell features from logits",
            remedy="Wrap it: isthmus.fit.deep.network.Network(body, num_classes)",
        )
    device = settings.place
    with own_randomness(device), joined(device) as world:
        settings.check_parts(world.size)
        run = _Run(network, procedure, source, target, settings, plan, watch, folder, world)
        return run.to_the_end(on_step)


class _Run:
    """What one call of `train` holds."""

    def __init__(
        self,
        network: Network,
        procedure: Procedure,
        source: Rows | None,
        target: Rows | None,
        settings: Settings,
        plan: Plan | None,
        watch: Watch | None,
        folder: str | Path | None,
        world: World,
    ) -> None:
        self.network, self.procedure, self.settings, self.world = (
            network, procedure, settings, world,
        )  # fmt: skip
        self.plan, self.watch, self.device = plan, watch, settings.place
        self.folder = None if folder is None else Path(folder)
        source = source if procedure.uses_source else None  # the type's promise, kept here
        if source is not None and source.labels is None:
            raise DataError("the source rows have no labels", why="a source teaches by its labels")
        main = source if source is not None else target
        if main is None:
            raise DataError("there are no rows to train on")
        if target is not None and target.labels is not None:
            target = target.without_labels()
        self.per_epoch = settings.steps_per_epoch or -(-len(main) // settings.batch_size)
        self.batches = StepBatches(
            source,
            target,
            batch_size=settings.batch_size,
            target_batch_size=settings.target_batch_size,
            seed=settings.seed,
            balance=settings.balance,
            world=world,
        )
        set_seed(counter_seed(settings.seed, BUILD), self.device)
        if plan is not None:
            plan.prepare(network)
        network.to(self.device)
        if settings.channels_last:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if settings.compile:
            network.body.compile()
        scales = plan.scales(network) if plan is not None else {}
        if hasattr(procedure, "world"):
            procedure.world = world
        procedure.build(network, network.num_classes, OptimizerFactory(settings, scales))
        procedure.begin(source, target)
        for module in procedure.modules().values():
            module.to(self.device)
        self.average = MovingAverage(network, settings.ema) if settings.ema else None
        self.schedule = make_schedule(settings.schedule, warmup=settings.warmup)
        self.minimise = Minimiser(world, clip=settings.clip, parts=settings.accumulate)
        self.identity: dict[str, Any] = {}
        if self.folder is not None:  # digests of the data take time
            self.identity = identity_of(network, procedure, settings, plan, source, target)
        self.step, self.finished = 0, ""
        self.lines: list[dict[str, Any]] = []
        self.sums: dict[str, Any] = {}
        self.best: dict[str, Tensor] = {}
        self._resume()

    def to_the_end(self, on_step: Callable[[int, int], None] | None) -> Trained:
        s, total = self.settings, self.per_epoch * self.settings.epochs
        if not self.finished:
            self._begin_epoch(self.step // self.per_epoch, fresh=self.step % self.per_epoch == 0)
        stop = 0 if self.finished else total
        pin = self.device.type == "cuda"
        for step, (source, target) in self.batches.steps(
            self.step, stop, workers=s.workers, pin=pin
        ):
            self._update(step, total, source, target)
            self.step = step + 1
            if on_step is not None:
                on_step(self.step, total)
            if self.step % self.per_epoch == 0:
                epoch = self.step // self.per_epoch
                self._end_epoch(epoch - 1)
                if epoch == s.epochs:
                    self.finished = f"all {s.epochs} epochs are done"
                if self.finished:
                    break
                self._save()
                self._begin_epoch(epoch, fresh=True)
            elif s.checkpoint_every and self.step % s.checkpoint_every == 0:
                self._save()
        return self._finish()

    def _update(self, step: int, total: int, source: Batch | None, target: Batch | None) -> None:
        s = self.settings
        set_seed(counter_seed(s.seed, STEP, step, self.world.rank), self.device)
        source = None if source is None else self._placed(source)
        target = None if target is None else self._placed(target)
        middle = (step + 0.5) / total
        factor = s.lr if self.plan is None else s.lr * self.plan.factor(middle)
        set_rates(self.procedure.optimizers().values(), factor, self.schedule, middle)
        where = f"step {step} (epoch {step // self.per_epoch})"
        low = s.precision == "bfloat16"
        for k in range(s.accumulate):
            parts = _part(source, k, s.accumulate), _part(target, k, s.accumulate)
            self.minimise.start_part(k, where, parts)
            with torch.autocast(self.device.type, dtype=torch.bfloat16) if low else nullcontext():
                losses = self.procedure.step(*parts, step / total, self.minimise)
            for name, value in losses.items():
                if isinstance(value, Tensor):
                    value = value.detach()
                    value = value.double() if self.device.type != "cpu" else value.item()
                self.sums[name] = self.sums.get(name, 0.0) + value / s.accumulate
        if self.average is not None:
            self.average.update(step)

    def _placed(self, batch: Batch) -> Batch:
        if self.device.type != "cpu":
            batch = batch.to(self.device)
        if self.settings.channels_last:
            images = torch.channels_last
            batch = batch.apply(lambda t: t.contiguous(memory_format=images) if t.ndim == 4 else t)
        return batch

    def _begin_epoch(self, epoch: int, *, fresh: bool) -> None:
        if self.plan is not None:
            self.plan.begin_epoch(self.network, epoch, self.settings.epochs)
        if fresh:
            self.sums = {}
            set_seed(counter_seed(self.settings.seed, STEP, -1 - epoch), self.device)
            self.procedure.begin_epoch(epoch)
        self._mode(True)
        self.minimise.start_epoch(self.procedure.optimizers().values())

    def _mode(self, training: bool) -> None:
        for module in self.procedure.modules().values():
            module.train(training)

    def _end_epoch(self, epoch: int) -> None:
        self.minimise.flush()
        buffers = [b for m in self.procedure.modules().values() for b in m.buffers()]
        self.world.average(b for b in buffers if b.is_floating_point())
        means = {name: float(value) / self.per_epoch for name, value in self.sums.items()}
        line: dict[str, Any] = {"epoch": epoch, "step": self.step, "losses": _plain(means)}
        if self.watch is not None:
            self._mode(False)
            with _applied(self.average), torch.no_grad():
                line |= _plain(self.watch(self.network, epoch, means))
        self.lines.append(line)
        logger.info("epoch %d: %s", epoch, line)
        self._judge(line)

    def _judge(self, line: Mapping[str, Any]) -> None:
        """Keep the best weights so far; stop when they have been the best for long enough."""
        patience = self.settings.patience
        name = "evidence" if self.settings.keep == "evidence" else "held_out"
        if (patience is None and name == "held_out") or line.get(name) is None:
            return
        scores = [-math.inf if e.get(name) is None else e[name] for e in self.lines]
        best = scores.index(max(scores))
        if best == len(scores) - 1:
            state = self.average.state() if self.average else self.network.state_dict()
            self.best = {name: t.detach().clone() for name, t in state.items()}
        elif patience is not None and len(scores) - 1 - best >= patience:
            by = "by the evidence" if name == "evidence" else "on held-out rows"
            self.finished = f"no better {by} for {patience} epochs; best: epoch {best}"

    def _finish(self) -> Trained:
        self.minimise.flush()
        if self.folder is not None:
            self._save()
        if self.best:
            self.network.load_state_dict(self.best)
        elif self.average is not None:
            self.network.load_state_dict(self.average.state())
        self._mode(False)
        return Trained(self.network, self.lines, self.step, self.finished)

    def _save(self) -> None:
        if self.folder is None:
            return
        self.minimise.flush()
        procedure = self.procedure
        buffers = [b for m in procedure.modules().values() for b in m.buffers()]
        self.world.average(b for b in buffers if b.is_floating_point())
        if self.world.rank == 0:
            tensors, plain = checkpoint.gather_state(procedure.modules(), procedure.optimizers())
            for name, state in (
                ("ema", self.average and self.average.state()),
                ("best", self.best),
            ):
                tensors |= {f"{name}/{key}": value for key, value in (state or {}).items()}
            sums = {name: float(value) for name, value in self.sums.items()}
            checkpoint.save(
                self.folder,
                step=self.step,
                tensors=tensors,
                lines=self.lines,
                identity=self.identity,
                facts={"plain": plain, "sums": sums, "finished": self.finished},
            )
        self.world.wait()

    def _resume(self) -> None:
        if self.folder is None:
            return
        found = checkpoint.load(self.folder, identity=self.identity)
        if found is None:
            return
        self.step, tensors, self.lines, facts = found
        procedure = self.procedure
        checkpoint.restore_state(
            procedure.modules(), procedure.optimizers(), tensors, facts["plain"]
        )
        self.sums, self.finished = dict(facts["sums"]), str(facts["finished"])
        kept = {
            name: {key[len(name) :]: t for key, t in tensors.items() if key.startswith(name)}
            for name in ("ema/", "best/")
        }
        self.best = kept["best/"]
        if self.average is not None:
            self.average.restore(kept["ema/"])


def _part(batch: Batch | None, index: int, parts: int) -> Batch | None:
    return None if batch is None else batch.part(index, parts)


def _applied(average: MovingAverage | None) -> Any:
    return nullcontext() if average is None else average.applied()


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON-ready: numbers that are none become None."""
    out: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            out[name] = _plain(value)
        elif isinstance(value, float):
            out[name] = value if value - value == 0 else None
        else:
            out[name] = value
    return out
