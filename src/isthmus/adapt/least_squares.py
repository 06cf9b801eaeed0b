"""Layer 4: least-squares density ratios in closed form, shared by uLSIF and RuLSIF."""

from __future__ import annotations

from typing import Any

from isthmus.adapt.density import (
    Canonical,
    draw,
    folds_of,
    gaussian,
    median_distance,
    squared_distances,
    take,
)
from isthmus.types import Array, Trouble

WIDTHS = (0.2, 0.35, 0.6, 1.0, 1.7, 3.0)  # times the median distance
REGS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)


def moments(xp: Any, Ks: Any, Kt: Any, alpha: float) -> tuple[Any, Any]:
    """``H = alpha E_t[k k'] + (1 - alpha) E_s[k k']`` (b, b) and ``h = E_t[k]`` (b,)."""
    H = (1 - alpha) / Ks.shape[0] * (Ks.T @ Ks)
    if alpha > 0:
        H = H + alpha / Kt.shape[0] * (Kt.T @ Kt)
    return H, xp.mean(Kt, axis=0)


def ridge(xp: Any, H: Any, h: Any, reg: float) -> Any:
    """``max(0, (H + reg I)^-1 h)``: the closed form; negative kernels are cut as in the papers."""
    theta = xp.linalg.solve(H + reg * eye_like(xp, H), h[:, None])[:, 0]
    return xp.where(theta > 0, theta, xp.zeros_like(theta))


def eye_like(xp: Any, H: Any) -> Any:
    """Identity of H's size, type and device."""
    ones = xp.ones_like(H)
    return xp.tril(ones) * xp.triu(ones)


def leave_one_out(xp: Any, Ks: Any, Kt: Any, reg: float) -> float:
    """uLSIF's criterion with row i of both sides left out together, all i in one go.

    ``1/(2n) sum w_s(i)^2 - 1/n sum w_t(i)`` by the Sherman-Morrison formula (Kanamori, Hido and
    Sugiyama 2009, figure 2); rows are paired in the order given, n is the smaller side.
    """
    ns, nt = Ks.shape[0], Kt.shape[0]
    n = min(ns, nt)
    H, h = moments(xp, Ks, Kt, 0.0)
    B = H + reg * (ns - 1) / ns * eye_like(xp, H)
    Ps, Pt = Ks[:n, :].T, Kt[:n, :].T
    Q = xp.linalg.solve(B, Ps)
    base = xp.linalg.solve(B, h[:, None])
    room = ns - xp.sum(Ps * Q, axis=0)
    B0 = base + Q * ((h @ Q) / room)[None, :]
    B1 = xp.linalg.solve(B, Pt) + Q * (xp.sum(Pt * Q, axis=0) / room)[None, :]
    theta = (ns - 1) / (ns * (nt - 1)) * (nt * B0 - B1)
    theta = xp.where(theta > 0, theta, xp.zeros_like(theta))
    ws, wt = xp.sum(Ps * theta, axis=0), xp.sum(Pt * theta, axis=0)
    return float(xp.mean(ws * ws)) / 2 - float(xp.mean(wt))


def k_fold(
    xp: Any, Ks: Any, Kt: Any, fold_s: Array, fold_t: Array, alpha: float, regs: tuple[float, ...]
) -> list[float]:
    """Held-out ``alpha/2 E_t[w^2] + (1-alpha)/2 E_s[w^2] - E_t[w]`` for each ridge."""
    scores = [0.0] * len(regs)
    k = int(max(fold_s.max(), fold_t.max())) + 1
    for fold in range(k):
        out_s, out_t = fold_s == fold, fold_t == fold
        H, h = moments(
            xp, take(xp, Ks, (~out_s).nonzero()[0]), take(xp, Kt, (~out_t).nonzero()[0]), alpha
        )
        Vs, Vt = take(xp, Ks, out_s.nonzero()[0]), take(xp, Kt, out_t.nonzero()[0])
        for i, reg in enumerate(regs):
            theta = ridge(xp, H, h, reg)
            ws, wt = Vs @ theta, Vt @ theta
            square = alpha * float(xp.mean(wt * wt)) + (1 - alpha) * float(xp.mean(ws * ws))
            scores[i] += (square / 2 - float(xp.mean(wt))) / k
    return scores


