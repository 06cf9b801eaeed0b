"""FEDA: three copies of the features, one shared and one for each domain."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from scipy import sparse
from sklearn.base import clone, is_regressor
from sklearn.kernel_approximation import Nystroem
from sklearn.utils.validation import check_is_fitted

from isthmus.adapt.few_labels import (
    EitherKind,
    FewLabels,
    class_codes,
    few_labels,
    fitted,
    logistic,
    stack,
    takes_weights,
)
from isthmus.adapt.fitted_forms import affine, class_scores
from isthmus.adapt.maps import Affine
from isthmus.errors import UsageError
from isthmus.types import Array


class FEDA(EitherKind):
    """Feature augmentation ("frustratingly easy domain adaptation", EasyAdapt).

    A source row x becomes ``(x, x, 0)``, a target row ``(x, 0, x)``, and any estimator is fitted
    to both: a linear one learns shared weights and what each domain adds to them (Daume III,
    *Frustratingly easy domain adaptation*, ACL 2007). In kernels: ``K'(x, x')`` is ``2 K(x, x')``
    within a domain and ``K(x, x')`` across (`augmented_kernel`). The copies of a domain carry a
    constant, so that the domains may differ in their intercepts (class shares).

    Parameters
    ----------
    estimator : classifier or regressor, optional
        Default: logistic regression.
    kernel : str or callable, optional
        Name as in `sklearn.metrics.pairwise.pairwise_kernels`: the features are replaced by the
        kernel's feature map (Nystroem; exact where there are no more than `n_components` source
        and labelled target rows). None: the features as they are.
    gamma : float, optional
        Of the kernel; scikit-learn's default where None.
    n_components : int, default=500
    agreement : float, default=0.0
        EA++ (Daume, Kumar and Saha, *Frustratingly easy semi-supervised domain adaptation*, ACL
        DANLP 2010): weight of each unlabelled target row; it becomes ``(0, x, -x)`` once for each
        class, which asks the source's and the target's own weights to agree on it. Linear
        classifiers only; 0 is FEDA.
    max_unlabeled : int, default=2000
        As many unlabelled rows are drawn for EA++.
    random_state : int, default=0
        Draws unlabelled rows and landmarks; for estimators that draw.

    Attributes
    ----------
    estimator_ : estimator
        Fitted on the copies; a target row is ``(x, 0, x)``.
    classes_ : ndarray
        Of a classifier.
    troubles_ : tuple of Trouble

    Notes
    -----
    Memory is that of three copies. Sparse rows stay sparse, float32 stays float32; copies of more
    than 32 million numbers are float32.
    """

    family: ClassVar[str] = "feature"
    needs_labels: ClassVar[bool] = True
    needs_target_labels: ClassVar[bool] = True
    answers: ClassVar[tuple[str, ...]] = ("classification", "regression")
    numpy_only = "the estimator is scikit-learn's"

    def __init__(
        self,
        estimator: Any = None,
        *,
        kernel: Any = None,
        gamma: float | None = None,
        n_components: int = 500,
        agreement: float = 0.0,
        max_unlabeled: int = 2000,
        random_state: int = 0,
    ) -> None:
        self.estimator, self.kernel, self.gamma = estimator, kernel, gamma
        self.n_components, self.agreement = n_components, agreement
        self.max_unlabeled, self.random_state = max_unlabeled, random_state

    def fit(self, X: Any, y: Any, *, sample_domain: Any = None, target_labeled: Any = None) -> FEDA:
        """Fit on source rows and on target rows whose label may be used.

        Parameters
        ----------
        X : array or sparse matrix of shape (n, d)
        y : array of shape (n,)
        sample_domain : array of shape (n,), int
            Source rows >= 0, target rows < 0.
        target_labeled : array of shape (n,), bool
            At least one row.

        Raises
        ------
        DataError
            If a domain is empty, no target row is labelled, or a value is missing.
        UsageError
            If a parameter is out of range, or EA++ meets an estimator that is not linear.
        """
        size = 3 * int(np.prod(np.shape(X)))
        base = self.estimator if self.estimator is not None else logistic(size)
        values = is_regressor(base)
        if self.agreement < 0 or self.n_components < 1 or self.max_unlabeled < 1:
            raise UsageError(
                f"agreement={self.agreement}, n_components={self.n_components}, "
                f"max_unlabeled={self.max_unlabeled}",
                where="FEDA",
                why="the first may not be negative, the others must be positive",
            )
        if self.agreement and (values or "fit_intercept" not in base.get_params()):
            raise UsageError(
                f"agreement={self.agreement} with {type(base).__name__}",
                where="FEDA",
                why="EA++ is about a classifier with linear weights",
                remedy="Use agreement=0, or a linear classifier such as LogisticRegression",
            )
        given = few_labels(
            X, y, sample_domain, target_labeled, who="FEDA", values=values, tripled=True
        )
        if not values:
            class_codes(given, "FEDA")
        self.n_features_in_ = given.Xs.shape[1]
        self.features_ = None
        if self.kernel is not None:
            seen = stack(given.Xs, given.Xk)
            self.features_ = Nystroem(
                self.kernel,
                gamma=self.gamma,
                n_components=min(self.n_components, seen.shape[0]),
                random_state=self.random_state,
            ).fit(seen)
        rows = stack(
            copies(self._mapped(given.Xs), "source"), copies(self._mapped(given.Xk), "target")
        )
        labels, weights = np.concatenate([given.ys, given.yk]), None
        if self.agreement:
            rows, labels, weights, base = self._agreeing(given, rows, labels, base)
        self.estimator_, self.troubles_ = fitted(base, rows, labels, weights, self.random_state)
        if not values:
            self.classes_ = self.estimator_.classes_
        return self

    def served(self) -> Affine:
        """What alone predicts new target rows: shared weights and the target's own, added up.

        Raises
        ------
        UsageError
            If the estimator is not linear, or in the features of a kernel.
        """
        check_is_fitted(self)
        if self.features_ is not None:
            raise UsageError(f"kernel={self.kernel!r} cannot be saved", where="FEDA")
        values = is_regressor(self.estimator_)
        coef, level = class_scores(self.estimator_, None if values else self.classes_)
        d = self.n_features_in_
        own = coef[:, 2 * d + 1 :]
        return affine(coef[:, :d] + own[:, :d], level + own[:, d], values=values)

    def _agreeing(
        self, given: FewLabels, rows: Any, labels: Array, base: Any
    ) -> tuple[Any, Array, Array, Any]:
        """EA++: unlabelled target rows, once for each class."""
        takes_weights(base, "FEDA")
        classes = np.unique(labels)
        rng = np.random.default_rng(self.random_state)
        picked = np.sort(rng.permutation(given.Xu.shape[0])[: self.max_unlabeled])
        free = copies(self._mapped(given.Xu[picked]), "unlabelled")
        weights = np.concatenate(
            [np.ones(len(labels)), np.full(len(picked) * len(classes), self.agreement)]
        )
        # an intercept would stand in the way of a difference of 0: the copies have their own
        base = clone(base).set_params(fit_intercept=False)
        return (
            stack(rows, *[free] * len(classes)),
            np.concatenate([labels, np.repeat(classes, len(picked))]),
            weights,
            base,
        )

    def _mapped(self, X: Any) -> Any:
        return X if self.features_ is None else self.features_.transform(X)

    def _columns(self, X: Any) -> Any:
        return copies(self._mapped(X), "target")


def copies(X: Any, side: str) -> Any:
    """(n, 3 d + 2): shared copy, source copy with a constant, target copy with a constant.

    >>> copies(np.array([[7.0]]), "target")
    array([[7., 0., 0., 7., 1.]])
    >>> copies(np.array([[7.0]]), "unlabelled")
    array([[ 0.,  7.,  1., -7., -1.]])
    """
    parts = {"source": (1, 1, 0), "target": (1, 0, 1), "unlabelled": (0, 1, -1)}[side]
    n, d = X.shape
    if sparse.issparse(X):
        own = sparse.hstack([X, sparse.csr_matrix(np.ones((n, 1), dtype=X.dtype))])
        blocks = [X * parts[0], own * parts[1], own * parts[2]]
        out = sparse.hstack(blocks, format="csr", dtype=X.dtype)
        out.eliminate_zeros()
        return out
    out = np.zeros((n, 3 * d + 2), dtype=X.dtype)
    for sign, start in zip(parts, (0, d, 2 * d + 1), strict=True):
        if sign:
            out[:, start : start + d] = X if sign > 0 else -X
            if start:
                out[:, start + d] = sign
    return out


def augmented_kernel(kernel: Array, source_rows: Array, source_columns: Array) -> Array:
    """The kernel of the copies from the kernel of the features.

    Parameters
    ----------
    kernel : ndarray of shape (n, m)
    source_rows, source_columns : ndarray of bool, (n,) and (m,)
        Which rows and columns belong to the source.

    >>> augmented_kernel(np.ones((2, 2)), np.array([True, False]), np.array([True, False]))
    array([[3., 1.],
           [1., 3.]])
    """
    same = source_rows[:, None] == source_columns[None, :]
    return np.asarray(kernel * (1.0 + same) + same)
