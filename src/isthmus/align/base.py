"""Layer 4: what a trained alignment method is: a loss beside the task's, or steps of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from isthmus.types import DomainBatch

MakeOptimizer = Callable[["Iterable[nn.Parameter | Mapping[str, Any]]"], torch.optim.Optimizer]
Minimise = Callable[[Tensor, "Iterable[torch.optim.Optimizer]"], bool]


class Objective(nn.Module, ABC):
    """A trained alignment loss; its own parameters join the optimizer of the network.

    `__init__` stores settings only. The loop calls `build` once, under a seeded generator, then
    adds ``trade_off * objective(source, target, progress)`` to the task loss of every step.

    Attributes
    ----------
    trade_off : float
        Weight of this loss beside the task loss.
    rate : float
        Learning rate of own parameters in units of the run's. A game needs an opponent that is
        ahead of the features; a small one that learns fast is ahead at less cost than a large one.
    figures : dict of tensors
        What the last step saw beside its loss, detached scalars for the log, e.g.
        ``domain_accuracy``; empty where a method has none.
    reaches : tuple of str
        What the gradient reaches besides own parameters, with default settings:
        ``"source.features"``, ``"source.logits"``, ``"target.features"``, ``"target.logits"``.
    needs_labels : bool
        Whether the source labels are read.
    on_features : mapping
        Settings instead of the defaults where a small network on features is trained, beside which
        a discriminator of the papers' size is the larger part.
    family : str
        ``adversarial`` where a discriminator or a second head is played against, else ``deep``;
        written as a plain string, which `isthmus.align.names` reads without torch.
    """

    trade_off: float = 1.0
    rate: float = 1.0
    family: ClassVar[str] = "deep"
    reaches: ClassVar[tuple[str, ...]] = ()
    needs_labels: ClassVar[bool] = False
    on_features: ClassVar[Mapping[str, Any]] = {}

    def __init__(self) -> None:
        super().__init__()
        self.figures: dict[str, Tensor] = {}

    def build(self, num_features: int, num_classes: int) -> None:
        """Make the modules that this objective owns, for features (n, num_features).

        The default owns none. Weights are drawn from torch's current generator, which the caller
        has seeded.
        """

    @abstractmethod
    def forward(self, source: DomainBatch, target: DomainBatch, progress: float) -> Tensor:
        """The loss of one step, a scalar tensor.

        Parameters
        ----------
        source, target : DomainBatch
            What the network made of a batch of each domain; their sizes may differ.
        progress : float
            Share of the training that lies behind, in [0, 1].
        """


class Procedure(ABC):
    """A method that does not fit one summed loss: it takes its own optimizer steps.

    The loop still owns batches, schedules, checkpoints and logs; every module and optimizer that
    a procedure names here is put on the device, saved and resumed with it.

    A procedure draws from torch's default generator and from nothing else, and keeps what it must
    remember in buffers of its modules; then a run that was killed continues bit for bit.
    """

    #: whether `step` receives labelled source rows; a source-free method receives None instead
    uses_source: bool = True
    #: whether it is nothing without target rows
    needs_target: bool = True
    #: whether it passes each domain through batch norm of its own, where the network has that
    domain_norms: ClassVar[bool] = False
    #: views of a target row that it looks at, made by augmentation where there is one
    views: ClassVar[tuple[str, ...]] = ()
    #: whether it is nothing without those views, which rows of features do not have
    needs_views: ClassVar[bool] = False
    #: of the source labels; the run sets it (`isthmus.fit.deep.stages.adapt`)
    label_smoothing: float = 0.0
    optimizer: torch.optim.Optimizer
    #: as of an `Objective`
    family: ClassVar[str] = "deep"

    @abstractmethod
    def build(
        self,
        network: nn.Module,
        num_classes: int,
        optimizer: MakeOptimizer,
    ) -> None:
        """Make own modules and optimizers for `network`; called once, under a seeded generator.

        ``optimizer`` takes parameters, or groups of them with an ``lr_scale``.
        """

    @abstractmethod
    def modules(self) -> Mapping[str, nn.Module]:
        """Every module whose state must survive a crash, the network included, by name."""

    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        """Every optimizer, by name; by default the one that `build` keeps as `optimizer`."""
        return {"main": self.optimizer}

    def begin(self, source: Any, target: Any) -> None:  # noqa: B027 - most methods need it not
        """Look at the data sets (`isthmus.fit.deep.rows.Rows`) once, after `build`.

        For buffers whose size hangs on them (one pseudo-label a target row, say): put them on a
        module that `modules` names. It is called before a checkpoint is read back, which then
        overwrites them. `source` is None where `uses_source` is False.
        """

    def begin_epoch(self, epoch: int) -> None:  # noqa: B027 - most methods need it not
        """Work between epochs (new pseudo-labels, say), before the first step of epoch 0, 1, ...

        ``target.in_order()`` gives batches without augmentation; put the network in ``eval()``
        meanwhile, the loop sets ``train()`` afterwards.
        A resumed run does not repeat it for an epoch that had begun: what it makes must lie in
        buffers of the modules.
        """

    @abstractmethod
    def step(
        self, source: Any, target: Any, progress: float, minimise: Minimise
    ) -> Mapping[str, float | Tensor]:
        """One step on a raw batch of each domain; returns the losses to log, by name.

        Zero-dimensional detached tensors are welcome: they are read only when they are logged.

        Parameters
        ----------
        source : `isthmus.fit.deep.rows.Batch`, or None where `uses_source` is False
            With ``inputs``, ``labels``, ``rows`` (positions in the data set), ``views``.
        target : Batch, or None where the run has no target rows
            ``labels`` is None.
        progress : float
            Share of the training that lies behind, in [0, 1].
        minimise : callable
            ``minimise(loss, optimizers)``: zero, backward, clip, step; knows about accumulation,
            mixed precision and several processes, so that a method need not. True where the
            parameters moved, False where their gradient waits for further parts of the step.
        """
