"""H-score (Bao et al. 2019) and its regularised form (Ibrahim et al. 2022)."""

from __future__ import annotations

from typing import Any

from isthmus.transferability.base import check_codes, check_features, class_means


def hscore(features: Any, labels: Any) -> float:
    """``tr(cov(F)^+ cov(E[F | Y]))``: between-class variance in whitened features.

    Parameters
    ----------
    features : array of shape (n, d)
        NumPy or torch.
    labels : array of shape (n,)
        Classes.

    Returns
    -------
    float
        0 to (classes - 1); higher is better; unchanged by invertible affine maps. With few rows
        for the number of features it is near its maximum for any features: then use
        `regularized_hscore`.

    Raises
    ------
    DataError
        If there are fewer than two classes or a value is not finite.
    """
    return _score(features, labels, regularized=False)


def regularized_hscore(features: Any, labels: Any) -> float:
    """H-score with the covariance shrunk as Ledoit and Wolf (2004) do.

    ``(1 - a) tr(C_a^-1 cov(E[F | Y]))``, ``C_a = (1 - a) cov(F) + a mean variance I`` (Ibrahim,
    Ponomareva and Mazumder 2022, eq. 6).

    Parameters
    ----------
    features : array of shape (n, d)
        NumPy or torch.
    labels : array of shape (n,)
        Classes.

    Returns
    -------
    float
        0 to (classes - 1); higher is better; unchanged by rotation and by a common factor.

    Raises
    ------
    DataError
        If there are fewer than two classes or a value is not finite.
    """
    return _score(features, labels, regularized=True)


def _score(features: Any, labels: Any, *, regularized: bool) -> float:
    """Both scores: they differ in the spectrum of the covariance only."""
    xp, F = check_features(features, who="hscore")
    codes = check_codes(labels, F.shape[0], who="hscore")
    n, d = F.shape
    centred = F - xp.mean(F, axis=0)
    means, counts = class_means(xp, centred, codes)
    # in the span of the rows: null directions of the covariance hold no class mean
    _, S, rows = xp.linalg.svd(centred, full_matrices=False)
    values = S * S / n
    top = float(values[0])
    if top == 0.0:  # constant features tell nothing
        return 0.0
    kept = values > top * max(n, d) * xp.finfo(values.dtype).eps
    shrinkage = ledoit_wolf(xp, centred) if regularized else 0.0
    mean_variance = float(xp.sum(values)) / d
    spectrum = (1 - shrinkage) * values + shrinkage * mean_variance
    safe = xp.where(kept, spectrum, xp.ones_like(spectrum))
    along = means @ rows.T
    between = xp.sum(along * along * counts[:, None], axis=0) / n
    terms = xp.where(kept, between / safe, xp.zeros_like(between))
    return (1 - shrinkage) * float(xp.sum(terms))


def ledoit_wolf(xp: Any, centred: Any) -> float:
    """Optimal shrinkage towards the mean variance (Ledoit and Wolf 2004, lemma 3.2 and 3.3).

    Parameters
    ----------
    centred : array of shape (n, d)
        Rows with mean 0.
    """
    n, d = centred.shape
    # |C|_F^2 by the smaller of the two Gram matrices
    gram = centred.T @ centred if d <= n else centred @ centred.T
    squared = float(xp.sum(gram * gram)) / n**2
    norms = xp.sum(centred * centred, axis=1)
    mean_variance = float(xp.sum(norms)) / (n * d)
    distance = squared / d - mean_variance**2
    noise = (float(xp.sum(norms * norms)) / n - squared) / (n * d)
    return min(max(noise, 0.0), distance) / distance if distance > 0 else 0.0
