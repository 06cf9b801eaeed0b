"""Layer 6: classes that only one side has: absent from the target (partial), novel there (open).

Nothing here is proven by the data alone. A class whose rows are all taken for another looks absent;
a novel class that lies on a source class, or where all candidates are sure of themselves although
nothing like it was in the source, looks known (linear heads are sure far away: the consensus should
hold heads of several kinds); a domain far away looks novel everywhere. The rules ask for signs that
a plain shift was not seen to give on 90 pairs of real domains with equal or absent classes, and say
nothing in the other cases: no finding is no proof of equal classes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from isthmus.adapt.confusion import inverted, joint, shares
from isthmus.errors import DataError, UsageError
from isthmus.fit import open_set
from isthmus.select.validate.base import Scene
from isthmus.types import Array, Interval

SETTINGS = ("partial", "open", "universal")
# Log odds of absence: constant, log of relative mass, log of relative confidence of the best rows.
# Fitted on 1,147 classes of public pairs, 205 of them removed from the target.
ABSENCE = (-2.94, -0.77, -3.38)
ABSENT = 0.8  # probability of absence from which a class is called absent
EXPECTED = 5.0  # rows of a class expected in the target, below which nothing is said of it
UNEVEN = 0.065  # unevenness of doubt above source; 0.059 is the most that equal classes gave
NOVEL_RATIO = (0.55, 0.83, 1.5)  # true share of novel rows over that of marked rows: low, mid, high
FEWEST = 40  # rows of a side below which novel rows are not looked for
DRAWS = 100


@dataclass(frozen=True)
class Mismatch:
    """What is said of the classes and of the target rows.

    Parameters
    ----------
    setting : {"partial", "open", "universal"}
        What was looked for.
    presence : ndarray of shape (K,)
        Probability that the target holds the class; 0.5 where nothing can be said.
    absent : tuple of int
        Classes called absent.
    shares : ndarray of shape (K, 3)
        Estimated share of the target, and its 95 % interval.
    novelty : ndarray of shape (n_t,)
        0 ... 1, doubt of the consensus in the neighbourhood of each row; higher is stranger. A
        ranking, also where nothing is marked.
    abstain : ndarray of shape (n_t,), bool
        Rows marked as novel; all False without a finding.
    novel_share : Interval
        Share of novel rows; 0 ... 1 where it cannot be told.
    false_alarm : float
        Share of held-out source rows that the mark would hit after the same correction.
    unevenness : float
        What the finding rests on: how much less even doubt is over the target than over the source.
    notes : tuple of str
        What was found or could not be told, in sentences.
    """

    setting: str
    presence: Array
    absent: tuple[int, ...]
    shares: Array
    novelty: Array
    abstain: Array
    novel_share: Interval
    false_alarm: float
    unevenness: float
    notes: tuple[str, ...]

    @property
    def found(self) -> bool:
        """Whether any class is called absent or any row novel."""
        return bool(self.absent) or bool(self.abstain.any())


def mismatch(scene: Scene, source_consensus: Array, *, setting: str = "universal") -> Mismatch:
    """Look for classes that only one side has.

    Parameters
    ----------
    scene : Scene
        `consensus` and `neighbors` of the target rows are used.
    source_consensus : ndarray of shape (n_s, K)
        The same for source rows, out of fold; rows that are not finite are left out.
    setting : {"partial", "open", "universal"}, default="universal"
        ``partial``: only absent source classes; ``open``: only novel target rows; else both.

    Raises
    ------
    DataError
        Shapes that do not fit, or fewer than 10 held-out source rows.
    UsageError
        An unknown setting.

    Notes
    -----
    Measured on pairs of real domains of at most 600 rows a side (bags of visual words, digits,
    objects, spoken digits with 10 or 20 classes; sentiment and hospitals with 2), constants learnt
    on other data sets than those they are tried on:

    - absent classes, 3 to 5 of 10 removed: found 71 % on spoken digits, 69 % on objects, 33 % on
      digits, 8 % on visual words; present classes called absent: 0 %, 0 %, 5 to 9 %, 0 %.
    - novel classes, 3 to 5 of 10 removed from the source: a finding in 79 % of spoken, 100 % of
      object pairs, none elsewhere; in none of 90 pairs with equal or absent classes.

    The two are looked for independently; a novel class that lies on an absent one hides both.
    """
    if setting not in SETTINGS:
        raise UsageError(f"no setting {setting!r}", remedy=f"Known: {', '.join(SETTINGS)}")
    P, y, X = _held_out(scene, source_consensus)
    Q = np.asarray(scene.consensus, dtype=np.float64)
    K, n_t = scene.n_classes, len(Q)
    empty = Mismatch(
        setting=setting,
        presence=np.full(K, 0.5),
        absent=(),
        shares=_target_shares(P, y, Q, K, scene.random_state),
        novelty=np.zeros(n_t),
        abstain=np.zeros(n_t, dtype=bool),
        novel_share=Interval(0.0, 0.0, 1.0, level=0.9, how="not looked for"),
        false_alarm=0.0,
        unevenness=0.0,
        notes=(),
    )
    found = empty if setting == "open" else _absent(empty, P, y, Q)
    return found if setting == "partial" else _novel(found, P, X, Q, np.asarray(scene.neighbors))


def class_signs(P: Array, y: Array, Q: Array, K: int) -> Array:
    """Mass and best rows of each class on the target, relative to the source.

    Parameters
    ----------
    P, y : ndarray of shape (m, K), (m,)
        Held-out source rows.
    Q : ndarray of shape (n_t, K)

    Returns
    -------
    ndarray of shape (K, 2)
        Mean probability over the source's class share; and the mean probability of the class's
        most confident rows, half as many as the share promises, over the same on the source.
        NaN for a class without source rows.
    """
    out = np.full((K, 2), np.nan)
    prior = np.bincount(y, minlength=K) / len(y)
    for c in np.flatnonzero(prior > 0):
        best = []
        for R in (Q, P):
            take = min(len(R), max(3, round(0.5 * len(R) * prior[c])))
            best.append(float(np.sort(R[:, c])[-take:].mean()))
        out[c] = Q[:, c].mean() / prior[c], best[0] / max(best[1], 1e-12)
    return out


def doubt(P: Array, neighbors: Array) -> Array:
    """(n,) `open_set.doubt`, averaged over each row and its neighbours."""
    alone = open_set.doubt(P)
    near = alone[neighbors].sum(axis=1)
    return np.asarray((alone + near) / (1 + neighbors.shape[1]))


def _absent(found: Mismatch, P: Array, y: Array, Q: Array) -> Mismatch:
    """Presence and notes of the source's classes."""
    K = len(found.presence)
    signs = class_signs(P, y, Q, K)
    prior = np.bincount(y, minlength=K) / len(y)
    told = (prior * len(Q) >= EXPECTED) & (prior * len(y) >= EXPECTED) & (prior < 1)
    logs = np.log(np.maximum(np.nan_to_num(signs, nan=1.0), 1e-3))
    odds = ABSENCE[0] + logs @ np.asarray(ABSENCE[1:])
    presence = np.where(told, 1 / (1 + np.exp(np.clip(odds, -50, 50))), 0.5)
    absent = tuple(int(c) for c in np.flatnonzero(told & (1 - presence >= ABSENT)))
    notes = []
    if absent:
        notes.append(
            f"{len(absent)} of {K} classes are probably absent from the target: few rows, and none "
            "confident, are given to them. A class that is always taken for another looks the same."
        )
    if (unsure := int((~told & (prior > 0)).sum()) if K > 1 else 0) > 0:
        notes.append(f"{unsure} classes have too few rows to tell whether the target holds them.")
    if len(absent) == int((prior > 0).sum()):  # nothing is confident anywhere: it says nothing
        notes = ["No class has confident rows on the target: absence cannot be told from distance."]
        absent, presence = (), np.full(K, 0.5)
    return replace(found, presence=presence, absent=absent, notes=tuple(notes))


