"""Pooled: source and labelled target rows together, the target rows weighted up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from isthmus.select.routes.base import Domains, ModelFactory, Route
from isthmus.types import Array

if TYPE_CHECKING:
    from isthmus.fit.model import FeatureModel


class Pooled(Route):
    """Fit on both domains; the target rows carry half of the weight, at most 10 rows each.

    With n_s source and n_t target rows a target row weighs ``clip(n_s / n_t, 1, 10)`` (then all
    weights are scaled to mean 1), the "weighted" baseline of Daume III (2007), *Frustratingly easy
    domain adaptation*, with the weight set by rule instead of on target test labels.

    Parameters
    ----------
    share : float, default=0.5
        Share of the target rows in the total weight.
    cap : float, default=10
        One target row counts at most this many source rows.
    """

    name = "pooled"
    uses = frozenset({"source", "target"})

    def __init__(self, share: float = 0.5, cap: float = 10.0) -> None:
        self.share, self.cap = share, cap

    def row_weight(self, n_source: int, n_target: int) -> float:
        """Weight of a labelled target row, in units of a source row."""
        wanted = self.share / (1 - self.share) * n_source / max(n_target, 1)
        return float(np.clip(wanted, 1.0, self.cap))

    def weights(self, n_source: int, n_target: int) -> Array:
        """(n_source + n_target,) row weights of mean 1, source rows first."""
        each = self.row_weight(n_source, n_target)
        weights = np.concatenate([np.ones(n_source), np.full(n_target, each)])
        return np.asarray(weights / weights.mean())

    def fit(self, domains: Domains, new_model: ModelFactory) -> FeatureModel:
        source, target = domains.source, domains.target
        assert source is not None and target is not None
        weights = self.weights(len(source), len(target))
        return new_model().fit(
            np.concatenate([source.X, target.X]),
            np.concatenate([source.y, target.y]),
            sample_weight=weights,
            groups=joint_groups(source.groups, target.groups, len(source), len(target)),
        )


def joint_groups(
    source: Array | None, target: Array | None, n_source: int, n_target: int
) -> Array | None:
    """Group names of both domains, kept apart; rows of an ungrouped domain stand alone."""
    if source is None and target is None:
        return None
    first = (
        [f"s:{g}" for g in source] if source is not None else [f"s#{i}" for i in range(n_source)]
    )
    last = [f"t:{g}" for g in target] if target is not None else [f"t#{i}" for i in range(n_target)]
    return np.array(first + last, dtype=object)
