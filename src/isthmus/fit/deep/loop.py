"""The loop: batches in, updates out, and at every moment a checkpoint to go on from.

An `Objective` (one more loss) comes in through `isthmus.fit.deep.task_alignment.TaskAlignment`, a
method with steps of its own is a `Procedure`; `isthmus.align.base` says what both must keep to.

Every random number is a function of (seed, step): nothing is carried over that a checkpoint could
forget. Learning rates are a function of progress.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from isthmus.align.base import Procedure
from isthmus.align.domain_batch_norm import domains_of
from isthmus.errors import DataError, UsageError
from isthmus.fit.deep.batches import StepBatches
from isthmus.fit.deep.ema import MovingAverage
from isthmus.fit.deep.identity import identity_of
from isthmus.fit.deep.minimise import Minimiser, alone_explained
from isthmus.fit.deep.network import Network
from isthmus.fit.deep.optimizers import OptimizerFactory, set_rates
from isthmus.fit.deep.parallel import World, joined
from isthmus.fit.deep.rows import Batch, Rows
from isthmus.fit.deep.schedule import make_schedule
from isthmus.fit.deep.seeds import counter_seed, own_randomness, set_seed
from isthmus.fit.deep.settings import Settings
from isthmus.fit.deep.state import RunState, Trained
from isthmus.fit.deep.strategy import Full, Plan

logger = logging.getLogger(__name__)

BUILD, STEP = 101, 102  # tags of the seeds
Watch = Callable[[Network, int, Mapping[str, float]], Mapping[str, Any]]


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
    _check(network, procedure, target)
    device = settings.place
    with own_randomness(device), joined(device) as world:
        settings.check_parts(world.size)
        run = _Run(network, procedure, source, target, settings, plan, watch, folder, world)
        return run.to_the_end(on_step)


def _check(network: Network, procedure: Procedure, target: Rows | None) -> None:
    """Refuse what cannot be trained."""
    if not isinstance(network, Network):
        raise UsageError(
            f"a {type(network).__name__} does not tell features from logits",
            remedy="Wrap it: isthmus.fit.deep.network.Network(body, num_classes)",
        )
    parts = getattr(procedure, "objectives", None) or [procedure]
    name = " + ".join(type(part).__name__ for part in parts)
    if target is None and procedure.needs_target:
        raise UsageError(
            f"{name} cannot be trained without target rows",
            remedy="Give them: train(..., target=Rows(Xt))",
        )
    if domains_of(network) and (target is None or not procedure.domain_norms):
        raise UsageError(
            f"{name} cannot train batch normalisation of each domain",
            why="source and target rows must pass the network in every step",
            remedy="Train with an objective (dann, mcc, ...) and target rows",
        )


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
        self.network, self.procedure, self.watch = network, procedure, watch
        self.settings, self.world, self.device = settings, world, settings.place
        self.plan: Plan = plan or Full()
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
        self.plan.prepare(network)
        network.to(self.device)
        if settings.channels_last:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if settings.compile:
            network.body.compile()
        if hasattr(procedure, "world"):
            procedure.world = world
        optimizers = OptimizerFactory(settings, self.plan.scales(network))
        procedure.build(network, network.num_classes, optimizers)
        procedure.begin(source, target)
        for module in procedure.modules().values():
            module.to(self.device)
        self.schedule = make_schedule(settings.schedule, warmup=settings.warmup)
        self.minimise = Minimiser(
            world, clip=settings.clip, parts=settings.accumulate, sides=(source, target)
        )
        self.average = MovingAverage(network, settings.ema) if settings.ema else None
        self.state = RunState(network, procedure, self.average, settings, world)
        if folder is not None:
            identity = identity_of(network, procedure, settings, plan, source, target)
            self.state.keep_in(Path(folder), identity)

    def to_the_end(self, on_step: Callable[[int, int], None] | None) -> Trained:
        s, state, each = self.settings, self.state, self.per_epoch
        total = each * s.epochs
        if state.finished:  # what it froze stays so for the stage that follows
            self.plan.begin_epoch(self.network, max(state.step - 1, 0) // each, s.epochs)
        else:
            self._begin_epoch(state.step // each, fresh=state.step % each == 0)
        stop = 0 if state.finished else total
        pin = self.device.type == "cuda"
        for step, batches in self.batches.steps(state.step, stop, workers=s.workers, pin=pin):
            self._update(step, total, *batches)
            state.step = step + 1
            if on_step is not None:
                on_step(state.step, total)
            epoch, within = divmod(state.step, each)
            if within == 0:
                self._end_epoch(epoch - 1)
                if epoch == s.epochs:
                    state.finished = f"all {s.epochs} epochs are done"
                if state.finished:
                    break
                state.save()
                self._begin_epoch(epoch, fresh=True)
            elif s.checkpoint_every and state.step % s.checkpoint_every == 0:
                self.minimise.flush()
                state.save()
        state.save()
        state.settle()
        self._mode(False)
        return Trained(self.network, state.lines, state.step, state.finished)

    def _update(self, step: int, total: int, source: Batch | None, target: Batch | None) -> None:
        s = self.settings
        set_seed(counter_seed(s.seed, STEP, step, self.world.rank), self.device)
        source, target = self._placed(source), self._placed(target)
        middle = (step + 0.5) / total
        rate = s.lr * self.plan.factor(middle)
        set_rates(self.procedure.optimizers().values(), rate, self.schedule, middle)
        where = f"step {step} (epoch {step // self.per_epoch})"
        low = s.precision == "bfloat16"
        for k in range(s.accumulate):
            here, there = (
                None if batch is None else batch.part(k, s.accumulate) for batch in (source, target)
            )
            self.minimise.start_part(k, where, (here, there))
            kind = torch.autocast(self.device.type, dtype=torch.bfloat16) if low else nullcontext()
            with kind, alone_explained(where):
                losses = self.procedure.step(here, there, step / total, self.minimise)
            self.state.add(losses)
        if self.average is not None:
            self.average.update(step)

    def _placed(self, batch: Batch | None) -> Batch | None:
        if batch is not None and self.device.type != "cpu":
            batch = batch.to(self.device)
        if batch is not None and self.settings.channels_last:
            images = torch.channels_last
            batch = batch.apply(lambda t: t.contiguous(memory_format=images) if t.ndim == 4 else t)
        return batch

    def _begin_epoch(self, epoch: int, *, fresh: bool) -> None:
        self.plan.begin_epoch(self.network, epoch, self.settings.epochs)
        if fresh:
            self.state.start_epoch()
            set_seed(counter_seed(self.settings.seed, STEP, -1 - epoch), self.device)
            self.procedure.begin_epoch(epoch)
        self._mode(True)
        self.minimise.start_epoch(self.procedure.optimizers().values())

    def _mode(self, training: bool) -> None:
        for module in self.procedure.modules().values():
            module.train(training)

    def _end_epoch(self, epoch: int) -> None:
        self.minimise.flush()
        self.minimise.look_at_weights(f"after epoch {epoch}")
        self.state.average_buffers()
        means = self.state.means()
        line: dict[str, Any] = {"epoch": epoch, "step": self.state.step, "losses": means}
        if self.watch is not None:
            self._mode(False)
            with self.average.applied() if self.average else nullcontext(), torch.no_grad():
                line |= self.watch(self.network, epoch, means)
        self.state.end_epoch(line)
        logger.info("epoch %d: %s", epoch, self.state.lines[-1])
