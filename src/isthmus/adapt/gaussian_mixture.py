"""Layer 4: a mixture of class Gaussians fitted to target rows, drawn to the source's statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.linalg.lapack import dpotri
from scipy.special import logsumexp

from isthmus.types import Array

BLOCK = 8192  # rows in float64 at a time
TINY = 1e-300


@dataclass(frozen=True)
class Mixture:
    """Class Gaussians.

    Parameters
    ----------
    prior, means : ndarray of shape (K,), (K, d)
    covariance : ndarray of shape (d, d) or (K, d, d)
    shift : ndarray of shape (d,)
        Movement that all classes share.
    """

    prior: Array
    means: Array
    covariance: Array
    shift: Array

    def factors(self) -> list[Factor]:
        """One a covariance.

        Raises
        ------
        numpy.linalg.LinAlgError
            If a covariance is not positive definite.
        """
        each = [self.covariance] if self.covariance.ndim == 2 else list(self.covariance)
        return [Factor.of(part) for part in each]

    def scorer(self, factors: list[Factor]) -> Callable[[Array], Array]:
        """Rows -> (n, K) log densities with priors.

        With one covariance the term ``x' C^-1 x`` and the determinant are the same for all
        classes; they are left out (`left_out` gives them for all rows at once).
        """
        K, d = self.means.shape
        prior = np.log(np.maximum(self.prior, TINY))  # a class may have no share left
        if self.covariance.ndim == 2:
            slope = factors[0].inverse @ self.means.T  # (d, K)
            offset = prior - 0.5 * (self.means * slope.T).sum(axis=1)
            return lambda X: X @ slope + offset

        def each(X: Array) -> Array:
            out = np.empty((len(X), K))
            for k, factor in enumerate(factors):
                white = solve_triangular(factor.root, (X - self.means[k]).T, lower=True)
                const = 0.5 * (factor.logdet + d * np.log(2 * np.pi))
                out[:, k] = prior[k] - const - 0.5 * (white**2).sum(axis=0)
            return out

        return each


@dataclass(frozen=True)
class Factor:
    """A covariance, factored.

    Parameters
    ----------
    root : ndarray of shape (d, d)
        Lower Cholesky factor.
    inverse : ndarray of shape (d, d)
    logdet : float
    """

    root: Array
    inverse: Array
    logdet: float

    @classmethod
    def of(cls, covariance: Array) -> Factor:
        """Raises numpy.linalg.LinAlgError if it is not positive definite."""
        root = cholesky(covariance, lower=True)
        half, failed = dpotri(root, lower=1)
        if failed:
            raise np.linalg.LinAlgError("a covariance has no inverse")
        inverse = np.tril(half) + np.tril(half, -1).T
        return cls(root, inverse, 2 * float(np.log(np.diag(root)).sum()))


def left_out(factor: Factor, total: Array, n: int) -> float:
    """What a scorer with one covariance leaves out, summed over n rows with squares `total`."""
    d = len(total)
    quadratic = float((factor.inverse * total).sum())
    return -0.5 * (quadratic + n * (factor.logdet + d * np.log(2 * np.pi)))


@dataclass(frozen=True)
class MixtureScores:
    """Target rows -> (n, K) log densities with priors, up to a number a row.

    Parameters
    ----------
    centre : ndarray of shape (d,)
        Origin of the mixture's means.
    prior, means, covariance : ndarray
        As in `Mixture`.
    """

    centre: Array
    prior: Array
    means: Array
    covariance: Array

    def __call__(self, rows: Any) -> Array:
        rows = np.asarray(rows)
        mixture = Mixture(self.prior, self.means, self.covariance, self.centre)
        score = mixture.scorer(mixture.factors())
        parts = [score(rows[part] - self.centre) for part in blocks(len(rows))]
        return np.concatenate(parts) if parts else np.empty((0, len(self.prior)))


@dataclass(frozen=True)
class Pull:
    """How strongly the fit is drawn to the source.

    Parameters
    ----------
    rows : float
        Rows that the source's mean counts for in each class (infinity: means only shift).
    covariance_rows : float
        Rows that its covariance counts for (in each class where each has its own).
    align : bool
        Let all means shift together, without a penalty.
    prior : bool
        Estimate the class shares.
    """

    rows: float
    covariance_rows: float
    align: bool
    prior: bool


@dataclass(frozen=True)
class Fitted:
    """Where expectation-maximisation ended."""

    mixture: Mixture
    objective: float
    iterations: int
    converged: bool
    counts: Array
    singular: bool = False


def blocks(n: int) -> Iterator[slice]:
    for start in range(0, n, BLOCK):
        yield slice(start, min(start + BLOCK, n))


def fit_mixture(
    X: Array, known: Array, source: Mixture, pull: Pull, shift: Array, *, tol: float, max_iter: int
) -> Fitted:
    """Penalised likelihood by expectation-maximisation, from the source moved by `shift`.

    ``mean_k ~ N(source mean_k + shift, covariance / rows)``, the covariance with an inverse
    Wishart prior around the source's; shift and class shares are free. Each step maximises the
    shift and the means together, in closed form, then the covariance given them.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    known : ndarray of shape (n,)
        Class code of labelled rows, -1 elsewhere.
    tol : float
        Gain of the objective a row at which the steps end.
    """
    n, d = X.shape
    K = len(source.prior)
    pooled = source.covariance.ndim == 2
    now = replace(source, means=source.means + shift, shift=shift)
    total = np.zeros((d, d))
    if pooled:
        for part in blocks(n):
            rows = X[part].astype(np.float64, copy=False)
            total += rows.T @ rows
    value, steps, counts = -np.inf, 0, np.zeros(K)
    before, converged = now, False
    factors: list[Factor] = []
    for steps in range(1, max_iter + 1):
        try:
            if not factors or now.covariance is not before.covariance:
                factors = now.factors()
        except np.linalg.LinAlgError:
            return Fitted(before, value, steps, False, counts, singular=True)
        score = now.scorer(factors)
        left = -penalty(now, source, pull, factors)
        counts, sums = np.zeros(K), np.zeros((K, d))
        squares = None if pooled else np.zeros((K, d, d))
        if pooled:
            left += left_out(factors[0], total, n)
        for part in blocks(n):
            rows = X[part].astype(np.float64, copy=False)
            logs = score(rows)
            fixed = known[part] >= 0
            each = logsumexp(logs, axis=1)
            share = np.exp(logs - each[:, None])
            if fixed.any():
                codes = known[part][fixed]
                each[fixed] = logs[fixed, codes]
                share[fixed] = np.eye(K)[codes]
            left += float(each.sum())
            counts += share.sum(axis=0)
            sums += share.T @ rows
            if squares is not None:
                for k in range(K):
                    squares[k] += (rows * share[:, k, None]).T @ rows
        gain, value = left - value, left
        if gain <= tol * n:
            converged = True
            break
        before = now
        moments = total if squares is None else squares
        now = maximise(now, source, pull, counts, sums, moments, n, factors)
    return Fitted(now, value, steps, converged, counts)


def penalty(now: Mixture, source: Mixture, pull: Pull, factors: list[Factor]) -> float:
    """Minus the log prior of means and covariances, constants left out."""
    pooled = now.covariance.ndim == 2
    out = 0.0
    moved = now.means - source.means - now.shift
    for j, factor in enumerate(factors):
        if np.isfinite(pull.covariance_rows):
            spread = source.covariance if pooled else source.covariance[j]
            trace = float((factor.inverse * spread).sum())
            out += 0.5 * pull.covariance_rows * (factor.logdet + trace)
        if np.isfinite(pull.rows) and pull.rows > 0:
            mine = moved if pooled else moved[j : j + 1]
            square = float(((mine @ factor.inverse) * mine).sum())
            out += 0.5 * (pull.rows * square + len(mine) * factor.logdet)
    return out


def maximise(
    now: Mixture,
    source: Mixture,
    pull: Pull,
    counts: Array,
    sums: Array,
    squares: Array,
    n: int,
    factors: list[Factor],
) -> Mixture:
    """New parameters from the weighted counts, sums and squares of the rows."""
    K, d = sums.shape
    pooled = source.covariance.ndim == 2
    filled = counts > 1e-12 * n
    average = np.where(filled[:, None], sums / np.where(filled, counts, 1.0)[:, None], source.means)
    gap = average - source.means
    shift = np.zeros(d)
    if pull.align and pull.rows > 0:
        trust = counts * filled
        if np.isfinite(pull.rows):
            trust = trust * pull.rows / (trust + pull.rows)
        if pooled:
            shift = trust @ gap / trust.sum()
        else:
            inverse = [factor.inverse for factor in factors]
            left = sum(t * part for t, part in zip(trust, inverse, strict=True))
            right = sum(t * part @ g for t, part, g in zip(trust, inverse, gap, strict=True))
            shift = np.linalg.solve(left, right)
    if np.isinf(pull.rows):
        means = source.means + shift
    else:
        weight = counts * filled + pull.rows
        moved = counts[:, None] * filled[:, None] * average
        moved = moved + pull.rows * (source.means + shift)
        safe = np.where(weight > 0, weight, 1.0)
        # an empty class that nothing draws stays where it was
        means = np.where((weight > 0)[:, None], moved / safe[:, None], now.means)
    prior = counts / counts.sum() if pull.prior else source.prior
    if np.isinf(pull.covariance_rows):
        return Mixture(prior, means, source.covariance, shift)
    off, drawn = average - means, means - source.means - shift
    soft = pull.rows if np.isfinite(pull.rows) else 0.0
    held = counts * filled
    if pooled:
        within = squares - (average * held[:, None]).T @ average
        within += (off * held[:, None]).T @ off + soft * drawn.T @ drawn
        mass = pull.covariance_rows + n + (K if soft > 0 else 0)
        covariance = (pull.covariance_rows * source.covariance + within) / mass
        return Mixture(prior, means, 0.5 * (covariance + covariance.T), shift)
    out = np.empty_like(source.covariance)
    for k in range(K):
        within = squares[k] - held[k] * np.outer(average[k], average[k])
        within += held[k] * np.outer(off[k], off[k]) + soft * np.outer(drawn[k], drawn[k])
        mass = pull.covariance_rows + held[k] + (1 if soft > 0 else 0)
        kept = pull.covariance_rows * source.covariance[k] + within
        out[k] = 0.5 * (kept + kept.T) / mass if mass > 0 else now.covariance[k]
    return Mixture(prior, means, out, shift)
