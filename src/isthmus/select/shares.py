"""Layer 6: the part of `diagnose` about labels: class shares counted or estimated, and values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from isthmus.adapt.bbse import BBSE
from isthmus.adapt.mlls import MLLS
from isthmus.discrepancy.drift import drift
from isthmus.discrepancy.label_shift_gap import label_shift_gap
from isthmus.errors import DataError
from isthmus.fit.adapted import Space
from isthmus.select import readings
from isthmus.types import Array

FAR = 0.95  # domain AUC beyond which estimated class shares are not trusted


def class_shares(
    space: Space, ys: Array, yt: Array | None, auc: float, seed: int, notes: list[str]
) -> dict[str, Any]:
    """Shares of the classes on both sides.

    Parameters
    ----------
    yt : ndarray, optional
        Labels of target rows; without them the shares are estimated (MLLS, and BBSE beside it).
    auc : float
        Domain AUC: far apart, estimates are not to be trusted.
    notes : list of str
        Remarks are appended.
    """
    ys = ys.astype(str)
    if yt is not None:
        shift = label_shift_gap(ys, yt.astype(str), random_state=seed)
        return {
            "from": "target labels",
            "value": shift.value.as_dict(),
            "p_value": shift.p_value,
            "chance": shift.expected,
            "how": shift.how,
            "classes": [
                {"class": str(name), "source": float(a), "target": float(b), "interval": None}
                for name, a, b in zip(shift.classes, shift.source, shift.target, strict=True)
            ],
            "missing": [str(c) for c in shift.only_source],
            "novel": [str(c) for c in shift.only_target],
            "shifted": bool(shift.p_value <= 0.05),
            "reading": readings.shares(shift.value, shift.p_value, shift.expected),
        }
    try:
        mlls = MLLS(random_state=seed).adapt(space.Xs, ys, space.Xt)
        bbse = BBSE(random_state=seed).adapt(space.Xs, ys, space.Xt)
    except DataError as error:
        notes.append(f"The class shares of the target could not be estimated: {error}")
        return _unknown(ys)
    classes = []
    for name, estimate in mlls.info["target_prior"].items():
        classes.append(
            {
                "class": name,
                "source": mlls.info["source_prior"][name],
                "target": estimate["value"],
                "interval": [estimate["low"], estimate["high"]],
                "bbse": [bbse.info["target_prior"][name][k] for k in ("value", "low", "high")],
            }
        )
    moved = [c["class"] for c in classes if not _within(c["source"], c["interval"])]
    trust = auc < FAR
    if not trust:
        notes.append(f"Class shares are estimates across a domain AUC of {auc:.2f}.")
    return {
        "from": "estimates without target labels (MLLS, BBSE beside it)",
        "value": None,
        "p_value": None,
        "chance": None,
        "how": "bootstrap over held-out source rows and target rows",
        "classes": classes,
        "missing": [],
        "novel": [],
        "shifted": bool(moved) and trust,
        "reading": readings.estimated_shares(moved, trust),
    }


def _unknown(ys: Array) -> dict[str, Any]:
    names, counts = np.unique(ys, return_counts=True)
    return {
        "from": "the source alone",
        "value": None,
        "p_value": None,
        "chance": None,
        "how": "",
        "classes": [
            {"class": str(n), "source": float(c / len(ys)), "target": None, "interval": None}
            for n, c in zip(names, counts, strict=True)
        ],
        "missing": [],
        "novel": [],
        "shifted": False,
        "reading": "Nothing is known of the target's class shares.",
    }


def values(ys: Array, yt: Array) -> dict[str, Any]:
    """Regression: the values on both sides, by the test that features get."""
    found = drift(ys[:, None], yt[:, None], names=["values"])
    p = float(found.p_value[0])
    differ = "agree within chance" if p > 0.05 else "differ"
    return {
        "from": "target values",
        "value": None,
        "p_value": p,
        "chance": None,
        "how": "Kolmogorov-Smirnov",
        "classes": [],
        "missing": [],
        "novel": [],
        "shifted": p <= 0.05,
        "reading": f"The values {differ}: the mean moved by {found.shift[0]:+z.2f} standard "
        f"deviations, p = {p:.3g}.",
    }


def _within(value: float, interval: Sequence[float | None]) -> bool:
    low, high = interval
    return low is not None and high is not None and low <= value <= high
