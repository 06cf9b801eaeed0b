"""Two-stage TrAdaBoost.R2: the share of the source is chosen by cross-validation."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from isthmus.adapt.boosting import (
    boost_r2,
    effective_size,
    fit_weighted,
    relative_errors,
    weighted_median,
)
from isthmus.adapt.few_labels import (
    FewLabels,
    few_labels,
    numbers,
    ridge,
    stack,
    takes_weights,
)
from isthmus.adapt.fitted_forms import MedianOf
from isthmus.errors import DataError, UsageError
from isthmus.types import Array, Trouble


class TwoStageTrAdaBoostR2(RegressorMixin, BaseEstimator):
    """Transfer boosting for regression in two stages.

    Stage one lowers the weights of badly predicted source rows step by step: source weights are
    multiplied by ``b ** e_i`` (e_i as in `TrAdaBoostR2`) with b chosen so that the labelled target
    rows hold ``m / (n + m) + t / (S - 1) (1 - m / (n + m))`` of the weight after step t, from
    their own share to all of it. Stage two runs AdaBoost.R2 at each step with the source weights
    frozen; the step with the smallest cross-validated error on the labelled target rows is kept
    (Pardoe and Stone, *Boosting for regression transfer*, ICML 2010, algorithm 3).

    Parameters
    ----------
    estimator : regressor, optional
        Its `fit` takes `sample_weight`. Default: ridge regression; take trees for tables.
    n_steps : int, default=10
        S; the first step is all rows alike, the last is target-only.
    n_estimators : int, default=10
        Rounds of AdaBoost.R2 at each step.
    cv : int, default=5
        Folds over the labelled target rows (fewer where there are fewer rows), dealt in the order
        of their values so that every fold has small and large ones.
    solver : {"auto", "exact", "approximate"}, default="auto"
        Approximate: the cross-validation sees `max_exact` source rows drawn at random; weights
        and final model use all rows. Auto: where there are more source rows than that.
    max_exact : int, default=5000
    random_state : int, default=0
        Draws those rows; for estimators that draw.

    Attributes
    ----------
    step_ : int
        The step that was kept, from 0.
    cv_errors_ : ndarray of shape (S,)
        Mean absolute error on held-out target rows, in units of y.
    estimators_, estimator_weights_
        Learners of that step and their votes.
    source_weights_ : ndarray of shape (n,)
        Weights of that step, in units of the mean over all rows; 0 throughout at the last.
    troubles_ : tuple of Trouble
    info_ : dict
        ``target_share`` of each step, ``effective_sample_size`` of the one kept, ``solver``.

    Notes
    -----
    ``S cv + 1`` runs of AdaBoost.R2 and S - 1 fits. At least 2 labelled target rows. NumPy or
    SciPy sparse rows.
    """

    family: ClassVar[str] = "instance"
    needs_labels: ClassVar[bool] = True
    needs_target_labels: ClassVar[bool] = True
    answers: ClassVar[tuple[str, ...]] = ("regression",)
    numpy_only = "the estimator is scikit-learn's"

    def __init__(
        self,
        estimator: Any = None,
        *,
        n_steps: int = 10,
        n_estimators: int = 10,
        cv: int = 5,
        solver: str = "auto",
        max_exact: int = 5000,
        random_state: int = 0,
    ) -> None:
        self.estimator, self.n_steps, self.n_estimators = estimator, n_steps, n_estimators
        self.cv, self.solver, self.max_exact = cv, solver, max_exact
        self.random_state = random_state

    def fit(
        self, X: Any, y: Any, *, sample_domain: Any = None, target_labeled: Any = None
    ) -> TwoStageTrAdaBoostR2:
        """Fit on source rows and on target rows whose value may be used.

        Parameters
        ----------
        X : array or sparse matrix of shape (n, d)
        y : array of shape (n,)
        sample_domain : array of shape (n,), int
            Source rows >= 0, target rows < 0.
        target_labeled : array of shape (n,), bool
            At least two rows.

        Raises
        ------
        DataError
            If a domain is empty, fewer than two target rows are labelled, or a value is missing.
        UsageError
            If a parameter is out of range or the estimator takes no weights.
        """
        who = "TwoStageTrAdaBoostR2"
        self._check(who)
        base = self.estimator if self.estimator is not None else ridge()
        takes_weights(base, who)
        given = few_labels(X, y, sample_domain, target_labeled, who=who, values=True)
        n, m = len(given.ys), len(given.yk)
        if m < 2:
            raise DataError(
                "one labelled target row", where=who, remedy="Label two, or use TrAdaBoostR2"
            )
        exact = n <= self.max_exact if self.solver == "auto" else self.solver == "exact"
        drawn = np.arange(n)
        if not exact and n > self.max_exact:
            rng = np.random.default_rng(self.random_state)
            drawn = np.sort(rng.permutation(n)[: self.max_exact])
        rows, values = stack(given.Xs, given.Xk), np.concatenate([given.ys, given.yk])
        folds = dealt(given, min(self.cv, m))
        shares = m / (n + m) + np.linspace(0, 1, self.n_steps) * (1 - m / (n + m))
        weights = np.full(n, 1 / (n + m))  # of the source; target rows keep 1 / (n + m) each
        steps, errors = [], []
        troubles: tuple[Trouble, ...] = ()
        for number, share in enumerate(shares):
            steps.append(weights)
            errors.append(self._held_out(base, given, weights, float(share), folds, drawn))
            if number + 1 < len(shares):
                both = np.concatenate([weights, np.full(m, 1 / (n + m))])
                model, found = fit_weighted(base, rows, values, both, self.random_state)
                troubles += found
                loss = relative_errors(model.predict(rows), values)[:n]
                wanted = m / (n + m) * (1 / shares[number + 1] - 1)
                weights = shrunk(weights, loss, wanted)
        self.cv_errors_ = np.array(errors)
        self.step_ = int(self.cv_errors_.argmin())
        kept = np.concatenate([steps[self.step_], np.full(m, 1 / (n + m))])
        kept /= kept.sum()
        used = kept > 0
        self.estimators_, self.estimator_weights_, found = boost_r2(
            base,
            rows if used.all() else rows[used],
            values[used],
            kept[used],
            int(used[:n].sum()),
            n_estimators=self.n_estimators,
            seed=self.random_state,
        )
        self.source_weights_ = kept[:n] * (n + m)
        self.troubles_ = tuple(dict.fromkeys(troubles + found))
        self.info_ = {
            "target_share": shares.tolist(),
            "effective_sample_size": effective_size(kept),
            "solver": "exact" if len(drawn) == n else "drawn source rows",
        }
        self.n_features_in_ = rows.shape[1]
        return self

    def _check(self, who: str) -> None:
        for name, least in (("n_steps", 2), ("n_estimators", 1), ("cv", 2), ("max_exact", 1)):
            if getattr(self, name) < least:
                value = getattr(self, name)
                raise UsageError(f"{name}={value}", where=who, why=f">= {least} is needed")
        if self.solver not in ("auto", "exact", "approximate"):
            raise UsageError(f"solver={self.solver!r}", remedy="Use auto, exact or approximate")

    def _held_out(
        self, base: Any, given: FewLabels, source: Array, share: float, folds: Array, drawn: Array
    ) -> float:
        """Mean absolute error on target rows that AdaBoost.R2' did not see."""
        weights = source[drawn]
        live = weights > 0
        if not live.all():
            drawn, weights = drawn[live], weights[live]
        if len(drawn):
            weights = weights * ((1 - share) / weights.sum())
        Xs, ys = given.Xs[drawn], given.ys[drawn]
        missed = np.empty(len(folds))
        for fold in range(folds.max() + 1):
            known, held = folds != fold, folds == fold
            models, votes, _ = boost_r2(
                base,
                stack(Xs, given.Xk[known]),
                np.concatenate([ys, given.yk[known]]),
                np.concatenate([weights, np.full(known.sum(), share / known.sum())]),
                len(ys),
                n_estimators=self.n_estimators,
                seed=self.random_state,
            )
            guesses = np.column_stack([model.predict(given.Xk[held]) for model in models])
            missed[held] = np.abs(weighted_median(guesses, votes) - given.yk[held])
        return float(missed.mean())

    def served(self) -> MedianOf:
        """What alone predicts new target rows: the median; the learners must be linear."""
        check_is_fitted(self)
        return MedianOf.of(self.estimators_, self.estimator_weights_)

    def predict(self, X: Any) -> Array:
        """Weighted median of the learners for each target row."""
        check_is_fitted(self)
        X = numbers(X, "TwoStageTrAdaBoostR2")
        guesses = np.column_stack([model.predict(X) for model in self.estimators_])
        return weighted_median(guesses, self.estimator_weights_)


