"""Layer 5: what all heads share: checked inputs, row blocks, and a state of tensors + JSON.

A head is a scikit-learn estimator that also speaks `logits` (classification: ``softmax(logits)``
are its probabilities; multi-label: ``sigmoid(logits)``), which is what `Temperature` divides.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from isthmus.errors import BundleError, DataError, UsageError
from isthmus.types import Array

BLOCK_BYTES = 32 << 20  # what one block of rows may cost, whatever the number of rows
_FLOATS = (np.float64, np.float32, np.float16)

State = tuple[dict[str, Array], dict[str, Any]]


def row_blocks(n: int, width: int, *, itemsize: int = 8, most: int = 8192) -> Iterator[slice]:
    """Slices over n rows such that `width` numbers a row stay within the block budget."""
    step = int(min(max(BLOCK_BYTES // max(width * itemsize, 1), 16), most))
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))


class Stateful(BaseEstimator):
    """Estimator whose fitted state is a dict of arrays and a JSON dict; nothing is pickled.

    Subclasses name what travels: `_arrays` (fitted ndarrays), `_facts` (fitted JSON values).
    """

    _arrays: ClassVar[tuple[str, ...]] = ()
    _facts: ClassVar[tuple[str, ...]] = ()

    def _check_X(self, X: Any, *, reset: bool = False) -> Array:
        """Finite (n, d) floats of any width, never copied if they are floats already."""
        if not reset:
            check_is_fitted(self)
        if getattr(X, "is_checked_rows", False):
            if reset:
                self.n_features_in_ = int(X.shape[1])
            return X
        if hasattr(X, "tocsr"):
            raise DataError(
                "sparse features are not supported",
                where="X",
                remedy="Reduce them first (TruncatedSVD), or pass X.toarray() where it fits",
            )
        try:
            return validate_data(self, X, reset=reset, dtype=list(_FLOATS))
        except ValueError as error:
            raise DataError(str(error), where="X") from None

    def to_state(self) -> State:
        """Fitted state as (tensors, JSON-ready dict); `from_state` reads it back.

        Raises
        ------
        sklearn.exceptions.NotFittedError
        """
        check_is_fitted(self)
        tensors = {
            name: np.ascontiguousarray(getattr(self, name))
            for name in self._arrays
            if getattr(self, name, None) is not None
        }
        meta: dict[str, Any] = {
            "kind": type(self).__name__,
            "params": {k: _plain(v) for k, v in self.get_params(deep=False).items()},
            "n_features": int(self.n_features_in_),
            "facts": {name: _plain(getattr(self, name, None)) for name in self._facts},
        }
        if hasattr(self, "classes_"):
            classes = np.asarray(self.classes_)
            meta["classes"] = [_plain(value) for value in classes]
            meta["classes_dtype"] = "object" if classes.dtype == object else classes.dtype.str
        return tensors, meta

    @classmethod
    def from_state(cls, tensors: Mapping[str, Array], meta: Mapping[str, Any]) -> Self:
        """Rebuild from `to_state`; predictions are bit-identical.

        Raises
        ------
        BundleError
            If the state is of another class, incomplete, or not finite.
        """
        try:
            if meta["kind"] != cls.__name__:
                raise BundleError(f"a state of {meta['kind']!r} is not one of {cls.__name__!r}")
            out = cls(**meta["params"])
            out.n_features_in_ = int(meta["n_features"])
            for name in cls._facts:
                setattr(out, name, meta["facts"][name])
            if "classes" in meta:
                out.classes_ = np.array(meta["classes"], dtype=np.dtype(meta["classes_dtype"]))
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, BundleError):
                raise
            raise BundleError("the state of a head is incomplete", why=repr(error)) from None
        for name in cls._arrays:
            value = tensors.get(name)
            if value is not None and value.dtype.kind == "f" and not np.isfinite(value).all():
                raise BundleError("a tensor of the model is not finite", where=name)
            setattr(out, name, value)
        try:
            out._check_state()
        except (AttributeError, TypeError, IndexError, ValueError) as error:
            if isinstance(error, BundleError):
                raise
            raise BundleError("tensors of a head are missing", why=str(error)) from None
        return out

    def _check_state(self) -> None:
        """Raise (anything) if the tensors do not fit together; subclasses say what they need."""


def require_shape(value: Array, shape: tuple[int, ...], name: str) -> None:
    """Refuse a tensor of another shape.

    Raises
    ------
    BundleError
    """
    if value.shape != shape:
        raise BundleError(f"tensor of shape {value.shape}, expected {shape}", where=name)


def check_weights(sample_weight: Any, X: Array) -> Array:
    """(n,) float64 weights, ones by default; negative, NaN or all-zero weights are refused."""
    try:
        weights = _check_sample_weight(
            sample_weight, X, dtype=np.float64, ensure_non_negative=True, copy=True
        )
    except ValueError as error:
        raise DataError(str(error), where="sample_weight") from None
    if not np.any(weights > 0):
        raise DataError("all weights are zero", where="sample_weight")
    return weights


def encode_classes(y: Any, n: int, weights: Array) -> tuple[Array, Array]:
    """Class labels and the code of each row; a class with weight zero throughout does not exist.

    Returns
    -------
    classes : (K,) ndarray
        Ascending, K >= 2.
    codes : (n,) int64
        Rows of weight zero whose class vanished get code 0; they weigh nothing anyway.
    """
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import _check_y, check_consistent_length

    try:
        y = _check_y(y, multi_output=False, y_numeric=False)
        check_consistent_length(np.empty(n), y)
        with warnings.catch_warnings():  # many classes with few rows each are the normal case here
            warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
            check_classification_targets(y)
    except ValueError as error:
        raise DataError(str(error), where="y") from None
    classes = np.unique(y[weights > 0])
    if len(classes) < 2:
        raise DataError(
            "only one class is present in the labels",
            where="y",
            why=f"every row with a weight is {classes[0]}",
            remedy="A classifier needs rows of at least two classes",
        )
    codes = np.searchsorted(classes, y)
    codes[codes == len(classes)] = 0
    return classes, codes.astype(np.int64)


def class_factors(class_weight: Any, classes: Array, codes: Array, weights: Array) -> Array:
    """(K,) factor per class: None = 1, "balanced" = total / (K * class total), or a dict."""
    K = len(classes)
    if class_weight is None:
        return np.ones(K)
    if isinstance(class_weight, str) and class_weight == "balanced":
        totals = np.bincount(codes, weights, minlength=K)
        return totals.sum() / (K * totals)
    if isinstance(class_weight, Mapping):
        unknown = [name for name in class_weight if name not in set(classes.tolist())]
        if unknown:
            raise UsageError(f"class_weight names classes without rows: {unknown}")
        return np.array([float(class_weight.get(name, 1.0)) for name in classes.tolist()])
    raise UsageError(f"class_weight={class_weight!r}", why="known: None, 'balanced', a dict")


def softmax(logits: Array) -> Array:
    """Row-wise softmax of (n, K) in float64."""
    z = np.asarray(logits, dtype=np.float64)
    z = np.exp(z - z.max(axis=1, keepdims=True))
    z /= z.sum(axis=1, keepdims=True)
    return z


def under(tensors: Mapping[str, Array], start: str) -> dict[str, Array]:
    """The tensors whose names begin with `start`, by the rest of their names."""
    return {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}


def _plain(value: Any) -> Any:
    """JSON form of a parameter; what has none (a generator, a list of folds) becomes None."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Stateful):
        return {"kind": type(value).__name__, "params": _plain(value.get_params(deep=False))}
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple) and all(
        isinstance(v, bool | int | float | str | np.generic) for v in value
    ):
        return [_plain(v) for v in value]
    return None
