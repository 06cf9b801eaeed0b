"""Layer 5: from a domain adaptation method to one model that serves target rows and can be saved.

Methods see both domains in a common space: processed as the heads want it, fitted on the rows of
both sides, and scaled by one number so that a feature has variance 1 in the mean. (Their default
parameters assume that unit; distances keep their proportions.)
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.base import clone

from isthmus.adapt.base import Adapter
from isthmus.adapt.maps import Affine, Scaled, chained
from isthmus.data.domains import stack_domains
from isthmus.errors import DataError, plain_repr
from isthmus.fit.base import Stateful
from isthmus.fit.encode import encode_targets
from isthmus.fit.features import FeatureProcessor
from isthmus.fit.heads import make_head
from isthmus.fit.logistic import fit_each
from isthmus.fit.mapped import Mapped
from isthmus.fit.model import FeatureModel
from isthmus.fit.scores import ScoreHead
from isthmus.types import Adaptation, Array, Prior, Trouble, identity

DOUBLE = 32_000_000  # numbers up to which both domains are worked on in double precision
FLOOR = 1e-12  # smallest ratio of class shares: a class that the target lacks, without infinities


@dataclass(frozen=True)
class Space:
    """Both domains as the methods see them.

    Parameters
    ----------
    processor : FeatureProcessor or None
        Fitted on the rows of both domains.
    scale : ndarray of shape (1,)
    Xs, Xt : ndarray of shape (n_s, k), (n_t, k)
    turn : Affine, optional
        Leading principal directions of both domains together, after the scale.
    """

    processor: FeatureProcessor | None
    scale: Array
    Xs: Array
    Xt: Array
    turn: Affine | None = None

    def rows(self, X: Array) -> Array:
        """Raw features in this space."""
        inner = X if self.processor is None else self.processor.transform(X)
        return np.asarray(self.front()(inner))

    def front(self, then: Any = None) -> Scaled:
        """What stands between the processor and a head: this space, then a map of it."""
        return Scaled(self.scale, chained(self.turn, then))

    def reduced(self, most: int) -> Space:
        """This space in its leading principal directions, at most `most`; itself if no wider.

        Directions that hold nothing (rounding apart) are left out.
        """
        n, d = len(self.Xs) + len(self.Xt), self.Xs.shape[1]
        if d <= most and d < n:
            return self
        both = np.concatenate([self.Xs, self.Xt]).astype(np.float64, copy=False)
        centre = both.mean(axis=0)
        both = both - centre
        values, vectors = np.linalg.eigh(both @ both.T if n < d else both.T @ both)
        order = np.argsort(-values)[:most]
        order = order[values[order] > 1e-10 * max(float(values.max()), 1e-300)]
        if not len(order):
            return self
        basis = vectors[:, order]
        if n < d:
            basis = both.T @ basis / np.sqrt(values[order])
        # eigenvectors have no sign: the largest loading is positive, so that runs repeat
        basis = basis * np.sign(basis[np.abs(basis).argmax(axis=0), np.arange(len(order))])
        turn = chained(self.turn, Affine(centre, basis))
        both = both @ basis
        return replace(self, Xs=both[: len(self.Xs)], Xt=both[len(self.Xs) :], turn=turn)


def common_space(processor: FeatureProcessor | None, Xs: Array, Xt: Array) -> Space:
    """The space of two domains.

    Parameters
    ----------
    processor : FeatureProcessor, optional
        Unfitted; a clone of it is fitted.
    Xs, Xt : ndarray of shape (n_s, d), (n_t, d)
    """
    both = np.concatenate([np.asarray(Xs), np.asarray(Xt)])
    if processor is not None:
        processor = clone(processor).fit(both)
        both = processor.transform(both)
    spread = float(np.mean(both.var(axis=0, dtype=np.float64)))
    dtype = np.float64 if both.size <= DOUBLE else np.float32
    scale = np.array([spread**-0.5 if spread > 0 else 1.0], dtype=dtype)
    both = both * scale
    return Space(processor, scale, both[: len(Xs)], both[len(Xs) :])


class Spaces:
    """The common space of the last pair of domains, for all methods of a run."""

    def __init__(self) -> None:
        self._last: tuple[Array, Array, Space] | None = None

    def of(self, processor: Any, Xs: Array, Xt: Array) -> Space:
        """Made on first use; the next pair replaces it."""
        if self._last is None or self._last[0] is not Xs or self._last[1] is not Xt:
            self._last = Xs, Xt, common_space(processor, Xs, Xt)
        return self._last[2]


def adapt(method: Adapter, space: Space, ys: Array, *, task: str) -> Adaptation:
    """What an adapter returns for a space; numerical failure is an error that names the method.

    Raises
    ------
    DataError
        If a decomposition does not converge, or the rows or weights are not finite.
    """
    who = type(method).__name__
    labels = None if task == "multilabel" else _plain(ys)
    try:
        found = clone(method).adapt(space.Xs, labels, space.Xt)
    except np.linalg.LinAlgError as error:
        raise DataError(f"the linear algebra failed: {error}", where=who) from None
    for name, value in (("adapted source rows", found.Xs), ("weights", found.weights)):
        if value is not None and not np.isfinite(np.asarray(value)).all():
            raise DataError(f"the {name} are not finite", where=who)
    return found


def fit_adapter(
    model: FeatureModel,
    space: Space,
    found: Adaptation,
    ys: Array,
    *,
    known: tuple[Array, Array] | None = None,
    target_weight: float = 1.0,
    groups: Array | None = None,
) -> FeatureModel:
    """The model on adapted source rows, with the map of target rows in front of it.

    Where the method labels the target rows itself (`Adaptation.labels`), the head learns from the
    mapped target rows under those labels instead, so that it serves these rows and new ones.

    Parameters
    ----------
    model : FeatureModel
        Fresh and unfitted; it is fitted and returned.
    ys : ndarray of shape (n_s,) or (n_s, k)
    known : (rows (m, d) raw features, labels (m,)), optional
        Labelled target rows: mapped and pooled in.
    target_weight : float, default=1.0
        Weight of one of them, in units of the mean source row.
    groups : ndarray of shape (n_s + m,), optional
    """
    rows, labels, weights = np.asarray(found.Xs), ys, found.weights
    if found.labels is not None:
        rows, labels, weights = found.map_target(space.Xt), _objects(found.labels), None
        target_weight, groups = 1.0, None  # the rows keep company with unlabelled ones
        _two_classes(labels)
    if known is not None:
        there = np.asarray(found.map_target(space.rows(known[0])))
        ones = np.ones(len(rows)) if weights is None else np.asarray(weights, dtype=float)
        weights = np.concatenate([ones, np.full(len(there), target_weight)])
        rows, labels = np.concatenate([rows, there]), np.concatenate([labels, known[1]])
        weights = weights / weights.mean()
    front = _front(space, found)
    processor = model.processor
    model.set_params(processor=None).fit(
        rows,
        labels,
        sample_weight=None if weights is None else np.asarray(weights, dtype=float),
        groups=groups,
    )
    model.set_params(processor=processor)
    model.processor_, model.n_features_in_ = front, front.n_features_in_
    if found.prior is not None:
        model.log_ratio_ = log_ratio(found.prior, model)
    return _account(model, found.troubles, found.info)


def fit_adapter_each(
    new_model: Callable[[], FeatureModel],
    space: Space,
    found: Adaptation,
    ys: Array,
    *,
    known: tuple[Array, Array],
    parts: Sequence[Array],
    target_weight: float,
    C: float,
) -> list[FeatureModel]:
    """`fit_adapter` for several choices of the labelled target rows, in the same passes.

    Parameters
    ----------
    new_model : callable
        Maker of unfitted models of logistic regression with the penalty `C`.
    found : Adaptation
        A map alone: without weights, labels or a prior of its own.
    known : (rows (m, d) raw features, labels (m,))
    parts : sequence of (k,) int arrays
        Positions in `known`; one model each.
    """
    assert found.weights is None and found.labels is None and found.prior is None
    front, rows = _front(space, found), np.asarray(found.Xs)
    there = np.asarray(found.map_target(space.rows(known[0])))
    weights = np.zeros((len(parts), len(rows) + len(there)))
    weights[:, : len(rows)] = 1.0
    for own, part in zip(weights, parts, strict=True):
        own[len(rows) + part] = target_weight
        own *= (len(rows) + len(part)) / own.sum()
    models = [new_model() for _ in parts]
    labels = np.concatenate([ys, known[1]])
    codes = encode_targets(labels, len(labels), task="classification", classes=models[0].classes)
    heads = fit_each(np.concatenate([rows, there]), codes, weights, C=C)
    return [_equip(model, front, head) for model, head in zip(models, heads, strict=True)]


def fit_method(
    model: FeatureModel,
    space: Space,
    method: Any,
    ys: Array,
    *,
    known: tuple[Array, Array] | None = None,
    at: Array | None = None,
    groups: Array | None = None,
) -> FeatureModel:
    """A method that is an estimator itself, as a model: what its `served` returns.

    A parameter `estimator` that is left open becomes the model's own head, its penalty chosen by
    cross-validation on the source.

    Parameters
    ----------
    known, groups
        As in `fit_adapter`; groups are those of the source rows.
    at : ndarray of shape (m,), int, optional
        Positions of the labelled target rows in ``space.Xt``; without it they are appended.
    """
    code = encode_targets(ys, len(space.Xs), task=model.task, classes=model.classes)
    Xt = space.Xt
    marked = np.zeros(len(Xt), dtype=bool)
    if known is not None:
        if at is None:
            at = np.arange(len(Xt), len(Xt) + len(known[0]))
            Xt = np.concatenate([Xt, space.rows(known[0])])
            marked = np.zeros(len(Xt), dtype=bool)
        marked[at] = True
    X, y, domain, _ = stack_domains(space.Xs, code, Xt)
    labelled = np.concatenate([np.zeros(len(code), dtype=bool), marked])
    if known is not None:
        assert at is not None
        there = encode_targets(known[1], len(known[1]), task=model.task, classes=model.classes)
        y[len(code) + at] = there
    who, method = type(method).__name__, clone(method)
    if method.get_params(deep=False).get("estimator", 0) is None:
        method.set_params(estimator=_chosen_head(model, space, ys, groups))
    try:
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            method.fit(X, y, sample_domain=domain, target_labeled=labelled)
    except np.linalg.LinAlgError as error:
        raise DataError(f"the linear algebra failed: {error}", where=who) from None
    served = method.served()
    if isinstance(served, Stateful):
        mapping, head = None, served
    else:
        mapping, head = served, None
    front = Mapped.of(space.processor, space.front(mapping), _width(space))
    head = head or ScoreHead.of(front.n_features_out_, getattr(method, "classes_", None))
    _equip(model, front, head).calibration_ = f"{who} fits its own model"
    said = tuple(Trouble("warning", str(w.message), "See the method's notes") for w in heard)
    return _account(model, (*getattr(method, "troubles_", ()), *said), getattr(method, "info_", {}))


def log_ratio(prior: Prior, model: FeatureModel) -> Array:
    """(K,) log of target over source share of the head's classes; 0 where nothing is known."""
    shares = {str(c): (s, t) for c, s, t in zip(prior.classes, prior.source, prior.target)}
    out = np.zeros(len(model.head_.classes_))
    for column, code in enumerate(model.head_.classes_):
        source, target = shares.get(model.classes[int(code)], (0.0, 0.0))
        if source > 0:
            out[column] = np.log(max(float(target) / float(source), FLOOR))
    return out


