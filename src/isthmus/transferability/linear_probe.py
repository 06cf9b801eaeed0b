"""k-fold linear probe: the accuracy of a logistic regression on rows that it has not seen."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from isthmus.errors import DataError
from isthmus.transferability.base import check_codes, check_features, check_labels
from isthmus.types import Array, Interval, Trouble


@dataclass(frozen=True)
class Probe:
    """Out-of-fold result of a linear probe.

    Parameters
    ----------
    accuracy : Interval
        Share of rows that are right.
    right : ndarray of shape (n,)
        1 where the row was predicted by a model that had not seen it and was right, else 0.
    folds : int
    troubles : tuple of Trouble
    """

    accuracy: Interval
    right: Array
    folds: int
    troubles: tuple[Trouble, ...] = ()


def linear_probe(
    features: Any,
    labels: Any,
    *,
    groups: Any = None,
    folds: int = 5,
    C: float = 1.0,
    level: float = 0.95,
    random_state: int = 0,
) -> Probe:
    """Cross-validated accuracy of a logistic regression on standardised features.

    Parameters
    ----------
    features : array of shape (n, d)
        NumPy or torch (brought to the host; scikit-learn fits the probe).
    labels : array of shape (n,)
        Classes.
    groups : array of shape (n,), optional
        Rows of one group never lie on both sides of a fold.
    folds : int, default=5
        Fewer where there are fewer rows or groups.
    C : float, default=1.0
        Inverse ridge; fixed, so that feature sets are compared under one rule.
    level : float, default=0.95
    random_state : int, default=0
        Draws the folds.

    Returns
    -------
    Probe
        The interval is Wilson's on the rows (on the groups where given), divided by `inflation`
        because folds share training rows. A class that is missing
        from a training part counts as wrong there and is named in ``troubles``.

    Raises
    ------
    DataError
        If there are fewer than two classes, rows or groups, or a value is not finite.
    """
    who = "linear_probe"
    _, F = check_features(features, who=who, numpy=True)
    codes = check_codes(labels, len(F), who=who)
    names = None if groups is None else check_labels(groups, len(F), who=f"{who} (groups)")
    right = np.zeros(len(F))
    unconverged = thin = 0
    splits = _folds(codes, names, folds, random_state, who)
    for train, test in splits:
        absent = set(codes[test].tolist()) - set(codes[train].tolist())
        thin += bool(absent)
        predicted, converged = fit_predict(F[train], codes[train], F[test], C=C)
        right[test] = predicted == codes[test]
        unconverged += not converged
    troubles = []
    if thin:
        troubles.append(
            Trouble(
                "rare-class",
                f"in {thin} of {len(splits)} folds a class has no training row",
                "Give more rows of the rare classes",
            )
        )
    if unconverged:
        troubles.append(
            Trouble(
                "not-converged",
                f"the probe did not converge in {unconverged} of {len(splits)} folds",
                "Use a smaller C",
            )
        )
    trials = len(F) if names is None else len(np.unique(names))
    words = "rows" if names is None else "groups"
    how = f"corrected Wilson on {trials} {words}, {len(splits)} folds"
    value = float(right.mean())
    low, high = _wilson(value, trials / inflation(len(splits)), level)
    return Probe(
        Interval(value, low, high, level=level, how=how), right, len(splits), tuple(troubles)
    )


def fit_predict(
    X: Array, codes: Array, rows: Array, *, C: float = 1.0, proba: bool = False
) -> tuple[Array, bool]:
    """Codes (or probabilities) of new rows from a logistic regression, and if it converged.

    One class in `codes` predicts that class.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(np.unique(codes)) == 1:
        answer = np.ones((len(rows), 1)) if proba else np.full(len(rows), codes[0])
        return answer, True
    model = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=1000))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(X, codes)
    converged = not any(issubclass(w.category, ConvergenceWarning) for w in caught)
    return (model.predict_proba(rows) if proba else model.predict(rows)), converged


def _folds(
    codes: Array, groups: Array | None, folds: int, random_state: int, who: str
) -> list[tuple[Array, Array]]:
    """Stratified folds; rare classes are spread as far as they go."""
    from sklearn.model_selection import StratifiedGroupKFold

    units = np.arange(len(codes)) if groups is None else groups
    count = min(folds, len(np.unique(units)))
    if count < 2:
        raise DataError(f"{count} row or group", where=who, why="a fold needs a second one")
    if groups is None:
        # rows are dealt out class by class, so a class of two rows lies in two folds
        rng = np.random.default_rng(random_state)
        order = rng.permutation(len(codes))
        order = order[np.argsort(codes[order], kind="stable")]
        part = np.empty(len(codes), dtype=int)
        part[order] = np.arange(len(codes)) % count
        rows = np.arange(len(codes))
        return [(rows[part != k], rows[part == k]) for k in range(count)]
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=random_state)
    with warnings.catch_warnings():
        # the rare class is named in `troubles` where it matters
        warnings.filterwarnings("ignore", message="The least populated class")
        return [(a, b) for a, b in splitter.split(codes, codes, groups) if len(b)]


def inflation(folds: int) -> float:
    """Factor of a variance over rows that k folds answer: 1 + k / (k - 1).

    Every two training parts share rows, so the folds' errors are correlated (Nadeau and Bengio
    2003, eq. 9).
    """
    return 1 + folds / (folds - 1)


def _wilson(share: float, trials: float, level: float) -> tuple[float, float]:
    """Wilson score interval of a share."""
    from scipy.stats import norm

    z2 = float(norm.ppf(0.5 + level / 2)) ** 2
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    spread = share * (1 - share) / trials + z2 / (4 * trials**2)
    half = float(np.sqrt(z2 * spread)) / (1 + z2 / trials)
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))
