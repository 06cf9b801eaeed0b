"""CORAL: give the source the covariance of the target (Sun, Feng and Saenko 2016)."""

from __future__ import annotations

from typing import Any

from isthmus.adapt.base import Adapter, check_domains
from isthmus.types import Adaptation, Trouble


class CORAL(Adapter):
    """Correlation alignment: whiten the source, colour it with the target's covariance.

    ``A = (C_s + r I)^(-1/2) (C_t + r I)^(1/2)``, ``Xs' = (Xs - m_s) A + m_t`` (Sun, Feng and
    Saenko, *Return of frustratingly easy domain adaptation*, AAAI 2016, algorithm 1; the paper
    assumes centred data, here the means are moved as well unless ``mean=False``).

    Parameters
    ----------
    reg : float, default=1.0
        Ridge r in units of the features' variance (the paper: 1, on standardised features).
    mean : bool, default=True
        Move the source mean onto the target mean.

    Notes
    -----
    Cost: two d x d eigendecompositions, O((n_s + n_t) d^2 + d^3). Target rows stay as they are,
    so a model trained on the result serves any new target row.
    """

    family = "feature"

    def __init__(self, reg: float = 1.0, *, mean: bool = True) -> None:
        self.reg, self.mean = reg, mean

    def adapt(self, Xs: Any, ys: Any, Xt: Any) -> Adaptation:
        given = check_domains(Xs, ys, Xt, who="CORAL")
        xp, Xs, Xt = given.xp, given.Xs, given.Xt
        ms, mt = xp.mean(Xs, axis=0), xp.mean(Xt, axis=0)
        cs, ct = covariance(xp, Xs - ms), covariance(xp, Xt - mt)
        matrix = power(xp, cs, -0.5, self.reg) @ power(xp, ct, 0.5, self.reg)
        out = (Xs - ms) @ matrix + (mt if self.mean else ms)
        troubles: tuple[Trouble, ...] = ()
        if self.reg == 0 and min(Xs.shape[0], Xt.shape[0]) <= Xs.shape[1]:
            troubles = (
                Trouble(
                    "singular",
                    f"{min(Xs.shape[0], Xt.shape[0])} rows for {Xs.shape[1]} features",
                    "Set reg > 0: without it directions that a domain lacks are lost",
                ),
            )
        return Adaptation(out, troubles=troubles)


def covariance(xp: Any, centred: Any) -> Any:
    """(d, d) covariance with n - 1 in the denominator (1 for a single row)."""
    return (centred.T @ centred) / max(centred.shape[0] - 1, 1)


def power(xp: Any, matrix: Any, exponent: float, reg: float) -> Any:
    """Symmetric matrix power of ``matrix + reg I``; null directions stay null."""
    values, vectors = xp.linalg.eigh(matrix)
    values = values + reg
    floor = xp.max(xp.abs(values)) * matrix.shape[0] * xp.finfo(matrix.dtype).eps
    kept = values > floor
    safe = xp.where(kept, values, xp.ones_like(values))
    scaled = xp.where(kept, safe**exponent, xp.zeros_like(values))
    return (vectors * scaled) @ vectors.T
