"""Layer 6: metrics with intervals, sealed test labels, shots, and the baselines beside them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isthmus.evaluate.baseline import majority, no_transfer
    from isthmus.evaluate.calibration import reliability
    from isthmus.evaluate.intervals import (
        bootstrap,
        cv_difference,
        mean_interval,
        paired_difference,
    )
    from isthmus.evaluate.leave_one_source_out import leave_one_source_out
    from isthmus.evaluate.metrics import as_json, difference, score
    from isthmus.evaluate.sealed import SealedLabels
    from isthmus.evaluate.shots import Shots, draw_shots

_WHERE = {
    "SealedLabels": "sealed",
    "Shots": "shots",
    "as_json": "metrics",
    "bootstrap": "intervals",
    "cv_difference": "intervals",
    "difference": "metrics",
    "draw_shots": "shots",
    "leave_one_source_out": "leave_one_source_out",
    "majority": "baseline",
    "mean_interval": "intervals",
    "no_transfer": "baseline",
    "paired_difference": "intervals",
    "reliability": "calibration",
    "score": "metrics",
}
__all__ = [
    "SealedLabels",
    "Shots",
    "as_json",
    "bootstrap",
    "cv_difference",
    "difference",
    "draw_shots",
    "leave_one_source_out",
    "majority",
    "mean_interval",
    "no_transfer",
    "paired_difference",
    "reliability",
    "score",
]


def __getattr__(name: str) -> Any:
    # imported when first used: `isthmus --help` must not pay for it
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
