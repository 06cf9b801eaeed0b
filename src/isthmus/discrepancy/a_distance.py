"""Proxy A-distance (Ben-David et al. 2007): can a classifier tell the two domains apart?"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from isthmus.discrepancy.base import check_pair, to_numpy
from isthmus.errors import DataError, UsageError
from isthmus.types import Array, Interval, Trouble


@dataclass(frozen=True)
class ADistance:
    """What a domain classifier says on rows that it has not seen.

    Parameters
    ----------
    value : Interval
        ``2 (1 - 2 error)``: 0 = indistinguishable, 2 = told apart without error.
    auc : Interval
        Area under the ROC curve: 0.5 = indistinguishable, 1 = told apart without error.
    error : Interval
        Mean of the error on source rows and the error on target rows.
    rows : tuple of int
        Source and target rows that were used.
    troubles : tuple of Trouble
    """

    value: Interval
    auc: Interval
    error: Interval
    rows: tuple[int, int]
    troubles: tuple[Trouble, ...] = ()


def a_distance(
    zs: Any,
    zt: Any,
    *,
    groups_s: Any = None,
    groups_t: Any = None,
    folds: int = 5,
    C: float = 1.0,
    max_rows: int = 5000,
    level: float = 0.95,
    random_state: int = 0,
) -> ADistance:
    """Proxy A-distance and domain AUC of a logistic regression, cross-validated.

    Parameters
    ----------
    zs, zt : array of shape (n_s, d), (n_t, d)
        NumPy or torch (brought to the host; scikit-learn fits the classifier).
    groups_s, groups_t : array of shape (n_s,), (n_t,), optional
        Rows of one group (patient, scene) never lie on both sides of a fold. Give both or none.
    folds : int, default=5
        Fewer where a domain has fewer rows or groups.
    C : float, default=1.0
        Inverse ridge of the logistic regression on standardised features.
    max_rows : int, default=5000
        Larger domains are sampled down to this many rows.
    level : float, default=0.95
    random_state : int, default=0
        Draws folds and samples.

    Returns
    -------
    ADistance
        The error is the mean of both domains' errors, so unequal sizes do not matter, and its
        interval combines two Wilson intervals (MOVER, Zou and Donner 2008). The AUC is the mean
        over folds with the variance of LeDell et al. (2015). Folds share training rows, so both
        variances are raised as Nadeau and Bengio (2003) do, by 1 + k / (k - 1) for k folds.
        Intervals treat rows as independent; with groups they are too narrow. Above 0.5 the error
        counts as 0.5: the classifier family always holds the flipped answer.

    Raises
    ------
    DataError
        If a domain has fewer than two rows or groups, widths differ, or a value is not finite.
    """
    who = "a_distance"
    _, zs, zt = check_pair(zs, zt, who=who, numpy=True)
    if (groups_s is None) != (groups_t is None):
        raise UsageError("groups of one domain only", where=who, remedy="Give both or none")
    rng = np.random.default_rng(random_state)
    kept = [_sample(len(z), max_rows, rng) for z in (zs, zt)]
    X = np.concatenate([zs[kept[0]], zt[kept[1]]])
    domain = np.repeat([0, 1], [len(kept[0]), len(kept[1])])
    groups = None
    if groups_s is not None:
        names = [to_numpy(groups_s), to_numpy(groups_t)]
        for side, z, name in zip(names, (zs, zt), ("source", "target")):
            if side.shape != (len(z),):
                raise DataError(f"{side.shape} {name} groups for {len(z)} rows", where=who)
        groups = np.concatenate([names[0][kept[0]], names[1][kept[1]]])
    splits = _folds(domain, groups, folds, random_state, who)

    scores = np.empty(len(X))
    unconverged = 0
    aucs, variances = [], []
    for train, test in splits:
        scores[test], converged = _fit_score(X, domain, train, test, C)
        unconverged += not converged
        value, variance = delong(scores[test][domain[test] == 1], scores[test][domain[test] == 0])
        aucs.append(value)
        variances.append(variance)
    wrong = (scores > 0) != (domain == 1)
    raised = 1 + len(splits) / (len(splits) - 1)
    error = _balanced(wrong[domain == 0], wrong[domain == 1], raised, level)
    troubles: tuple[Trouble, ...] = ()
    if unconverged:
        troubles = (
            Trouble(
                "not-converged",
                f"the domain classifier did not converge in {unconverged} of {len(splits)} folds",
                "Use a smaller C",
            ),
        )
    return ADistance(
        _distance(error),
        _auc(
            np.array(aucs),
            raised * np.array(variances),
            min(len(kept[0]), len(kept[1])) / raised,
            level,
        ),
        error,
        (len(kept[0]), len(kept[1])),
        troubles,
    )


def _sample(count: int, most: int, rng: np.random.Generator) -> Array:
    """All rows, or `most` of them at random, in their order."""
    return np.sort(rng.choice(count, most, replace=False)) if count > most else np.arange(count)


def _folds(
    domain: Array, groups: Array | None, folds: int, random_state: int, who: str
) -> list[tuple[Array, Array]]:
    """Folds whose train and test parts hold both domains."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    if groups is None:
        count = min(folds, *np.bincount(domain).tolist())
        splitter = StratifiedKFold(count, shuffle=True, random_state=random_state)
        return list(splitter.split(domain, domain))
    count = min(folds, *(len(set(groups[domain == side].tolist())) for side in (0, 1)))
    if count < 2:
        raise DataError("a domain has one group only", where=who, why="a fold needs a second one")
    grouped = StratifiedGroupKFold(count, shuffle=True, random_state=random_state)
    splits = list(grouped.split(domain, domain, groups))
    both = [s for s in splits if all(len(set(domain[part].tolist())) == 2 for part in s)]
    if len(both) < len(splits):
        raise DataError(
            f"{len(splits) - len(both)} of {len(splits)} folds hold one domain only",
            where=who,
            why="the groups are too few or too unequal",
            remedy="Use fewer folds",
        )
    return splits


