"""KMM: weights that move the source's kernel mean onto the target's (Huang et al. 2006)."""

from __future__ import annotations

from typing import Any

import numpy as np

from isthmus.adapt.base import Adapter, check_domains
from isthmus.adapt.box_qp import solve
from isthmus.adapt.density import (
    Canonical,
    canonical,
    draw,
    median_distance,
    rbf,
    take,
)
from isthmus.adapt.kernels import landmarks_of
from isthmus.errors import UsageError
from isthmus.types import Adaptation, Trouble

BLOCK = 500  # target rows at a time
FEW = 1600  # scale of the number of landmarks: every step multiplies by all of them


class KMM(Adapter):
    """Kernel mean matching.

    ``min 1/2 w'Kw - kappa'w`` for ``0 <= w <= bound`` and ``|sum w - n_s| <= n_s eps`` with
    ``kappa_i = n_s/n_t sum_j k(x_i, z_j)`` and a Gaussian kernel (Huang, Smola, Gretton,
    Borgwardt and Schoelkopf, *Correcting sample selection bias by unlabeled data*, NIPS 2006,
    equation 12), solved by accelerated projected gradient to a stated duality gap.

    Parameters
    ----------
    gamma : float, optional
        ``k = exp(-gamma |x - z|^2)``. Default: 1 / (2 m^2), m the median distance between rows.
    bound : float, default=1000.0
        Largest raw weight (B in the paper).
    eps : float, optional
        Slack of the sum. Default: the paper's ``(sqrt(n_s) - 1) / sqrt(n_s)``.
    clip : float, default=20.0
        Largest weight in units of the mean weight, applied afterwards.
    tol : float, default=0.1
        Duality gap at which to stop, relative to the objective. The gap is a bound: the objective
        itself is usually ten times nearer to the optimum. The means that are matched are known to
        some ``1 / sqrt(n_t)`` only: smaller values fit their noise, with weights on fewer rows and
        a lower accuracy (docs/log.md).
    max_iter : int, default=2000
        Gradient steps.
    solver : {"auto", "exact", "approximate"}, default="auto"
        "exact" holds the n_s x n_s kernel; "approximate" is Nystroem: both means are matched in
        the span of `n_landmarks` rows of the two domains; "auto" = by size.
    n_landmarks : int, optional
        Default: as many as source rows up to 4,000 (the exact kernel then), 1,100 for 5,000, 250
        for 100,000.
    max_exact : int, default=5000
        Source rows up to which "auto" is exact.
    random_state : int, default=0
        Seed of the landmarks; they depend on the values, not on the order of the rows.

    Notes
    -----
    Cost: exact O(n_s^2) memory and work a step; approximate O((n_s + n_t) r), r landmarks.
    """

    family = "instance"

    def __init__(
        self,
        gamma: float | None = None,
        *,
        bound: float = 1000.0,
        eps: float | None = None,
        clip: float = 20.0,
        tol: float = 0.1,
        max_iter: int = 2000,
        solver: str = "auto",
        n_landmarks: int | None = None,
        max_exact: int = 5000,
        random_state: int = 0,
    ) -> None:
        self.gamma, self.bound, self.eps, self.clip = gamma, bound, eps, clip
        self.tol, self.max_iter, self.solver = tol, max_iter, solver
        self.n_landmarks, self.max_exact, self.random_state = n_landmarks, max_exact, random_state

    def adapt(self, Xs: Any, ys: Any, Xt: Any) -> Adaptation:
        data = canonical(check_domains(Xs, ys, Xt, who="KMM"))
        xp, n = data.xp, data.Xs.shape[0]
        eps = (n**0.5 - 1) / n**0.5 if self.eps is None else self.eps
        if not (eps >= 0 and self.bound * n >= n * (1 - eps) and self.bound > 0):
            raise UsageError(
                f"bound={self.bound}, eps={eps:.3g}", where="KMM", why="no weight fits both"
            )
        gamma = self.gamma
        if gamma is None:
            gamma = 0.5 / median_distance(data, self.random_state) ** 2
        count = landmarks_of(self.solver, n, self.max_exact, self.n_landmarks, few=FEW)
        if count is None:
            times, kappa, rank = full(data, gamma)
        else:
            times, kappa, rank = nystroem(data, gamma, count, self.random_state)
        w, objective, gap, steps = solve(
            xp,
            times,
            kappa,
            upper=self.bound,
            low=n * max(1 - eps, 0.0),
            high=n * (1 + eps),
            tol=self.tol,
            max_iter=self.max_iter,
        )
        troubles: tuple[Trouble, ...] = ()
        if gap > self.tol * max(abs(objective), 1e-12):
            troubles = (
                Trouble(
                    "not-converged",
                    f"duality gap {gap:.2g} of an objective of {objective:.4g} after {steps} steps",
                    "Raise max_iter, or use a smaller gamma",
                ),
            )
        return data.weighted(
            w,
            troubles,
            clip=self.clip,
            solver="exact" if count is None else f"approximate: Nystroem, rank {rank}",
            gamma=gamma,
            objective=objective,
            gap=gap,
            iterations=steps,
        )


def full(data: Canonical, gamma: float) -> tuple[Any, Any, int]:
    """The product with the whole kernel; target rows in blocks, so n_t costs no memory.

    From 500 rows the kernel is held in float32: it is rounded far below the gap that the solver
    stops at, and half the memory is half the time of a product.
    """
    xp, m = data.xp, data.Xt.shape[0]
    n = data.Xs.shape[0]
    dtype = xp.float32 if n >= 500 else xp.float64
    centre = xp.mean(data.Xt, axis=0)
    Xs = xp.astype(data.Xs - centre, dtype, copy=False)
    Xt = xp.astype(data.Xt - centre, dtype, copy=False)
    K = rbf(xp, Xs, Xs, gamma)
    kappa = xp.zeros_like(data.Xs[:, 0])
    for start in range(0, m, BLOCK):
        near = rbf(xp, Xs, Xt[start : start + BLOCK, :], gamma)
        kappa += near @ xp.ones_like(near[0, :])

    def times(w: Any) -> Any:
        return xp.astype(K @ xp.astype(w, dtype, copy=False), xp.float64, copy=False)

    return times, kappa * (n / m), n


def nystroem(data: Canonical, gamma: float, count: int, seed: int) -> tuple[Any, Any, int]:
    """Features Z with ``Z Z' ~ K`` from landmarks of both domains, then products through Z."""
    xp, Xs, Xt = data.xp, data.Xs, data.Xt
    n = Xs.shape[0]
    half = max(count // 2, 1)
    picked = [take(xp, X, np.sort(draw(len(X), half, seed))) for X in (Xs, Xt)]
    marks = xp.concat(picked)
    values, vectors = xp.linalg.eigh(rbf(xp, marks, marks, gamma))
    kept = values > 1e-10 * float(xp.max(values))
    safe = xp.where(kept, values, xp.ones_like(values))
    scale = vectors * xp.where(kept, safe**-0.5, xp.zeros_like(values))[None, :]
    Z = rbf(xp, Xs, marks, gamma) @ scale
    mean = xp.mean(rbf(xp, Xt, marks, gamma), axis=0) @ scale
    return (lambda w: Z @ (Z.T @ w)), (Z @ mean) * n, int(xp.sum(xp.astype(kept, xp.int64)))
