"""Target-only: the few labelled target rows on pretrained features; the source is left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isthmus.select.routes.base import Domains, ModelFactory, Route

if TYPE_CHECKING:
    from isthmus.fit.model import FeatureModel


class TargetOnly(Route):
    """Fit on the labelled target rows alone: what transfer from a source has to beat."""

    name = "target-only"
    uses = frozenset({"target"})

    def fit(self, domains: Domains, new_model: ModelFactory) -> FeatureModel:
        assert domains.target is not None
        rows = domains.target
        return new_model().fit(rows.X, rows.y, groups=rows.groups)