def _fit_score(X: Array, domain: Array, train: Array, test: Array, C: float) -> tuple[Array, bool]:
    """Decision values of the test rows, and whether the fit converged."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(
        StandardScaler(), LogisticRegression(C=C, class_weight="balanced", max_iter=1000)
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(X[train], domain[train])
    converged = not any(issubclass(w.category, ConvergenceWarning) for w in caught)
    return model.decision_function(X[test]), converged


def delong(high: Array, low: Array) -> tuple[float, float]:
    """AUC of "`high` above `low`" and its variance from structural components (DeLong 1988).

    Parameters
    ----------
    high, low : ndarray of shape (m,), (n,)
        Scores of positives and negatives; ties count one half.

    Returns
    -------
    value, variance : float
        The variance is 0 for a single row on both sides.
    """
    from scipy.stats import rankdata

    m, n = len(high), len(low)
    ranks = rankdata(np.concatenate([high, low]))
    above = (ranks[:m] - rankdata(high)) / n  # share of negatives below each positive
    below = 1 - (ranks[m:] - rankdata(low)) / m
    variance = sum(float(part.var(ddof=1)) / len(part) for part in (above, below) if len(part) > 1)
    return float(above.mean()), variance


def _auc(values: Array, variances: Array, trials: float, level: float) -> Interval:
    """Mean AUC over folds; test folds are disjoint, so their variances add."""
    from scipy.stats import norm

    value = float(values.mean())
    half = float(norm.ppf(0.5 + level / 2)) * float(np.sqrt(variances.sum())) / len(values)
    low, high = max(0.0, value - half), min(1.0, value + half)
    how = f"{len(values)}-fold cross-validation, corrected DeLong variance"
    if half == 0:  # perfect separation is no proof of certainty
        low, high = _wilson(value, trials, level)
        how = f"{len(values)}-fold cross-validation, Wilson on {trials:.3g} effective rows"
    return Interval(value, low, high, level=level, how=how)


def _balanced(source: Array, target: Array, raised: float, level: float) -> Interval:
    """Mean of two error shares, with the intervals combined by MOVER (Zou and Donner 2008)."""
    shares = [float(side.mean()) for side in (source, target)]
    sizes = len(source) / raised, len(target) / raised
    ends = [_wilson(share, size, level) for share, size in zip(shares, sizes)]
    value = sum(shares) / 2
    down = np.hypot(shares[0] - ends[0][0], shares[1] - ends[1][0]) / 2
    up = np.hypot(ends[0][1] - shares[0], ends[1][1] - shares[1]) / 2
    how = "corrected Wilson intervals of both domains' errors, combined"
    low, high = max(0.0, value - float(down)), min(1.0, value + float(up))
    return Interval(value, low, high, level=level, how=how)


def _wilson(share: float, trials: float, level: float) -> tuple[float, float]:
    """Wilson score interval of a share."""
    from scipy.stats import norm

    z2 = float(norm.ppf(0.5 + level / 2)) ** 2
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    spread = share * (1 - share) / trials + z2 / (4 * trials**2)
    half = float(np.sqrt(z2 * spread)) / (1 + z2 / trials)
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


def _distance(error: Interval) -> Interval:
    """``2 (1 - 2 error)``, never negative."""
    value, low, high = (2 * (1 - 2 * min(e, 0.5)) for e in (error.value, error.high, error.low))
    return Interval(value, low, high, level=error.level, how=error.how)
