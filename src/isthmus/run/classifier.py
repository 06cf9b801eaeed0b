"""Layer 8: the whole run as a scikit-learn classifier: diagnosis, choice and guard inside `fit`."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import _safe_indexing, assert_all_finite
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from isthmus.data import read
from isthmus.data.domains import RULE, domain_masks
from isthmus.data.samples import Samples
from isthmus.errors import DataError, UsageError, plain_repr
from isthmus.transfer import transfer
from isthmus.types import Array


class TransferClassifier(ClassifierMixin, BaseEstimator):
    """`isthmus.transfer` as an estimator: it diagnoses, chooses a route, or declines.

    Rows at predict time are target rows.

    Parameters
    ----------
    backbone : str or object, optional
        As for `isthmus.transfer`; by default that of the modality (none for numbers).
    head : str, optional
        ``logistic`` (default), ``ridge``, ``nearest-mean`` or ``knn``.
    method : str, method object, or list of these, optional
        As for `isthmus.transfer`: by default the automatic choice.
    label_set : {"auto", "closed", "partial", "open", "universal"}, optional
        As for `isthmus.transfer`, where source and target differ in classes. `predict` answers
        with a class all the same; with ``open`` and ``universal`` `novelty` says of which rows
        none fits.
    time : float, optional
        Budget of `fit` in seconds.
    max_bad : float, default=0.0
        Share of rows that may be set aside in `fit`; a row that cannot be predicted is an error.
    random_state : int, default=0

    Attributes
    ----------
    classes_ : ndarray of shape (k,)
    result_ : Result
        Leaderboard, verdict, candidates, proof: ``print(model.result_)``.
    verdict_ : Verdict
    route_ : str
        The route that serves.
    n_features_in_ : int
        Where X is a matrix or a frame.

    Examples
    --------
    >>> import numpy as np
    >>> from isthmus import TransferClassifier
    >>> from isthmus.data.domains import stack_domains
    >>> rng = np.random.default_rng(0)
    >>> ys = np.arange(80) % 2
    >>> Xs = rng.normal(size=(80, 3)) + 3 * ys[:, None]
    >>> X, y, sample_domain, _ = stack_domains(Xs, ys, Xs + 1)
    >>> model = TransferClassifier().fit(X, y, sample_domain=sample_domain)
    >>> bool((model.predict(Xs + 1) == ys).mean() > 0.9)
    True
    """

    def __init__(
        self,
        *,
        backbone: Any = None,
        head: str | None = None,
        method: Any = None,
        label_set: str | None = None,
        time: float | None = None,
        max_bad: float = 0.0,
        random_state: int = 0,
    ) -> None:
        self.backbone, self.head, self.method = backbone, head, method
        self.label_set, self.time = label_set, time
        self.max_bad, self.random_state = max_bad, random_state

    def fit(
        self, X: Any, y: Any, *, sample_domain: Any = None, target_labeled: Any = None
    ) -> TransferClassifier:
        """Run the whole choice.

        Parameters
        ----------
        X : array of shape (n, d), frame, images (n, h, w[, c]), or sequence of n texts or files
            Rows of both domains.
        y : array of shape (n,)
            Labels. On target rows they are read only where `target_labeled` is True.
        sample_domain : array of shape (n,), int
            Source rows >= 0, target rows < 0. None: all rows are labelled target rows.
        target_labeled : array of shape (n,), bool, optional
            Target rows whose label may be used.

        Raises
        ------
        DataError
            If a domain is empty, or rows are bad.
        UsageError
            If `target_labeled` comes without `sample_domain`.
        """
        numeric = self._check(X, reset=True)
        labels = column_or_1d(y, warn=True)
        X = X if numeric is None else numeric
        if len(labels) != _length(X):
            raise DataError(f"{_length(X)} rows and {len(labels)} labels", where="fit")
        if sample_domain is None:
            if target_labeled is not None:
                raise UsageError("target_labeled needs sample_domain", where="fit")
            source, known = np.zeros(len(labels), bool), np.ones(len(labels), bool)
        else:
            source, known = domain_masks(sample_domain, len(labels), target_labeled=target_labeled)
        if source.all():
            raise DataError("there are no target rows", where="fit", why=RULE)
        read_rows = source | known
        assert_all_finite(labels[read_rows], input_name="y")
        check_classification_targets(labels[read_rows])
        self.classes_ = np.unique(labels[read_rows])
        if len(self.classes_) < 2:
            raise DataError(
                f"one class only, {plain_repr(self.classes_[0])}",
                where="fit",
                remedy="Give labelled rows of at least two classes",
            )
        names = np.full(len(labels), None, dtype=object)
        names[read_rows] = self._names()[np.searchsorted(self.classes_, labels[read_rows])]
        given: dict[str, Any] = {}
        if known.all():
            target = self._samples(X, known, names)
        else:
            target = self._samples(X, ~source)
            if known.any():
                ids = np.asarray(target.ids, dtype=object)[known[~source]]
                given["target_labels"] = dict(zip(ids, names[known], strict=True))
        self.result_ = transfer(
            self._samples(X, source, names) if source.any() else None,
            target,
            **given,
            backbone=self.backbone,
            head=self.head,
            method=self.method,
            label_set=self.label_set,
            time=self.time,
            max_bad=self.max_bad,
            seed=self.random_state,
        )
        self.verdict_, self.route_ = self.result_.verdict, self.result_.verdict.decision
        self._predictor = self.result_.predictor()
        return self

    def predict(self, X: Any) -> Array:
        """(n,) labels of target rows.

        Raises
        ------
        DataError
            If a row cannot be predicted, with the reason.
        """
        proba = self.predict_proba(X)
        return np.asarray(self.classes_[proba.argmax(axis=1)])

    def predict_proba(self, X: Any) -> Array:
        """(n, k) calibrated probabilities of target rows, columns in the order of `classes_`."""
        frame = self._answers(X)
        return np.stack([frame[f"p({name})"] for name in self._names()], axis=1)

    def novelty(self, X: Any) -> Array:
        """(n,) scores of target rows, 0 to 1: above 0.5 the row is like no class of the source.

        Raises
        ------
        UsageError
            If `label_set` was neither ``open`` nor ``universal``.
        """
        frame = self._answers(X)
        if "novelty" not in frame:
            raise UsageError(
                "this model does not look for novel rows",
                remedy="Fit with label_set='open' or 'universal'",
            )
        return np.asarray(frame["novelty"], dtype=np.float64)

    def _answers(self, X: Any) -> Any:
        """The saved model's answers about target rows."""
        check_is_fitted(self)
        numeric = self._check(X, reset=False)
        return self._predictor.predict(numeric if numeric is not None else X, max_bad=0.0)

    def _names(self) -> Array:
        """(k,) class names of the run, in the order of `classes_`."""
        names = [str(value) for value in self.classes_.tolist()]
        return np.array(names, dtype=object)

    def _samples(self, rows: Any, keep: Array, names: Array | None = None) -> Samples:
        given: dict[str, Any] = (
            {} if names is None else {"label": names[keep]}
        )  # an array never names columns
        part = _safe_indexing(rows, np.flatnonzero(keep))
        return read(part, task="classification", max_bad=self.max_bad, **given)

    def _check(self, X: Any, *, reset: bool) -> Array | None:
        """The matrix as floats, or None where X is a frame, images, texts or files."""
        if hasattr(X, "columns"):
            validate_data(self, X, reset=reset, skip_check_array=True)
            return None
        if not hasattr(X, "toarray"):
            rows = np.asarray(X, dtype=object if isinstance(X, list) and _words(X) else None)
            if rows.ndim in (3, 4) or (rows.ndim == 1 and rows.dtype.kind not in "biuf"):
                return None
        checked: Array = validate_data(self, X, reset=reset, dtype=(np.float64, np.float32))
        return checked


def _words(X: list[Any]) -> bool:
    """Whether a list holds texts or files rather than rows of numbers."""
    return bool(X) and (isinstance(X[0], str) or not np.iterable(X[0]))


def _length(X: Any) -> int:
    return int(X.shape[0]) if hasattr(X, "shape") else len(X)
