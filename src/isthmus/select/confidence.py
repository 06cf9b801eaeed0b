"""Layer 6: how far to believe a candidate's probabilities, said by rows that it was not fitted on.

A linear model that pools soft margins is right and modest; a search for clear clusters is sure of
itself, right or wrong. Averaged as they are, the second decides. One number a candidate, fitted on
the held-out labelled rows, puts both on one scale (Guo, Pleiss, Sun and Weinberger, *On calibration
of modern neural networks*, ICML 2017).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from isthmus.fit.blend import BlendModel, Model
from isthmus.fit.calibrate import Temperature
from isthmus.fit.model import FeatureModel
from isthmus.types import Array

FLOOR = 1e-3  # smallest probability that a candidate is held to have given
GRID = 2.0 ** np.linspace(-2, 2, 17)  # 1 is among them
STIFF = 10.0  # penalty on log(T)^2 in nats: a few rows move T little (a normal prior, sd 0.22)


@dataclass(frozen=True)
class Spoken:
    """What a candidate says of some rows.

    Parameters
    ----------
    parts : ndarray of shape (m, n, K)
        Probabilities of its members: one, or those of a blend.
    weights : ndarray of shape (m,)
    """

    parts: Array
    weights: Array

    def at(self, temperature: float) -> Array:
        """(n, K) probabilities with every member's logits divided by the temperature."""
        parts = self.parts
        if temperature != 1:
            parts = parts ** (1 / temperature)
            parts = parts / np.maximum(parts.sum(axis=2, keepdims=True), 1e-300)
        return np.asarray(np.tensordot(self.weights, parts, 1))


def spoken(model: Model, X: Array) -> Spoken:
    """What a model says of the rows X."""
    if isinstance(model, BlendModel):
        parts = np.stack([member.predict_proba(X) for member in model.members])
        return Spoken(parts, np.asarray(model.weights))
    return Spoken(model.predict_proba(X)[None], np.ones(1))


class Confidence:
    """Temperatures of candidates from what they said of held-out labelled rows.

    Parameters
    ----------
    held : sequence over candidates of sequence over folds of Spoken
    tests : sequence of (k,) int arrays
        Rows that each fold holds out.
    truth : (n,) int
        Their classes.
    weights : (n,) array
        What each row counts, 1 in the mean.
    """

    def __init__(
        self,
        held: Sequence[Sequence[Spoken]],
        tests: Sequence[Array],
        truth: Array,
        weights: Array,
    ) -> None:
        self.held = held
        self.counts = np.zeros(len(truth))  # how often a row was held out
        logs = np.zeros((len(held), len(GRID), len(truth)))
        for f, test in enumerate(tests):
            self.counts[test] += 1
            for own, folds in zip(logs, held, strict=True):
                for t, temperature in enumerate(GRID):
                    p = folds[f].at(temperature)[np.arange(len(test)), truth[test]]
                    own[t, test] += np.log(np.maximum(p, FLOOR))
        self.logs = logs * (weights / np.maximum(self.counts, 1))

    def temperatures(self, rows: Array) -> tuple[Array, Array]:
        """(m,) temperatures that these rows ask for, and the log-likelihood of the rows there."""
        total = self.logs[:, :, rows].sum(axis=2)
        best = (total - STIFF * np.log(GRID) ** 2).argmax(axis=1)
        return GRID[best], total[np.arange(len(total)), best]

    def answers(self, fold: int, temperatures: Array) -> Array:
        """(m, k, K) probabilities of the rows that a fold holds out."""
        pairs = zip(self.held, temperatures, strict=True)
        return np.stack([folds[fold].at(float(T)) for folds, T in pairs])


def heated(model: FeatureModel, temperature: float) -> FeatureModel:
    """The model with its logits divided by one more number; the parts are shared."""
    if temperature == 1:
        return model
    out, soft = copy.copy(model), Temperature()
    before = 1.0 if model.temperature_ is None else model.temperature_.T_
    soft.T_, soft.note_ = before * temperature, "fitted on held-out target rows"
    out.temperature_ = soft
    if model.log_ratio_ is not None:
        out.log_ratio_ = model.log_ratio_ / temperature
    return out
