"""Layer 4: what every instance weighting ends with: clip, scale to mean 1, say what is left."""

from __future__ import annotations

from typing import Any

from isthmus.types import Trouble

LOW_OVERLAP = 0.1


def finish(xp: Any, ratio: Any, *, clip: float) -> tuple[Any, tuple[Trouble, ...], dict[str, Any]]:
    """Importance weights from density ratios.

    Negative ratios become 0, ratios above `clip` times their mean become that (one round, as in
    truncated importance sampling, Ionides 2008), and the rest is scaled to mean 1.

    Parameters
    ----------
    ratio : array of shape (n_s,)
        Estimates of p_target / p_source, any scale.
    clip : float
        Largest weight in units of the mean weight.

    Returns
    -------
    weights : array of shape (n_s,)
    troubles : tuple of Trouble
        ``low-overlap`` when the effective sample size is under a tenth of the rows;
        ``degenerate`` when no ratio is positive (then all weights are 1).
    info : dict
        ``effective_sample_size`` (Kish: (sum w)^2 / sum w^2), ``clipped`` (rows), ``clip``.
    """
    n = ratio.shape[0]
    positive = xp.where(ratio > 0, ratio, xp.zeros_like(ratio))
    total = float(xp.sum(positive))
    if not total > 0:
        trouble = Trouble(
            "degenerate",
            "no source row got a positive weight",
            "The domains do not overlap: use a feature-based method, or a wider kernel",
        )
        ones = xp.ones_like(ratio)
        return ones, (trouble,), {"effective_sample_size": float(n), "clipped": 0, "clip": clip}
    scaled = positive * (n / total)
    clipped = int(xp.sum(xp.astype(scaled > clip, xp.int64)))
    scaled = xp.where(scaled > clip, xp.full_like(scaled, clip), scaled)
    weights = scaled * (n / float(xp.sum(scaled)))
    effective = float(xp.sum(weights)) ** 2 / float(xp.sum(weights**2))
    troubles: tuple[Trouble, ...] = ()
    if effective < LOW_OVERLAP * n:
        troubles = (
            Trouble(
                "low-overlap",
                f"{effective:.0f} of {n} source rows carry the weight",
                "Few source rows look like the target: expect a noisy model",
            ),
        )
    info = {"effective_sample_size": effective, "clipped": clipped, "clip": clip}
    return weights, troubles, info
