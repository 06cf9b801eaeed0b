"""From scores on resamples to ranks with intervals; scores themselves are not known here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from isthmus.errors import DataError
from isthmus.types import Array, Interval, Trouble


@dataclass(frozen=True)
class Ranked:
    """One candidate and how sure its place is.

    Parameters
    ----------
    name : str
    rank : int
        1 is the best; equal scores share the better rank.
    low, high : int
        Confidence interval of the rank: 1 + the number of candidates that are surely better, and
        the number of candidates less those that are surely worse.
    score : Interval
        In units of the measure.
    best : float
        Share of the resamples in which the candidate comes first.
    """

    name: str
    rank: int
    low: int
    high: int
    score: Interval
    best: float

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON form."""
        return {
            "name": self.name,
            "rank": self.rank,
            "low": self.low,
            "high": self.high,
            "score": self.score.as_dict(),
            "best": self.best,
        }


@dataclass(frozen=True)
class Ranking:
    """Candidates, the best first.

    Parameters
    ----------
    rows : tuple of Ranked
    measure : str
    level : float
        Joint coverage of all rank intervals together.
    how : str
        Origin of the intervals in words.
    troubles : tuple of Trouble
        Of the fits behind the scores; empty when all went well.
    """

    rows: tuple[Ranked, ...]
    measure: str
    level: float
    how: str
    troubles: tuple[Trouble, ...] = ()

    @property
    def names(self) -> list[str]:
        """Names, the best first."""
        return [row.name for row in self.rows]

    @property
    def contenders(self) -> list[str]:
        """Names whose rank interval holds 1: the data do not rule them out as the best."""
        return [row.name for row in self.rows if row.low == 1]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON form."""
        return {
            "measure": self.measure,
            "level": self.level,
            "how": self.how,
            "rows": [row.as_dict() for row in self.rows],
        }


def build(
    names: list[str],
    values: Array,
    replicates: Array,
    *,
    measure: str,
    how: str,
    level: float,
    higher_is_better: bool = True,
    troubles: tuple[Trouble, ...] = (),
) -> Ranking:
    """Rank candidates by their values with the spread of paired replicates.

    Candidate i is surely better than j where their difference exceeds c times its standard
    error; c is the `level` quantile of the largest studentised difference over all pairs, so that
    all rank intervals hold together (Mogstad, Romano, Shaikh and Wilhelm 2024, section 3.2).
    Percentiles of bootstrapped ranks would be too narrow where scores are close.

    Parameters
    ----------
    values : ndarray of shape (k,)
    replicates : ndarray of shape (b, k)
        Same resample in a row for all candidates, centred on `values` or not.
    """
    from scipy.stats import norm

    if not np.isfinite(values).all():
        bad = [name for name, value in zip(names, values) if not np.isfinite(value)]
        raise DataError(f"the score of {', '.join(bad)} is not finite", where=measure)
    sign = 1.0 if higher_is_better else -1.0
    goods = sign * values
    spread = replicates - replicates.mean(axis=0)
    noise = spread[:, :, None] - spread[:, None, :]  # (b, k, k)
    ddof = 1 if len(replicates) > 1 else 0
    errors = noise.std(axis=0, ddof=ddof)
    # rounding alone must not pass for a difference
    tiny = 1e-12 * max(1.0, float(np.abs(values).max()))
    moving = errors > tiny
    ratios = np.abs(noise) / np.where(moving, errors, np.inf)
    critical = float(np.quantile(ratios.max(axis=(1, 2)), level))
    gap = goods[:, None] - goods[None, :]
    better = gap > np.maximum(critical * errors, tiny)

    places = sign * spread + goods
    firsts = places >= places.max(axis=1, keepdims=True) - tiny
    best = (firsts / firsts.sum(axis=1, keepdims=True)).mean(axis=0)
    half = float(norm.ppf(0.5 + level / 2)) * replicates.std(axis=0, ddof=ddof)
    rows = []
    for i in np.argsort(-goods, kind="stable"):
        value = float(values[i])
        rows.append(
            Ranked(
                names[i],
                1 + int((gap[:, i] > tiny).sum()),
                1 + int(better[:, i].sum()),
                len(names) - int(better[i].sum()),
                Interval(value, value - half[i], value + half[i], level=level, how=how),
                float(best[i]),
            )
        )
    return Ranking(tuple(rows), measure, level, how, troubles)


def halves(
    codes: Array | None,
    groups: Array | None,
    n: int,
    *,
    count: int,
    max_rows: int,
    rng: np.random.Generator,
) -> Iterator[tuple[Array, float]]:
    """Random halves of the rows without replacement, and the factor for their spread.

    Scores of features are biased on a bootstrap sample (a repeated row is easy to fit), so rows
    are drawn once only. A sample of m out of n rows spreads by a factor sqrt(n / m - 1) relative
    to n independent rows (Politis and Romano 1994); for halves it is 1.

    Parameters
    ----------
    codes : ndarray or None
        Class positions: every class keeps its share and at least two of its rows.
    groups : ndarray or None
        Whole groups are drawn instead, until at least two classes are present.
    """
    if groups is not None:
        names, members = np.unique(groups, return_inverse=True)
        if len(names) < 2:
            raise DataError("one group only", where="rank", why="ranks need a second one")
        take = len(names) // 2
        factor = float(np.sqrt(take / (len(names) - take)))
        for _ in range(count):
            for _ in range(100):  # a half with one class has no score
                drawn = np.zeros(len(names), dtype=bool)
                drawn[rng.choice(len(names), take, replace=False)] = True
                rows = np.flatnonzero(drawn[members])
                if codes is None or len(np.unique(codes[rows])) > 1:
                    break
            else:
                raise DataError(
                    "half of the groups hold one class only",
                    where="rank",
                    remedy="Give more groups of every class",
                )
            yield rows, factor
        return
    m = min(n // 2, max_rows)
    parts = [np.arange(n)]
    if codes is not None:
        parts = [np.flatnonzero(codes == code) for code in np.unique(codes)]
    sizes = [min(len(part), max(2, round(m * len(part) / n))) for part in parts]
    total = sum(sizes)
    factor = float(np.sqrt(total / max(n - total, 1)))
    for _ in range(count):
        yield (
            np.sort(
                np.concatenate([rng.permutation(part)[:size] for part, size in zip(parts, sizes)])
            ),
            factor,
        )


def replicate(
    score: Callable[[Array | None], Array],
    draws: Iterator[tuple[Array, float]],
) -> tuple[Array, Array]:
    """Values on all rows and replicates centred on them.

    The level of a score changes with the number of rows; only the spread of the halves is used.

    Parameters
    ----------
    score : callable
        Row positions (None: all) -> (k,) scores of all candidates.
    """
    values = score(None)
    found = [(score(rows), factor) for rows, factor in draws]
    scores = np.array([part for part, _ in found])
    factors = np.array([factor for _, factor in found])[:, None]
    return values, values + (scores - scores.mean(axis=0)) * factors


def replicate_rows(
    right: Array, groups: Array | None, *, count: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Means of the columns of `right` and their bootstrap over rows or whole groups.

    Parameters
    ----------
    right : ndarray of shape (n, k)
        One figure a row and candidate whose mean is the score.
    """
    members = np.arange(len(right)) if groups is None else np.unique(groups, return_inverse=True)[1]
    units = int(members.max()) + 1
    sizes = np.bincount(members).astype(float)
    sums = np.stack([np.bincount(members, weights=column) for column in right.T], axis=1)
    weights = rng.multinomial(units, np.full(units, 1 / units), size=count).astype(float)
    values = right.mean(axis=0)
    replicates = (weights @ sums) / (weights @ sizes)[:, None]
    return values, replicates
