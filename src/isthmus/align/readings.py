"""Layer 4: how a discriminator's first layer reads a row: as it is, or with its prediction.

What is read is linear in the features z of a row: ``x = A z``, where A may hang on the row's
prediction. With W the weights of the first layer, `isthmus.align.judged` needs three products, and
for none of them A z must be written out.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Reading(Protocol):
    """The products of one batch; n rows of d features, h units in the first layer."""

    def first(self, z: Tensor, weight: Tensor) -> Tensor:
        """``(A z) W'``, (n, d) -> (n, h), before the bias."""

    def back(self, slope: Tensor, weight: Tensor) -> Tensor:
        """``(u W) A``, (n, h) -> (n, d): a slope along the units as one along the features."""

    def weight_gradient(self, slope: Tensor, z: Tensor, weight: Tensor) -> Tensor:
        """``u' (A z)``, (n, h) and (n, d) -> the shape of W."""


class AsItIs:
    """``x = z``."""

    def first(self, z: Tensor, weight: Tensor) -> Tensor:
        return z @ weight.T

    def back(self, slope: Tensor, weight: Tensor) -> Tensor:
        return slope @ weight

    def weight_gradient(self, slope: Tensor, z: Tensor, weight: Tensor) -> Tensor:
        return slope.T @ z


class ByClass:
    """``x = p (x) z``, the outer product of prediction and features, k d numbers a row.

    ``W x = sum_k p_k (W_k z)`` holds h k numbers a row in the place of k d, and is one product for
    all classes. Rows are the last axis here: k is small, and a loop over it is slow.

    Parameters
    ----------
    predictions : tensor of shape (n, k)
    """

    def __init__(self, predictions: Tensor) -> None:
        self.shares = predictions.T.contiguous()

    def first(self, z: Tensor, weight: Tensor) -> Tensor:
        each = (self._by_class(weight) @ z.T).view(len(weight), *self.shares.shape)
        return each.mul_(self.shares).sum(1).T.contiguous()

    def back(self, slope: Tensor, weight: Tensor) -> Tensor:
        return self._spread(slope).T @ self._by_class(weight)

    def weight_gradient(self, slope: Tensor, z: Tensor, weight: Tensor) -> Tensor:
        return (self._spread(slope) @ z).view_as(weight)

    def _by_class(self, weight: Tensor) -> Tensor:
        """(h k, d): one row for each unit and class."""
        return weight.view(len(weight) * len(self.shares), -1)

    def _spread(self, slope: Tensor) -> Tensor:
        """(h k, n): the slope of each unit, times the prediction of each class."""
        return (slope.T.contiguous()[:, None] * self.shares).flatten(0, 1)


class Drawn:
    """``x = (R_f z) * (R_g p)``, a random multilinear map.

    Parameters
    ----------
    draw : tensor of shape (d, D)
        R_f, transposed.
    mapped : tensor of shape (n, D)
        R_g p of each row.
    """

    def __init__(self, draw: Tensor, mapped: Tensor) -> None:
        self.draw, self.mapped = draw, mapped

    def first(self, z: Tensor, weight: Tensor) -> Tensor:
        return self.read(z) @ weight.T

    def back(self, slope: Tensor, weight: Tensor) -> Tensor:
        return ((slope @ weight) * self.mapped) @ self.draw.T

    def weight_gradient(self, slope: Tensor, z: Tensor, weight: Tensor) -> Tensor:
        return slope.T @ self.read(z)

    def read(self, z: Tensor) -> Tensor:
        """(n, D): A z."""
        return (z @ self.draw) * self.mapped
