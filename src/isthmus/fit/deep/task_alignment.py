"""The ordinary procedure: task loss on the source + weighted alignment losses, one update."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.align.base import MakeOptimizer, Minimise, Objective, Procedure
from isthmus.align.domain_batch_norm import domains_of, in_domain, source_domain
from isthmus.errors import UsageError
from isthmus.fit.deep.minimise import full_precision
from isthmus.fit.deep.network import Network, Outputs, joined_inputs
from isthmus.fit.deep.optimizers import SCALE
from isthmus.fit.deep.parallel import World
from isthmus.fit.deep.rows import Batch
from isthmus.types import DomainBatch, Task


class TaskAlignment(Procedure):
    """``loss = task + sum of trade_off * objective + penalties``.

    In a network with `isthmus.align.domain_batch_norm.DomainBatchNorm` each domain has its own.

    Parameters
    ----------
    objectives : sequence of Objective
        None of them: source-only training (fine-tuning on labelled rows).
    task : {"classification", "regression", "multilabel"}
    label_smoothing : float, default=0.0
    joint : bool, default=True
        Both domains pass the network as one batch, so that batch norm sees both; False: one after
        the other.
    penalties : sequence of callables
        ``penalty(network, batch) -> scalar tensor``, of the source's `DomainBatch`: regularisers
        of fine-tuning. Those that are modules are saved with the run; a method
        ``build(network, num_classes)`` is called once.
    mix : callable, optional
        ``mix(batch, num_classes) -> batch``: mixup or CutMix of the source.
    """

    domain_norms = True

    def __init__(
        self,
        objectives: Sequence[Objective] = (),
        *,
        task: Task = "classification",
        label_smoothing: float = 0.0,
        joint: bool = True,
        penalties: Sequence[Callable[[Network, DomainBatch], Tensor]] = (),
        mix: Callable[[Batch, int], Batch] | None = None,
    ) -> None:
        self.objectives, self.penalties = tuple(objectives), tuple(penalties)
        self.task, self.label_smoothing, self.joint, self.mix = task, label_smoothing, joint, mix
        self.world = World()  # the loop puts the real one here
        self.needs_target = bool(self.objectives)
        for objective in self.objectives:
            if objective.trade_off < 0:
                raise UsageError(
                    f"{type(objective).__name__}: trade_off={objective.trade_off}",
                    why="a negative weight asks for the opposite of the method",
                    remedy="Give 0 or more",
                )

    def build(
        self,
        network: nn.Module,
        num_classes: int,
        optimizer: MakeOptimizer,
    ) -> None:
        """One optimizer for the network and all that the losses own."""
        assert isinstance(network, Network)  # the loop has checked it
        self.network, self.num_classes = network, num_classes
        self.domains = domains_of(network)
        device = next(network.parameters()).device
        self._modules: dict[str, nn.Module] = {"network": network}
        for k, objective in enumerate(self.objectives):
            objective.build(network.num_features, num_classes)
            self._modules[f"objective{k}"] = objective.to(device)
        for k, penalty in enumerate(self.penalties):
            if hasattr(penalty, "build"):
                penalty.build(network, num_classes)
            if isinstance(penalty, nn.Module):
                self._modules[f"penalty{k}"] = penalty.to(device)
        owned = {id(p): p for module in self._modules.values() for p in module.parameters()}
        rates = {id(p): own.rate for own in self.objectives for p in own.parameters()}
        groups: dict[float, list[nn.Parameter]] = {}
        for key, parameter in owned.items():
            groups.setdefault(rates.get(key, 1.0), []).append(parameter)
        self.optimizer = optimizer(
            {"params": members, SCALE: rate} for rate, members in groups.items()
        )

    def modules(self) -> Mapping[str, nn.Module]:
        return self._modules

    def step(
        self, source: Any, target: Any, progress: float, minimise: Minimise
    ) -> Mapping[str, float | Tensor]:
        if self.mix is not None:
            source = self.mix(source, self.num_classes)
        aligned = bool(self.objectives) and target is not None
        out, other = self._seen(source, target if aligned else None)
        device = out.logits.device.type
        with full_precision(device):
            loss = self.task_loss(out.logits, source)
            log: dict[str, float | Tensor] = {"task": loss.detach()}
            own = out.as_domain(source)
            if other is not None:
                here, there = self._whole(out, source), self._whole(other, target)
                for k, objective in enumerate(self.objectives):
                    term = objective(here, there, progress)
                    name = _label(objective, k, self.objectives)
                    log[name] = term.detach()
                    for figure, value in getattr(objective, "figures", {}).items():
                        log[f"{name}_{figure}"] = value
                    loss = loss + objective.trade_off * term
            for k, penalty in enumerate(self.penalties):
                term = penalty(self.network, own)
                log[_label(penalty, k, self.penalties)] = term.detach()
                loss = loss + term
        minimise(loss, (self.optimizer,))
        return log

    def _seen(self, source: Batch, target: Batch | None) -> tuple[Outputs, Outputs | None]:
        """What the network makes of both batches, each row normalised with its domain's."""
        if self.domains:  # BN layers of each domain: they never see a mixed batch
            with in_domain(self.network, source_domain(source.domains, self.domains)):
                out = self.network.outputs(source.inputs)
            assert target is not None  # the loop has refused it
            return out, self.network.outputs(target.inputs)
        if target is None:
            return self.network.outputs(source.inputs), None
        if self.joint:
            both = self.network.outputs(joined_inputs(source.inputs, target.inputs))
            return both.split(len(source))
        return self.network.outputs(source.inputs), self.network.outputs(target.inputs)

    def task_loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy, squared error, or one binary cross-entropy a label; means over rows."""
        labels: Any = batch.labels if batch.soft is None else batch.soft
        if self.task == "regression":
            return F.mse_loss(logits.squeeze(1), labels)
        if self.task == "multilabel":
            return F.binary_cross_entropy_with_logits(logits, labels)
        return F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)

    def _whole(self, out: Outputs, batch: Batch) -> DomainBatch:
        """The batch of all processes: a loss of clouds of rows needs every row."""
        found = out.as_domain(batch)
        if self.world.size == 1:
            return found
        gather = self.world.gather

        def each(value: Any) -> Any:
            if isinstance(value, Mapping):
                return {name: each(item) for name, item in value.items()}
            return gather(value) if isinstance(value, Tensor) else value

        return DomainBatch(*(each(getattr(found, name)) for name in found.__dataclass_fields__))


def _label(thing: Any, k: int, among: Sequence[Any]) -> str:
    """Its class name in lower case; with a number where there are several of the class."""
    name = type(thing).__name__.lower()
    return name if sum(type(t) is type(thing) for t in among) == 1 else f"{name}{k}"
