"""SHOT: adaptation without source rows, by information and pseudo-labels (Liang et al. 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.align.base import MakeOptimizer, Minimise, Procedure
from isthmus.align.encoders import (
    encoder_parameters,
    evaluated,
    gathered,
    no_source,
    through_fixed_head,
)
from isthmus.align.information_maximization import information_loss
from isthmus.align.views import need_classes


class SHOT(Procedure):
    """Source hypothesis transfer: the head of the source stays, target features move to it.

    ``mean H(p) - diversity H(mean p) + pseudo_weight CE(p, label)`` on target rows, the head
    frozen; before each epoch every target row gets the label of the nearest class centroid of all
    target features (Liang, Hu and Feng, *Do we really need to access the source data? Source
    hypothesis transfer for unsupervised domain adaptation*, ICML 2020, eq. 3-7).

    Parameters
    ----------
    pseudo_weight : float, default=0.1
        beta of eq. 7: the authors' 0.1 for digits, 0.3 for photographs; 0 is SHOT-IM.
    diversity : float, default=1.0
        Weight of the spread over classes.
    rounds : int, default=1
        How often centroids are taken again from the labels that they gave (eq. 6).

    Notes
    -----
    The network must have learned the source before (`isthmus.fit.deep.stages.adapt` sees to it);
    the authors train it with label smoothing 0.1 and a weight-normalised head. Source rows cannot
    come in: `step` takes None for them and refuses anything else.

    Draws the class shares to equal ones: where the target's are known to be unlike, lower
    `diversity`.
    """

    uses_source = False

    def __init__(
        self, *, pseudo_weight: float = 0.1, diversity: float = 1.0, rounds: int = 1
    ) -> None:
        self.pseudo_weight, self.diversity, self.rounds = pseudo_weight, diversity, rounds
        self.world: Any = None  # the loop puts its processes here

    def build(
        self,
        network: Any,
        num_classes: int,
        optimizer: MakeOptimizer,
    ) -> None:
        need_classes(num_classes, who="SHOT")
        self.network = network
        self.memory = _Labels()
        self.optimizer = optimizer(encoder_parameters(network))

    def modules(self) -> Mapping[str, nn.Module]:
        return {"network": self.network, "memory": self.memory}

    def begin(self, source: None, target: Any) -> None:
        no_source(source, who="SHOT")
        self.target = target
        self.memory.register_buffer("labels", torch.zeros(len(target), dtype=torch.int64))

    def begin_epoch(self, epoch: int) -> None:
        if not self.pseudo_weight:
            return
        features, logits = zip(*evaluated(self.network, self.target), strict=True)
        found = centroid_labels(torch.cat(features), torch.cat(logits).softmax(1), self.rounds)
        self.memory.labels.copy_(found)

    def step(
        self, source: None, target: Any, progress: float, minimise: Minimise
    ) -> Mapping[str, float | Tensor]:
        no_source(source, who="SHOT")
        logits = through_fixed_head(self.network, self.network.features(target.inputs))
        information = information_loss(gathered(self.world, logits), self.diversity)
        loss, log = information, {"information": information.detach()}
        if self.pseudo_weight:
            pseudo = F.cross_entropy(logits, self.memory.labels[target.rows])
            loss, log["pseudo"] = loss + self.pseudo_weight * pseudo, pseudo.detach()
        minimise(loss, (self.optimizer,))
        return log


class _Labels(nn.Module):
    """The pseudo-labels as a buffer, so that they are saved with the run."""

    labels: Tensor


@torch.no_grad()
def centroid_labels(features: Tensor, proba: Tensor, rounds: int = 1) -> Tensor:
    """The class of the nearest centroid, by the angle, of each row.

    Centroids are means of all rows weighted by `proba`; then, `rounds` times, of the rows that
    they were nearest to. Features get a constant 1 and unit length, as in the authors' code; a
    class that no row is predicted to be, or that a round leaves without rows, gets no row.

    Parameters
    ----------
    features : tensor of shape (n, d)
    proba : tensor of shape (n, k)
    rounds : int, default=1

    Returns
    -------
    tensor of shape (n,), int64
    """
    num_classes = proba.shape[1]
    unit = F.normalize(F.pad(features.float(), (0, 1), value=1.0), dim=1)
    weights = proba.float()
    labels = proba.argmax(1)
    for _ in range(1 + rounds):
        seen = torch.bincount(labels, minlength=num_classes) > 0
        centroids = F.normalize(weights.T @ unit, dim=1)
        near = (unit @ centroids.T).masked_fill(~seen, float("-inf"))
        labels = near.argmax(1)
        weights = F.one_hot(labels, num_classes).float()
    return labels
