"""Labels carried by optimal transport, class shares of the target estimated on the way (JCPOT)."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from isthmus.adapt.density import draw, sorting
from isthmus.adapt.sides import codes_of, quiet_fit, sides, two_classes
from isthmus.adapt.transport import cost_matrix, entropic, heard, positive
from isthmus.errors import DataError, UsageError, plain_repr
from isthmus.types import Array, Trouble

WHO = "LabelPropagationTransport"
FORBIDDEN = 1e3  # cost in medians of a pair whose labels contradict each other


class LabelPropagationTransport(ClassifierMixin, BaseEstimator):
    """Labels of one or several sources, carried to the target rows by entropic transport.

    One plan a source; a target row gets the labels of the mass that reaches it (Solomon et al.,
    *Wasserstein propagation for semi-supervised learning*, ICML 2014). With
    ``proportions="estimate"`` the class shares of the target are unknown and found together with
    the plans, common to all sources (JCPOT: Redko, Courty, Flamary and Tuia, *Optimal transport
    for multi-source domain adaptation under target shift*, AISTATS 2019): rows count alike within
    their class, classes as much as the target wants. A classifier fitted to the target rows under
    their labels serves new rows.

    Parameters
    ----------
    estimator : classifier, optional
        With `sample_weight`. Default: logistic regression.
    reg : float, default=0.02
        Entropic regularisation in units of the median cost.
    proportions : {"estimate", "source"}, default="estimate"
        "source": each source's own class shares (plans by `ot.sinkhorn`).
    max_iter : int, default=1000
    tol : float, default=1e-6
        Change of the class shares (of the marginals, for "source") at which the steps end.
    max_exact : int, default=2000
        Rows of each side in the plans, all sources together; beyond it a draw of rows stands for
        all, labelled target rows first, and the classifier carries the labels on.
    random_state : int, default=0
        Draws those rows; they depend on the values, not on the order of the rows.

    Attributes
    ----------
    classes_ : ndarray
    proportions_ : ndarray of shape (K,)
        Class shares of the target.
    shares_ : ndarray of shape (rows, K)
        Labels that reached the target rows `target_rows_`.
    labels_, target_rows_ : ndarray of shape (rows,)
    estimator_ : classifier
    troubles_ : tuple of Trouble
    info_ : dict

    Notes
    -----
    Costs by POT. Labelled target rows keep their label, and no source row of another class may
    send mass to them. Cost: two products with the kernel (rows of both sides) a step.
    """

    family: ClassVar[str] = "relation"
    needs_labels: ClassVar[bool] = True
    extra: ClassVar[str] = "transport"
    numpy_only = "the estimator is scikit-learn's"

    def __init__(
        self,
        estimator: Any = None,
        *,
        reg: float = 0.02,
        proportions: str = "estimate",
        max_iter: int = 1000,
        tol: float = 1e-6,
        max_exact: int = 2000,
        random_state: int = 0,
    ) -> None:
        self.estimator, self.reg, self.proportions = estimator, reg, proportions
        self.max_iter, self.tol, self.max_exact = max_iter, tol, max_exact
        self.random_state = random_state

    def fit(
        self, X: Any, y: Any, *, sample_domain: Any = None, target_labeled: Any = None
    ) -> LabelPropagationTransport:
        """Fit on stacked domains; sources are told apart by ``sample_domain`` 0, 1, 2, ...

        Raises
        ------
        DataError
            If a side is empty, a value is missing, the source has one class, a source lacks a
            class (with ``proportions="estimate"``), or all target rows get one label.
        UsageError
            If a parameter cannot be used.
        """
        positive(WHO, reg=self.reg, max_iter=self.max_iter, tol=self.tol, max_exact=self.max_exact)
        if self.proportions not in ("estimate", "source"):
            raise UsageError(
                f"proportions={self.proportions!r}", remedy='Use "estimate" or "source"'
            )
        rows = sides(X, y, sample_domain, target_labeled, who=WHO, labels_needed=False)
        self.classes_, codes = two_classes(rows.ys, WHO)
        K = len(self.classes_)
        known = np.full(len(rows.Xt), -1)
        known[rows.labeled] = codes_of(rows.yt, self.classes_, WHO)
        names, place = np.unique(rows.sources, return_inverse=True)
        source = self._drawn(rows.Xs, codes, place, len(names))
        order = sorting(rows.Xt)[draw(len(rows.Xt), len(rows.Xt), self.random_state)]
        order = order[np.argsort(known[order] < 0, kind="stable")]
        target = np.sort(order[: self.max_exact])
        Xt, fixed = rows.Xt[target].astype(np.float64), known[target]
        costs, labels = [], []
        for j, name in enumerate(names):
            mine = source[place[source] == j]
            if self.proportions == "estimate" and len(np.unique(codes[mine])) < K:
                gone = np.setdiff1d(np.arange(K), codes[mine])
                raise DataError(
                    f"source domain {name} has no row of {plain_repr(self.classes_[gone[0]])}",
                    where=WHO,
                    why="class shares common to all sources are estimated",
                    remedy='Leave that source out, or use proportions="source"',
                )
            cost, _ = cost_matrix(rows.Xs[mine].astype(np.float64), Xt)
            costs.append(cost + FORBIDDEN * ((fixed >= 0) & (codes[mine][:, None] != fixed)))
            labels.append(np.eye(K)[codes[mine]])
        self.troubles_: tuple[Trouble, ...] = ()
        if self.proportions == "estimate":
            with np.errstate(all="ignore"):
                plans, h, change, steps = joint_plans(
                    costs, labels, self.reg, tol=self.tol, max_iter=self.max_iter
                )
            if not np.isfinite(h).all():
                raise DataError(
                    f"reg={self.reg:g} of the median cost is below what floats can hold",
                    where=WHO,
                    remedy="Use a larger reg",
                )
            if change > self.tol:
                reason = f"the class shares still changed by {change:.2g} in step {steps}"
                self.troubles_ = (Trouble("not-converged", reason, "Raise max_iter, or reg"),)
            info: dict[str, Any] = {"iterations": steps}
        else:
            plans, info = self._plain(costs), {}
        shares = np.mean([p.T @ hot for p, hot in zip(plans, labels, strict=True)], axis=0)
        total = shares.sum(axis=1, keepdims=True)
        shares = np.divide(shares, total, out=np.full_like(shares, 1 / K), where=total > 0)
        self.proportions_ = h if self.proportions == "estimate" else shares.mean(axis=0)
        shares[fixed >= 0] = np.eye(K)[fixed[fixed >= 0]]
        self.shares_, self.target_rows_ = shares, target
        self.labels_ = self.classes_[shares.argmax(axis=1)]
        self.estimator_ = self._fitted(rows.Xt[target], shares)
        self.info_ = info | {
            "solver": "exact"
            if len(source) == len(codes) and len(target) == len(known)
            else "subset",
            "rows": [len(source), len(target)],
            "sources": len(names),
            "target_prior": {
                str(c): float(p) for c, p in zip(self.classes_, self.proportions_, strict=True)
            },
        }
        self.n_features_in_ = Xt.shape[1]
        return self

    def _drawn(self, Xs: Array, codes: Array, place: Array, sources: int) -> Array:
        """Source rows in the plans: each source with its share, at least a row a class."""
        if len(Xs) <= self.max_exact:
            return np.arange(len(Xs))
        kept = []
        for j in range(sources):
            for code in range(codes.max() + 1):
                mine = np.flatnonzero((place == j) & (codes == code))
                want = max(1, round(self.max_exact * len(mine) / len(Xs))) if len(mine) else 0
                order = mine[sorting(Xs[mine])] if len(mine) else mine
                kept.append(order[draw(len(mine), want, self.random_state)])
        return np.sort(np.concatenate(kept))

    def _plain(self, costs: list[Array]) -> list[Array]:
        plans = []
        for cost in costs:
            n, m = cost.shape
            with heard():
                solved = entropic(
                    cost,
                    np.full(n, 1 / n),
                    np.full(m, 1 / m),
                    reg=self.reg,
                    max_iter=self.max_iter,
                    tol=max(self.tol, 1e-6),
                    log_domain="auto",
                )
            if solved.failure:
                reason = f"{solved.failure}; marginal error {solved.error:.2g} of the mass"
                self.troubles_ += (Trouble("not-converged", reason, solved.remedy),)
            plans.append(np.nan_to_num(solved.plan))
        return plans

    def _fitted(self, Xt: Array, shares: Array) -> Any:
        """The classifier of target rows: each row once a class, weighted with its share."""
        model = clone(self.estimator) if self.estimator is not None else _default()
        if not has_fit_parameter(model, "sample_weight"):
            raise UsageError(f"{type(model).__name__} takes no sample_weight", where=WHO)
        at, label = np.nonzero(shares > 1e-6)
        if len(np.unique(label)) < 2:
            raise DataError(
                f"every target row received the label {plain_repr(self.classes_[label[0]])}",
                where=WHO,
                remedy="Label a few target rows",
            )
        fine = quiet_fit(model, Xt[at], self.classes_[label], sample_weight=shares[at, label])
        if not fine:
            stopped = "the classifier of target rows stopped at max_iter"
            self.troubles_ += (Trouble("not-converged", stopped, "Scale the features"),)
        return model

    def served(self) -> Any:
        """What alone predicts new target rows: the fitted estimator."""
        check_is_fitted(self)
        return self.estimator_

    def predict_proba(self, X: Any) -> Array:
        """(n, K) for target rows, columns as in `classes_`."""
        check_is_fitted(self)
        out = np.zeros((len(X), len(self.classes_)))
        out[:, np.searchsorted(self.classes_, self.estimator_.classes_)] = (
            self.estimator_.predict_proba(np.asarray(X))
        )
        return out

    def predict(self, X: Any) -> Array:
        """Class of each target row."""
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])


def joint_plans(
    costs: list[Array], labels: list[Array], reg: float, *, tol: float, max_iter: int
) -> tuple[list[Array], Array, float, int]:
    """Iterative Bregman projections of JCPOT (Redko et al. 2019, algorithm 1).

    Parameters
    ----------
    costs : list of (n_j, m)
    labels : list of (n_j, K) one-hot

    Returns
    -------
    plans : list of (n_j, m)
    h : ndarray of shape (K,)
        Class shares, sum 1.
    change, steps : float, int
    """
    kernels = []
    for cost in costs:
        # least cost of each row and column taken out: it changes scalings, not plans, and keeps
        # whole rows from falling below the smallest float
        low = cost - cost.min(axis=1, keepdims=True)
        low -= low.min(axis=0, keepdims=True)
        kernels.append(np.exp(-low / reg))
    m = costs[0].shape[1]
    left = [np.exp(-cost.min(axis=1) / reg) for cost in costs]
    left = [np.maximum(u, 1e-250) for u in left]
    right = [np.full(m, 1 / m) for _ in costs]
    h, change, steps = np.ones(labels[0].shape[1]), np.inf, 0
    while steps < max_iter:
        steps += 1
        logs = np.zeros(len(h))
        for j, kernel in enumerate(kernels):
            right[j] = (1 / m) / (kernel.T @ left[j])
            mass = left[j] * (kernel @ right[j])
            logs += np.log(labels[j].T @ mass) / len(kernels)
        new = np.exp(logs)
        for j, kernel in enumerate(kernels):
            wanted = labels[j] @ (new / labels[j].sum(axis=0))
            left[j] = wanted / (kernel @ right[j])
        change, h = float(np.linalg.norm(new - h)), new
        if change < tol or not np.isfinite(h).all():
            break
    plans = []
    for j, kernel in enumerate(kernels):
        right[j] = (1 / m) / (kernel.T @ left[j])  # every target row gets its mass
        plans.append(left[j][:, None] * kernel * right[j])
    return plans, h / h.sum(), change, steps


def _default() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=1000)
