"""KLIEP: the density ratio that makes the weighted source most like the target (Sugiyama 2008)."""

from __future__ import annotations

from typing import Any

import numpy as np

from isthmus.adapt.base import Adapter, check_domains
from isthmus.adapt.density import (
    approximate,
    as_like,
    canonical,
    draw,
    folds_of,
    gaussian,
    median_distance,
    squared_distances,
    take,
)
from isthmus.adapt.mixture import TINY, proportions
from isthmus.types import Adaptation, Array, Trouble

WIDTHS = (0.1, 0.2, 0.35, 0.6, 1.0, 1.7)  # times the median distance


class KLIEP(Adapter):
    """Kullback-Leibler importance estimation procedure.

    ``max mean_t log w(x)`` for ``w(x) = sum_l a_l k(x, c_l)`` with ``a >= 0`` and mean 1 over the
    source (Sugiyama, Nakajima, Kashima, von Buenau and Kawanabe, *Direct importance estimation
    with model selection*, NIPS 2007 / AISM 2008). With ``b_l = a_l mean_s k(x, c_l)`` on the
    simplex this is a mixture likelihood, so it is solved by accelerated EM with a bound on the
    distance to the optimum instead of projected gradient ascent. The kernel width is chosen by
    the paper's likelihood cross-validation over target rows; a centre never helps to score the
    fold that it was drawn from.

    Parameters
    ----------
    n_centers : int, default=100
        Gaussian kernels, centred at target rows drawn at random.
    widths : tuple of float, optional
        Kernel widths to choose from, in the features' unit. Default: 0.1 to 1.7 times the median
        distance between rows.
    cv : int, default=5
        Folds of the cross-validation.
    tol : float, default=1e-4
        Largest distance to the optimal mean log ratio.
    max_iter : int, default=1000
        Steps of EM.
    clip : float, default=20.0
        Largest weight in units of the mean weight.
    solver : {"auto", "exact", "approximate"}, default="auto"
        The fit always uses all rows. "exact" uses all target rows for the choice of the width
        too, "approximate" `max_exact` of them; "auto" = by size.
    max_exact : int, default=5000
        Target rows up to which "auto" is exact.
    random_state : int, default=0
        Seed of the draws; they depend on the values, not on the order of the rows.

    Notes
    -----
    Cost: O((n_s + n_t) b d) for the kernels, O(n_t b) a step.
    """

    family = "instance"

    def __init__(
        self,
        *,
        n_centers: int = 100,
        widths: tuple[float, ...] | None = None,
        cv: int = 5,
        tol: float = 1e-4,
        max_iter: int = 1000,
        clip: float = 20.0,
        solver: str = "auto",
        max_exact: int = 5000,
        random_state: int = 0,
    ) -> None:
        self.n_centers, self.widths, self.cv, self.clip = n_centers, widths, cv, clip
        self.tol, self.max_iter, self.solver = tol, max_iter, solver
        self.max_exact, self.random_state = max_exact, random_state

    def adapt(self, Xs: Any, ys: Any, Xt: Any) -> Adaptation:
        data = canonical(check_domains(Xs, ys, Xt, who="KLIEP"))
        xp, seed = data.xp, self.random_state
        n_t = data.Xt.shape[0]
        part = approximate(self.solver, n_t, self.max_exact)
        chosen = draw(n_t, self.n_centers, seed)
        centres = take(xp, data.Xt, chosen)
        ds = squared_distances(xp, data.Xs, centres)
        dt = squared_distances(xp, data.Xt, centres)
        ladder = self.widths
        if ladder is None:
            unit = median_distance(data, seed)
            ladder = tuple(w * unit for w in WIDTHS)
        score, width = float("nan"), ladder[len(ladder) // 2]
        if len(ladder) > 1 and n_t >= 3:
            # the rows of the centres first: their folds must be known
            rest = np.setdiff1d(draw(n_t, n_t, seed + 1), chosen, assume_unique=True)
            rows = np.concatenate([chosen, rest])[: self.max_exact if part else n_t]
            rows = np.concatenate([chosen, rows[len(chosen) :]])
            folds = folds_of(len(rows), min(self.cv, len(rows)), seed + 2)
            near = take(xp, dt, rows)
            scores = [self._held_out(xp, ds, near, folds, w) for w in ladder]
            best = int(np.argmax(scores))
            score, width = scores[best], ladder[best]
        Ks, parts = scaled(xp, ds, dt, width)
        share, gap, steps = proportions(
            xp, parts, start=xp.ones_like(parts[0, :]), tol=self.tol, max_iter=self.max_iter
        )
        troubles: tuple[Trouble, ...] = ()
        if gap > 10 * self.tol:
            troubles = (
                Trouble(
                    "not-converged",
                    f"the mean log ratio may be {gap:.2g} below its optimum after {steps} steps",
                    "Raise max_iter, or use wider kernels",
                ),
            )
        return data.weighted(
            Ks @ share,
            troubles,
            clip=self.clip,
            solver="approximate" if part else "exact",
            width=float(width),
            log_likelihood=float(score),
            iterations=steps,
            gap=float(gap),
        )

    def _held_out(self, xp: Any, ds: Any, dt: Any, folds: Array, width: float) -> float:
        """Mean log ratio of held-out target rows; the first rows of `dt` are the centres'."""
        _, parts = scaled(xp, ds, dt, width)
        centre_fold = folds[: parts.shape[1]]
        total = 0.0
        for fold in range(folds.max() + 1):
            usable = np.asarray(centre_fold != fold, dtype=np.float64)
            if not usable.any():
                continue
            start = as_like(xp, usable, parts)
            train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
            share, _, _ = proportions(
                xp, take(xp, parts, train), start=start, tol=1e-3, max_iter=200
            )
            mix = take(xp, parts, test) @ share
            total += float(xp.sum(xp.log(xp.where(mix > TINY, mix, xp.full_like(mix, TINY)))))
        return total / len(folds)


def scaled(xp: Any, ds: Any, dt: Any, width: float) -> tuple[Any, Any]:
    """Kernels of source and target rows, each divided by its mean over the source.

    A centre that no source row reaches is switched off: a ratio there cannot be bounded.
    """
    Ks = gaussian(xp, ds, width)
    mean = xp.mean(Ks, axis=0)
    reached = mean > 1e-100
    safe = xp.where(reached, mean, xp.ones_like(mean))
    zero = xp.zeros_like(mean)
    scale = xp.where(reached, 1.0 / safe, zero)
    return Ks * scale, gaussian(xp, dt, width) * scale
