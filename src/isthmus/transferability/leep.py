"""LEEP (Nguyen et al. 2020): how well a source classifier's outputs explain target labels."""

from __future__ import annotations

from typing import Any

from isthmus.errors import DataError
from isthmus.transferability.base import check_codes, check_features, one_hot


def leep(probabilities: Any, labels: Any) -> float:
    """Mean log likelihood of the labels given the source model's class probabilities.

    ``mean over i of log sum_z P(y_i | z) theta(x_i)_z`` with P(y | z) from the empirical joint
    distribution of labels and source classes (Nguyen et al. 2020, eq. 2).

    Parameters
    ----------
    probabilities : array of shape (n, k_source)
        Source model's probabilities of **its** classes on the target rows; NumPy or torch.
    labels : array of shape (n,)
        Target classes.

    Returns
    -------
    float
        At most 0, higher is better.

    Raises
    ------
    DataError
        If rows are no probabilities (negative, or a sum off 1 by more than 0.001).

    Examples
    --------
    >>> import numpy as np
    >>> leep(np.eye(2)[[0, 1, 0, 1]], ["a", "b", "a", "b"])
    0.0
    """
    who = "leep"
    xp, theta = check_features(probabilities, who=who)
    codes = check_codes(labels, theta.shape[0], who=who)
    sums = xp.sum(theta, axis=1)
    if bool(xp.any(theta < 0)) or bool(xp.any(xp.abs(sums - 1) > 1e-3)):
        raise DataError(
            "rows are not probabilities", where=who, remedy="Apply softmax to logits first"
        )
    theta = theta / sums[:, None]
    indicator = one_hot(xp, codes, theta)
    joint = indicator.T @ theta  # (k_target, k_source), times n
    marginal = xp.sum(joint, axis=0)
    seen = marginal > 0  # a source class that never gets mass adds nothing
    given = xp.where(seen, joint / xp.where(seen, marginal, xp.ones_like(marginal)), 0 * joint)
    expected = xp.sum(indicator * (theta @ given.T), axis=1)
    return float(xp.mean(xp.log(expected)))
