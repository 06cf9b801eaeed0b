"""How sure a figure is: bootstrap, paired and cross-validation intervals.

A statistic is a function of row *weights*: how often each row was drawn. All resamples of a chunk
are evaluated in one matrix product instead of a loop, so 1,000 replicates cost about as much as a
handful of plain evaluations.
"""

from __future__ import annotations

import math

import numpy as np

from isthmus.errors import DataError, UsageError
from isthmus.evaluate.resample import CHUNK, Statistic, Units, replicate
from isthmus.types import Array, Interval

FEW_GROUPS = 10  # below this a bootstrap over groups is known to be narrow; the text says so


def undefined(reason: str, *, level: float = 0.95) -> Interval:
    """A figure that does not exist, with its reason where the origin would stand."""
    return Interval(math.nan, math.nan, math.nan, level=level, how=f"undefined: {reason}")


def wilson(value: float, trials: float, *, level: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a share (Wilson 1927, eq. 4); `trials` may be an effective number.

    Unlike the bootstrap it knows that 30 of 30 right is not certainty: [0.886, 1].
    """
    from scipy.stats import norm

    z2 = float(norm.ppf(0.5 + level / 2)) ** 2
    centre = (value + z2 / (2 * trials)) / (1 + z2 / trials)
    spread = value * (1 - value) / trials + z2 / (4 * trials**2)
    half = math.sqrt(z2 * spread) / (1 + z2 / trials)
    # at the ends the formula is exact but for rounding; 1 must not become 1 - 1e-16
    low = 0.0 if value <= 0 else max(0.0, centre - half)
    high = 1.0 if value >= 1 else min(1.0, centre + half)
    return low, high


def _tail(count: int, level: float) -> float:
    """Tail share of the expanded percentile interval (Hesterberg 2015, section 4.2).

    The plain percentile interval is too narrow by sqrt((m - 1) / m) and by normal instead of t
    quantiles; both matter for a handful of groups and vanish for hundreds of rows.
    """
    from scipy.stats import norm, t

    quantile = float(t.ppf(0.5 + level / 2, count - 1))
    return float(norm.cdf(-math.sqrt(count / (count - 1)) * quantile))


def summarise(
    value: float,
    replicates: Array,
    *,
    units: Units,
    level: float = 0.95,
    trials: float | None = None,
    proportion: bool = False,
    pivot: bool = False,
) -> Interval:
    """Turn bootstrap replicates into the interval that is printed, and say how.

    Parameters
    ----------
    value : float
        The figure on the rows themselves.
    replicates : ndarray
        (n_boot,) the figure on each resample; NaN where a resample leaves it undefined.
    units : Units
        What was drawn.
    level : float, default=0.95
        Nominal coverage.
    trials : float, optional
        Effective number of trials of a figure in [0, 1]. Where every resample gives the same 0 or
        1 the bootstrap knows nothing, and the Wilson interval on `trials` (on the groups, where
        those are fewer) takes its place.
    proportion : bool, default=False
        The figure is a plain share of rows: without groups the interval is always the hull of
        bootstrap and Wilson interval, so it does not collapse near 0 and 1.
    pivot : bool, default=False
        Reflected (basic) interval, extended to the value: right for figures whose resamples are
        biased upwards, such as a calibration error.

    Returns
    -------
    Interval
    """
    if not math.isfinite(value):
        return undefined("the figure is not finite", level=level)
    finite = replicates[np.isfinite(replicates)]
    share = finite.size / replicates.size if replicates.size else 0.0
    over = f"bootstrap over {units.words}"
    if units.codes is not None and units.count < FEW_GROUPS:
        over += " (few groups: read with care)"
    if share < 1:
        over += f"; undefined in {100 * (1 - share):.0f} % of the resamples"

    constant = finite.size > 0 and bool(np.all(np.abs(finite - value) <= 1e-12))
    if trials and value in (0.0, 1.0) and (constant or units.count < 2):
        count = trials if units.codes is None else min(trials, units.count)
        low, high = wilson(value, count, level=level)
        unit = "trial" if units.codes is None else "group"
        plural = "" if count == 1 else "s"
        how = f"Wilson on {count:,.4g} {unit}{plural}: every resample gave {value:.0f}"
        return Interval(value, low, high, level=level, how=how)
    if units.count < 2:
        how = f"no interval: {units.words}"
        return Interval(value, math.nan, math.nan, level=level, how=how)
    if share < 0.5:
        how = f"no interval: undefined in {100 * (1 - share):.0f} % of the resamples"
        return Interval(value, math.nan, math.nan, level=level, how=how)

    tail = _tail(units.count, level)
    low, high = (float(q) for q in np.quantile(finite, [tail, 1 - tail]))
    if pivot:
        low, high = max(0.0, min(value, 2 * value - high)), max(value, 2 * value - low)
        over = over.replace("bootstrap", "reflected bootstrap", 1)
    if proportion and trials and units.codes is None:
        exact = wilson(value, trials, level=level)
        low, high = min(low, exact[0]), max(high, exact[1])
        over += ", joined with the Wilson interval"
    elif constant:
        over += "; every resample gave the same value"
    return Interval(value, low, high, level=level, how=over)


def bootstrap(
    statistic: Statistic,
    n_rows: int,
    *,
    groups: Array | None = None,
    n_boot: int = 1000,
    level: float = 0.95,
    random_state: int = 0,
    method: str = "percentile",
) -> Interval:
    """Interval of any figure that can be written as a function of row weights.

    Parameters
    ----------
    statistic : callable
        Maps weights (n_rows, b) to values (b,); weights of 1 give the figure itself.
    n_rows : int
        Number of rows.
    groups : ndarray, optional
        (n_rows,) names of what is drawn as a whole (patients, speakers).
    n_boot, level, random_state
        Resamples, nominal coverage, seed.
    method : {"percentile", "bca"}, default="percentile"
        Expanded percentile, or bias-corrected and accelerated (Efron 1987) with one jackknife
        evaluation a unit; BCa is refused above 5,000 units.

    Raises
    ------
    UsageError
        On an unknown method, or BCa on too many units.
    """
    if method not in ("percentile", "bca"):
        raise UsageError(f"unknown interval method {method!r}", remedy="Use percentile or bca")
    units = Units.of(n_rows, groups)
    value = float(statistic(np.ones((n_rows, 1)))[0])
    values = replicate(
        lambda weights: {"value": statistic(weights)},
        units,
        n_boot=n_boot,
        random_state=random_state,
    )["value"]
    if method == "percentile" or units.count < 3 or not math.isfinite(value):
        return summarise(value, values, units=units, level=level)
    if units.count > 5000:
        raise UsageError(
            f"BCa needs one evaluation a unit and there are {units.words}",
            remedy="Use method='percentile'; at this size they agree",
        )
    low, high = _bca(statistic, value, values, units, level)
    return Interval(value, low, high, level=level, how=f"BCa bootstrap over {units.words}")


def _bca(
    statistic: Statistic, value: float, replicates: Array, units: Units, level: float
) -> tuple[float, float]:
    """Ends of the BCa interval: quantiles shifted by bias z0 and acceleration a."""
    from scipy.stats import norm

    codes = np.arange(units.n_rows) if units.codes is None else units.codes
    kept = np.concatenate(
        [
            statistic((codes[:, None] != part[None, :]).astype(float))
            for part in np.array_split(
                np.arange(units.count), math.ceil(units.count * units.n_rows / CHUNK)
            )
        ]
    )
    finite, kept = replicates[np.isfinite(replicates)], kept[np.isfinite(kept)]
    spread = kept.mean() - kept
    scale = float((spread**2).sum())
    if finite.size == 0 or scale == 0 or finite.min() == finite.max():
        return value, value
    acceleration = float((spread**3).sum()) / (6 * scale**1.5)
    below = (np.sum(finite < value) + 0.5 * np.sum(finite == value)) / finite.size
    z0 = float(norm.ppf(np.clip(below, 0.5 / finite.size, 1 - 0.5 / finite.size)))
    z = norm.ppf([0.5 - level / 2, 0.5 + level / 2]) + z0
    low, high = np.quantile(finite, norm.cdf(z0 + z / (1 - acceleration * z)))
    return float(low), float(high)


def paired_difference(
    a: Array | Statistic,
    b: Array | Statistic,
    *,
    groups: Array | None = None,
    n_rows: int | None = None,
    n_boot: int = 1000,
    level: float = 0.95,
    random_state: int = 0,
) -> Interval:
    """Interval of "a minus b" on the same rows: both are evaluated on the same resamples.

    Parameters
    ----------
    a, b : ndarray (n,) or callable
        A value a row whose mean is the figure (1 = right, 0 = wrong; an absolute error), or a
        function of weights (n, b) -> (b,) for figures that are no row mean.
    groups : ndarray, optional
        (n,) names of what is drawn as a whole.
    n_rows : int, optional
        Needed where both are callables and there are no groups.
    n_boot, level, random_state
        Resamples, nominal coverage, seed.

    Returns
    -------
    Interval
        Value mean(a) - mean(b). For 0/1 rows without groups the bootstrap interval is joined with
        the one of Agresti & Min (2005), which does not collapse when the two never disagree.

    Raises
    ------
    DataError
        If lengths differ or a value is not finite.
    """
    sizes = [len(x) for x in (a, b, groups) if x is not None and not callable(x)]
    if n_rows is not None:
        sizes.append(n_rows)
    if not sizes or len(set(sizes)) > 1:
        raise DataError(
            "the two systems were not measured on the same rows",
            why=f"numbers of rows: {sizes}",
            remedy="Give one value a row for both, or n_rows with functions",
        )
    n, units = sizes[0], Units.of(sizes[0], groups)
    if n == 0:
        return undefined("no rows", level=level)
    first, second = _as_statistic(a), _as_statistic(b)

    def statistics(weights: Array) -> dict[str, Array]:
        return {"difference": first(weights) - second(weights)}

    value = float(statistics(np.ones((n, 1)))["difference"][0])
    values = replicate(statistics, units, n_boot=n_boot, random_state=random_state)["difference"]
    result = summarise(value, values, units=units, level=level)
    if callable(a) or callable(b) or units.codes is not None:
        return result
    difference = np.asarray(a, dtype=float) - np.asarray(b, dtype=float)
    if not all(np.isin(np.asarray(x, dtype=float), (0.0, 1.0)).all() for x in (a, b)):
        return result
    low, high = _agresti_min(difference, level)
    if math.isfinite(result.low):
        low, high = min(low, result.low), max(high, result.high)
    how = f"paired bootstrap over {units.words}, joined with the Agresti-Min interval"
    return Interval(value, low, high, level=level, how=how)


def _as_statistic(values: Array | Statistic) -> Statistic:
    """Row values as their weighted mean; functions as they are."""
    if callable(values):
        return values
    rows = np.asarray(values, dtype=float)
    if rows.ndim != 1 or not np.isfinite(rows).all():
        raise DataError("row values must be one finite number a row", where="paired_difference")
    return lambda weights: (rows @ weights) / weights.sum(axis=0)


def _agresti_min(difference: Array, level: float) -> tuple[float, float]:
    """Paired difference of shares with half a row added to each of the four cells."""
    from scipy.stats import norm

    n = len(difference) + 2
    better, worse = np.sum(difference > 0) + 0.5, np.sum(difference < 0) + 0.5
    centre = (better - worse) / n
    half = norm.ppf(0.5 + level / 2) * math.sqrt(better + worse - (better - worse) ** 2 / n) / n
    return max(-1.0, float(centre - half)), min(1.0, float(centre + half))


def mean_interval(
    values: Array,
    *,
    groups: Array | None = None,
    n_boot: int = 1000,
    level: float = 0.95,
    random_state: int = 0,
) -> Interval:
    """Mean of row values (1 = right, 0 = wrong; an error) with its bootstrap interval.

    Parameters
    ----------
    values : array-like (n,)
        Finite numbers. Where all are 0 or 1 they are a share and the interval is joined with
        Wilson's (see `summarise`).
    groups, n_boot, level, random_state
        As in `bootstrap`.

    Raises
    ------
    DataError
        If a value is not finite.
    """
    rows = np.asarray(values, dtype=float)
    units = Units.of(len(rows), groups)
    if len(rows) == 0:
        return undefined("no rows", level=level)
    mean = _as_statistic(rows)
    drawn = replicate(
        lambda weights: {"mean": mean(weights)}, units, n_boot=n_boot, random_state=random_state
    )
    share = bool(np.isin(rows, (0.0, 1.0)).all())
    return summarise(
        float(rows.mean()),
        drawn["mean"],
        units=units,
        level=level,
        trials=len(rows) if share else None,
        proportion=share,
    )


def cv_difference(differences: Array, *, test_fraction: float, level: float = 0.95) -> Interval:
    """Interval of a mean difference over the folds of a (repeated) cross-validation.

    Folds share training rows, so their spread understates the uncertainty; the variance is
    corrected as Nadeau & Bengio (2003, eq. 9) do: (1/J + n_test/n_train) s^2, t with J - 1 degrees.

    Parameters
    ----------
    differences : array-like (J,)
        Ours minus baseline on each of the J test folds.
    test_fraction : float
        Share of the rows that a test fold holds: 1/5 for five folds, hence n_test/n_train = 1/4.
    level : float, default=0.95

    Raises
    ------
    DataError
        If a difference is not finite.
    UsageError
        If the fraction does not lie between 0 and 1.
    """
    from scipy.stats import t

    values = np.asarray(differences, dtype=float)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise DataError("fold differences must be finite numbers", where="cv_difference")
    if not 0 < test_fraction < 1:
        raise UsageError(f"a test fraction of {test_fraction}", why="it lies between 0 and 1")
    if values.size == 0:
        return undefined("no folds", level=level)
    mean = float(values.mean())
    if values.size < 2:
        how = "no interval: 1 fold"
        return Interval(mean, math.nan, math.nan, level=level, how=how)
    ratio = test_fraction / (1 - test_fraction)
    scale = math.sqrt((1 / values.size + ratio) * float(values.var(ddof=1)))
    half = float(t.ppf(0.5 + level / 2, values.size - 1)) * scale
    how = f"corrected t over {values.size} folds (Nadeau-Bengio)"
    if half == 0:
        how += "; every fold gave the same value"
    return Interval(mean, mean - half, mean + half, level=level, how=how)
