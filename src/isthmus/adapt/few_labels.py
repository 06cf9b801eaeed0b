"""Layer 4: what the methods for a few labelled target rows share: checked rows, either kind."""

from __future__ import annotations

import copy
import warnings
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, clone, is_regressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from isthmus.data.domains import split_domains
from isthmus.errors import DataError, UsageError, plain_repr
from isthmus.types import Array, Trouble

SINGLE = 32_000_000  # numbers beyond which dense rows are worked on in single precision


class FewLabels(NamedTuple):
    """Checked sides; dense or sparse (CSR) rows, float32 stays float32.

    More than 32 million dense numbers become float32: half the memory, twice the speed.

    Parameters
    ----------
    Xs, ys : source rows of shape (n, d), labels of shape (n,)
    Xk, yk : target rows with a label, (m, d) and (m,); m >= 1
    Xu : target rows without a label, (u, d)
    """

    Xs: Any
    ys: Array
    Xk: Any
    yk: Array
    Xu: Any


def few_labels(
    X: Any,
    y: Any,
    sample_domain: Any,
    target_labeled: Any,
    *,
    who: str,
    values: bool = False,
    tripled: bool = False,
) -> FewLabels:
    """Stacked domains -> checked sides; labels of other target rows are never read.

    Parameters
    ----------
    values : bool
        Labels are numbers to predict (regression), not classes.
    tripled : bool
        The method will hold three copies of the features.

    Raises
    ------
    DataError
        If a side is empty, no target row is labelled, a feature or label is missing or not a
        number where it must be one.
    """
    parts = split_domains(X, y, sample_domain, target_labeled=target_labeled)
    if not parts.labeled.any():
        raise DataError(
            f"none of {parts.Xt.shape[0]} target rows is labelled",
            where=who,
            remedy="Pass target_labeled, or use a method for unlabelled targets",
        )
    Xs, Xt = numbers(parts.Xs, who, "source"), numbers(parts.Xt, who, "target")
    if not sparse.issparse(Xs) and Xs.size * (3 if tripled else 1) > SINGLE:
        Xs, Xt = Xs.astype(np.float32, copy=False), Xt.astype(np.float32, copy=False)
    ys, yk = parts.ys, parts.yt
    if values:
        try:
            ys, yk = ys.astype(np.float64), yk.astype(np.float64)
        except (TypeError, ValueError):
            raise DataError("the values to predict are not numbers", where=who) from None
    elif ys.ndim != 1:
        raise DataError(f"class labels have shape {ys.shape}, one column is needed", where=who)
    for side, labels in (("source", ys), ("labelled target", yk)):
        if labels.dtype == object:
            whole = all(v is not None and v == v for v in labels.ravel())
        else:
            whole = labels.dtype.kind not in "fc" or bool(np.isfinite(labels).all())
        if not whole:
            raise DataError(f"a label of the {side} rows is missing", where=who)
    return FewLabels(Xs, ys, Xt[parts.labeled], yk, Xt[~parts.labeled])


def numbers(X: Any, who: str, side: str = "") -> Any:
    """2-d finite rows as float32 (where they are) or float64; sparse matrices stay sparse."""
    where = f"{side} " if side else ""
    X = X.tocsr() if sparse.issparse(X) else np.asarray(X)
    if X.ndim != 2:
        raise DataError(f"the {where}features are {X.ndim}-d, 2-d is needed", where=who)
    if X.dtype not in (np.float32, np.float64):
        try:
            X = X.astype(np.float64)
        except (TypeError, ValueError):
            raise DataError(f"the {where}features are not numbers", where=who) from None
    if not np.isfinite(X.data if sparse.issparse(X) else X).all():
        raise DataError(
            f"the {where}features hold NaN or infinity", where=who, remedy="Impute them first"
        )
    return X


def new_rows(estimator: Any, X: Any) -> Any:
    """Rows at predict time, as `numbers`, and as wide as those that the estimator was fitted on.

    Raises
    ------
    sklearn.exceptions.NotFittedError, DataError
    """
    check_is_fitted(estimator)
    who = type(estimator).__name__
    X = numbers(X, who)
    if X.shape[1] != estimator.n_features_in_:
        raise DataError(
            f"{X.shape[1]} features, fitted on {estimator.n_features_in_}",
            where=who,
            remedy="Give the features that the model was fitted on, in their order",
        )
    return X


