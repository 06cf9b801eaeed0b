"""Standardize: each domain to mean 0 and variance 1 by its own figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from isthmus.adapt.base import Adapter, check_domains
from isthmus.types import Adaptation, Trouble


class Standardize(Adapter):
    """Per-domain standardisation: removes differences of location and scale, column by column.

    Parameters
    ----------
    scale : bool, default=True
        Also divide by the standard deviation (n in the denominator); False: only centre.

    Notes
    -----
    Cost: O(n d). Columns that are constant in a domain become 0 there. The unit-free baseline
    of domain adaptation; AdaBN does the same inside a network (Li et al. 2018).
    """

    family = "feature"

    def __init__(self, *, scale: bool = True) -> None:
        self.scale = scale

    def adapt(self, Xs: Any, ys: Any, Xt: Any) -> Adaptation:
        given = check_domains(Xs, ys, Xt, who="Standardize")
        xp = given.xp
        source, flat_s = moments(xp, given.Xs, scale=self.scale)
        target, flat_t = moments(xp, given.Xt, scale=self.scale)
        troubles: tuple[Trouble, ...] = ()
        if flat_s != flat_t:
            troubles = (
                Trouble(
                    "constant-column",
                    f"{flat_s} columns are constant in the source, {flat_t} in the target",
                    "Such a column is 0 in that domain and varies in the other: drop it",
                ),
            )
        return Adaptation(source(given.Xs), map_target=target, troubles=troubles)


@dataclass(frozen=True)
class Columns:
    """``(rows - centre) * share``, column by column.

    Parameters
    ----------
    centre, share : array of shape (d,)
    """

    centre: Any
    share: Any

    def __call__(self, rows: Any) -> Any:
        return (rows - self.centre) * self.share


def moments(xp: Any, X: Any, *, scale: bool = True) -> tuple[Columns, int]:
    """The standardising map of a domain, and how many columns are constant in it."""
    centre = xp.mean(X, axis=0)
    spread = xp.std(X, axis=0)
    # a constant column has rounding noise for a deviation: compare with its size
    noise = 8 * float(xp.finfo(X.dtype).eps) * xp.max(xp.abs(X), axis=0)
    flat = spread <= noise
    share = 1 / xp.where(flat, xp.ones_like(spread), spread)
    share = xp.where(flat, xp.zeros_like(share), share)
    count = int(xp.sum(xp.astype(flat, xp.int64)))
    return Columns(centre, share if scale else xp.ones_like(share)), count
