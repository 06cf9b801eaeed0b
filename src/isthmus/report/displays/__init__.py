"""Layer 7: the report's plots for matplotlib, by scikit-learn's convention.

``from_...`` computes and stores, ``plot(ax=...)`` draws and may be called again; `ax_` and
`figure_` are what was drawn on. For a confusion matrix there is scikit-learn's own
`ConfusionMatrixDisplay`.
"""

from __future__ import annotations

from isthmus.report.displays.calibration import CalibrationShiftDisplay
from isthmus.report.displays.drift import DriftDisplay
from isthmus.report.displays.gap import GapDisplay
from isthmus.report.displays.label_curve import LabelCurveDisplay
from isthmus.report.displays.leaderboard import LeaderboardDisplay
from isthmus.report.displays.prior import PriorShiftDisplay
from isthmus.report.displays.training import TrainingDisplay

__all__ = [
    "CalibrationShiftDisplay",
    "DriftDisplay",
    "GapDisplay",
    "LabelCurveDisplay",
    "LeaderboardDisplay",
    "PriorShiftDisplay",
    "TrainingDisplay",
]
