"""Source-only: the labelled source rows on pretrained features, applied to the target as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isthmus.select.routes.base import Domains, ModelFactory, Route

if TYPE_CHECKING:
    from isthmus.fit.model import FeatureModel


class SourceOnly(Route):
    """Fit on the source alone: the baseline of all domain adaptation."""

    name = "source-only"
    uses = frozenset({"source"})

    def fit(self, domains: Domains, new_model: ModelFactory) -> FeatureModel:
        assert domains.source is not None
        rows = domains.source
        return new_model().fit(rows.X, rows.y, groups=rows.groups)
