"""Layer 8: several sources: each one in turn plays the target, and a model of the others is asked.

What a diagnosis says of a domain that nobody has seen yet: would pooling, mapping or combining
the sources have served it?
"""

from __future__ import annotations

from typing import Any

import numpy as np

from isthmus.adapt.coral import CORAL
from isthmus.evaluate.leave_one_source_out import BASELINE, leave_one_source_out
from isthmus.fit.adapted import common_space
from isthmus.run.extract import Part
from isthmus.types import Array, Task

MOST = 2000  # rows of a source that are looked at
TITLES = {
    BASELINE: "the other sources pooled",
    "adapted": "pooled, CORAL to its rows",
    "combined": "one model a source, combined",
}


def held_out_sources(here: Part, *, task: Task | None, new_model: Any, seed: int) -> Any:
    """JSON-ready account, or None with fewer than two labelled source domains.

    Parameters
    ----------
    here : Part
        Features and samples of the source.
    new_model : callable
        Its processor scales the features, as in a run.
    """
    samples = here.samples
    if task not in ("classification", "regression") or samples.domain is None:
        return None
    names, ids = np.unique(samples.domain.astype(str), return_inverse=True)
    if len(names) < 2 or samples.labels is None:
        return None
    rows = drawn(ids, seed)
    X = common_space(new_model().processor, here.X[rows], here.X[:0]).Xs
    y = samples.labels[rows]
    found = leave_one_source_out(
        X,
        y.astype(np.float64) if task == "regression" else y.astype(str),
        ids[rows],
        adapter=CORAL(),
        task=task,
        groups=None if samples.groups is None else samples.groups[rows],
        n_boot=500,
        random_state=seed,
    )
    lines = [
        {
            "source": str(names[line.source]),
            "rows": line.rows,
            "method": TITLES[line.method],
            "score": line.score.as_dict(),
            "gain": None if line.method == BASELINE else line.gain.as_dict(),
        }
        for line in found.table
    ]
    gains = {TITLES[name]: gain.as_dict() for name, gain in found.gains.items()}
    return {
        "metric": found.metric,
        "table": lines,
        "gains": gains,
        "reading": reading(found.gains, len(names), found.metric),
    }


def drawn(ids: Array, seed: int) -> Array:
    """Positions of at most `MOST` rows of each source, in their order."""
    rng = np.random.default_rng(seed)
    kept = []
    for source in np.unique(ids):
        rows = np.flatnonzero(ids == source)
        kept.append(rows if len(rows) <= MOST else rng.choice(rows, MOST, replace=False))
    return np.sort(np.concatenate(kept))


def reading(gains: Any, count: int, metric: str) -> str:
    """The table in a sentence."""
    better = 1 if metric == "accuracy" else -1
    sure = {
        name: gain
        for name, gain in gains.items()
        if np.isfinite(gain.low) and better * (gain.low if better > 0 else gain.high) > 0
    }
    if sure:
        best = max(sure, key=lambda name: better * sure[name].value)
        return f"On a new domain, {TITLES[best]} would help: it did on these {count} by its mean."
    few = " Few sources say little about the next one." if count < 5 else ""
    several = "combined" in gains
    ways = "Neither CORAL nor a combination of sources" if several else "CORAL"
    verb = "is" if several else "is not"
    return f"{ways} {verb} sure to help on a new domain over pooling the sources.{few}"
