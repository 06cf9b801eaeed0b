"""Layer 6: what the candidates of one pair of domains share.

All of them see one space, one penalty and one temperature, which the source chooses once; a
candidate then costs a decomposition or a fit, not a search.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from isthmus.adapt.base import Adapter
from isthmus.fit.adapted import (
    Space,
    adapt,
    common_space,
    fit_adapter,
    fit_adapter_each,
    fit_method,
)
from isthmus.fit.calibrate import Temperature
from isthmus.fit.encode import encode_targets
from isthmus.fit.logistic import LogisticHead
from isthmus.fit.model import FeatureModel
from isthmus.select.routes.base import Domains, Labelled, ModelFactory
from isthmus.select.routes.pooled import Pooled
from isthmus.select.width import wide_enough
from isthmus.types import Adaptation, Array

GAUSSIAN_WIDTH = 60  # a covariance of more needs more rows than most have


class Bench:
    """What the candidates of one pair of domains share, computed when first asked for.

    Where a method takes `known`, these are the labelled target rows that it is fitted with (of a
    fold, say).

    Parameters
    ----------
    domains : Domains
        With a source.
    new_model : callable
        Maker of models; its processing and its classes are taken.
    """

    def __init__(self, domains: Domains, new_model: ModelFactory) -> None:
        assert domains.source is not None
        self.domains, self.source, self.new_model = domains, domains.source, new_model

    @cached_property
    def space(self) -> Space:
        """Both domains, processed as the heads want it, in as many directions as it takes."""
        whole = common_space(self.new_model().processor, self.source.X, self.domains.Xt)
        return wide_enough(whole, self.codes)

    @cached_property
    def narrow(self) -> Space:
        """The same in few directions, for methods with a covariance."""
        return self.space.reduced(GAUSSIAN_WIDTH)

    @cached_property
    def codes(self) -> Array:
        """(n_s,) source labels as positions among `classes`."""
        return self.codes_of(self.source)

    def codes_of(self, rows: Labelled) -> Array:
        """(n,) labels as positions among `classes`."""
        return encode_targets(rows.y, len(rows), task="classification", classes=self.classes)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """All class names."""
        return self.new_model().classes

    @cached_property
    def reference(self) -> FeatureModel:
        """Source-only in the shared space: it chooses the penalty and the temperature."""
        model = FeatureModel(
            None,
            LogisticHead(random_state=self.new_model().random_state),
            Temperature(),
            "classification",
            self.classes,
        )
        return fit_adapter(
            model, self.space, Adaptation(self.space.Xs), self.source.y, groups=self.source.groups
        )

    @property
    def C(self) -> float:
        """The penalty that the source chose, for features of variance 1 in the mean."""
        return float(self.reference.head_.C_)

    @cached_property
    def row_weight(self) -> float:
        """Weight of a labelled target row, in units of a source row; the same in every fold."""
        assert self.domains.target is not None
        return Pooled().row_weight(len(self.source), len(self.domains.target))

    def known(self, part: Array | None) -> Labelled | None:
        """The labelled target rows at these positions; None: none of them."""
        if part is None:
            return None
        assert self.domains.target is not None
        return self.domains.target.take(part)

    def few(self, most: int) -> int:
        """A number of components that both domains can carry."""
        space = self.space
        return max(1, min(most, space.Xs.shape[1], len(space.Xs) - 1, len(space.Xt) - 1))

    def blank(self, C: float, class_weight: str | None = None) -> FeatureModel:
        """An unfitted model with a given penalty and without a search."""
        head = LogisticHead(C=C, class_weight=class_weight)
        return FeatureModel(None, head, None, "classification", self.classes)

    def calibrated(self, model: FeatureModel) -> FeatureModel:
        """The model with the temperature of the reference: held-out rows would cost five fits."""
        model.temperature_ = self.reference.temperature_
        model.calibration_ = "temperature of source-only"
        return model

    def adapted(self, method: Adapter | None) -> FeatureModel:
        """A head on mapped rows (None: as they are); no target label is read."""
        found, C = self._mapped(method)
        return self.calibrated(fit_adapter(self.blank(C), self.space, found, self.source.y))

    def adapted_each(
        self, method: Adapter | None, parts: Sequence[Array], row_weight: float | None = None
    ) -> list[FeatureModel]:
        """Heads on mapped rows and labelled target rows: `parts` holds positions among these."""
        known = self.domains.target
        assert known is not None
        found, C = self._mapped(method)
        models = fit_adapter_each(
            lambda: self.blank(C),
            self.space,
            found,
            self.source.y,
            known=(known.X, known.y),
            parts=parts,
            target_weight=self.row_weight if row_weight is None else row_weight,
            C=C,
        )
        return [self.calibrated(model) for model in models]

    def _mapped(self, method: Adapter | None) -> tuple[Adaptation, float]:
        """Adapted rows, and the penalty that follows the scale that they came out with."""
        if method is None:
            return Adaptation(self.space.Xs), self.C
        found = adapt(method, self.space, self.source.y, task="classification")
        before, after = (float(np.asarray(X).var(axis=0).sum()) for X in (self.space.Xs, found.Xs))
        return found, self.C * (before / after if after > 0 else 1.0)

    def fitted(
        self, method: object, known: Labelled | None = None, space: Space | None = None
    ) -> FeatureModel:
        """A method that is a classifier itself."""
        return fit_method(
            FeatureModel(None, LogisticHead(C=self.C), None, "classification", self.classes),
            space or self.space,
            method,
            self.source.y,
            known=None if known is None else (known.X, known.y),
        )


def some(n: int, most: int, rng: np.random.Generator) -> Array:
    """At most `most` positions below n, drawn at random, in rising order."""
    return np.arange(n) if n <= most else np.sort(rng.permutation(n)[:most])


def drawn(
    domains: Domains, seed: int, *, most_source: int, most_target: int
) -> tuple[Domains, list[str]]:
    """At most that many rows of a side, drawn at random, and what there is to say of it.

    Labelled target rows are all kept; where `Domains.Xt` is drawn from, their positions in it end.
    """
    assert domains.source is not None
    rng = np.random.default_rng(seed)
    source, target, Xt, notes = domains.source, domains.target, domains.Xt, []
    if len(source) > most_source:
        source = source.take(some(len(source), most_source, rng))
        notes.append(f"the candidates were fitted on {most_source:,} source rows, drawn at random")
    if len(Xt) > most_target:
        Xt = Xt[some(len(Xt), most_target, rng)]
        target = None if target is None else replace(target, at=None)
        notes.append(f"the candidates saw {most_target:,} target rows, drawn at random")
    return Domains(source, target, Xt), notes
