"""RuLSIF: a density ratio that is bounded by design (Yamada et al. 2011)."""

from __future__ import annotations

from typing import Any

from isthmus.adapt.base import Adapter, check_domains
from isthmus.adapt.density import approximate, canonical
from isthmus.adapt.least_squares import select_and_fit
from isthmus.errors import UsageError
from isthmus.types import Adaptation


class RULSIF(Adapter):
    """Relative unconstrained least-squares importance fitting.

    Weights are ``p_t / (alpha p_t + (1 - alpha) p_s)``, at most 1 / alpha before scaling: flatter
    than the plain ratio, and less noisy. ``max(0, (H + reg I)^-1 h)`` as in uLSIF with
    ``H = alpha E_t[k k'] + (1 - alpha) E_s[k k']``; kernel width and ridge by k-fold
    cross-validation (Yamada, Suzuki, Kanamori, Hachiya and Sugiyama, *Relative density-ratio
    estimation for robust distribution comparison*, NIPS 2011, section 2).

    Parameters
    ----------
    alpha : float, default=0.1
        Share of the target in the denominator, 0 <= alpha < 1; 0 is uLSIF's ratio.
    cv : int, default=5
        Folds.
    n_centers : int, default=100
        Kernel centres, drawn from the target rows.
    widths : tuple of float, optional
        Kernel widths to choose from, in the features' unit. Default: 0.2 to 3 times the median
        distance between rows.
    regs : tuple of float, optional
        Ridges to choose from. Default: 0.001 to 10.
    clip : float, default=20.0
        Largest weight in units of the mean weight.
    solver : {"auto", "exact", "approximate"}, default="auto"
        The fit always uses all rows. "exact" looks at all of them for the choice of width and
        ridge too, "approximate" at `max_exact` of each domain; "auto" = by size.
    max_exact : int, default=5000
        Rows of a domain up to which "auto" is exact.
    random_state : int, default=0
        Seed of the draws; they depend on the values, not on the order of the rows.

    Notes
    -----
    Cost: O((n_s + n_t) b d) for the kernels, O(n b^2) for each pair of width and ridge.
    """

    family = "instance"

    def __init__(
        self,
        alpha: float = 0.1,
        *,
        cv: int = 5,
        n_centers: int = 100,
        widths: tuple[float, ...] | None = None,
        regs: tuple[float, ...] | None = None,
        clip: float = 20.0,
        solver: str = "auto",
        max_exact: int = 5000,
        random_state: int = 0,
    ) -> None:
        self.alpha, self.cv = alpha, cv
        self.n_centers, self.widths, self.regs, self.clip = n_centers, widths, regs, clip
        self.solver, self.max_exact, self.random_state = solver, max_exact, random_state

    def adapt(self, Xs: Any, ys: Any, Xt: Any) -> Adaptation:
        if not 0 <= self.alpha < 1:
            raise UsageError(f"alpha={self.alpha}", where="RuLSIF", why="0 <= alpha < 1 is needed")
        data = canonical(check_domains(Xs, ys, Xt, who="RuLSIF"))
        most = max(data.Xs.shape[0], data.Xt.shape[0])
        part = approximate(self.solver, most, self.max_exact)
        ratio, troubles, info = select_and_fit(
            data,
            alpha=self.alpha,
            n_centers=self.n_centers,
            widths=self.widths,
            regs=self.regs,
            cv=self.cv,
            rows=self.max_exact if part else most,
            seed=self.random_state,
        )
        return data.weighted(
            ratio, troubles, clip=self.clip, solver="approximate" if part else "exact", **info
        )
