"""Figures of rows whose class the model was not trained on: found, missed, or wrongly refused.

Those of the field (K. Saito et al., *Open set domain adaptation by backpropagation*, ECCV 2018;
S. Bucci, M. Loghmani and T. Tommasi, *On the effectiveness of image rotation for open set domain
adaptation*, ECCV 2020):

- ``os_star``, OS*: recall averaged over the known classes that have test rows; a known row that is
  refused counts as wrong.
- ``unknown_recall``, UNK: share of the novel rows that are answered unknown.
- ``h_score``, HOS: harmonic mean of the two, so that refusing nothing and refusing all give 0.
- ``os``, OS: recall averaged over the known classes and the unknown one.

Beside them ``known_accuracy``, the share of rows of known classes that are right, and
``false_refusal``, the share of them that is refused.
"""

from __future__ import annotations

import numpy as np

from isthmus.evaluate import replicates as rep
from isthmus.evaluate.measure import Block, Figure, Measured, harmonic
from isthmus.types import Array

FIGURES = ("os_star", "unknown_recall", "h_score", "os", "known_accuracy", "false_refusal")
NO_NOVEL = "no test row is of a class that the model was not trained on"


def add_open_set(result: Measured, t: Array, p: Array, known: int) -> None:
    """Add the figures to what was measured.

    Parameters
    ----------
    result : Measured
    t, p : ndarray of shape (n,), int
        True and given positions; `known` and above: none of the classes of training.
    known : int
        Number of classes of training.
    """
    values = open_set_block(t, p, known)(np.ones((len(t), 1)))
    novel, inside = t >= known, t < known
    present = np.bincount(t[inside], minlength=known)
    present = present[present > 0]
    trials = {
        "os_star": len(present) * harmonic(present) if len(present) else 0,
        "unknown_recall": int(novel.sum()),
        "known_accuracy": int(inside.sum()),
        "false_refusal": int(inside.sum()),
    }
    for name in FIGURES:
        reason = NO_NOVEL if inside.any() else "every test row is of such a class"
        result.figures[name] = Figure(
            float(values[name][0]),
            reason,
            trials=trials.get(name) or None,
            proportion=name in ("unknown_recall", "known_accuracy", "false_refusal"),
        )
    result.add_block(FIGURES, open_set_block(t, p, known))


def open_set_block(t: Array, p: Array, known: int) -> Block:
    """Resampler of all figures."""
    inside = t < known
    right = rep.collector(np.where(inside & (t == p), t, -1), known)
    support = rep.collector(np.where(inside, t, -1), known)
    refused = (inside & (p >= known)).astype(float)
    novel, found = (~inside).astype(float), (~inside & (p >= known)).astype(float)

    def block(weights: Array) -> dict[str, Array]:
        hit, held = right @ weights, support @ weights
        recall = rep.ratio(hit, held)
        classes = (held > 0).sum(axis=0) * 1.0
        total = np.nansum(recall, axis=0)
        star = rep.ratio(total, classes)
        unknown = rep.ratio(found @ weights, novel @ weights)
        both = star + unknown
        return {
            "os_star": star,
            "unknown_recall": unknown,
            "h_score": np.where(both == 0, 0.0, rep.ratio(2 * star * unknown, both)),
            "os": (total + unknown) / (classes + 1),
            "known_accuracy": rep.ratio(hit.sum(axis=0), held.sum(axis=0)),
            "false_refusal": rep.ratio(refused @ weights, held.sum(axis=0)),
        }

    return block
