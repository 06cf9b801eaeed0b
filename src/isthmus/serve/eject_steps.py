"""Layer 7: a fitted model as a chain of plain steps on features, for a script without this package.

Standardising, principal components, alignment maps and linear heads are all affine; what follows
one another is multiplied out, so that a model is often one matrix. What is not affine is a step
of its own: unit length, a kernel, the bend of a dense network, class Gaussians, nearest
neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import solve_triangular

from isthmus.adapt.dense import Dense
from isthmus.adapt.gaussian_mixture import TINY, Mixture, MixtureScores
from isthmus.adapt.kernels import Projection
from isthmus.adapt.maps import Affine, Chain, Scaled
from isthmus.adapt.standardize import Columns
from isthmus.errors import UsageError
from isthmus.fit.centroid import NearestMeanHead
from isthmus.fit.features import FeatureProcessor
from isthmus.fit.logistic import LogisticHead
from isthmus.fit.mapped import Mapped
from isthmus.fit.multilabel import MultiLabelHead
from isthmus.fit.neighbors import KNNHead
from isthmus.fit.ridge import RidgeHead, RidgeRegressorHead
from isthmus.fit.scores import ScoreHead
from isthmus.types import Array, identity

if TYPE_CHECKING:
    from isthmus.fit.blend import Model
    from isthmus.fit.model import FeatureModel


@dataclass(frozen=True)
class Step:
    """One step: the name of its function in the script, and its arrays.

    Parameters
    ----------
    name : {"linear", "clip", "unit", "relu", "rbf", "gaussians", "nearest"}
    arrays : dict of str to ndarray
        Of ``linear``: ``matrix`` (d, k), or (d,) for a factor a column, and ``offset`` (k,).
    """

    name: str
    arrays: dict[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Plain:
    """One model of a blend.

    Parameters
    ----------
    weight : float
    steps : list of Step
        Features (n, d) -> scores (n, K), or values (n, 1).
    temperature : float
    prior : ndarray of shape (K,) or None
        Added to the tempered scores.
    columns : ndarray of int
        Place of each score among the classes of the whole.
    """

    weight: float
    steps: list[Step]
    temperature: float
    prior: Array | None
    columns: Array


def plain_models(model: Model) -> list[Plain]:
    """The members of a saved model as chains of steps.

    Raises
    ------
    UsageError
        If a part has no such form; it is named.
    """
    if hasattr(model, "strangeness"):
        raise UsageError(
            "the model abstains on rows of unknown classes, and such a rule has no plain form",
            remedy="Keep the folder and use `isthmus predict`, or transfer with --classes closed",
        )
    members = getattr(model, "members", None)
    if members is None:
        return [_plain(1.0, model)]  # type: ignore[arg-type]
    pairs = zip(model.weights, members, strict=True)  # type: ignore[union-attr]
    return [_plain(float(weight), member) for weight, member in pairs if weight > 0]


def _plain(weight: float, member: FeatureModel) -> Plain:
    steps = fused([*_front(member.processor_), *_head(member.head_)])
    temperature = 1.0 if member.temperature_ is None else float(member.temperature_.T_)
    codes = getattr(member.head_, "classes_", np.zeros(0, dtype=np.int64))
    if member.task == "multilabel":
        codes = np.arange(len(member.classes))
    return Plain(weight, steps, temperature, member.log_ratio_, np.asarray(codes, dtype=np.int64))


def linear(matrix: Any, offset: Any) -> Step:
    """``X @ matrix + offset``; a vector for a matrix stands for a factor a column."""
    return Step(
        "linear", {"matrix": np.asarray(matrix, float), "offset": np.asarray(offset, float)}
    )


UNIT, RELU = Step("unit"), Step("relu")


def fused(steps: list[Step]) -> list[Step]:
    """Neighbouring affine steps as one; every matrix two-dimensional.

    >>> [s.arrays for s in fused([linear([2.0], [1.0]), linear([[3.0]], [0.5])])]
    [{'matrix': array([[6.]]), 'offset': array([3.5])}]
    """
    done: list[Step] = []
    for step in steps:
        before = done[-1] if done else None
        if before is None or before.name != "linear" or step.name != "linear":
            done.append(step)
            continue
        A, a = before.arrays["matrix"], before.arrays["offset"]
        B, b = step.arrays["matrix"], step.arrays["offset"]
        if B.ndim == 1:
            done[-1] = linear(A * B, a * B + b)
        else:
            done[-1] = linear(A @ B if A.ndim == 2 else A[:, None] * B, a @ B + b)
    return [
        linear(np.diag(s.arrays["matrix"]), s.arrays["offset"])
        if s.name == "linear" and s.arrays["matrix"].ndim == 1
        else s
        for s in done
    ]


def _front(front: Any) -> list[Step]:
    if front is None:
        return []
    if isinstance(front, Mapped):
        return [*_front(front.processor), *_map(front.mapping, _width(front))]
    if not isinstance(front, FeatureProcessor):
        raise _cannot(front)
    steps = []
    if front.mean_.any() or (front.scale_ != 1).any():
        steps.append(linear(1 / front.scale_, -front.mean_ / front.scale_))
    if front.clip is not None:
        steps.append(Step("clip", {"most": np.array([float(front.clip)])}))
    if front.components_ is not None:
        matrix = front.components_.T
        if front.whiten:
            matrix = matrix / np.sqrt(front.explained_variance_)
        steps.append(linear(matrix, np.zeros(matrix.shape[1])))
    return [*steps, UNIT] if front.l2 else steps


def _width(front: Mapped) -> int:
    """Columns that reach the map."""
    if front.processor is None:
        return front.n_features_in_
    return int(front.processor.n_features_out_)


def _map(mapping: Any, d: int) -> list[Step]:
    """The steps of a map of `d` columns."""
    if mapping is None or mapping is identity:
        return []
    reader = _MAPS.get(type(mapping))
    if reader is None:
        raise _cannot(mapping)
    return reader(mapping, d)


def _affine(mapping: Affine, d: int) -> list[Step]:
    centre = np.broadcast_to(np.asarray(mapping.centre, float), (d,))
    matrix = np.ones(d) if mapping.matrix is None else np.asarray(mapping.matrix, float)
    column = matrix[:, None] if matrix.ndim == 1 and mapping.matrix is not None else matrix
    shift = -(centre * column if column.ndim == 1 else centre @ column)
    offset = 0.0 if mapping.offset is None else np.asarray(mapping.offset, float)
    return [linear(column, shift + offset)]


def _scaled(mapping: Scaled, d: int) -> list[Step]:
    factor = np.broadcast_to(np.asarray(mapping.scale, float), (d,))
    return [linear(factor, np.zeros(d)), *_map(mapping.then, d)]


def _chain(mapping: Chain, d: int) -> list[Step]:
    first = _map(mapping.first, d)
    for step in first:
        if step.name == "linear":
            d = len(step.arrays["offset"])
    return [*first, *_map(mapping.then, d)]


def _columns(mapping: Columns, d: int) -> list[Step]:
    share = np.broadcast_to(np.asarray(mapping.share, float), (d,))
    return [linear(share, -np.asarray(mapping.centre, float) * share)]


def _projection(mapping: Projection, d: int) -> list[Step]:
    before, kernel = mapping.before, mapping.kernel
    steps = [UNIT]
    if not before.unit:
        share = np.full(d, 1 / before.scale)
        steps = [linear(share, -np.asarray(before.centre, float) * share)]
    if kernel is not None:
        anchors = np.asarray(kernel.anchors, float)
        steps.append(Step("rbf", {"anchors": anchors, "gamma": np.array([float(kernel.gamma)])}))
        if kernel.root is not None:
            root = np.asarray(kernel.root, float)
            steps.append(linear(root, np.zeros(root.shape[1])))
    matrix = np.asarray(mapping.matrix, float)
    steps.append(linear(matrix, np.zeros(matrix.shape[1])))
    return [*steps, UNIT] if mapping.unit else steps


def _mixture(mapping: MixtureScores, d: int) -> list[Step]:
    prior = np.log(np.maximum(mapping.prior, TINY))
    mixture = Mixture(mapping.prior, mapping.means, mapping.covariance, mapping.centre)
    factors = mixture.factors()
    if mapping.covariance.ndim == 2:
        slope = factors[0].inverse @ mapping.means.T
        level = prior - 0.5 * (mapping.means * slope.T).sum(axis=1)
        return [linear(slope, level - mapping.centre @ slope)]
    white = np.stack([solve_triangular(f.root, np.eye(d), lower=True) for f in factors])
    density = np.array([0.5 * (f.logdet + d * np.log(2 * np.pi)) for f in factors])
    means = mapping.means + mapping.centre
    return [Step("gaussians", {"means": means, "white": white, "level": prior - density})]


def _dense(mapping: Dense, d: int) -> list[Step]:
    if mapping.activation != "relu" and len(mapping.matrices) > 1:
        raise _cannot(mapping)
    steps: list[Step] = []
    shift = -np.asarray(mapping.centre, float)
    for matrix, offset in zip(mapping.matrices, mapping.offsets, strict=True):
        steps += [RELU] if steps else []
        wide = np.asarray(matrix, float)
        steps.append(linear(wide, shift @ wide + offset if len(steps) == 0 else offset))
    return steps


_MAPS: dict[type, Callable[[Any, int], list[Step]]] = {
    Affine: _affine,
    Scaled: _scaled,
    Chain: _chain,
    Columns: _columns,
    Dense: _dense,
    Projection: _projection,
    MixtureScores: _mixture,
}


def _head(head: Any) -> list[Step]:
    if isinstance(head, ScoreHead):
        return []
    if isinstance(head, RidgeRegressorHead):
        coef = np.atleast_2d(head.coef_)
        return [linear(coef.T, np.atleast_1d(head.intercept_))]
    if isinstance(head, MultiLabelHead):
        return [_each_label(head)]
    if isinstance(head, LogisticHead | RidgeHead):
        coef, level = head.coef_, head.intercept_
        if len(coef) == 1:  # one row tells two classes apart
            other = 0.0 if isinstance(head, LogisticHead) else -1.0
            coef, level = np.concatenate([other * coef, coef]), np.append(other * level, level)
        scale = getattr(head, "scale_", 1.0)
        return [linear(scale * coef.T, scale * level)]
    if isinstance(head, NearestMeanHead):
        step = linear(head.coef_.T, head.intercept_)
        return [UNIT, step] if head.metric == "cosine" else [step]
    if isinstance(head, KNNHead):
        arrays = {
            "rows": head.rows_,
            "codes": np.asarray(head.codes_, dtype=np.int64),
            "weights": np.asarray(head.weights_, float),
            "factors": np.asarray(head.factors_, float),
            "k": np.array([float(head.k_)]),
        }
        step = Step("nearest", arrays)
        return [UNIT, step] if head.metric == "cosine" else [step]
    raise _cannot(head)


def _each_label(head: MultiLabelHead) -> Step:
    """One column a label: the log odds of yes."""
    d = int(head.n_features_in_)
    coef, level = np.zeros((len(head.heads_), d)), np.zeros(len(head.heads_))
    for j, one in enumerate(head.heads_):
        if isinstance(one, float):  # a label that all rows have, or none
            level[j] = one
            continue
        steps = _head(one)
        if [step.name for step in steps] != ["linear"]:
            raise _cannot(one)
        matrix, offset = steps[0].arrays["matrix"], steps[0].arrays["offset"]
        coef[j], level[j] = matrix[:, 1] - matrix[:, 0], offset[1] - offset[0]
    return linear(coef.T, level)


def _cannot(part: Any) -> UsageError:
    return UsageError(
        f"a {type(part).__name__} has no plain form, so this model cannot be ejected",
        why="linear models and maps, dense networks, kernels, class Gaussians, nearest means and "
        "neighbours can",
        remedy="Keep it and use `isthmus predict`, or train with another --method or --head",
    )