def _novel(found: Mismatch, P: Array, X: Array, Q: Array, near: Array) -> Mismatch:
    """Novelty, mark and share of the target rows.

    A plain shift makes the consensus doubt a little everywhere; a class that it never saw makes
    regions of doubt beside regions without. So the finding rests on how uneven the neighbourhood
    means of doubt are, compared with the source, and the mark on a threshold between the two
    kinds of region (Otsu 1979). The covariate gap, taken where doubt is least, is added to the
    source's 95 % quantile, below which nothing is marked.

    Distances to the nearest source class (shrunk Mahalanobis, third neighbour, with and without
    centring) ranked novel rows no better on spoken digits, objects and visual words, and, being
    large under any shift, told open pairs from closed ones no better than chance.
    """
    from sklearn.neighbors import NearestNeighbors

    K = Q.shape[1]
    few = min(len(P), len(Q))
    if K < 2 or few < FEWEST or near.ndim != 2 or near.shape[1] < 1:
        why = f"Novel rows were not looked for: {few} rows of the smaller side, {K} classes."
        how = "not looked for"
        share = Interval(0.0, 0.0, 1.0, level=0.9, how=how)
        return replace(found, novel_share=share, notes=(*found.notes, why))
    m = min(near.shape[1], len(P) - 1)
    look = NearestNeighbors(n_neighbors=m).fit(X)
    here = doubt(P, look.kneighbors(return_distance=False))  # without X: no row is its own
    there = doubt(Q, near[:, :m])
    uneven = float(there.std() - here.std())
    gap = max(0.0, float(np.quantile(there, 0.25) - np.quantile(here, 0.25)))
    least = float(np.quantile(here, 0.95)) + gap
    threshold = max(_otsu(there), least)
    marked = there > threshold
    rate = float((here + gap > threshold).mean())
    found = replace(found, novelty=there, unevenness=uneven, false_alarm=rate)
    if uneven <= UNEVEN or not marked.any():
        share = Interval(0.0, 0.0, 1.0, level=0.9, how="no finding: novel rows cannot be told")
        note = (
            f"No sign of novel classes (unevenness of doubt {uneven:+z.3f}, a finding from "
            f"{UNEVEN}); novel rows that lie on known classes would leave none."
        )
        return replace(found, novel_share=share, notes=(*found.notes, note))
    low, value, high = (min(1.0, float(r * marked.mean())) for r in NOVEL_RATIO)
    how = "share of marked rows, by what marks were worth on public pairs"
    note = (
        f"{int(marked.sum())} of {len(Q)} target rows lie in regions that no source class explains "
        f"and are abstained on; the same mark would hit {100 * rate:.1f} % of the source rows."
    )
    return replace(
        found,
        abstain=marked,
        novel_share=Interval(value, low, high, level=0.9, how=how),
        notes=(*found.notes, note),
    )


