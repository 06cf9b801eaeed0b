"""NRC: without source rows, predict what one's neighbours predict (Yang et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.align.base import MakeOptimizer, Minimise, Procedure
from isthmus.align.encoders import evaluated, no_source
from isthmus.align.views import full_precision, need_classes
from isthmus.errors import DataError


class NRC(Procedure):
    """Neighbourhood reciprocity clustering of target rows; no source row is seen.

    Every prediction is drawn to those of its nearest neighbours, with weight 1 where the
    neighbourhood is mutual and `weak` where it is not, to those of their neighbours with weight
    `weak`, and to itself; predictions spread over the classes. Features and predictions of all
    target rows lie in a memory that each step renews for its rows (Yang, van de Weijer, Herranz
    and Jui, *Exploiting the intrinsic neighborhood structure for source-free domain adaptation*,
    NeurIPS 2021, eq. 2-8).

    Parameters
    ----------
    neighbours : int, default=4
        K nearest neighbours by the angle of features.
    further : int, default=3
        M neighbours of each of them.
    weak : float, default=0.1
        Affinity of what is no mutual neighbour; all three the authors' for photographs.
    diversity : float, default=1.0
        Weight of the spread over classes.

    Notes
    -----
    The network must have learned the source before (`isthmus.fit.deep.stages.adapt`). The
    memory takes n (d + k) numbers, a step up to n (K + 1) b products of length d. Draws the class
    shares to equal ones.
    """

    uses_source = False

    def __init__(
        self, *, neighbours: int = 4, further: int = 3, weak: float = 0.1, diversity: float = 1.0
    ) -> None:
        self.neighbours, self.further, self.weak = neighbours, further, weak
        self.diversity = diversity

    def build(
        self,
        network: Any,
        num_classes: int,
        optimizer: MakeOptimizer,
    ) -> None:
        need_classes(num_classes, who="NRC")
        self.network = network
        self.memory = _Memory()
        self.optimizer = optimizer(network.parameters())

    def modules(self) -> Mapping[str, nn.Module]:
        return {"network": self.network, "memory": self.memory}

    def begin(self, source: None, target: Any) -> None:
        no_source(source, who="NRC")
        needed = max(self.neighbours, self.further) + 1
        if len(target) < needed:
            raise DataError(f"NRC needs {needed} target rows, there are {len(target)}")
        self.target = target
        sizes = self.network.num_features, self.network.num_classes
        for name, size in zip(("features", "proba"), sizes, strict=True):
            self.memory.register_buffer(name, torch.zeros(len(target), size))

    def begin_epoch(self, epoch: int) -> None:
        if epoch > 0:
            return
        features, logits = zip(*evaluated(self.network, self.target), strict=True)
        self.memory.features.copy_(F.normalize(torch.cat(features).float(), dim=1))
        self.memory.proba.copy_(torch.cat(logits).float().softmax(1))
        # such a row is every batch's: it is no neighbour, nor is it far from any
        bad = (~torch.isfinite(self.memory.features).all(1)).nonzero()[:, 0].cpu().numpy()
        if len(bad):
            raise DataError(
                f"{len(bad)} target rows have features that are no numbers",
                where="NRC",
                why=", ".join(map(str, self.target.named(bad[:64]))),
                remedy="Look at these rows; if they are sound, lower the source's learning rate",
            )

    def step(
        self, source: None, target: Any, progress: float, minimise: Minimise
    ) -> Mapping[str, float | Tensor]:
        no_source(source, who="NRC")
        out = self.network.outputs(target.inputs)
        proba = full_precision(out.logits).softmax(1)
        with torch.autocast(proba.device.type, enabled=False):
            drawn, itself, mutual = self._drawn(proba, out.features, target.rows)
            shares = proba.mean(0)
            spread = -torch.special.xlogy(shares, shares.clamp_min(1e-12)).sum()
        minimise(-drawn - itself - self.diversity * spread, (self.optimizer,))
        return {
            "neighbours": drawn.detach(),
            "itself": itself.detach(),
            "spread": spread.detach(),
            "mutual": mutual,
        }

    def _drawn(
        self, proba: Tensor, features: Tensor, rows: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Agreement with the neighbours, with oneself, and the share of mutual neighbours."""
        memory = self.memory
        memory.features[rows] = F.normalize(full_precision(features.detach()), dim=1)
        memory.proba[rows] = proba.detach()
        near, mutual, beyond = neighbourhoods(memory.features, rows, self.neighbours, self.further)
        weights = torch.where(mutual, 1.0, self.weak)
        drawn = agreement(proba, memory.proba[near], weights)
        drawn = drawn + self.weak * agreement(proba, memory.proba[beyond])
        itself = agreement(proba, proba.detach()[:, None])
        return drawn, itself, mutual.float().mean()


class _Memory(nn.Module):
    """Features of unit length (n, d) and predictions (n, k) of all target rows."""

    features: Tensor
    proba: Tensor


@torch.no_grad()
def neighbourhoods(
    unit: Tensor, rows: Tensor, neighbours: int, further: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Neighbours of some rows, whether it is mutual, and neighbours of the neighbours.

    Parameters
    ----------
    unit : tensor of shape (n, d)
        Features of unit length.
    rows : tensor of shape (b,), int64
    neighbours, further : int
        K and M.

    Returns
    -------
    near : tensor of shape (b, K), int64
    mutual : tensor of shape (b, K), bool
        Whether the row is among the M nearest of that neighbour.
    beyond : tensor of shape (b, K M), int64
    """

    def nearest(of: Tensor, count: int) -> Tensor:
        similar = unit[of] @ unit.T
        similar.scatter_(1, of[:, None], float("-inf"))  # a row is no neighbour of its own
        return similar.topk(count, dim=1).indices

    near = nearest(rows, neighbours)
    unique, places = near.unique(return_inverse=True)
    beyond = nearest(unique, further)[places]
    mutual = (beyond == rows[:, None, None]).any(2)
    return near, mutual, beyond.flatten(1)


def agreement(proba: Tensor, others: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean over rows of ``sum_k weight_k <proba, others_k>``.

    Parameters
    ----------
    proba : tensor of shape (b, c)
    others : tensor of shape (b, k, c)
    weights : tensor of shape (b, k), optional
    """
    products = torch.einsum("bc,bkc->bk", proba, others)
    return (products if weights is None else weights * products).sum(1).mean()
