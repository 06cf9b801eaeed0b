"""Biased ridge regression: squared loss on the target, weights near a source model's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.utils.validation import check_is_fitted

from isthmus.adapt.biased import DEFAULT, Choice, basis, spread, strengths
from isthmus.adapt.few_labels import new_rows
from isthmus.adapt.linear_source import LinearSource, is_given
from isthmus.adapt.maps import Affine
from isthmus.adapt.sides import quiet_fit, sides
from isthmus.errors import DataError, UsageError
from isthmus.types import Array, Trouble

WHO = "BiasedRidge"


class BiasedRidge(RegressorMixin, BaseEstimator):
    """Ridge regression on labelled target rows whose weights stay near a source model's.

    ``sum_i (y_i - w'x_i - b)^2 + strength |w - w_source|^2`` (Kuzborskij and Orabona, *Stability
    and hypothesis transfer learning*, ICML 2013, regularised least squares with a biased
    regulariser): a ridge regression of what the source model leaves over. strength = infinity is
    the source model, strength = 0 least squares on the target; with source weights of 0 it is
    scikit-learn's ``Ridge(alpha=strength)``.

    Parameters
    ----------
    strength : "cv", float or sequence of float, default="cv"
        "cv" compares infinity and 15 values ``10^(i/2) v``, i = 6..-8, by leave-one-out error in
        closed form; v is the mean squared distance of a target row to the mean.
    source : estimator or LinearSource, optional
        A fitted linear regressor, or its weights: then no source row is read, and none need be
        there. An unfitted one is fitted on the source rows. Default: ridge regression on the
        source rows, its strength by leave-one-out.
    shrink_intercept : bool, default=True
        Draw the value at the mean target row to the source's as well; False leaves it free.

    Attributes
    ----------
    coef_ : ndarray of shape (d,)
    intercept_ : float
    source_ : LinearSource
    strength_, strength_how_ : float, str
    cv_losses_ : dict of float to float
        Mean squared leave-one-out error of each strength.
    troubles_ : tuple of Trouble
    info_ : dict

    Notes
    -----
    Unlabelled target rows give the unit of `strength` and are read for nothing else. Cost: one
    eigendecomposition of the smaller side of the labelled rows.
    """

    family: ClassVar[str] = "model"
    needs_labels: ClassVar[bool] = True
    needs_target_labels: ClassVar[bool] = True
    numpy_only = "closed form on a few rows"

    def __init__(
        self,
        strength: str | float | Sequence[float] = "cv",
        *,
        source: Any = None,
        shrink_intercept: bool = True,
    ) -> None:
        self.strength, self.source, self.shrink_intercept = strength, source, shrink_intercept

    def fit(
        self, X: Any, y: Any, *, sample_domain: Any = None, target_labeled: Any = None
    ) -> BiasedRidge:
        """Fit on stacked domains; at least one target row is labelled.

        Raises
        ------
        DataError
            If a side is empty, a value is missing, or no target row is labelled.
        UsageError
            If `strength` or `source` cannot be used.
        """
        given = is_given(self.source)
        rows = sides(X, y, sample_domain, target_labeled, who=WHO, source_needed=not given)
        troubles: tuple[Trouble, ...] = ()
        if given:
            source, told = LinearSource.of(self.source), f"{len(rows.Xs)} source rows not read"
        elif self.source is not None:
            model = clone(self.source)
            if not quiet_fit(model, rows.Xs, _numbers(rows.ys)):
                troubles = (
                    Trouble(
                        "not-converged", "the source model stopped early", "Raise its max_iter"
                    ),
                )
            source, told = LinearSource.of(model), f"fitted on {len(rows.Xs)} source rows"
        else:
            nothing = LinearSource(np.zeros((1, rows.Xs.shape[1])), np.zeros(1))
            coef, intercept, _ = ridge_near(
                rows.Xs, _numbers(rows.ys), nothing, "cv", unit=spread(rows.Xs), free=True
            )
            source = LinearSource(coef[None], np.array([intercept]))
            told = f"fitted on {len(rows.Xs)} source rows"
        if source.classes is not None or source.coef.shape != (1, rows.Xt.shape[1]):
            raise UsageError(
                f"the source model has weights of shape {source.coef.shape}",
                where=WHO,
                why=f"a regressor of {rows.Xt.shape[1]} features is needed",
            )
        coef, intercept, choice = ridge_near(
            rows.Xl,
            _numbers(rows.yt),
            source,
            self.strength,
            unit=spread(rows.Xt),
            free=not self.shrink_intercept,
        )
        self.coef_, self.intercept_, self.source_ = coef, intercept, source
        self.strength_, self.strength_how_, self.cv_losses_ = (
            choice.strength,
            choice.how,
            choice.losses,
        )
        self.troubles_ = troubles
        self.info_ = {
            "source": told,
            "labeled": len(rows.yt),
            "strength_in_variances": choice.strength / spread(rows.Xt)[1],
        }
        self.n_features_in_ = len(coef)
        return self

    def served(self) -> Any:
        """What alone predicts new target rows: one column of values."""
        check_is_fitted(self)
        return Affine(np.zeros(1), self.coef_[:, None].copy(), np.array([self.intercept_]))

    def predict(self, X: Any) -> Array:
        """(n,) values for target rows."""
        return np.asarray(new_rows(self, X) @ self.coef_ + self.intercept_)


def ridge_near(
    X: Array,
    y: Array,
    source: LinearSource,
    strength: Any,
    *,
    unit: tuple[Array, float],
    free: bool,
) -> tuple[Array, float, Choice]:
    """Weights, intercept and the strength by leave-one-out.

    With A the (n, r) rows in an orthogonal basis and e what the source leaves over, the deviation
    is ``(A'A + s I)^-1 A'e``, and row i without itself errs by ``(e - He)_i / (1 - H_ii)``.

    Parameters
    ----------
    unit : (d,) and float
        Mean row and variance that the penalty is measured in.
    free : bool
        The value at the mean row is not penalised.
    """
    centre, variance = unit
    n, d = X.shape
    left = y - source.scores(X)[:, 0]
    scale = (variance / max(d, 1)) ** 0.5
    if free:
        centre = X.mean(axis=0, dtype=np.float64)
        A, offset = np.asarray(X - centre, dtype=np.float64), float(left.mean())
    else:
        A, offset = np.column_stack([X - centre, np.full(n, scale)]).astype(np.float64), 0.0
    e = left - offset
    R, V, s2 = basis(A)
    down = R.T @ e

    def parts(value: float) -> Array:
        """(r,) inverse of the penalised squared lengths."""
        return np.zeros_like(s2) if np.isinf(value) else 1.0 / (s2 + value)

    values = strengths(strength, variance)
    losses: dict[float, float] = {}
    if len(values) == 1:
        best, how = values[0], "given"
    elif n < 2:
        best, how = DEFAULT * variance, "one labelled row: nothing can be held out"
    else:
        square = R**2
        for value in values:
            leverage = square @ parts(value) + (1 / n if free else 0.0)
            left_out = (e - R @ (parts(value) * down)) / np.maximum(1 - leverage, 1e-12)
            losses[value] = float((left_out**2).mean())
        best = min(losses, key=lambda v: losses[v])
        how = f"leave-one-out error of {n} labelled rows"
    step = (parts(best) * down) @ V
    coef = source.coef[0] + step[:d]
    at = offset if free else float(step[d] * scale)
    # the source's value at the mean row, and what was added there
    intercept = float(source.coef[0] @ centre + source.intercept[0] + at - coef @ centre)
    return coef, intercept, Choice(best, how, losses)


def _numbers(y: Array) -> Array:
    try:
        out = np.asarray(y, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError("the labels are no numbers", where=WHO) from None
    if not np.isfinite(out).all():
        raise DataError("a label is NaN or infinite", where=WHO)
    return out