def _otsu(values: Array) -> float:
    """The threshold that leaves least variance within its two sides (Otsu 1979)."""
    best, at = -1.0, float(values.max())
    for t in np.quantile(values, np.linspace(0.05, 0.95, 60)):
        up = values > t
        share = float(up.mean())
        if 0 < share < 1:
            between = share * (1 - share) * (values[up].mean() - values[~up].mean()) ** 2
            if between > best + 1e-15:
                best, at = float(between), float(t)
    return at


def _held_out(scene: Scene, source_consensus: Array) -> tuple[Array, Array, Array]:
    P = np.asarray(source_consensus, dtype=np.float64)
    if P.shape != (len(scene.ys), scene.n_classes):
        raise DataError(f"source consensus of shape {P.shape} for {len(scene.ys)} rows")
    if np.shape(scene.consensus) != (len(scene.Xt), scene.n_classes):
        raise DataError(f"consensus of shape {np.shape(scene.consensus)} on the target")
    rows = np.isfinite(P).all(axis=1)
    if rows.sum() < 10:
        raise DataError(f"{rows.sum()} held-out source rows", why="at least 10 are needed")
    return P[rows], np.asarray(scene.ys)[rows], np.asarray(scene.Xs)[rows]


def _target_shares(P: Array, y: Array, Q: Array, K: int, seed: int) -> Array:
    """(K, 3) target shares by the consensus's confusion matrix (BBSE), bootstrap interval."""
    known, codes = np.unique(y, return_inverse=True)
    k, rng = len(known), np.random.default_rng(seed)
    eye = np.eye(K)
    held, there = eye[P.argmax(axis=1)][:, known], eye[Q.argmax(axis=1)][:, known]

    def estimate(rows: Array, rows_t: Array) -> Array:
        own = codes[rows]
        w, _ = inverted(joint(held[rows], own, k), there[rows_t].mean(axis=0))
        return shares(w, np.bincount(own, minlength=k) / len(own))

    n, m = len(y), len(Q)
    draws = [estimate(rng.integers(n, size=n), rng.integers(m, size=m)) for _ in range(DRAWS)]
    out = np.zeros((K, 3))
    out[known, 0] = estimate(np.arange(n), np.arange(m))
    out[known, 1:] = np.quantile(draws, [0.025, 0.975], axis=0).T
    return out
