"""Layer 5: temperature scaling: one number that makes probabilities mean what they say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from scipy.special import expit
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from isthmus.errors import BundleError, DataError, UsageError
from isthmus.fit.base import State, softmax
from isthmus.types import Array

_FEWEST = 10


class Temperature(BaseEstimator):
    """Divide logits by one scalar T > 0, fitted on held-out rows [1]_.

    T minimises the negative log-likelihood of held-out labels. Since T > 0, no argmax and no
    ranking inside a row ever changes. Targets are smoothed by the rule of succession [2]_: with n
    held-out rows the true label counts ``(n + 1) / (n + 2)`` and the best other label the rest, so
    rows that are all predicted right give a finite T: n rows cannot support a confidence beyond
    ``(n + 1) / (n + 2)``.

    Parameters
    ----------
    bounds : (float, float), default=(1e-3, 1e4)
        Smallest and largest T.

    Attributes
    ----------
    T_ : float
        1.0 where it could not be fitted.
    note_ : str
        How T was found, whether it was clipped, or why it stayed 1.

    References
    ----------
    .. [1] Guo, Pleiss, Sun, Weinberger, "On calibration of modern neural networks", 2017.
    .. [2] Platt, "Probabilistic outputs for support vector machines", 1999, section 2.2.
    """

    def __init__(self, bounds: tuple[float, float] = (1e-3, 1e4)) -> None:
        self.bounds = bounds

    def fit(self, logits: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit T on logits that the model gave to rows it was not fitted on.

        Parameters
        ----------
        logits : (n, K) array, or (n,) for two classes
        y : (n,) int column of the true class, or (n, K) bool for multi-label
        sample_weight : (n,) array, optional

        Raises
        ------
        DataError
            If shapes do not match or a logit is not finite.
        """
        low, high = map(float, self.bounds)
        if not 0 < low <= 1 <= high:
            raise UsageError(f"bounds={self.bounds!r}", why="needs 0 < low <= 1 <= high")
        z, y = two_sided(logits), np.asarray(y)
        n = len(z)
        weights = np.ones(n) if sample_weight is None else np.asarray(sample_weight, np.float64)
        if y.shape not in ((n,), z.shape) or weights.shape != (n,):
            raise DataError(f"logits of shape {np.shape(logits)} for targets of shape {y.shape}")
        if not np.isfinite(z).all():
            raise DataError("logits are not finite", where="logits")
        mass = float(weights.sum())
        if mass < _FEWEST:
            return self.skip(f"{mass:g} held-out rows are fewer than {_FEWEST}")
        doubt = 1.0 / (mass + 2.0)
        if y.ndim == 2:
            margin, target = z, np.where(y.astype(bool), 1 - doubt, doubt)
            slopes = lambda beta: _sigmoid_slopes(margin, target, weights, beta)  # noqa: E731
        else:
            own = z[np.arange(n), y]
            rest = z.copy()
            rest[np.arange(n), y] = -np.inf
            goal = (1 - doubt) * own + doubt * rest.max(axis=1)
            slopes = lambda beta: _softmax_slopes(z, goal, weights, beta)  # noqa: E731
        beta, clipped = _root(slopes, 1 / high, 1 / low)
        self.T_ = float(1 / beta)
        self.note_ = f"fitted on {n} held-out rows"
        if clipped:
            self.note_ += f", clipped at {self.T_:g}"
        return self

    def skip(self, reason: str) -> Self:
        """T = 1, with the reason."""
        self.T_, self.note_ = 1.0, f"T = 1: {reason}"
        return self

    def apply(self, logits: Any) -> Array:
        """Logits divided by T, in the shape they came in."""
        check_is_fitted(self)
        return np.asarray(logits, dtype=np.float64) / self.T_

    def to_state(self) -> State:
        """No tensors, all in the JSON part."""
        check_is_fitted(self)
        return {}, {"bounds": list(map(float, self.bounds)), "T": self.T_, "note": self.note_}

    @classmethod
    def from_state(cls, tensors: Mapping[str, Array], meta: Mapping[str, Any]) -> Self:
        """Read `to_state` back.

        Raises
        ------
        BundleError
            If T is missing, not above zero or not finite.
        """
        try:
            out = cls(tuple(meta["bounds"]))
            out.T_, out.note_ = float(meta["T"]), str(meta["note"])
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError("the temperature is incomplete", why=repr(error)) from None
        if not (np.isfinite(out.T_) and out.T_ > 0):
            raise BundleError(f"a temperature of {out.T_}")
        return out


def two_sided(logits: Any) -> Array:
    """(n, K) float64; one score per row becomes the two columns 0 and score."""
    z = np.asarray(logits, dtype=np.float64)
    return np.column_stack([np.zeros(len(z)), z]) if z.ndim == 1 else z


def _softmax_slopes(z: Array, goal: Array, weights: Array, beta: float) -> tuple[float, float]:
    """First and second derivative in beta of ``sum w (logsumexp(beta z) - beta goal)``."""
    p = softmax(beta * z)
    mean = np.einsum("ik,ik->i", p, z)
    spread = np.einsum("ik,ik->i", p, (z - mean[:, None]) ** 2)
    return float(weights @ (mean - goal)), float(weights @ spread)


def _sigmoid_slopes(z: Array, target: Array, weights: Array, beta: float) -> tuple[float, float]:
    p = expit(beta * z)
    first = np.einsum("ik,ik->i", p - target, z)
    return float(weights @ first), float(weights @ np.einsum("ik,ik->i", p * (1 - p), z * z))


def _root(slopes: Any, low: float, high: float) -> tuple[float, bool]:
    """Zero of an ascending derivative: Newton in log(beta), bisection where Newton leaves."""
    if slopes(low)[0] >= 0:
        return low, True
    if slopes(high)[0] <= 0:
        return high, True
    beta = 1.0 if low < 1.0 < high else float(np.sqrt(low * high))
    for _ in range(100):
        first, second = slopes(beta)
        low, high = (beta, high) if first < 0 else (low, beta)
        curve = second * beta + first  # d/d(log beta) of the gradient in log beta, over beta
        ahead = beta * np.exp(np.clip(-first / curve, -2, 2)) if curve > 0 else -1.0
        if not low < ahead < high:
            ahead = float(np.sqrt(low * high))
        if abs(ahead / beta - 1) < 1e-9:
            return float(ahead), False
        beta = float(ahead)
    return beta, False
