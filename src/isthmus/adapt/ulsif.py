"""uLSIF: the density ratio by least squares, in closed form (Kanamori et al. 2009)."""

from __future__ import annotations

from typing import Any

from isthmus.adapt.base import Adapter, check_domains
from isthmus.adapt.density import approximate, canonical
from isthmus.adapt.least_squares import select_and_fit
from isthmus.types import Adaptation


class ULSIF(Adapter):
    """Unconstrained least-squares importance fitting.

    The ratio p_t / p_s is a sum of Gaussian kernels at target rows with coefficients
    ``max(0, (H + reg I)^-1 h)``, ``H = E_s[k k']``, ``h = E_t[k]``; kernel width and ridge are
    chosen by leave-one-out cross-validation in closed form (Kanamori, Hido and Sugiyama, *A
    least-squares approach to direct importance estimation*, JMLR 2009, section 3).

    Parameters
    ----------
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
        *,
        n_centers: int = 100,
        widths: tuple[float, ...] | None = None,
        regs: tuple[float, ...] | None = None,
        clip: float = 20.0,
        solver: str = "auto",
        max_exact: int = 5000,
        random_state: int = 0,
    ) -> None:
        self.n_centers, self.widths, self.regs, self.clip = n_centers, widths, regs, clip
        self.solver, self.max_exact, self.random_state = solver, max_exact, random_state

    def adapt(self, Xs: Any, ys: Any, Xt: Any) -> Adaptation:
        data = canonical(check_domains(Xs, ys, Xt, who="uLSIF"))
        most = max(data.Xs.shape[0], data.Xt.shape[0])
        part = approximate(self.solver, most, self.max_exact)
        ratio, troubles, info = select_and_fit(
            data,
            alpha=0.0,
            n_centers=self.n_centers,
            widths=self.widths,
            regs=self.regs,
            cv=None,
            rows=self.max_exact if part else most,
            seed=self.random_state,
        )
        return data.weighted(
            ratio, troubles, clip=self.clip, solver="approximate" if part else "exact", **info
        )
