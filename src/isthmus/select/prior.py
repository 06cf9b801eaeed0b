"""Layer 6: what other tasks taught: which candidates help where, as a table of small trees.

``choice_prior.json`` beside this file is made by ``make choice-prior`` from public data sets and
simulated shifts. It holds boosted regression trees on the descriptors: the expected gain of a
candidate over source-only, and how far below that it may fall.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.errors import DataError
from isthmus.types import Array

FILE = Path(__file__).with_name("choice_prior.json")
SCHEMA = 1


@dataclass(frozen=True)
class Trees:
    """A sum of regression trees.

    Parameters
    ----------
    start : float
    feature, threshold, left, right, value : tuple of ndarray
        One array a tree, one entry a node; ``feature`` is -1 at a leaf. Rows with
        ``x[feature] <= threshold`` go left.
    """

    start: float
    feature: tuple[Array, ...]
    threshold: tuple[Array, ...]
    left: tuple[Array, ...]
    right: tuple[Array, ...]
    value: tuple[Array, ...]

    def predict(self, X: Array) -> Array:
        """(n,) values."""
        X = np.asarray(X, dtype=np.float32)  # the trees were grown on single precision
        out = np.full(len(X), self.start)
        rows = np.arange(len(X))
        for feature, threshold, left, right, value in zip(
            self.feature, self.threshold, self.left, self.right, self.value, strict=True
        ):
            node = np.zeros(len(X), dtype=np.intp)
            while (inner := feature[node] >= 0).any():
                at = feature[node]
                down = X[rows, np.maximum(at, 0)] <= threshold[node]
                node = np.where(inner, np.where(down, left[node], right[node]), node)
            out += value[node]
        return out

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Trees:
        """Read the JSON form."""
        parts: dict[str, tuple[Array, ...]] = {}
        for name in ("feature", "threshold", "left", "right", "value"):
            kind = np.float64 if name in ("threshold", "value") else np.intp
            parts[name] = tuple(np.array(tree[name], dtype=kind) for tree in state["trees"])
        return cls(float(state["start"]), **parts)


@dataclass(frozen=True)
class ChoicePrior:
    """The table.

    Parameters
    ----------
    candidates, columns : tuple of str
        What it knows; both must be what this version computes.
    gain, downside : Trees
        Of a candidate's descriptors: accuracy over source-only; mean squared shortfall of it.
    temperature, caution : float
        How sharply weights follow the expectation, and how much the downside is held against it.
    least : float
        Expected gain of the blend below which the choice declines.
    gain_error : dict
        Quantiles of what the expected gain missed by on tasks that were left out.
    learned_from : dict
        Numbers of tasks and suites, for the report.
    """

    candidates: tuple[str, ...]
    columns: tuple[str, ...]
    gain: Trees
    downside: Trees
    temperature: float
    caution: float
    least: float
    gain_error: dict[str, float]
    learned_from: dict[str, Any]

    def expected(self, rows: Array, order: list[str]) -> tuple[Array, Array]:
        """Expected gain of each candidate over source-only, and how far below it may fall.

        Parameters
        ----------
        rows : ndarray of shape (m, len(columns))
        order : list of str
            Names of the candidates of these rows.
        """
        return settled(self.gain.predict(rows), self.downside.predict(rows), order)

    def weights(self, gain: Array, downside: Array) -> Array:
        """(m,) weights in a blend: ``w ~ exp((gain - caution * downside) / temperature)``."""
        worth = (gain - self.caution * downside) / self.temperature
        weights = np.exp(worth - worth.max())
        return np.asarray(weights / weights.sum())

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> ChoicePrior:
        """Read the JSON form.

        Raises
        ------
        DataError
            If it is of another version, or incomplete.
        """
        try:
            if state["schema"] != SCHEMA:
                raise DataError(f"the table of the choice has schema {state['schema']!r}")
            trees = {name: Trees.from_dict(state[name]) for name in ("gain", "downside")}
            return cls(
                tuple(state["candidates"]),
                tuple(state["columns"]),
                temperature=float(state["temperature"]),
                caution=float(state["caution"]),
                least=float(state["least"]),
                gain_error=dict(state["gain_error"]),
                learned_from=dict(state["learned_from"]),
                **trees,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                "the table of the choice is incomplete", why=repr(error), where=str(FILE)
            ) from None


def settled(gain: Array, shortfall: Array, order: list[str]) -> tuple[Array, Array]:
    """Gain and downside of each candidate; of source-only both are zero, as nothing is learned."""
    known = np.array([name == "source-only" for name in order])
    downside = np.sqrt(np.maximum(shortfall, 1e-6))
    return np.where(known, 0.0, gain), np.where(known, 0.0, downside)


@cache
def choice_prior() -> ChoicePrior:
    """The table of this package."""
    return ChoicePrior.from_dict(json.loads(FILE.read_text(encoding="utf-8")))