def dealt(given: FewLabels, folds: int) -> Array:
    """(m,) fold of each labelled target row: by rank of y, so that row order does not matter."""
    keys = given.Xk.toarray() if hasattr(given.Xk, "toarray") else given.Xk
    order = np.lexsort((*keys.T[::-1], given.yk))
    fold = np.empty(len(order), dtype=int)
    fold[order] = np.arange(len(order)) % folds
    return fold


def shrunk(weights: Array, loss: Array, total: float) -> Array:
    """``weights * b ** loss`` with b in [0, 1] such that they sum to `total`.

    Rows without loss do not shrink; where they alone weigh more than `total`, the others are
    dropped and these are scaled.

    >>> shrunk(np.array([1.0, 1.0]), np.array([0.0, 1.0]), 1.5)
    array([1. , 0.5])
    >>> shrunk(np.array([1.0, 1.0]), np.array([0.0, 1.0]), 0.5)
    array([0.5, 0. ])
    """
    if total <= 0:
        return np.zeros_like(weights)
    if total >= weights.sum():
        return weights
    still = weights[loss == 0].sum()
    if still >= total:
        return np.asarray(np.where(loss == 0, weights * (total / max(still, 1e-300)), 0.0))
    low, high = 0.0, 1.0  # -log b, doubled until the sum is small enough
    while weights @ np.exp(-high * loss) > total and high < 1e6:
        high *= 2
    for _ in range(100):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if weights @ np.exp(-middle * loss) > total else (low, middle)
    out = weights * np.exp(-high * loss)
    return np.asarray(out * (total / out.sum()))
