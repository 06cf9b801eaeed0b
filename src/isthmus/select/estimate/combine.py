"""Layer 6: several estimates of accuracy become one number with a calibrated interval.

On the logit scale the combination starts from the mean of two anchors and moves towards the other
estimates by weights that are not negative and are kept small; they and a constant are learnt on
shifts with known answers. (Weights learnt freely on some data sets did worse on others than the
mean of the anchors.) The interval is a conformal one: what such predictions missed by on data sets
that they were not learnt from, in units of a miss that the estimates themselves give away.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from isthmus.errors import DataError
from isthmus.select.estimate.base import Estimate
from isthmus.types import Array, Interval

FEWEST = 20  # records below which nothing is calibrated
EDGE = 0.005  # shares are kept this far from 0 and 1 before their logit
RIDGES = (0.01, 0.1, 1.0)
ANCHORS = ("transport", "agreement-change")  # of those that are there; else the median of all
FORMAT = 1


@dataclass(frozen=True)
class Record:
    """Estimates of one candidate on one shift, and what was true.

    Parameters
    ----------
    estimates : dict
        Estimator -> accuracy, or None where it had no answer.
    truth : float
        Accuracy on the target rows.
    n : int
        Target rows behind `truth`.
    group : str
        Data set: records of one group are never learnt from and tested on together, and all
        groups weigh the same.
    """

    estimates: Mapping[str, float | None]
    truth: float
    n: int
    group: str = ""


@dataclass(frozen=True)
class Calibration:
    """How to combine estimates; plain numbers, made by `calibrate`.

    Parameters
    ----------
    names : tuple of str
        Estimators that are used.
    weights : tuple of float
        One for each name, >= 0, and the constant.
    spread : (float, float, float)
        Expected miss on the logit scale: a constant, a part of the spread of the estimates and a
        part of the drop from the held-out accuracy.
    quantile : float
        Of the misses in units of the expected miss.
    level : float
    records, groups : int
        What it was learnt from.
    error : float
        Mean absolute miss on left-out groups, as a share.
    coverage : float
        Of the interval on left-out groups, the quantile learnt without them.
    """

    names: tuple[str, ...]
    weights: tuple[float, ...]
    spread: tuple[float, float, float]
    quantile: float
    level: float
    records: int
    groups: int
    error: float
    coverage: float
    notes: tuple[str, ...] = field(default=())

    def apply(self, estimates: Mapping[str, Estimate | float | None], *, n_t: int) -> Interval:
        """One number with its interval.

        Parameters
        ----------
        estimates : dict
            Estimator -> estimate; those that the calibration does not know are ignored.
        n_t : int
            Target rows: their sampling error widens the interval.

        Raises
        ------
        DataError
            If less than half of the estimators have an answer.
        """
        given = {name: _number(estimates.get(name)) for name in self.names}
        there = sum(value is not None for value in given.values())
        if 2 * there < len(self.names):
            raise DataError(
                f"{there} of {len(self.names)} estimators have an answer",
                why="the combination was calibrated with all of them",
            )
        base, columns = _columns([given], self.names)
        z = base + columns @ self.weights[:-1] + self.weights[-1]
        value = float(_sigmoid(z)[0])
        half = self.quantile * float(_expected(base, columns, self.names, self.spread)[0])
        low, high = (float(_sigmoid(z + s * half)[0]) for s in (-1, 1))
        noise = _z(self.level) * math.sqrt(max(value * (1 - value), 0.25 / n_t) / n_t)
        low = max(0.0, value - math.hypot(value - low, noise))
        high = min(1.0, value + math.hypot(high - value, noise))
        how = (
            f"{there} label-free estimates combined; interval from what they missed by on "
            f"{self.records} shifts of {self.groups} data sets"
        )
        return Interval(value, low, high, level=self.level, how=how)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Calibration:
        """Read `to_dict` back.

        Raises
        ------
        DataError
            Another format, missing or foreign entries, lengths that differ, numbers that are not
            finite.
        """
        fields = dict(stored)
        if fields.pop("format", None) != FORMAT:
            raise DataError("the calibration has another format", why=f"known: {FORMAT}")
        try:
            for key in ("names", "weights", "spread", "notes"):
                fields[key] = tuple(fields[key])
            out = cls(**fields)
            numbers = [*out.weights, *out.spread, out.quantile, out.level]
            fine = len(out.weights) == len(out.names) + 1 and len(out.spread) == 3
            fine &= bool(np.isfinite(np.asarray(numbers, dtype=float)).all()) and out.quantile >= 0
        except (KeyError, TypeError, ValueError) as error:
            raise DataError("the calibration is incomplete", why=repr(error)) from None
        if not fine:
            raise DataError("the calibration's numbers do not fit together")
        return out


def calibrate(records: Sequence[Record], *, level: float = 0.9) -> Calibration:
    """Learn a combination and its interval from shifts with known answers.

    Parameters
    ----------
    records : sequence of Record
        At least 20. Estimators without an answer in half of the records are left out, and named
        in `Calibration.notes`.
    level : float, default=0.9

    Notes
    -----
    Split-conformal with whole groups left out in turn (cross-conformal): the residuals are those
    of rows that the regression had not seen. The guarantee is that of exchangeable groups; a
    target that is unlike all groups is not covered by it. Groups weigh the same, and the
    quantile is the larger of that of all residuals and a finite-sample one that counts groups.

    Raises
    ------
    DataError
        Too few records, or no estimator with answers.
    """
    if len(records) < FEWEST:
        raise DataError(f"{len(records)} records", why=f"at least {FEWEST} are needed")
    count: dict[str, int] = {}
    for record in records:
        for name, value in record.estimates.items():
            count[name] = count.get(name, 0) + (_number(value) is not None)
    names = tuple(sorted(n for n, c in count.items() if 2 * c >= len(records)))
    left_out = tuple(f"{n}: too few answers" for n in sorted(count) if n not in names)
    if not names:
        raise DataError("no estimator has answers for half of the records")
    usable = [r for r in records if any(_number(r.estimates.get(n)) is not None for n in names)]
    given = [{n: _number(r.estimates.get(n)) for n in names} for r in usable]
    base, columns = _columns(given, names)
    truth = np.array([(r.truth * r.n + 0.5) / (r.n + 1) for r in usable])
    z = _logit(np.clip(truth, EDGE, 1 - EDGE))
    parts, weights = _parts([r.group for r in usable])
    ids = np.unique(parts)
    error, ridge, oof = math.inf, RIDGES[-1], base
    for trial in RIDGES:
        tried = np.empty(len(base))
        for part in ids:
            out = parts == part
            w = _fit(base[~out], columns[~out], truth[~out], weights[~out], trial)
            tried[out] = base[out] + columns[out] @ w[:-1] + w[-1]
        miss = float(weights @ np.abs(_sigmoid(tried) - truth) / weights.sum())
        if miss < error:
            error, ridge, oof = miss, trial, tried
    w = _fit(base, columns, truth, weights, ridge)
    off = np.abs(oof - z)
    spread = _spread(base, columns, names, off, weights)
    scaled = off / _expected(base, columns, names, spread)
    covered = 0.0
    for part in ids:  # what the quantile learnt elsewhere covers here
        out = parts == part
        q = _quantile(scaled[~out], weights[~out], parts[~out], level)
        covered += float(weights[out] @ (scaled[out] <= q))
    return Calibration(
        names=names,
        weights=tuple(map(float, w)),
        spread=spread,
        quantile=_quantile(scaled, weights, parts, level),
        level=level,
        records=len(usable),
        groups=len({r.group for r in usable}),
        error=error,
        coverage=covered / float(weights.sum()),
        notes=left_out,
    )


def _columns(
    given: Sequence[Mapping[str, float | None]], names: Sequence[str]
) -> tuple[Array, Array]:
    """Anchor (m,) on the logit scale, and (m, names): each estimate less that; 0 where missing."""
    raw = np.array([[np.nan if g[n] is None else g[n] for n in names] for g in given], dtype=float)
    logits = _logit(np.clip(raw, EDGE, 1 - EDGE))
    base = np.nanmedian(logits, axis=1)
    anchors = logits[:, [i for i, n in enumerate(names) if n in ANCHORS]]
    some = ~np.isnan(anchors).all(axis=1) if anchors.shape[1] else np.zeros(len(base), bool)
    if some.any():
        base[some] = np.nanmean(anchors[some], axis=1)
    return base, np.where(np.isnan(logits), 0.0, logits - base[:, None])


def _fit(base: Array, columns: Array, truth: Array, weights: Array, ridge: float) -> Array:
    """Weights and constant: least absolute miss in accuracy, squared weights penalised."""
    from scipy.optimize import minimize

    mass = weights / weights.sum()

    def loss(w: Array) -> tuple[float, Array]:
        p = _sigmoid(base + columns @ w[:-1] + w[-1])
        off = p - truth
        size = np.sqrt(off**2 + 1e-4)
        pull = mass * off / size * p * (1 - p)
        value = float(mass @ size) + ridge * float(w[:-1] @ w[:-1])
        return value, np.r_[columns.T @ pull + 2 * ridge * w[:-1], pull.sum()]

    limits = [(0.0, 1.0)] * columns.shape[1] + [(-1.0, 1.0)]
    start = np.zeros(columns.shape[1] + 1)
    return np.asarray(minimize(loss, start, jac=True, bounds=limits, method="L-BFGS-B").x)


def _given_away(base: Array, columns: Array, names: Sequence[str]) -> Array:
    """(m, 3): one, the spread of the estimates, and the drop from the held-out accuracy."""
    spread = np.sqrt((columns**2).mean(axis=1))
    drop = np.zeros(len(base))
    if "held-out" in names:
        drop = np.maximum(columns[:, list(names).index("held-out")], 0.0)
    return np.column_stack([np.ones(len(base)), spread, drop])


def _spread(
    base: Array, columns: Array, names: Sequence[str], miss: Array, weights: Array
) -> tuple[float, float, float]:
    """Non-negative regression of the misses on what gives them away."""
    from scipy.optimize import nnls

    A, root = _given_away(base, columns, names), np.sqrt(weights)
    a, b, c = nnls(A * root[:, None], miss * root)[0]
    return max(float(a), 0.25 * float(miss.mean()), 1e-3), float(b), float(c)


def _expected(
    base: Array, columns: Array, names: Sequence[str], spread: tuple[float, float, float]
) -> Array:
    return np.asarray(_given_away(base, columns, names) @ np.asarray(spread))


def _quantile(scaled: Array, weights: Array, parts: Array, level: float) -> float:
    """Weighted quantile; with few groups the level is raised as if each were one row."""
    groups = len(np.unique(parts))
    raised = min(level * (1 + 1 / max(groups, 1)), 0.5 * (1 + level)) if groups > 1 else level
    order = np.argsort(scaled)
    reach = np.cumsum(weights[order]) / weights.sum()
    at = int(np.searchsorted(reach, raised - 1e-12))
    return float(scaled[order][min(at, len(order) - 1)])


def _parts(groups: Sequence[str]) -> tuple[Array, Array]:
    """Fold of each record, and weights with which all groups weigh the same, mean 1."""
    names, codes = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    weights = 1 / np.bincount(codes)[codes]
    weights *= len(weights) / weights.sum()
    if len(names) < 3:  # too few to leave any out: rows in turn
        return np.arange(len(codes)) % 5, weights
    return codes, weights


def _number(value: Estimate | float | None) -> float | None:
    found = value.value if isinstance(value, Estimate) else value
    return None if found is None or not math.isfinite(found) else float(found)


def _logit(p: Array) -> Array:
    return np.asarray(np.log(p) - np.log1p(-p))


def _sigmoid(z: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-np.clip(z, -500, 500))))


def _z(level: float) -> float:
    from scipy.stats import norm

    return float(norm.ppf(0.5 + level / 2))
