"""Layer 4: maximum likelihood of mixing proportions, which KLIEP and MLLS both are."""

from __future__ import annotations

from typing import Any

TINY = 1e-300


def proportions(
    xp: Any, parts: Any, *, start: Any, mass: Any = None, tol: float = 1e-6, max_iter: int = 2000
) -> tuple[Any, float, int]:
    """Maximise ``sum_i mass_i log(parts_i . b)`` over the simplex by accelerated EM.

    The problem is concave, so a stationary point is the optimum; the steps are those of EM with
    the squared extrapolation of Varadhan and Roland (2008), taken back where it does not pay.

    Parameters
    ----------
    parts : array of shape (n, k)
        Likelihood of each row under each component, >= 0.
    start : array of shape (k,)
        Positive where a component may be used; zero switches it off.
    mass : array of shape (n,), optional
        Weights of the rows, sum 1; default equal.
    tol : float
        Bound on the distance to the optimal log-likelihood per row.

    Returns
    -------
    b : array of shape (k,)
    gap : float
        ``max_j g_j - 1`` where g is the gradient: the optimum is nearer than that (Lindsay 1983).
    iterations : int
    """
    n = parts.shape[0]
    if mass is None:
        mass = xp.ones_like(parts[:, 0]) / n
    usable = start > 0
    parts = xp.where(usable[None, :], parts, xp.zeros_like(parts))
    # log 0 whatever b is: a row that no component reaches says nothing and is left out
    reached = xp.sum(parts, axis=1) > 0
    mass = xp.where(reached, mass, xp.zeros_like(mass))
    b = start / xp.sum(start)
    total = float(xp.sum(mass))
    if total <= 0:
        return b, float("inf"), 0
    mass = mass / total

    def gradient(b: Any) -> tuple[Any, float]:
        mix = xp.where(reached, parts @ b, xp.ones_like(mass))
        mix = xp.where(mix > TINY, mix, xp.full_like(mix, TINY))
        return parts.T @ (mass / mix), float(xp.sum(mass * xp.log(mix)))

    slope, _ = gradient(b)
    gap, done = float("inf"), 0
    for done in range(max_iter + 1):
        gap = float(xp.max(slope)) - 1.0
        if gap <= tol or done == max_iter:
            break
        one = b * slope
        two = one * gradient(one)[0]
        two = two / xp.sum(two)
        first = one - b
        second = two - one - first
        bend = float(xp.sum(second * second))
        length = (float(xp.sum(first * first)) / bend) ** 0.5 if bend > 0 else 1.0
        slope_two, value_two = gradient(two)
        origin, b, slope = b, two, slope_two
        while length > 1.0:
            ahead = origin + 2 * length * first + length**2 * second
            # a share that reached 0 could never grow again under EM
            ahead = xp.where(ahead > 0.1 * two, ahead, 0.1 * two)
            ahead = ahead / xp.sum(ahead)
            slope_ahead, value_ahead = gradient(ahead)
            if value_ahead >= value_two:
                b, slope = ahead, slope_ahead
                break
            length = (length + 1.0) / 2 if length > 1.5 else 1.0
    return b, max(gap, 0.0), done
