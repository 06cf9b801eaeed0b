"""Layer 6: the route `multi-source`: a model of each source domain, blended by relevance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from sklearn.base import clone

from isthmus.adapt.multi_source import MultiSource
from isthmus.adapt.source_weights import by_labels, by_likeness, discrepancy, sampling_gap
from isthmus.errors import UsageError
from isthmus.fit.adapted import Space, Spaces, adapt, fit_adapter
from isthmus.fit.blend import BlendModel
from isthmus.fit.encode import encode_targets
from isthmus.fit.model import FeatureModel
from isthmus.select.routes.base import Domains, Labelled, ModelFactory, Route
from isthmus.types import Adaptation, Array

SERVED = ("auto", "uniform", "discrepancy", "stacking")  # weightings that are one number a source


class SeveralSources(Route):
    """What `MultiSource` does, with the head that all routes share, as a blend that can be saved.

    Parameters
    ----------
    name : str
    method : MultiSource
        Its adapter, weighting, temperature, folds, row limit and seed are used; its estimator
        must be left open.
    spaces : Spaces, optional
        Shared by the methods of a run; they have the same processing.

    Notes
    -----
    A source with one class says that class of everything and is left out of the blend. With
    labelled target rows ``auto`` weighs the sources by them; the models learn from source rows
    alone, as in `MultiSource`.
    """

    by_hand = True
    uses = frozenset({"source"})

    def __init__(self, name: str, method: MultiSource, spaces: Spaces | None = None) -> None:
        self.name, self.method, self.spaces = name, method, spaces or Spaces()
        self._made: tuple[Array, Array, tuple[list[str], list[FeatureModel], Array]] | None = None

    def refuses(self, domains: Domains) -> str | None:
        """It needs two source domains with at least two classes each."""
        source = domains.source
        if source is None:
            return super().refuses(domains)
        if source.domain is None:
            return "the source has no domains to tell apart (--domain COLUMN, or domain folders)"
        if len(_usable(source)) < 2:
            return "fewer than two source domains have two classes"
        if self.method.weighting not in SERVED:
            return f"weighting {self.method.weighting!r} weighs row by row; use {', '.join(SERVED)}"
        if self.method.estimator is not None:
            return "a run brings the head (--head); leave the estimator of MultiSource open"
        if self.method.weighting == "stacking" and domains.target is None:
            return "stacking needs some labelled target rows"
        return None

    def fit(self, domains: Domains, new_model: ModelFactory) -> BlendModel:
        if reason := self.refuses(domains):
            raise UsageError(f"the method {self.name} cannot be used here", why=reason)
        source = domains.source
        assert source is not None
        if self._made is None or self._made[0] is not source.X or self._made[1] is not domains.Xt:
            self._made = source.X, domains.Xt, self._experts(domains, new_model)
        names, members, alike = self._made[2]
        return BlendModel(members, self._weights(members, alike, domains.target), names)

    def forget(self) -> None:
        """Let go of the models of the sources: target labels change their weights alone, so that
        the folds of the evidence share them."""
        self._made = None

    def _experts(
        self, domains: Domains, new_model: ModelFactory
    ) -> tuple[list[str], list[FeatureModel], Array]:
        """Names and models of the sources, and weights by their likeness to the target."""
        source, method = domains.source, self.method
        assert source is not None and source.domain is not None
        space = self.spaces.of(new_model().processor, source.X, domains.Xt)
        members, gaps, counts = [], [], []
        kept = _usable(source)
        for domain in kept:
            mine = np.flatnonzero(source.domain == domain)
            part = replace(space, Xs=space.Xs[mine])
            model, gap = self._expert(part, source.take(mine), new_model)
            members.append(model)
            gaps.append(gap)
            counts.append(len(mine))
        chance = sampling_gap(counts, len(domains.Xt), max_rows=method.max_rows)
        return kept, members, by_likeness(np.array(gaps), chance, method.temperature)

    def _expert(
        self, space: Space, source: Labelled, new_model: ModelFactory
    ) -> tuple[FeatureModel, float]:
        """The model of one source, and the gap to the target that its adaptation leaves."""
        model, found = new_model(), Adaptation(space.Xs)
        if self.method.adapter is not None:
            found = adapt(clone(self.method.adapter), space, source.y, task=model.task)
        mapped = found.map_target(space.Xt)
        gap = discrepancy(
            found.Xs,
            found.weights,
            mapped,
            max_rows=self.method.max_rows,
            seed=self.method.random_state,
        )
        return fit_adapter(model, space, found, source.y, groups=source.groups), gap

    def _weights(self, members: list[FeatureModel], alike: Array, known: Labelled | None) -> Array:
        """One number a source."""
        how = self.method.weighting
        if how == "auto":
            how = "discrepancy" if known is None else "stacking"
        if how == "uniform":
            return np.full(len(members), 1 / len(members))
        if how == "discrepancy":
            return alike
        assert known is not None
        classes = members[0].classes
        codes = encode_targets(known.y, len(known), task="classification", classes=classes)
        row = np.arange(len(codes))
        said = np.stack([m.predict_proba(known.X)[row, codes] for m in members], axis=1)
        found, _, _ = by_labels(
            said, alike, known.X, codes, cv=self.method.cv, seed=self.method.random_state
        )
        return found


def _usable(source: Labelled) -> list[str]:
    """Names of the source domains with two classes or more, sorted."""
    assert source.domain is not None
    names = sorted(set(source.domain))
    return [name for name in names if len(set(source.y[source.domain == name])) > 1]