def _equip(model: FeatureModel, front: Mapped, head: Any) -> FeatureModel:
    """The model with parts that were fitted elsewhere."""
    model.processor_, model.n_features_in_ = front, front.n_features_in_
    model.head_, model.temperature_, model.log_ratio_ = head, None, None
    model.calibration_ = "not asked for"
    present = {int(c) for c in getattr(head, "classes_", ())}
    model.unseen_ = tuple(
        name for i, name in enumerate(model.classes) if present and i not in present
    )
    return _account(model, (), {})


def _front(space: Space, found: Adaptation) -> Mapped:
    """What stands before the head: this space, then the method's map of target rows."""
    then = None if found.map_target is identity else found.map_target
    return Mapped.of(space.processor, space.front(then), _width(space))


def _chosen_head(model: FeatureModel, space: Space, ys: Array, groups: Array | None) -> Any:
    """The model's head with the penalty that source rows choose; the choice is not repeated."""
    first = FeatureModel(None, clone(_head(model)), None, model.task, model.classes)
    first.fit(space.Xs, ys, groups=groups)
    return first._frozen_head()


def _head(model: FeatureModel) -> Any:
    return make_head(model.head, model.task) if isinstance(model.head, str) else model.head


def _account(model: FeatureModel, troubles: tuple[Trouble, ...], info: Any) -> FeatureModel:
    """What a person should hear of the fit; not a part of the saved state."""
    model.troubles_, model.info_ = tuple(troubles), dict(info)
    return model


def _width(space: Space) -> int:
    return space.Xs.shape[1] if space.processor is None else int(space.processor.n_features_in_)


def _plain(ys: Array) -> Array:
    """Class names as text of fixed width, which sorts without Python; numbers as they are."""
    return ys.astype(str) if ys.dtype == object else ys


def _objects(labels: Any) -> Array:
    out = np.empty(len(labels), dtype=object)
    out[:] = [str(v) for v in labels] if np.asarray(labels).dtype.kind in "OUS" else list(labels)
    return out


def _two_classes(labels: Array) -> None:
    if len(set(labels)) < 2:
        raise DataError(
            f"every target row received the label {plain_repr(labels[0])}",
            why="a model cannot learn from one class",
            remedy="Use another method, or label a few target rows",
        )
