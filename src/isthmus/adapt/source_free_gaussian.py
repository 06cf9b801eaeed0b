"""Source-free adaptation: class Gaussians from the source's statistics, fitted to target rows."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from isthmus.adapt.density import draw, sorting
from isthmus.adapt.few_labels import new_rows
from isthmus.adapt.gaussian_mixture import Fitted, Mixture, MixtureScores, Pull, fit_mixture
from isthmus.adapt.sides import codes_of, sides, softmax
from isthmus.adapt.source_statistics import SourceStatistics
from isthmus.errors import DataError, UsageError
from isthmus.types import Array, Trouble

WHO = "SourceFreeGaussian"
FLOOR = 1e-9  # of the mean variance: what a constant column keeps


class SourceFreeGaussian(ClassifierMixin, BaseEstimator):
    """Discriminant analysis whose Gaussians move to the target; of the source it needs moments.

    The owner of the source computes `SourceStatistics` (counts, means and covariance of the
    classes). Where the target is, a mixture with one Gaussian a class is fitted to the unlabelled
    rows by expectation-maximisation, started at the source's and drawn to them: the means share a
    free shift, deviate from it by little, and the class shares are estimated (with one covariance
    this is linear discriminant analysis re-estimated as in Saerens, Latinne and Decaestecker 2002
    for the shares, Dempster, Laird and Rubin 1977 for the rest; compare Eastwood et al.,
    *Source-free adaptation to measurement shift via bottom-up feature restoration*, ICLR 2022).
    Labelled target rows keep their class.

    Parameters
    ----------
    statistics : SourceStatistics, optional
        Then no source row is read, and none need be there. Default: computed from the source
        rows; the result is the same.
    trust : float, default=1.0
        Weight of the source's class means and covariances in units of the target's rows; 0 is
        plain maximum likelihood (`GaussianMixture`), infinity leaves everything but the shift and
        the shares.
    align : bool, default=True
        Let all class means shift together.
    prior : {"estimate", "source"}, default="estimate"
        Class shares of the target.
    covariance : {"pooled", "class"}, default="pooled"
        Of statistics computed here.
    shrinkage : "ledoit-wolf" or float, default="ledoit-wolf"
        Of statistics computed here.
    tol : float, default=1e-4
        Gain of the log-likelihood a row at which the steps end.
    max_iter : int, default=300
    max_rows : int, default=10_000
        Target rows read where each class has its own covariance; with one covariance all are.
    random_state : int, default=0
        Draws those rows.

    Attributes
    ----------
    classes_ : ndarray
    means_, covariance_, prior_ : ndarray
        Of the target.
    shift_ : ndarray of shape (d,)
    statistics_ : SourceStatistics
    troubles_ : tuple of Trouble
    info_ : dict

    Notes
    -----
    Two starts, the source as it is and the source moved onto the target's mean; the likelier end
    is kept. Cost: O(n_t d^2) once and O(n_t d K) a step with one covariance.
    """

    family: ClassVar[str] = "model"
    needs_labels: ClassVar[bool] = True
    numpy_only = "SciPy's triangular solvers"

    def __init__(
        self,
        statistics: SourceStatistics | None = None,
        *,
        trust: float = 1.0,
        align: bool = True,
        prior: str = "estimate",
        covariance: str = "pooled",
        shrinkage: str | float = "ledoit-wolf",
        tol: float = 1e-4,
        max_iter: int = 300,
        max_rows: int = 10_000,
        random_state: int = 0,
    ) -> None:
        self.statistics, self.trust, self.align, self.prior = statistics, trust, align, prior
        self.covariance, self.shrinkage, self.tol = covariance, shrinkage, tol
        self.max_iter, self.max_rows, self.random_state = max_iter, max_rows, random_state

    def fit(
        self, X: Any, y: Any, *, sample_domain: Any = None, target_labeled: Any = None
    ) -> SourceFreeGaussian:
        """Fit on stacked domains, or on target rows alone where `statistics` are given.

        Raises
        ------
        DataError
            If a side is empty, a value is missing, the source has one class, or the statistics
            do not fit the rows.
        UsageError
            If a parameter cannot be used.
        """
        if not self.trust >= 0:
            raise UsageError(f"trust={self.trust}", where=WHO, why="0 or more is needed")
        if self.prior not in ("estimate", "source"):
            raise UsageError(f"prior={self.prior!r}", remedy='Use "estimate" or "source"')
        given = self.statistics is not None
        rows = sides(
            X,
            y,
            sample_domain,
            target_labeled,
            who=WHO,
            source_needed=not given,
            labels_needed=False,
        )
        if self.statistics is not None:
            found = self.statistics.checked(rows.Xt.shape[1])
            told = f"statistics given; {len(rows.Xs)} source rows not read"
        else:
            found = SourceStatistics.of(
                rows.Xs, rows.ys, covariance=self.covariance, shrinkage=self.shrinkage, least=1
            )
            told = f"statistics of {len(rows.Xs)} source rows"
        known = np.full(len(rows.Xt), -1)
        known[rows.labeled] = codes_of(rows.yt, found.classes, WHO)
        Xt = rows.Xt
        pooled = found.covariance.ndim == 2
        if not pooled and len(Xt) > self.max_rows:
            order = sorting(Xt)[draw(len(Xt), len(Xt), self.random_state)]
            order = order[np.argsort(known[order] < 0, kind="stable")][: self.max_rows]
            Xt, known = Xt[order], known[order]
        # all of it around the target's mean: cancellation hurts far from the origin
        centre = Xt.mean(axis=0, dtype=np.float64)
        K, d = found.means.shape
        variance = float(np.trace(found.covariance if pooled else found.covariance.mean(axis=0)))
        if not variance > 0:
            raise DataError(
                "the source rows of each class are all alike",
                where="SourceFreeGaussian",
                why="a Gaussian needs a spread",
                remedy="Give more source rows",
            )
        floor = FLOOR * variance / max(d, 1) * np.eye(d)
        share = found.counts / found.counts.sum()
        source = Mixture(share, found.means - centre, found.covariance + floor, np.zeros(d))
        pull = Pull(
            rows=self.trust * len(Xt) / K,
            covariance_rows=self.trust * len(Xt) / (1 if pooled else K),
            align=self.align,
            prior=self.prior == "estimate",
        )
        starts = {"source": np.zeros(d)}
        if self.align and pull.rows > 0:
            starts["means aligned"] = -(share @ source.means)
        centred = Xt - centre.astype(Xt.dtype)
        ends = {
            name: fit_mixture(
                centred, known, source, pull, shift, tol=self.tol, max_iter=self.max_iter
            )
            for name, shift in starts.items()
        }
        start = max(ends, key=lambda name: ends[name].objective)
        best = ends[start]
        self.classes_, self.statistics_ = found.classes, found
        mixture = best.mixture
        self._scores = MixtureScores(centre, mixture.prior, mixture.means, mixture.covariance)
        self.means_, self.covariance_ = best.mixture.means + centre, best.mixture.covariance
        self.prior_, self.shift_ = best.mixture.prior, best.mixture.shift
        self.troubles_ = self._troubles(best)
        self.info_ = {
            "source": told,
            "start": start,
            "iterations": best.iterations,
            "log_likelihood": float(best.objective / len(Xt)),
            "rows": len(Xt),
            "target_prior": {str(c): float(p) for c, p in zip(self.classes_, self.prior_)},
        }
        self.n_features_in_ = d
        return self

    def _troubles(self, best: Fitted) -> tuple[Trouble, ...]:
        troubles: tuple[Trouble, ...] = ()
        if best.singular:
            reason = "a covariance became singular; the fit before it is kept"
            troubles += (Trouble("singular", reason, "Raise trust"),)
        elif not best.converged:
            reason = f"{best.iterations} steps did not settle the likelihood"
            troubles += (Trouble("not-converged", reason, "Raise max_iter or tol"),)
        empty = [str(c) for c, n in zip(self.classes_, best.counts) if n < 0.5]
        if empty:
            reason = f"no target row fell to {', '.join(empty[:3])}"
            troubles += (Trouble("empty-class", reason, "Right where the target lacks the class"),)
        return troubles

    def predict_proba(self, X: Any) -> Array:
        """(n, K) probabilities under the target's Gaussians and class shares."""
        return softmax(self._scores(new_rows(self, X)))

    def served(self) -> Any:
        """What alone predicts new target rows: the log densities of the classes."""
        check_is_fitted(self)
        return self._scores

    def predict(self, X: Any) -> Array:
        """Class of each target row."""
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])
