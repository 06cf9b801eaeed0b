"""Layer 4: what the biased classifiers share: a source, a strength, a fit near the source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone

from isthmus.adapt.biased import Loss, Shrunk, choose, not_converged, spread, strengths
from isthmus.adapt.linear_source import LinearSource, is_given
from isthmus.adapt.maps import Affine
from isthmus.adapt.sides import Sides, codes_of, quiet_fit, sides, two_classes
from isthmus.errors import UsageError
from isthmus.types import Array, Trouble

SOURCE_STRENGTH = 0.1  # of the features' variance, as the default of the logistic head


@dataclass(frozen=True)
class BiasedFit:
    """What a biased classifier keeps."""

    source: LinearSource
    classes: Array
    coef: Array
    intercept: Array
    strength: float
    how: str
    losses: dict[float, float]
    troubles: tuple[Trouble, ...]
    info: dict[str, Any]


def signs(codes: Array, K: int) -> Array:
    """(n, 1) or (n, K) labels -1 / +1, one column for two classes."""
    if K == 2:
        return np.where(codes[:, None] == 1, 1.0, -1.0)
    return np.where(codes[:, None] == np.arange(K), 1.0, -1.0)


def encoded(codes: Array, K: int, kind: Loss) -> Array:
    """Labels as the loss wants them."""
    return codes if kind == "logistic" and K > 2 else signs(codes, K)


def score_map(coef: Array, intercept: Array) -> Affine:
    """Rows -> (n, K) scores; of two classes the first has score 0."""
    if len(coef) == 1:
        coef = np.concatenate([np.zeros_like(coef), coef])
        intercept = np.append(0.0, intercept)
    return Affine(np.zeros(1), coef.T.copy(), intercept)


def fit_biased(
    X: Any, y: Any, sample_domain: Any, target_labeled: Any, *, kind: Loss, who: str, params: Any
) -> BiasedFit:
    """Choose the strength and fit; `params` are the estimator's own (see BiasedLogistic)."""
    given = is_given(params["source"])
    rows = sides(X, y, sample_domain, target_labeled, who=who, source_needed=not given)
    if given:
        source = LinearSource.of(params["source"])
        troubles: tuple[Trouble, ...] = ()
        told = f"given; {len(rows.Xs)} source rows not read"
    else:
        source, troubles = source_model(rows.Xs, rows.ys, kind, who=who, params=params)
        told = f"fitted on {len(rows.Xs)} source rows"
    source = checked_source(source, rows, who)
    assert source.classes is not None
    classes, Xl = source.classes, rows.Xl
    codes = codes_of(rows.yt, classes, who)
    free = not params["shrink_intercept"]
    absent = [str(c) for i, c in enumerate(classes) if not (codes == i).any()]
    if absent:
        what = f"no labelled target row of {', '.join(absent[:3])}"
        if free:
            what += "; its intercept is drawn to the source's all the same"
        free = False
        troubles += (
            Trouble("absent-class", what, "Label a target row of each class where it exists"),
        )
    centre, variance = spread(rows.Xt)
    problem = Shrunk(Xl, source, centre=centre, variance=variance, free=free)
    choice = choose(
        problem,
        Xl,
        codes,
        lambda at: encoded(codes[at], len(classes), kind),
        kind,
        strengths(params["strength"], variance),
        variance=variance,
        cv=params["cv"],
        max_rows=params["max_cv_rows"],
        seed=params["random_state"],
    )
    target = encoded(codes, len(classes), kind)
    t, fine = problem.solve(
        target, kind, choice.strength, tol=params["tol"], max_iter=params["max_iter"]
    )
    if not fine:
        troubles += (not_converged(params["max_iter"], who),)
    coef, intercept = problem.weights(t)
    info = {"source": told, "labeled": len(Xl), "strength_in_variances": choice.strength / variance}
    return BiasedFit(
        source,
        classes,
        coef,
        intercept,
        choice.strength,
        choice.how,
        choice.losses,
        troubles,
        info,
    )


def source_model(
    Xs: Array, ys: Array, kind: Loss, *, who: str, params: Any
) -> tuple[LinearSource, tuple[Trouble, ...]]:
    """The source model: the user's estimator, or the method's own loss without a bias.

    Parameters
    ----------
    params : mapping
        ``source`` (None or an unfitted estimator), ``tol`` and ``max_iter``.
    """
    classes, codes = two_classes(ys, who)
    if params["source"] is not None:
        model = clone(params["source"])
        fine = quiet_fit(model, Xs, ys)
        trouble = Trouble("not-converged", "the source model stopped early", "Raise its max_iter")
        return LinearSource.of(model), () if fine else (trouble,)
    K = len(classes)
    centre, variance = spread(Xs)
    nothing = np.zeros((1 if K == 2 else K, Xs.shape[1]))
    problem = Shrunk(
        Xs,
        LinearSource(nothing, np.zeros(len(nothing)), classes),
        centre=centre,
        variance=variance,
        free=True,
    )
    t, fine = problem.solve(
        encoded(codes, K, kind),
        kind,
        SOURCE_STRENGTH * variance,
        tol=max(params["tol"], 1e-5),
        max_iter=params["max_iter"],
    )
    troubles = () if fine else (not_converged(params["max_iter"], f"the source model of {who}"),)
    return LinearSource(*problem.weights(t), classes), troubles


def checked_source(source: LinearSource, rows: Sides, who: str) -> LinearSource:
    """Refuse a source model that does not fit the features or the task."""
    if source.classes is None or len(source.classes) < 2:
        raise UsageError("the source model knows no classes", where=who)
    if source.coef.shape[1] != rows.Xt.shape[1]:
        raise UsageError(
            f"the source model has {source.coef.shape[1]} features, the rows {rows.Xt.shape[1]}",
            where=who,
        )
    return source
