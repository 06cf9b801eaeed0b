"""Layer 4: what the label-shift methods share: held-out predictions, bootstrap, the two uses."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from isthmus.adapt.density import Canonical, approximate, as_like, canonical, draw, host
from isthmus.errors import DataError, UsageError
from isthmus.types import Adaptation, Array, Interval, Prior, Trouble

LEAST = 1e-12  # smallest probability whose logarithm is taken


@dataclass(frozen=True)
class BlackBox:
    """A classifier seen through its predictions; one model a fold.

    Parameters
    ----------
    classes : ndarray of shape (k,)
    codes : ndarray of shape (n_s,)
        Positions of the source labels in `classes`.
    held : ndarray of shape (n_s, k)
        Log-probabilities of each source row by the model that did not see it.
    target : ndarray of shape (n_t, folds, k)
        Log-probabilities of each target row by every model.
    share : ndarray of shape (folds,)
        Share of the source rows that each model was held out from. Predictions on the target
        are averaged with it, so that they are measured by the same mix of models as `held`.
    """

    classes: Array
    codes: Array
    held: Array
    target: Array
    share: Array
    troubles: tuple[Trouble, ...]
    info: dict[str, Any]

    @property
    def prior(self) -> Array:
        """(k,) class shares of the source."""
        return np.bincount(self.codes, minlength=len(self.classes)) / len(self.codes)

    def votes(self, soft: bool) -> tuple[Array, Array]:
        """(n_s, k) and (n_t, k): predicted classes as indicators, or probabilities if `soft`."""
        if soft:
            held, target = np.exp(self.held), np.exp(self.target)
        else:
            eye = np.eye(len(self.classes))
            held, target = eye[self.held.argmax(1)], eye[self.target.argmax(2)]
        return held, np.einsum("tfk,f->tk", target, self.share)


def look(
    data: Canonical, *, estimator: Any, cv: int, solver: str, max_exact: int, seed: int, who: str
) -> BlackBox:
    """Cross-fit a classifier on the source and predict both domains.

    Raises
    ------
    DataError
        If fewer than two rows of every class but one are there.
    UsageError
        If the estimator has no `predict_proba`.
    """
    Xs, Xt, classes = host(data.Xs), host(data.Xt), data.given.classes
    codes = np.asarray(data.given.codes)[data.order_s]
    n, k = len(Xs), len(classes)
    part = approximate(solver, n, max_exact)
    info = {"solver": "approximate" if part else "exact"}
    if k == 1:
        one = Trouble("one-class", "the source holds one class", "Give source rows of all classes")
        zero = np.zeros((len(Xt), 1, 1))
        return BlackBox(classes, codes, np.zeros((n, 1)), zero, np.ones(1), (one,), info)
    counts = np.bincount(codes)
    if (counts >= 2).sum() < 2:
        raise DataError(
            f"{n} source rows of {k} classes",
            where=who,
            why="a classifier must be measured on rows that it did not see",
            remedy="Give at least two rows of two classes",
        )
    rng = np.random.default_rng(seed)
    folds = np.empty(n, dtype=np.int64)
    parts = max(2, min(cv, int(np.sort(counts)[-2])))
    for code in range(k):  # stratified: each class is dealt out on its own
        rows = rng.permutation(np.flatnonzero(codes == code))
        folds[rows] = (np.arange(len(rows)) + code) % parts
    held, target = np.full((n, k), np.log(LEAST)), np.full((len(Xt), parts, k), np.log(LEAST))
    failed = 0
    for fold in range(parts):
        rows = np.flatnonzero(folds != fold)
        if part:
            rows = np.sort(rows[draw(len(rows), max_exact, seed + fold)])
        model, fine = fitted(estimator, Xs[rows], codes[rows])
        failed += not fine
        out = np.flatnonzero(folds == fold)
        columns = np.asarray(model.classes_)
        held[np.ix_(out, columns)] = logs(model, Xs[out])
        target[:, fold, columns] = logs(model, Xt)
    troubles: tuple[Trouble, ...] = ()
    if counts.min() < 2:
        few = [str(classes[i]) for i in np.flatnonzero(counts < 2)]
        reason = f"a single source row of {', '.join(few[:3])}"
        troubles += (Trouble("rare-class", reason, "Its share cannot be estimated"),)
    if failed:
        reason = f"{failed} of {parts} classifiers stopped at max_iter"
        troubles += (Trouble("not-converged", reason, "Scale the features or give an estimator"),)
    accuracy = float((held.argmax(1) == codes).mean())
    share = np.bincount(folds, minlength=parts) / n
    return BlackBox(
        classes, codes, held, target, share, troubles, {**info, "held_out_accuracy": accuracy}
    )


def fitted(estimator: Any, X: Array, y: Array) -> tuple[Any, bool]:
    """A fitted clone, and whether its solver converged; default: scaled logistic regression."""
    from sklearn.base import clone
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if estimator is None:
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    else:
        model = clone(estimator)
    if not hasattr(model, "predict_proba"):
        raise UsageError(
            f"{type(model).__name__} has no predict_proba",
            remedy="Use a classifier with probabilities",
        )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(X, y)
    stopped = False
    for warning in caught:
        if issubclass(warning.category, ConvergenceWarning):
            stopped = True
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
    return model, not stopped


def logs(model: Any, X: Array) -> Array:
    """Log-probabilities, floored."""
    return np.log(np.clip(model.predict_proba(X), LEAST, 1.0))


def resampled(
    box: BlackBox, estimate: Callable[[Array, Array], Array], *, n_boot: int, rows: int, seed: int
) -> Array:
    """(n_boot, k) deviations of an estimate over resampled source and target rows.

    Source rows are drawn within their class. Beyond `rows` of a side, m-out-of-n: fewer rows are
    drawn and the deviations scaled by sqrt(m / n) of the side that keeps more: never too short.
    """
    rng = np.random.default_rng(seed)
    n_s, n_t, k = len(box.codes), len(box.target), len(box.classes)
    by_class = [np.flatnonzero(box.codes == c) for c in range(k)]
    share = min(1.0, rows / n_s)
    m_t = min(n_t, rows)
    out = np.empty((n_boot, k))
    for b in range(n_boot):
        source = [r[rng.integers(0, len(r), max(2, round(share * len(r))))] for r in by_class]
        out[b] = estimate(np.concatenate(source), rng.integers(0, n_t, m_t))
    if n_boot < 1:
        return out
    return (out - out.mean(axis=0)) * max(share, m_t / n_t) ** 0.5


def conclude(
    data: Canonical,
    box: BlackBox,
    prior: Array,
    spread: Array,
    *,
    use: str,
    clip: float,
    troubles: tuple[Trouble, ...] = (),
    **info: Any,
) -> Adaptation:
    """The estimate as weights of source rows or as a correction at predict time.

    Parameters
    ----------
    prior : ndarray of shape (k,)
        Estimated class shares of the target.
    spread : ndarray of shape (n_boot, k)
        Deviations from `resampled`.
    """
    if use not in ("weights", "correction"):
        raise UsageError(f"use={use!r}", remedy='Use "weights" or "correction"')
    low, high = np.quantile(spread, [0.025, 0.975], axis=0) if len(spread) else (np.nan, np.nan)
    low, high = np.clip(prior + low, 0, 1), np.clip(prior + high, 0, 1)
    names = [str(c) for c in box.classes]
    how = "bootstrap over held-out source rows and target rows"
    info = {
        **box.info,
        "target_prior": {
            name: Interval(float(p), float(a), float(b), how=how).as_dict()
            for name, p, a, b in zip(names, prior, low, high, strict=True)
        },
        "source_prior": dict(zip(names, map(float, box.prior), strict=True)),
        **info,
    }
    troubles = box.troubles + troubles
    if use == "correction":
        found = Prior(box.classes, box.prior, prior)
        return Adaptation(data.given.Xs, prior=found, troubles=troubles, info=info)
    ratio = as_like(data.xp, (prior / box.prior)[box.codes], data.Xs)
    return data.weighted(ratio, troubles, clip=clip, **info)


def begin(Xs: Any, ys: Any, Xt: Any, who: str) -> Canonical:
    """Checked and sorted arguments."""
    from isthmus.adapt.base import check_domains

    return canonical(check_domains(Xs, ys, Xt, labels=True, who=who))
