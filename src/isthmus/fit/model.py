"""Layer 5: what every route returns and every bundle saves: processing + head + temperature."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np
from scipy.special import expit
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from isthmus.errors import BundleError, DataError, UsageError
from isthmus.fit.base import State, softmax, under
from isthmus.fit.calibrate import Temperature
from isthmus.fit.encode import encode_targets
from isthmus.fit.features import FeatureProcessor, LazyRows
from isthmus.fit.folds import folds
from isthmus.fit.heads import head_from_state, make_head
from isthmus.fit.logistic import LogisticHead
from isthmus.fit.mapped import Mapped, front_from_state
from isthmus.fit.path import draw_rows
from isthmus.fit.rows import EXACT_UP_TO
from isthmus.types import Array, Task

_LAZY_BYTES = 256 << 20  # processed features beyond this are made block by block, in every pass
_PREDICT_BYTES = 64 << 20
_REFIT_BELOW = 2000  # up to this many rows the processor is fitted anew in every fold
_PLAIN, _ADAPTED = 1, 2  # formats: what an older version would misread has the higher number
# What a head chose by cross-validation and must keep while folds are refitted for calibration.
_CHOSEN = {"C": "C_", "alpha": "alpha_", "n_neighbors": "k_"}


class FeatureModel(BaseEstimator):
    """Features in, names and calibrated probabilities out.

    Parameters
    ----------
    processor : FeatureProcessor, optional
        Fitted on the training rows only; None leaves features as they are.
    head : head or str, default="logistic"
        A head, or its name for `make_head`.
    temperature : Temperature, optional
        Fitted on held-out logits of the training rows, in grouped folds where groups are given:
        those of the head's own cross-validation where it has them, else those of `n_splits`
        refits. Up to 2,000 rows the processor is fitted anew in every fold; beyond that its
        means and scales come from all training rows, which moves no held-out score.
        None: no calibration.
    task : {"classification", "multilabel", "regression"}, default="classification"
    classes : tuple of str
        Class names in the order of the probability columns. A class without training rows keeps
        its column, with probability zero; `unseen_` names it.
    n_splits : int, default=5
    random_state : int, default=0

    Attributes
    ----------
    processor_, head_, temperature_ : fitted parts, or None
        A model for target rows of an adapted domain has a `Mapped` for its processor.
    log_ratio_ : (K,) float64 or None
        Added to the tempered logits: log of target over source share of each class of the head.
    unseen_ : tuple of str
    calibration_ : str
        How the temperature was found, or why it is 1.
    """

    def __init__(
        self,
        processor: FeatureProcessor | None = None,
        head: Any = "logistic",
        temperature: Temperature | None = None,
        task: Task = "classification",
        classes: tuple[str, ...] = (),
        *,
        n_splits: int = 5,
        random_state: int = 0,
    ) -> None:
        self.processor = processor
        self.head = head
        self.temperature = temperature
        self.task = task
        self.classes = classes
        self.n_splits = n_splits
        self.random_state = random_state

    def fit(self, X: Any, y: Any, *, sample_weight: Any = None, groups: Any = None) -> Self:
        """Fit processor, head and temperature.

        Parameters
        ----------
        X : (n, d) float array or memory map
        y : (n,) class names (all labelled), (n,) numbers, or (n, k) bool
        sample_weight, groups : (n,) array-like, optional

        Raises
        ------
        DataError
            Unlabelled rows, names outside `classes`, lengths that differ.
        UsageError
            Unknown task or head, or no class names.
        """
        target = encode_targets(y, len(X), task=self.task, classes=self.classes)
        if groups is not None and np.shape(groups) != (len(X),):
            raise DataError(f"groups of shape {np.shape(groups)} for {len(X)} rows", where="groups")
        head = make_head(self.head, self.task) if isinstance(self.head, str) else clone(self.head)
        self.processor_: Any
        self.processor_, Z = self._process(X, sample_weight)
        more = {}
        self._refits = self._leaks(len(X))
        if self._refits and _takes_fold_features(head):
            more["fold_features"] = lambda train: self._as_seen_by(X, sample_weight, train)
        self.head_ = head.fit(Z, target, sample_weight=sample_weight, groups=groups, **more)
        self.n_features_in_ = int(X.shape[1] if hasattr(X, "shape") else np.shape(X)[1])
        present = {int(c) for c in self.head_.classes_} if self.task == "classification" else ()
        self.unseen_ = tuple(
            name
            for i, name in enumerate(self.classes)
            if self.task == "classification" and i not in present
        )
        self.temperature_, self.calibration_ = None, "not asked for"
        self.log_ratio_: Array | None = None
        if self.temperature is not None and self.task != "regression":
            self.temperature_ = clone(self.temperature)
            self._calibrate(X, target, sample_weight, groups)
            self.calibration_ = self.temperature_.note_
        elif self.task == "regression":
            self.calibration_ = "regression has no probabilities"
        return self

    def predict(self, X: Any) -> Array:
        """(n,) object array of names; (n,) float64 for regression; (n, k) bool for multi-label."""
        check_is_fitted(self)
        if self.task == "regression":
            return np.concatenate([self.head_.predict(Z) for Z in self._blocks(X)])
        z = self.logits(X) if self.log_ratio_ is None else self._corrected(X)
        if self.task == "multilabel":
            return z > 0
        names = np.empty(len(self.classes), dtype=object)
        names[:] = self.classes
        return names[self.head_.classes_][z.argmax(axis=1)]

    def predict_proba(self, X: Any) -> Array:
        """(n, len(classes)) calibrated probabilities, columns in the order of `classes`.

        Raises
        ------
        UsageError
            For regression.
        """
        if self.task == "regression":
            raise UsageError("a regression model has no probabilities", remedy="Use predict")
        z = self._corrected(X)
        if self.task == "multilabel":
            return expit(z)
        out = np.zeros((len(z), len(self.classes)))
        out[:, self.head_.classes_] = softmax(z)
        return out

    def logits(self, X: Any) -> Array:
        """(n, columns of the head) logits before the temperature."""
        check_is_fitted(self)
        return np.concatenate([self.head_.logits(Z) for Z in self._blocks(X)])

    def _corrected(self, X: Any) -> Array:
        """Logits after the temperature and the correction for other class shares."""
        z = self.logits(X)
        if self.temperature_ is not None:
            z = self.temperature_.apply(z)
        return z if self.log_ratio_ is None else z + self.log_ratio_

    def facts(self) -> dict[str, Any]:
        """JSON-ready account of what was chosen and why, for reports."""
        check_is_fitted(self)
        head = self.head_
        if hasattr(head, "heads_"):
            head = next((h for h in head.heads_ if not isinstance(h, float)), head)
        chosen = {}
        for name in ("C_", "C_how_", "alpha_", "alpha_how_", "k_", "k_how_", "shrinkage_"):
            if hasattr(head, name):
                chosen[name.rstrip("_")] = getattr(head, name)
        processor = self.processor_
        return {
            "head": type(self.head_).__name__,
            "chosen": chosen,
            "temperature": None if self.temperature_ is None else self.temperature_.T_,
            "calibration": self.calibration_,
            "unseen_classes": list(self.unseen_),
            "constant_features": None if processor is None else processor.constant_,
        }

    def to_state(self) -> State:
        """Tensors under ``processor.`` and ``head.``, and one JSON dict."""
        check_is_fitted(self)
        tensors, head = self.head_.to_state()
        out = {f"head.{name}": value for name, value in tensors.items()}
        processor = None
        if self.processor_ is not None:
            tensors, processor = self.processor_.to_state()
            out |= {f"processor.{name}": value for name, value in tensors.items()}
        adapted = isinstance(self.processor_, Mapped) or self.log_ratio_ is not None
        if self.log_ratio_ is not None:
            out["log_ratio"] = self.log_ratio_
        return out, {
            "kind": "FeatureModel",
            "format": _ADAPTED if adapted else _PLAIN,
            "task": self.task,
            "classes": list(self.classes),
            "unseen": list(self.unseen_),
            "n_features": self.n_features_in_,
            "head": head,
            "processor": processor,
            "temperature": None if self.temperature_ is None else self.temperature_.to_state()[1],
            "calibration": self.calibration_,
        }

    @classmethod
    def from_state(cls, tensors: Mapping[str, Array], meta: Mapping[str, Any]) -> FeatureModel:
        """Read `to_state` back; predictions are bit-identical.

        Raises
        ------
        BundleError
            Another format, or parts that are missing or do not fit together.
        """
        try:
            if meta["kind"] != "FeatureModel" or meta["format"] not in (_PLAIN, _ADAPTED):
                raise BundleError(f"format {meta['format']!r} of a {meta['kind']!r} is unknown")
            out = cls(task=meta["task"], classes=tuple(map(str, meta["classes"])))
            out.unseen_, out.calibration_ = tuple(meta["unseen"]), str(meta["calibration"])
            out.n_features_in_ = int(meta["n_features"])
            out.head_ = head_from_state(under(tensors, "head."), meta["head"])
            out.processor_ = out.temperature_ = None
            out.log_ratio_ = tensors.get("log_ratio")
            if meta["processor"] is not None:
                out.processor_ = front_from_state(under(tensors, "processor."), meta["processor"])
            if meta["temperature"] is not None:
                out.temperature_ = Temperature.from_state({}, meta["temperature"])
        except (KeyError, TypeError) as error:
            raise BundleError("the model's state is incomplete", why=repr(error)) from None
        width = out.n_features_in_
        if out.processor_ is not None:
            if out.processor_.n_features_in_ != width:
                raise BundleError("processor and model disagree about the number of features")
            width = out.processor_.n_features_out_
        if out.head_.n_features_in_ != width:
            raise BundleError("processor and head disagree about the number of features")
        if out.task == "classification":
            codes = np.asarray(out.head_.classes_)
            if (
                codes.dtype.kind not in "iu"
                or not (codes >= 0).all()
                or codes.max() >= len(out.classes)
            ):
                raise BundleError("the head knows classes that the model does not name")
        if out.log_ratio_ is not None:
            fine = out.task == "classification" and out.log_ratio_.shape == codes.shape
            if not fine or not np.isfinite(out.log_ratio_).all():
                raise BundleError("the correction of the class shares does not fit the classes")
        out.head, out.processor, out.temperature = out.head_, out.processor_, out.temperature_
        return out

    def _process(self, X: Any, sample_weight: Any) -> tuple[FeatureProcessor | None, Any]:
        """Fitted processor and what the head is fitted on."""
        if self.processor is None:
            return None, X
        processor = clone(self.processor).fit(X, sample_weight=sample_weight)
        n, size = len(X), 4 * len(X) * processor.n_features_out_
        plain = isinstance(X, np.ndarray) and X.dtype.kind == "f"
        if plain and size > _LAZY_BYTES and n > EXACT_UP_TO:
            return processor, LazyRows(X, processor)
        return processor, processor.transform(X)

    def _blocks(self, X: Any) -> Iterator[Any]:
        """Processed rows in parts that fit; at least one part, so that checks always run."""
        if not hasattr(X, "shape"):
            X = np.asarray(X)
        step = max(1, _PREDICT_BYTES // (8 * max(int(np.prod(X.shape[1:])), 1)))
        rows = X.iloc if hasattr(X, "iloc") else X
        for start in range(0, max(len(X), 1), step):
            part = rows[start : start + step] if len(X) > step else X
            yield part if self.processor_ is None else self.processor_.transform(part)

    def _calibrate(self, X: Any, target: Array, sample_weight: Any, groups: Any) -> None:
        assert self.temperature_ is not None
        logits = getattr(self.head_, "oof_logits_", None)
        seen = getattr(self.head_, "oof_rows_", None)
        if logits is None or (self._refits and not _takes_fold_features(self.head_)):
            try:
                logits, seen = self._held_out(X, target, sample_weight, groups)
            except DataError as error:
                self.temperature_.skip(f"no held-out rows: {error.what}")
                return
        assert seen is not None
        if self.task == "classification":
            truth = np.searchsorted(self.head_.classes_, target[seen])
        else:
            truth = target[seen]
        weights = None if sample_weight is None else np.asarray(sample_weight, float)[seen]
        self.temperature_.fit(logits[seen], truth, sample_weight=weights)

    def _held_out(
        self, X: Any, target: Array, sample_weight: Any, groups: Any
    ) -> tuple[Array, Array]:
        """Logits of rows by refits that did not see them, hyper-parameters kept."""
        X = np.asarray(X)
        n = len(X)
        weights = np.ones(n) if sample_weight is None else np.asarray(sample_weight, float)
        codes = target if self.task == "classification" else None
        some = draw_rows(n, 2 * X.shape[1], codes, groups, self.random_state)
        kept = np.arange(n) if some is None else some
        kept = kept[weights[kept] > 0]
        pairs = folds(
            target[kept],
            task=self.task,
            groups=None if groups is None else np.asarray(groups)[kept],
            n_splits=self.n_splits,
            random_state=self.random_state,
        )
        head = self._frozen_head()
        width = target.shape[1] if self.task == "multilabel" else len(self.head_.classes_)
        logits = np.zeros((n, width), dtype=np.float32)
        seen = np.zeros(n, dtype=bool)
        for train, test in pairs:
            train, test = kept[train], kept[test]
            if self.task == "classification":
                known = np.unique(target[train])
                test = test[np.isin(target[test], known)]
                if len(known) < 2 or not len(test):
                    continue
            Z, T = X[train], X[test]
            if self.processor is not None:
                step = clone(self.processor).fit(Z, sample_weight=weights[train])
                Z, T = step.transform(Z), step.transform(T)
            fitted = clone(head).fit(Z, target[train], sample_weight=weights[train])
            z = fitted.logits(T)
            if self.task == "classification":
                # A class that this part did not know: no chance, without infinities.
                full = np.repeat(z.min(axis=1, keepdims=True) - 20.0, width, axis=1)
                full[:, np.searchsorted(self.head_.classes_, fitted.classes_)] = z
                z = full
            logits[test], seen[test] = z, True
        if not seen.any():
            raise DataError("no row's class is known to a fold that leaves it out")
        return logits, seen

    def _leaks(self, n: int) -> bool:
        """Would held-out rows feel that the processor has seen them?

        A standard deviation over 20 rows notices each of them; over thousands it does not.
        """
        p = self.processor
        stateful = p is not None and (p.standardize or p.pca is not None or p.whiten)
        return stateful and n <= _REFIT_BELOW

    def _as_seen_by(self, X: Any, sample_weight: Any, train: Array) -> Array:
        """All rows, processed by what the training rows alone say."""
        X = np.asarray(X)
        weights = None if sample_weight is None else np.asarray(sample_weight, float)[train]
        return clone(self.processor).fit(X[train], sample_weight=weights).transform(X)

    def _frozen_head(self) -> Any:
        """The head's parameters with what it chose filled in."""
        head = clone(self.head_)
        inner, fitted = head, self.head_
        if hasattr(fitted, "heads_"):
            fitted = next((h for h in fitted.heads_ if not isinstance(h, float)), None)
            inner = head.estimator
        for name, attribute in _CHOSEN.items():
            if inner is not None and name in inner.get_params() and hasattr(fitted, attribute):
                inner.set_params(**{name: getattr(fitted, attribute)})
        return head


def _takes_fold_features(head: Any) -> bool:
    """The heads that choose their penalty on folds of their own."""
    inner = getattr(head, "estimator", head)
    return inner is None or (isinstance(inner, LogisticHead))
