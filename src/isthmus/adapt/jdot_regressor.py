"""JDOT for regression: transport of features and values together."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.utils.validation import check_is_fitted

from isthmus.adapt.base import check_domains
from isthmus.adapt.joint_transport import alternate
from isthmus.data.domains import split_domains
from isthmus.errors import DataError
from isthmus.types import Array


class JDOTRegressor(RegressorMixin, BaseEstimator):
    """Joint distribution optimal transport for regression.

    As `JDOT`, with ``L_ij = (y_i - f(x_j))^2`` in units of the variance of the source values; f is
    fitted to the mean value that the plan brings to each target row (Courty, Flamary, Habrard and
    Rakotomamonjy, NeurIPS 2017, section 3.2).

    Parameters
    ----------
    estimator : regressor, optional
        Default: ridge regression.
    trade_off, max_iter, tol, solver, max_exact, batch, max_rows, random_state
        As in `JDOT`.

    Attributes
    ----------
    estimator_ : regressor
        Of target rows; any new target row can be given.
    values_ : ndarray of shape (n_t,) or (n_t, k)
        What the last plan brought to the target rows that the fit saw.
    troubles_ : tuple of Trouble
    info_ : dict

    Notes
    -----
    NumPy only: the estimator is scikit-learn's. Labelled target rows keep their value.
    """

    family: ClassVar[str] = "transport"
    needs_labels: ClassVar[bool] = True
    extra: ClassVar[str] = "transport"

    def __init__(
        self,
        estimator: Any = None,
        *,
        trade_off: float = 1.0,
        max_iter: int = 10,
        tol: float = 1e-4,
        solver: str = "auto",
        max_exact: int = 2000,
        batch: int | None = None,
        max_rows: int = 10_000,
        random_state: int = 0,
    ) -> None:
        self.estimator, self.trade_off, self.max_iter, self.tol = (
            estimator,
            trade_off,
            max_iter,
            tol,
        )
        self.solver, self.max_exact, self.batch = solver, max_exact, batch
        self.max_rows, self.random_state = max_rows, random_state

    def fit(
        self, X: Any, y: Any, *, sample_domain: Any = None, target_labeled: Any = None
    ) -> JDOTRegressor:
        """Fit on stacked domains (see `isthmus.data.domains.stack_domains`).

        Raises
        ------
        DataError
            If a domain is empty, or a value is missing.
        """
        parts = split_domains(X, y, sample_domain, target_labeled=target_labeled)
        given = check_domains(parts.Xs, None, parts.Xt, who="JDOTRegressor")
        values = np.asarray(parts.ys, dtype=float)
        flat = values.ndim == 1
        values = values.reshape(len(values), -1)
        if not np.isfinite(values).all():
            raise DataError("the source values hold NaN or infinity", where="JDOTRegressor")
        self.n_features_in_ = given.Xs.shape[1]
        model = self.estimator
        if model is None:
            from sklearn.linear_model import Ridge

            model = Ridge()
        model = clone(model)
        unit = float(values.var(axis=0).sum()) or 1.0
        known = np.asarray(parts.yt, dtype=float).reshape(-1, values.shape[1])
        place = np.cumsum(parts.labeled) - 1

        def refit(moved: Array, rows: Array) -> None:
            fixed = parts.labeled[rows]
            moved[fixed] = known[place[rows][fixed]]
            model.fit(given.Xt[rows], moved[:, 0] if flat else moved)

        def loss(source: Array, rows: Array) -> Array:
            guess = np.asarray(model.predict(given.Xt[rows]), dtype=float).reshape(len(rows), -1)
            fixed = parts.labeled[rows]
            guess[fixed] = known[place[rows][fixed]]
            gap = values[source][:, None, :] - guess[None, :, :]
            return np.asarray((gap**2).sum(axis=2) / unit)

        found = alternate(
            given.Xs,
            given.Xt,
            values,
            refit,
            loss,
            trade_off=self.trade_off,
            max_iter=self.max_iter,
            tol=self.tol,
            solver=self.solver,
            max_exact=self.max_exact,
            batch=self.batch,
            max_rows=self.max_rows,
            random_state=self.random_state,
            who="JDOTRegressor",
        )
        self.estimator_ = model
        self.values_ = found.moved[:, 0] if flat else found.moved
        self.troubles_, self.info_ = found.troubles, found.info
        return self

    def served(self) -> Any:
        """What alone predicts new target rows: the fitted estimator."""
        check_is_fitted(self)
        return self.estimator_

    def predict(self, X: Any) -> Array:
        """Value of each target row."""
        check_is_fitted(self)
        return np.asarray(self.estimator_.predict(np.asarray(X)))
