"""T3A: class prototypes that follow the target stream (Iwasawa and Matsuo 2021)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from isthmus.align.views import entropy
from isthmus.errors import UsageError


class T3A:
    """Test-time template adjustment: no gradient, no training loop, features only.

    The rows of the linear head are the first supports, each of the class that the head gives it:
    mostly its own; a class without any support has the logit 0. A target row joins the supports
    of its predicted class; the `keep` supports of lowest entropy of each class stay, and
    the logit of a class is ``z . c_k``, c_k the mean of its unit-length supports, itself of unit
    length (Iwasawa and Matsuo, *Test-time classifier adjustment module for model-agnostic domain
    generalization*, NeurIPS 2021, eq. 4-6; normalised as in the authors' code).

    Parameters
    ----------
    weight : tensor of shape (k, d)
        Of the linear head that reads the features.
    bias : tensor of shape (k,), optional
    keep : int or None, default=20
        Supports of a class; the paper searches 1, 5, 20, 50, 100 and all (None).

    Raises
    ------
    UsageError
        If the weight is no matrix of two classes or more, or `keep` is below 1.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None = None, *, keep: int | None = 20
    ) -> None:
        if weight.ndim != 2 or len(weight) < 2:
            raise UsageError(f"a head of shape {tuple(weight.shape)}", why="(classes, features)")
        if keep is not None and keep < 1:
            raise UsageError(f"keep={keep}", remedy="Keep at least one support, or None for all")
        self.weight, self.keep = weight.detach(), keep
        self.bias = None if bias is None else bias.detach()
        self.reset()

    def reset(self) -> None:
        """Forget the target rows: the rows of the head are the supports."""
        logits = F.linear(self.weight, self.weight, self.bias)
        self.supports = F.normalize(self.weight, dim=1)
        self.entropies, self.labels = entropy(logits), logits.argmax(1)

    @torch.no_grad()
    def __call__(self, features: Tensor) -> Tensor:
        """(n, k) logits of target features (n, d), after they joined the supports."""
        logits = F.linear(features, self.weight, self.bias)
        self.supports = torch.cat([self.supports, F.normalize(features, dim=1)])
        self.entropies = torch.cat([self.entropies, entropy(logits)])
        self.labels = torch.cat([self.labels, logits.argmax(1)])
        self._filter()
        return features @ self.prototypes().T

    def prototypes(self) -> Tensor:
        """(k, d): the weights of a linear head that answers as the supports stand now."""
        classes = F.one_hot(self.labels, len(self.weight)).to(self.supports)
        return F.normalize(classes.T @ self.supports, dim=1)

    def _filter(self) -> None:
        """The `keep` supports of lowest entropy of each class stay."""
        if self.keep is None:
            return
        kept = []
        for label in range(len(self.weight)):
            rows = (self.labels == label).nonzero()[:, 0]
            kept.append(rows[self.entropies[rows].argsort(stable=True)[: self.keep]])
        rows = torch.cat(kept)
        self.supports, self.labels = self.supports[rows], self.labels[rows]
        self.entropies = self.entropies[rows]
