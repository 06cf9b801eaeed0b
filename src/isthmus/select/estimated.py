"""Layer 6: the accuracy that a choice can expect on the target, without its labels.

Of thirteen estimators of the literature the change of agreement missed least on 60 real pairs, and
no regression learnt on other data sets, linear or of trees, missed clearly less (docs/log.md has
the figures). So the number starts from it and from confidence transport, moved towards others by
small weights, and its interval comes from what was missed on data sets that it was not learnt from.
``make bench-estimate`` makes the table.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.errors import DataError
from isthmus.select.estimate.base import Estimate, Estimator, ask, discover
from isthmus.select.estimate.combine import Calibration
from isthmus.select.validate.base import Trial
from isthmus.select.views import Views
from isthmus.types import Array, Interval

FILE = Path(__file__).parent / "estimate" / "calibration.json"
WEIGHTED = ("weighted", "confidence-weighted")  # need a density ratio, which a run does not fit


@cache
def stored() -> dict[str, Any]:
    """The file: the calibration, and what each estimator missed by."""
    found: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
    return found


@cache
def calibration() -> Calibration:
    """The calibration of this package."""
    return Calibration.from_dict(stored()["calibration"])


def all_estimates(
    seen: Views, consensus: Array, known: dict[str, Estimator] | None = None
) -> dict[str, Estimate]:
    """What every estimator says of the consensus of the candidates.

    Parameters
    ----------
    seen : Views
        Its heads stand for the candidates on held-out source rows.
    consensus : ndarray of shape (n_t, K)
        Mean probabilities of the candidates, for the target rows of `seen`.
    """
    trial = Trial("consensus", consensus, seen.held.mean(axis=0))
    asked = known if known is not None else discover()
    return {
        name: ask(one, seen.scene, trial, others=seen.trials)
        for name, one in asked.items()
        if known is not None or name not in WEIGHTED
    }


def estimated_accuracy(
    seen: Views, consensus: Array, *, n_t: int
) -> tuple[Interval, tuple[dict[str, Any], ...]]:
    """The number with its 90 % interval, and what each estimator says beside what it missed by.

    Raises
    ------
    DataError
        If less than half of the estimators of the calibration have an answer.
    """
    found = all_estimates(seen, consensus)
    if found["agreement-change"].value is None:
        raise DataError(
            "the change of agreement has no answer", why=found["agreement-change"].reason
        )
    value = calibration().apply(found, n_t=n_t)
    missed = stored()["missed"]
    lines = tuple(
        {
            "estimator": name,
            "value": None if one.value is None else round(one.value, 4),
            "reason": one.reason,
            "missed_by": missed.get(name),
        }
        for name, one in found.items()
    )
    return value, lines


def unknown(proba: Array, why: str) -> Interval:
    """Nothing is known: the mean confidence, and all that is possible."""
    value = float(np.clip(proba.max(axis=1).mean(), 0, 1))
    return Interval(value, 0.0, 1.0, 0.9, f"not estimated: {why}")