def select_and_fit(
    data: Canonical,
    *,
    alpha: float,
    n_centers: int,
    widths: tuple[float, ...] | None,
    regs: tuple[float, ...] | None,
    cv: int | None,
    rows: int,
    seed: int,
) -> tuple[Any, tuple[Trouble, ...], dict[str, Any]]:
    """Choose width and ridge, then fit on all rows.

    Parameters
    ----------
    cv : int or None
        Folds; None = leave one out in closed form (only for alpha 0).
    rows : int
        Rows of each side that the choice may look at.

    Returns
    -------
    ratio : array of shape (n_s,)
    troubles : tuple of Trouble
        ``not-normalised`` when the ratio does not integrate to 1 within a factor of 2.
    info : dict
        ``width``, ``reg``, ``criterion`` (held-out, smaller is better), ``divergence``
        (Pearson), ``mass`` (1 where the fit is right).
    """
    xp, Xs, Xt = data.xp, data.Xs, data.Xt
    centres = take(xp, Xt, draw(Xt.shape[0], n_centers, seed))
    unit = median_distance(data, seed)
    ladder = tuple(w * unit for w in WIDTHS) if widths is None else tuple(widths)
    regs = REGS if regs is None else tuple(regs)
    pick_s = draw(Xs.shape[0], rows, seed + 1)
    pick_t = draw(Xt.shape[0], rows, seed + 2)
    small = min(len(pick_s), len(pick_t))
    ds = squared_distances(xp, Xs, centres)
    dt = squared_distances(xp, Xt, centres)
    best = (float("inf"), ladder[len(ladder) // 2], regs[len(regs) // 2])
    if small >= 3 and len(ladder) * len(regs) > 1:
        fs = numbered(len(pick_s), cv, small, seed)
        ft = numbered(len(pick_t), cv, small, seed)
        part_s, part_t = take(xp, ds, pick_s), take(xp, dt, pick_t)
        for width in ladder:
            Ks, Kt = gaussian(xp, part_s, width), gaussian(xp, part_t, width)
            if cv is None:
                scores = [leave_one_out(xp, Ks, Kt, reg) for reg in regs]
            else:
                scores = k_fold(xp, Ks, Kt, fs, ft, alpha, regs)
            for reg, score in zip(regs, scores, strict=True):
                if score < best[0]:
                    best = (score, width, reg)
    criterion, width, reg = best
    Ks, Kt = gaussian(xp, ds, width), gaussian(xp, dt, width)
    theta = ridge(xp, *moments(xp, Ks, Kt, alpha), reg)
    ratio, on_target = Ks @ theta, Kt @ theta
    square = alpha * float(xp.mean(on_target**2)) + (1 - alpha) * float(xp.mean(ratio**2))
    mass = (1 - alpha) * float(xp.mean(ratio)) + alpha * float(xp.mean(on_target))
    troubles: tuple[Trouble, ...] = ()
    if not 0.5 <= mass <= 2.0:
        troubles = (
            Trouble(
                "not-normalised",
                f"the ratio integrates to {mass:.3g} instead of 1",
                "The domains hardly overlap, or the widths do not fit: distrust the weights",
            ),
        )
    info = {
        "mass": mass,
        "width": float(width),
        "reg": float(reg),
        "criterion": float(criterion),
        "divergence": float(xp.mean(on_target)) - square / 2 - 0.5,
        "centers": int(centres.shape[0]),
        "rows_for_choice": len(pick_s) + len(pick_t),
    }
    return ratio, troubles, info


def numbered(n: int, cv: int | None, small: int, seed: int) -> Array:
    """Fold numbers; never more folds than rows of the smaller side."""
    return folds_of(n, min(cv or 2, small), seed + 3)
