"""Which weights are trained when, and how fast: the strategies of fine-tuning.

A plan's state is a function of the epoch: a resumed run asks again and goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from torch import nn

from isthmus.errors import UsageError
from isthmus.fit.deep.freeze import (
    freeze,
    freeze_depth,
    hold_statistics,
    inside,
    network_units,
    unfreeze,
)
from isthmus.fit.deep.network import Network


class Plan(Protocol):
    """Which parameters are trained when, and how fast."""

    def prepare(self, network: Network) -> None:
        """Change the network once (low-rank layers); before optimizers are made."""

    def begin_epoch(self, network: Network, epoch: int, epochs: int) -> None:
        """Freeze and unfreeze for this epoch: a function of the epoch alone."""

    def scales(self, network: Network) -> Mapping[int, float]:
        """Factors of the learning rate, by id of the parameter."""

    def factor(self, progress: float) -> float:
        """One more factor of all learning rates."""


class Full:
    """Everything is trained at one rate, the head faster if asked.

    Parameters
    ----------
    head_factor : float, default=1.0
        Learning rate of bottleneck and head in units of the body's: new layers have further to go
        (10 in the papers on ResNet).
    """

    def __init__(self, head_factor: float = 1.0) -> None:
        self.head_factor = head_factor

    def prepare(self, network: Network) -> None:
        """Nothing to change."""

    def begin_epoch(self, network: Network, epoch: int, epochs: int) -> None:
        """Everything is trained; what the caller froze stays frozen."""

    def scales(self, network: Network) -> Mapping[int, float]:
        """The body at ``1 / head_factor`` of the head's rate."""
        return {id(p): 1 / self.head_factor for p in network.body.parameters()}

    def factor(self, progress: float) -> float:
        """1."""
        return 1.0


class HeadOnly(Full):
    """The body is frozen, its statistics too; bottleneck and head are trained."""

    def begin_epoch(self, network: Network, epoch: int, epochs: int) -> None:
        freeze(network, ["body"])


class TopK(Full):
    """The last `k` blocks (see `isthmus.fit.deep.freeze.network_units`) are trained."""

    def __init__(self, k: int = 2, head_factor: float = 1.0) -> None:
        super().__init__(head_factor)
        self.k = k

    def begin_epoch(self, network: Network, epoch: int, epochs: int) -> None:
        freeze_depth(network, self.k)


class GradualUnfreezing(Full):
    """From the head down, one block more every so often (Howard and Ruder 2018, section 3.3).

    Parameters
    ----------
    until : float, default=0.5
        Share of the epochs after which everything is trained.
    """

    def __init__(self, until: float = 0.5, head_factor: float = 1.0) -> None:
        super().__init__(head_factor)
        self.until = until

    def begin_epoch(self, network: Network, epoch: int, epochs: int) -> None:
        blocks = len(network_units(network))
        last = max(1, round(self.until * epochs))
        depth = blocks if epoch >= last else 1 + epoch * (blocks - 1) // last
        freeze_depth(network, depth)


class LayerwiseDecay(Full):
    """Every block learns `decay` times as fast as the one above it (Clark et al. 2020)."""

    def __init__(self, decay: float = 0.75) -> None:
        super().__init__()
        self.decay = decay

    def scales(self, network: Network) -> Mapping[int, float]:
        blocks = network_units(network)
        found = {}
        for name, parameter in network.named_parameters():
            level = next(
                (k for k, block in enumerate(blocks) if inside(name, block)), 0
            )  # weights outside any block (class tokens) belong to the input
            found[id(parameter)] = self.decay ** (len(blocks) - 1 - level)
        return found


class LinearProbeThenFineTune(Full):
    """First the head alone, then everything at a lower rate (Kumar et al. 2022).

    A head drawn at random pulls good features out of shape; one that fits them does not. Batch
    norm keeps the statistics that the head was fitted to in the second part as well: statistics
    of small batches would change the features under it at once, whatever the learning rate.

    Parameters
    ----------
    probe : float, default=0.5
        Share of the epochs for the head alone.
    slow : float, default=0.1
        Factor of the learning rate afterwards.
    """

    def __init__(self, probe: float = 0.5, slow: float = 0.1) -> None:
        super().__init__()
        self.probe, self.slow = probe, slow
        self._share = probe

    def begin_epoch(self, network: Network, epoch: int, epochs: int) -> None:
        if epochs < 2:
            raise UsageError(
                "lp-ft needs two epochs at least",
                why="the head is trained alone in the first ones",
                remedy="Give more epochs, or use strategy='full' or 'head-only'",
            )
        first = max(1, round(self.probe * epochs))
        self._share = first / epochs
        if epoch < first:
            freeze(network, ["body"])
        else:
            unfreeze(network)
            hold_statistics(network.body)

    def factor(self, progress: float) -> float:
        return 1.0 if progress < self._share else self.slow


class BiasOnly(Full):
    """Biases and the head (BitFit, Ben Zaken et al. 2022)."""

    def begin_epoch(self, network: Network, epoch: int, epochs: int) -> None:
        freeze(network, ["body"])
        for name, parameter in network.body.named_parameters():
            if name.endswith("bias"):  # of attention too: in_proj_bias
                parameter.requires_grad_(True)


class LoRA(Full):
    """Low-rank updates of linear and convolution layers, and the head (Hu et al. 2022).

    Parameters
    ----------
    rank : int, default=8
    alpha : float, default=16.0
        The update is scaled by ``alpha / rank``.
    layers : tuple of str
        Patterns of the layers that get one; default: every linear layer of the body, or every
        convolution where it has no linear layer.
    """

    def __init__(self, rank: int = 8, alpha: float = 16.0, layers: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.rank, self.alpha, self.layers = rank, alpha, tuple(layers)

    def prepare(self, network: Network) -> None:
        from isthmus.fit.deep.lora import add_lora

        add_lora(network.body, rank=self.rank, alpha=self.alpha, layers=self.layers)

    def begin_epoch(self, network: Network, epoch: int, epochs: int) -> None:
        from isthmus.fit.deep.lora import lora_parameters

        freeze(network, ["body"])
        for parameter in lora_parameters(network.body):
            parameter.requires_grad_(True)


STRATEGIES: dict[str, type[Full]] = {
    "full": Full,
    "head-only": HeadOnly,
    "top-k": TopK,
    "gradual": GradualUnfreezing,
    "layerwise": LayerwiseDecay,
    "lp-ft": LinearProbeThenFineTune,
    "lora": LoRA,
    "bias-only": BiasOnly,
}


def make_strategy(name: str, **options: Any) -> Full:
    """A plan by name.

    Raises
    ------
    UsageError
        On an unknown name or option.
    """
    if name not in STRATEGIES:
        raise UsageError(f"unknown strategy {name!r}", remedy=f"Use {', '.join(STRATEGIES)}")
    try:
        return STRATEGIES[name](**options)
    except TypeError as error:
        raise UsageError(f"strategy {name!r}: {error}") from None


def trained_share(network: nn.Module) -> float:
    """Share of the weights that are trained now."""
    sizes = [(p.numel(), p.requires_grad) for p in network.parameters()]
    return sum(n for n, on in sizes if on) / max(1, sum(n for n, _ in sizes))
