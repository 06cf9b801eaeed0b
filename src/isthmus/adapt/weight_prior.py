"""Layer 4: a Gaussian prior over the weights of a linear head, estimated from source domains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from isthmus.adapt.biased import spread
from isthmus.adapt.biased_classifier import source_model
from isthmus.adapt.linear_source import LinearSource
from isthmus.adapt.sides import two_classes
from isthmus.errors import UsageError, plain_repr
from isthmus.types import Array, Trouble

BORROWED = 4.0  # degrees of freedom of the common variance, which each weight's own is drawn to


@dataclass(frozen=True)
class WeightPrior:
    """Mean and relative variances of a head's weights; it can leave where rows cannot.

    Parameters
    ----------
    mean : LinearSource
        Mean weights, one row for two classes.
    shape : ndarray of shape (d + 1,)
        Relative variances, mean 1: of each feature's weight, and last of the score at the mean
        row in the features' unit.
    sources : int
        Domains behind it; with one, all variances are alike.
    """

    mean: LinearSource
    shape: Array
    sources: int = 1

    def checked(self, d: int) -> WeightPrior:
        """Itself.

        Raises
        ------
        UsageError
            If the shapes do not fit `d` features.
        """
        mean, shape = LinearSource.of(self.mean), np.asarray(self.shape, dtype=np.float64)
        if mean.classes is None or mean.coef.shape[1] != d or shape.shape != (d + 1,):
            raise UsageError(
                f"the prior has weights of shape {mean.coef.shape}, variances {shape.shape}",
                where="prior",
                why=f"a classifier of {d} features is needed",
            )
        if not (np.isfinite(shape).all() and (shape >= 0).all() and shape.max() > 0):
            raise UsageError("the prior's variances must be finite and positive", where="prior")
        return WeightPrior(mean, shape / shape.mean(), self.sources)


def estimate_prior(
    Xs: Array, ys: Array, sources: Array, *, who: str, params: Any
) -> tuple[WeightPrior, tuple[Trouble, ...]]:
    """One head a source domain; their mean, and how much each weight varies between them.

    Parameters
    ----------
    sources : ndarray of shape (n_s,)
        Id of each row's domain.
    params : mapping
        ``tol`` and ``max_iter``.
    """
    classes, _ = two_classes(ys, who)
    d = Xs.shape[1]
    centre, variance = spread(Xs)
    unit = (variance / max(d, 1)) ** 0.5
    fits: list[Array] = []
    troubles: tuple[Trouble, ...] = ()
    left_out = []
    options = {"source": None, **params}
    for name in np.unique(sources):
        rows = sources == name
        if len(found := np.unique(ys[rows])) < 2:
            left_out.append(f"{name} (only {plain_repr(found[0])})")
            continue
        head, more = source_model(Xs[rows], ys[rows], "logistic", who=who, params=options)
        troubles += more
        score = (head.coef @ centre + head.intercept) / unit
        fits.append(_spread_out(np.column_stack([head.coef, score]), head.classes, classes))
    if left_out:
        reason = f"one class only in source domain {', '.join(left_out[:3])}"
        troubles += (Trouble("one-class", reason, "It says nothing about weights: left out"),)
    if len(fits) < 1 or np.isnan(np.stack(fits)).all(axis=0).any():
        # no domain has two classes: the pooled rows speak
        head, more = source_model(Xs, ys, "logistic", who=who, params=options)
        return WeightPrior(head, np.ones(d + 1), 1), troubles + more
    stack = np.stack(fits)  # (J, rows, d + 1), NaN where a domain lacks a class
    mean = np.nanmean(stack, axis=0)
    shape = np.ones(d + 1)
    seen = (~np.isnan(stack[:, :, 0])).sum(axis=0)  # (rows,) domains that know the class
    freedom = float((seen - 1).sum())
    if freedom > 0:
        own = np.nansum((stack - mean) ** 2, axis=(0, 1)) / freedom
        common = own.mean()
        if common > 0:
            shape = (freedom * own + BORROWED * common) / (freedom + BORROWED)
            shape = shape / shape.mean()
    coef = mean[:, :d]
    intercept = mean[:, d] * unit - coef @ centre
    return WeightPrior(LinearSource(coef, intercept, classes), shape, len(fits)), troubles


def _spread_out(rows: Array, mine: Array | None, classes: Array) -> Array:
    """Weights of a head in the rows of all classes; NaN for classes it does not know."""
    assert mine is not None
    if len(classes) == 2:
        return rows
    out = np.full((len(classes), rows.shape[1]), np.nan)
    if len(mine) == 2:  # one row says the difference of two
        rows = np.concatenate([-rows / 2, rows / 2])
    out[np.searchsorted(classes, mine)] = rows
    return out
