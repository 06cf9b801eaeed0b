"""Bayesian linear head: a Gaussian prior over weights from source domains, Laplace's posterior."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from isthmus.adapt.biased import LEVEL, PATIENCE, Shrunk, not_converged, spread
from isthmus.adapt.biased_classifier import encoded
from isthmus.adapt.density import draw, sorting
from isthmus.adapt.few_labels import new_rows
from isthmus.adapt.laplace import Posterior, PosteriorScores, laplace
from isthmus.adapt.sides import codes_of, sides
from isthmus.adapt.weight_prior import WeightPrior, estimate_prior
from isthmus.errors import UsageError
from isthmus.types import Array, Trouble

WHO = "BayesianHead"
Fit = Callable[[float, Array, "Array | None"], tuple[Posterior, Array, bool]]
GRID = tuple(10.0 ** (0.5 * i) for i in range(-8, 9))  # in units of 1 / the features' variance


class BayesianHead(ClassifierMixin, BaseEstimator):
    """Bayesian logistic head whose prior is learned from the source domains.

    One head is fitted to each source domain (``sample_domain`` 0, 1, 2, ...). The prior's mean is
    their mean, its variances say how much each weight differs between them (Raina, Ng and Koller,
    *Constructing informative priors using transfer learning*, ICML 2006, with a diagonal
    covariance shrunk to the common variance). Its overall width is the one under which the target
    labels are most probable (empirical Bayes, MacKay 1992). Predictions average over the posterior
    by Laplace's approximation.

    Parameters
    ----------
    scale : "evidence" or float, default="evidence"
        Mean prior variance of a weight. "evidence" tries ``10^(i/2) / v``, i = -8..8, with v the
        mean squared distance of a target row to the mean. (It trusts the prior's form: with
        hundreds of features and few labels it stays nearer to the source than cross-validation
        does, see docs/log.md; `BiasedLogistic` is the choice where only the classes count.)
    prior : WeightPrior, optional
        Fitted elsewhere (`prior_`); then no source row is read, and none need be there.
    solver : {"auto", "exact", "approximate"}, default="auto"
        One posterior covariance for all classes, or one a class, products between classes left
        out; "auto" is exact up to `max_exact` weights (in the basis of the labelled rows).
    max_exact : int, default=1000
    max_rows : int, default=2000
        Labelled rows behind the choice of `scale`; the posterior reads all of them.
    tol : float, default=1e-7
    max_iter : int, default=1000
    random_state : int, default=0
        Draws rows where there are more than `max_rows`.

    Attributes
    ----------
    classes_ : ndarray
    coef_, intercept_ : ndarray
        The most probable weights: those of `BiasedLogistic` with strength ``1 / scale`` where all
        variances are alike.
    prior_ : WeightPrior
    scale_ : float
    log_evidence_ : dict of float to float
        For each scale tried.
    troubles_ : tuple of Trouble
    info_ : dict

    Notes
    -----
    With one source domain nothing is known of how weights vary: all variances are alike.
    """

    family: ClassVar[str] = "model"
    needs_labels: ClassVar[bool] = True
    needs_target_labels: ClassVar[bool] = True
    numpy_only = "SciPy's L-BFGS"

    def __init__(
        self,
        scale: str | float = "evidence",
        *,
        prior: WeightPrior | None = None,
        solver: str = "auto",
        max_exact: int = 1000,
        max_rows: int = 2000,
        tol: float = 1e-7,
        max_iter: int = 1000,
        random_state: int = 0,
    ) -> None:
        self.scale, self.prior, self.solver, self.max_exact = scale, prior, solver, max_exact
        self.max_rows, self.tol, self.max_iter = max_rows, tol, max_iter
        self.random_state = random_state

    def fit(
        self, X: Any, y: Any, *, sample_domain: Any = None, target_labeled: Any = None
    ) -> BayesianHead:
        """Fit on stacked domains; at least one target row is labelled.

        Raises
        ------
        DataError
            If a side is empty, a value is missing, the source has one class, no target row is
            labelled, or a target label is no source class.
        UsageError
            If a parameter cannot be used.
        """
        if self.solver not in ("auto", "exact", "approximate"):
            raise UsageError(f"solver={self.solver!r}", remedy="Use auto, exact or approximate")
        rows = sides(X, y, sample_domain, target_labeled, who=WHO, source_needed=self.prior is None)
        troubles: tuple[Trouble, ...] = ()
        if self.prior is None:
            prior, troubles = estimate_prior(
                rows.Xs,
                rows.ys,
                rows.sources,
                who=WHO,
                params={"tol": self.tol, "max_iter": self.max_iter},
            )
            told = f"fitted on {len(rows.Xs)} rows of {prior.sources} source domains"
        else:
            prior = self.prior.checked(rows.Xt.shape[1])
            told = f"given; {len(rows.Xs)} source rows not read"
        classes = prior.mean.classes
        assert classes is not None
        codes = codes_of(rows.yt, classes, WHO)
        centre, variance = spread(rows.Xt)
        problem = Shrunk(
            rows.Xl,
            prior.mean,
            centre=centre,
            variance=variance,
            free=False,
            shape=prior.shape**0.5,
        )
        target = encoded(codes, len(classes), "logistic")
        K, r = len(prior.mean.coef), problem.R.shape[1]
        joint = self.solver == "exact" or (self.solver == "auto" and K * r <= self.max_exact)
        every = np.arange(len(codes))

        def posterior(
            scale: float, at: Array, start: Array | None
        ) -> tuple[Posterior, Array, bool]:
            t, fine = problem.solve(
                target[at],
                "logistic",
                1 / scale,
                rows=at,
                start=start,
                tol=self.tol,
                max_iter=self.max_iter,
            )
            loss, _ = problem.loss(problem.scores(t, at), target[at], "logistic")
            return laplace(problem, t, scale, -float(loss.sum()), at, joint=joint), t, fine

        self.log_evidence_: dict[float, float] = {}
        best = self._choose(problem, posterior, rows.Xl, codes, variance)
        found, t, fine = posterior(best, every, None)
        self.log_evidence_.setdefault(best, found.log_evidence)
        if not fine:
            troubles += (not_converged(self.max_iter, WHO),)
        self._scores = PosteriorScores(
            centre=centre,
            columns=problem.shape * np.append(np.ones(len(centre)), problem.unit),
            coef=prior.mean.coef,
            anchor=problem.anchor,
            basis=problem.V,
            mode=t,
            covariance=found.covariance,
            scale=best,
        )
        self.coef_, self.intercept_ = problem.weights(t)
        self.classes_, self.prior_, self.scale_ = classes, prior, best
        self.troubles_ = troubles
        self.info_ = {
            "source": told,
            "labeled": len(codes),
            "solver": "exact" if joint else "approximate: one covariance a class",
            "scale_in_variances": best * variance,
        }
        self.n_features_in_ = self.coef_.shape[1]
        return self

    def _choose(
        self, problem: Shrunk, posterior: Fit, Xl: Array, codes: Array, variance: float
    ) -> float:
        """The scale, from narrow to wide; the walk ends when it has lost three times in a row."""
        if not isinstance(self.scale, str):
            if not 0 < self.scale < np.inf:
                raise UsageError(f"scale={self.scale!r}", why="a positive number is needed")
            return float(self.scale)
        if self.scale != "evidence":
            raise UsageError(f"scale={self.scale!r}", remedy='Use "evidence" or a number')
        used = np.arange(len(codes))
        if len(used) > self.max_rows:
            drawn = np.sort(draw(len(used), self.max_rows, self.random_state))
            used = sorting(Xl, codes)[drawn]
        start, worse = None, 0
        best, most = 0.0, -np.inf
        for value in (g / variance for g in GRID):
            found, start, _ = posterior(value, used, start)
            self.log_evidence_[value] = found.log_evidence
            if found.log_evidence >= most:
                best, most = value, found.log_evidence
            worse = worse + 1 if found.log_evidence < most - LEVEL * len(used) else 0
            if worse >= PATIENCE:
                break
        return best

    def decision_function(self, X: Any) -> Array:
        """(n, K) scores of the most probable weights, or (n,) for two classes."""
        z = new_rows(self, X) @ self.coef_.T + self.intercept_
        return np.asarray(z[:, 0] if len(self.classes_) == 2 else z)

    def predict_proba(self, X: Any) -> Array:
        """(n, K) probabilities averaged over the posterior, columns as in `classes_`."""
        check_is_fitted(self)
        return np.asarray(np.exp(self._scores(new_rows(self, X))))

    def served(self) -> Any:
        """What alone predicts new target rows: their log-probabilities."""
        check_is_fitted(self)
        return self._scores

    def predict(self, X: Any) -> Array:
        """Class of each target row."""
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])
