"""Several sources: one adapted classifier each, combined by relevance to the target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.validation import has_fit_parameter

from isthmus.adapt.base import Adapter
from isthmus.adapt.few_labels import new_rows
from isthmus.adapt.sides import Sides, codes_of, quiet_fit, sides, two_classes
from isthmus.adapt.source_weights import (
    as_mixture,
    by_labels,
    by_likeness,
    discrepancy,
    domain_ratios,
    sampling_gap,
)
from isthmus.errors import UsageError, plain_repr
from isthmus.types import Adaptation, Array, Trouble

WHO = "MultiSource"
WEIGHTINGS = ("auto", "uniform", "discrepancy", "mixture", "stacking")


@dataclass(frozen=True)
class Expert:
    """The classifier of one source.

    Parameters
    ----------
    adaptation : Adaptation
        Its map and prior; the source rows are not kept.
    model : classifier, or None where the source has one class
    columns : ndarray of int
        Where the model's classes are among all classes.
    ratio : ndarray of shape (k,)
        Target over source shares of the model's classes.
    """

    adaptation: Adaptation
    model: Any
    columns: Array
    ratio: Array

    def proba(self, X: Array, K: int) -> Array:
        """(n, K) probabilities; 0 for classes that the source lacks."""
        out = np.zeros((len(X), K))
        if self.model is None:
            out[:, self.columns] = 1.0
            return out
        mapped = np.asarray(self.adaptation.map_target(X))
        part = np.asarray(self.model.predict_proba(mapped)) * self.ratio
        total = part.sum(axis=1, keepdims=True)
        out[:, self.columns] = np.divide(part, total, out=part.copy(), where=total > 0)
        return out


class MultiSource(ClassifierMixin, BaseEstimator):
    """One classifier a source domain, adapted to the target, and their weighted combination.

    Source domains are told apart by ``sample_domain`` (0, 1, 2, ...).

    Parameters
    ----------
    adapter : Adapter, optional
        Applied to each source and the target on their own. Default: none.
    estimator : classifier, optional
        With `predict_proba`. Default: logistic regression.
    weighting : {"auto", "uniform", "discrepancy", "mixture", "stacking"}, default="auto"
        "discrepancy": ``exp(-gap_j / (temperature * mean gap))`` with the squared MMD between the
        adapted source and the target. "mixture": the target's density is taken for a mixture of
        the sources', and each row hears the sources that are dense there (distribution-weighted
        combination: Mansour, Mohri and Rostamizadeh, *Domain adaptation with multiple sources*,
        NeurIPS 2009, equation 3, its shares by maximum likelihood, densities by a classifier of
        the domains). "stacking": the weights under which labelled target rows are most probable,
        drawn to those of "discrepancy" as cross-validation says. "auto": stacking where target
        rows are labelled, discrepancy otherwise.
    temperature : float, default=0.5
        Of "discrepancy"; large is uniform.
    domain_estimator : classifier, optional
        Of "mixture". Default: logistic regression on standardised features, which fits Gaussians
        of one shape.
    cv : int, default=5
    max_rows : int, default=2000
        Rows of a side behind each gap, and of each source behind the classifier of the domains.
    random_state : int, default=0
        Draws those rows and the folds; they depend on the values, not on the order of the rows.

    Attributes
    ----------
    classes_ : ndarray
        Of all sources together.
    sources_ : ndarray of shape (J,)
        Ids of the source domains.
    weights_ : ndarray of shape (J,)
    gaps_ : ndarray of shape (J,)
        Squared MMD to the target.
    estimators_ : list
        One a source; None where it has one class.
    cv_losses_ : dict
        "stacking": held-out log-loss for each number of pseudo rows.
    troubles_ : tuple of Trouble
    info_ : dict

    Notes
    -----
    The classifiers never see target labels: labelled rows only weigh the sources. Cost: the
    adapter and the estimator once a source.
    """

    family: ClassVar[str] = "multi-source"
    needs_labels: ClassVar[bool] = True
    numpy_only = "the estimators are scikit-learn's"

    def __init__(
        self,
        adapter: Any = None,
        estimator: Any = None,
        *,
        weighting: str = "auto",
        temperature: float = 0.5,
        domain_estimator: Any = None,
        cv: int = 5,
        max_rows: int = 2000,
        random_state: int = 0,
    ) -> None:
        self.adapter, self.estimator, self.weighting = adapter, estimator, weighting
        self.temperature, self.domain_estimator, self.cv = temperature, domain_estimator, cv
        self.max_rows, self.random_state = max_rows, random_state

    def fit(
        self, X: Any, y: Any, *, sample_domain: Any = None, target_labeled: Any = None
    ) -> MultiSource:
        """Fit on stacked domains.

        Raises
        ------
        DataError
            If a side is empty, a value is missing, all sources together have one class, or
            "stacking" has no labelled target row.
        UsageError
            If a parameter cannot be used.
        """
        if self.weighting not in WEIGHTINGS:
            raise UsageError(f"weighting={self.weighting!r}", remedy=f"Use {', '.join(WEIGHTINGS)}")
        if not self.temperature > 0:
            raise UsageError(f"temperature={self.temperature}", why="a positive number is needed")
        if self.adapter is not None and not isinstance(self.adapter, Adapter):
            raise UsageError(f"{type(self.adapter).__name__} is no Adapter", where=WHO)
        rows = sides(
            X,
            y,
            sample_domain,
            target_labeled,
            who=WHO,
            labels_needed=self.weighting == "stacking",
        )
        self.classes_, _ = two_classes(rows.ys, WHO)
        known = codes_of(rows.yt, self.classes_, WHO)
        self.sources_, codes = np.unique(rows.sources, return_inverse=True)
        J, K = len(self.sources_), len(self.classes_)
        self.troubles_: tuple[Trouble, ...] = ()
        self.gaps_, self._experts = np.zeros(J), []
        for j, name in enumerate(self.sources_):
            expert, self.gaps_[j] = self._expert(rows, codes == j, str(name))
            self._experts.append(expert)
        self.estimators_ = [expert.model for expert in self._experts]
        counts = np.bincount(codes).tolist()
        chance = sampling_gap(counts, len(rows.Xt), max_rows=self.max_rows)
        alike = by_likeness(self.gaps_, chance, self.temperature)
        how = self.weighting
        if how == "auto":
            how = "stacking" if rows.labeled.any() else "discrepancy"
        self.cv_losses_: dict[float, float] = {}
        self._ratios, info = None, {}
        if J == 1:
            how = "one source"
        if how in ("uniform", "one source"):
            self.weights_ = np.full(J, 1 / J)
        elif how == "discrepancy":
            self.weights_ = alike
        elif how == "stacking":
            each = [expert.proba(rows.Xl, K) for expert in self._experts]
            said = np.stack([p[np.arange(len(known)), known] for p in each], axis=1)
            self.weights_, pseudo, self.cv_losses_ = by_labels(
                said, alike, rows.Xl, known, cv=self.cv, seed=self.random_state
            )
            info["pseudo_rows"] = pseudo
        else:
            self._ratios, troubles = domain_ratios(
                rows.Xs,
                codes,
                self.domain_estimator,
                max_rows=self.max_rows,
                seed=self.random_state,
            )
            self.weights_, info["gap_to_optimum"] = as_mixture(self._ratios(rows.Xt))
            self.troubles_ += troubles
        self.info_ = info | {
            "weighting": how,
            "sources": {
                str(name): {"rows": int((codes == j).sum()), "weight": float(w), "gap": float(gap)}
                for j, (name, w, gap) in enumerate(zip(self.sources_, self.weights_, self.gaps_))
            },
        }
        self.n_features_in_ = rows.Xt.shape[1]
        return self

    def _expert(self, rows: Sides, mine: Array, name: str) -> tuple[Expert, float]:
        """The classifier of one source, and the gap that its adaptation leaves."""
        Xs, ys = rows.Xs[mine], rows.ys[mine]
        found = Adaptation(Xs)
        if self.adapter is not None:
            found = clone(self.adapter).adapt(Xs, ys, rows.Xt)
            self.troubles_ += tuple(
                Trouble(t.code, f"source {name}: {t.reason}", t.remedy) for t in found.troubles
            )
        gap = discrepancy(
            found.Xs,
            found.weights,
            found.map_target(rows.Xt),
            max_rows=self.max_rows,
            seed=self.random_state,
        )
        inputs, weights = np.asarray(found.Xs), found.weights
        if found.labels is not None:  # the method labels the target rows itself
            inputs, ys, weights = found.map_target(rows.Xt), np.asarray(found.labels), None
        kept = Adaptation(np.empty((0, 0)), map_target=found.map_target, prior=found.prior)
        if len(names := np.unique(ys)) < 2:
            one = Trouble(
                "one-class",
                f"source {name} says {plain_repr(names[0])} of everything",
                "Leave it out",
            )
            self.troubles_ += (one,)
            return Expert(kept, None, np.searchsorted(self.classes_, names), np.ones(1)), gap
        model = clone(self.estimator) if self.estimator is not None else _default()
        if not hasattr(model, "predict_proba"):
            raise UsageError(
                f"{type(model).__name__} has no predict_proba",
                where=WHO,
                remedy="Use a classifier with probabilities",
            )
        if weights is None:
            fine = quiet_fit(model, inputs, ys)
        elif not has_fit_parameter(model, "sample_weight"):
            raise UsageError(
                f"{type(model).__name__} takes no sample_weight",
                where=WHO,
                why=f"{type(self.adapter).__name__} adapts by weights",
            )
        else:
            fine = quiet_fit(model, inputs, ys, sample_weight=np.asarray(weights))
        if not fine:
            stopped = f"source {name}: the classifier stopped at max_iter"
            self.troubles_ += (Trouble("not-converged", stopped, "Scale the features"),)
        ratio = np.ones(len(model.classes_))
        if found.prior is not None:
            share = {c: (s, t) for c, s, t in zip(*_columns(found.prior))}
            for i, c in enumerate(np.asarray(model.classes_).tolist()):
                source, target = share.get(c, (0.0, 0.0))
                ratio[i] = target / source if source > 0 else 1.0
        return Expert(kept, model, np.searchsorted(self.classes_, model.classes_), ratio), gap

    def predict_proba(self, X: Any) -> Array:
        """(n, K) combined probabilities, columns as in `classes_`."""
        X = new_rows(self, X)
        K = len(self.classes_)
        shares = np.broadcast_to(self.weights_, (len(X), len(self.weights_)))
        if self._ratios is not None:
            shares = self._ratios(X) * self.weights_
            total = shares.sum(axis=1, keepdims=True)
            shares = np.divide(shares, total, out=shares.copy(), where=total > 0)
        out = np.zeros((len(X), K))
        for j, expert in enumerate(self._experts):
            out += shares[:, j, None] * expert.proba(X, K)
        total = out.sum(axis=1, keepdims=True)
        return np.divide(out, total, out=np.full_like(out, 1 / K), where=total > 0)

    def predict(self, X: Any) -> Array:
        """Class of each target row."""
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])


def _columns(prior: Any) -> tuple[list[Any], Array, Array]:
    return np.asarray(prior.classes).tolist(), prior.source, prior.target


def _default() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=1000)