def class_codes(given: FewLabels, who: str) -> tuple[Array, Array, Array]:
    """Classes of both sides, and the positions of the source and target labels among them."""
    try:
        classes, codes = np.unique(np.concatenate([given.ys, given.yk]), return_inverse=True)
    except TypeError:
        raise DataError("labels of several types", where=who, remedy="Use one type") from None
    if len(classes) < 2:
        raise DataError(f"all rows have the one class {plain_repr(classes[0])}", where=who)
    return classes, codes[: len(given.ys)], codes[len(given.ys) :]


def stack(*rows: Any) -> Any:
    """Rows one below the other, sparse if one is."""
    if any(sparse.issparse(part) for part in rows):
        return sparse.vstack(rows, format="csr")
    return np.concatenate(rows)


def beside(*columns: Any) -> Any:
    """Columns side by side, sparse if one is."""
    if any(sparse.issparse(part) for part in columns):
        return sparse.hstack(columns, format="csr")
    return np.concatenate(columns, axis=1)


def fitted(
    estimator: Any,
    X: Any,
    y: Array,
    weights: Array | None = None,
    seed: int = 0,
    *,
    before: Any = None,
) -> tuple[Any, tuple[Trouble, ...]]:
    """A fitted clone, and what its fit complained of; a free `random_state` is set to `seed`.

    A linear model with ``warm_start=True`` starts from `before`, the last one on like rows.
    """
    model = clone(estimator)
    if getattr(estimator, "warm_start", False) is True and hasattr(before, "coef_"):
        same = np.array_equal(np.unique(y), getattr(before, "classes_", ()))
        model = copy.deepcopy(before) if same else model
    free = [k for k, v in model.get_params().items() if k.split("__")[-1] == "random_state"]
    model.set_params(**{k: seed for k in free if model.get_params()[k] is None})
    keywords = {} if weights is None else {"sample_weight": weights}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(X, y, **keywords)
    troubles: tuple[Trouble, ...] = ()
    if caught:
        first = str(caught[0].message).splitlines()[0]
        troubles = (Trouble("not-converged", first, "Standardise the features or raise max_iter"),)
    return model, troubles


def takes_weights(estimator: Any, who: str) -> None:
    """Refuse an estimator that cannot be weighted."""
    if not has_fit_parameter(estimator, "sample_weight"):
        raise UsageError(
            f"{type(estimator).__name__} takes no sample_weight",
            where=who,
            remedy="Use an estimator whose fit takes sample_weight",
        )


def logistic(size: int = 0, **options: Any) -> Any:
    """The classifier that is taken where none is given.

    Parameters
    ----------
    size : int
        Numbers in the rows: beyond 8 million the solver stops at a gradient of 1e-3 instead of
        1e-4, which rounding in single precision keeps it from (10 classes, 101,000 x 256: 4 s
        instead of 28 s).
    """
    from sklearn.linear_model import LogisticRegression

    tol = 1e-4 if size <= SINGLE // 4 else 1e-3
    return LogisticRegression(max_iter=1000, tol=tol, **options)


def ridge() -> Any:
    """The regressor that is taken where none is given."""
    from sklearn.linear_model import Ridge

    return Ridge()


def _has_probabilities(self: Any) -> bool:
    inner = getattr(self, "estimator_", self.estimator)
    return inner is None or hasattr(inner, "predict_proba")


class EitherKind(BaseEstimator):
    """Classifier or regressor, as the estimator inside: tags, `predict`, `score`.

    A class on top of it has a parameter `estimator`, sets `estimator_` and `n_features_in_` in
    `fit`, and names the columns that the estimator sees of target rows in `_columns`.
    """

    estimator: Any
    estimator_: Any

    def _columns(self, X: Any) -> Any:
        return X

    def _rows(self, X: Any) -> Any:
        return self._columns(new_rows(self, X))

    def predict(self, X: Any) -> Array:
        """Predictions for target rows."""
        return np.asarray(self.estimator_.predict(self._rows(X)))

    @available_if(_has_probabilities)
    def predict_proba(self, X: Any) -> Array:
        """(n, k) probabilities for target rows, columns as in `classes_`."""
        return np.asarray(self.estimator_.predict_proba(self._rows(X)))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy, or R^2 of a regressor, on target rows."""
        from sklearn.metrics import accuracy_score, r2_score

        measure = r2_score if is_regressor(self) else accuracy_score
        return float(measure(y, self.predict(X), sample_weight=sample_weight))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        kind = (self.estimator if self.estimator is not None else logistic()).__sklearn_tags__()
        tags.estimator_type = kind.estimator_type
        tags.classifier_tags, tags.regressor_tags = kind.classifier_tags, kind.regressor_tags
        tags.input_tags.sparse = kind.input_tags.sparse
        return tags
