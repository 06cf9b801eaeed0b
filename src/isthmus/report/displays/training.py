"""Layer 7: accuracy and loss over the epochs of a training.

`sklearn.model_selection.LearningCurveDisplay` is about numbers of rows; this one is about epochs,
as a network's metric log tells them.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from isthmus import iofs
from isthmus.errors import DataError, IsthmusError, need
from isthmus.report.displays.base import INK, SOURCE, TARGET, Display, bare
from isthmus.types import Array

METRICS = "metrics.jsonl"
TRAINING, VALIDATION = "training", "validation"


class TrainingDisplay(Display):
    """Curves of a training, accuracy and loss side by side.

    Parameters
    ----------
    accuracy, loss : dict of str to ndarray of shape (epochs,)
        By ``"training"`` and ``"validation"``; NaN where an epoch has no figure. Accuracy in
        0 ... 1, loss in nats.
    stages : tuple of (str, int)
        Name of each stage and its first epoch.

    Attributes
    ----------
    axes_ : ndarray of matplotlib.axes.Axes
        Both panels; `ax_` is the first one.

    Examples
    --------
    >>> log = [{"losses": {"task": 1.2}, "held_out": 0.5}, {"losses": {"task": 0.7}}]
    >>> found = TrainingDisplay.from_log(log)
    >>> found.loss["training"].tolist(), found.accuracy["validation"].tolist()
    ([1.2, 0.7], [0.5, nan])
    """

    def __init__(
        self,
        accuracy: Mapping[str, Array],
        loss: Mapping[str, Array],
        stages: Sequence[tuple[str, int]] = (),
    ) -> None:
        self.accuracy = accuracy
        self.loss = loss
        self.stages = stages

    @classmethod
    def from_log(cls, log: Sequence[Mapping[str, Any]]) -> Self:
        """Curves of a metric log (`FineTunedClassifier.log_`); nothing is drawn yet.

        Raises
        ------
        DataError
            If the log is empty.
        """
        if not log:
            raise DataError("the metric log is empty", where="from_log")
        accuracy = {
            TRAINING: _column(log, "source_accuracy"),
            VALIDATION: _column(log, "held_out"),
        }
        loss = {
            TRAINING: _column([line.get("losses") or {} for line in log], "task"),
            VALIDATION: _column(log, "held_out_loss"),
        }
        stages: list[tuple[str, int]] = []
        for k, line in enumerate(log):
            name = str(line.get("stage", ""))
            if name and (not stages or stages[-1][0] != name):
                stages.append((name, k))
        return cls(_there(accuracy), _there(loss), tuple(stages))

    @classmethod
    def from_folder(cls, folder: str | Path) -> Self:
        """Curves of a run of ``isthmus finetune --out``; nothing is drawn yet.

        Raises
        ------
        DataError
            If there is no metric log in the folder.
        """
        file = Path(folder) / METRICS
        if not file.is_file():
            raise DataError(
                "there is no metric log",
                where=str(file),
                remedy="Give the folder that `isthmus finetune --out` filled",
            )
        lines = file.read_text(encoding="utf-8").splitlines()
        return cls.from_log([json.loads(line) for line in lines if line.strip()])

    def plot(self, *, axes: Any = None) -> Self:
        """Draw.

        Parameters
        ----------
        axes : two matplotlib axes, optional
            For accuracy and for loss.
        """
        if axes is None:
            plt = need("matplotlib.pyplot", extra="report")
            _, axes = plt.subplots(1, 2, figsize=(9.6, 3.8), layout="constrained")
        self._draw(axes)
        return self

    def _draw(self, axes: Any) -> None:
        self.axes_ = axes
        self.ax_, self.figure_ = axes[0], axes[0].figure
        for ax, name, curves in zip(axes, ("accuracy", "loss"), (self.accuracy, self.loss)):
            for role, values in curves.items():
                there = np.isfinite(values)
                style: dict[str, Any] = {"color": SOURCE, "marker": "o", "markersize": 3}
                if role == VALIDATION:
                    style |= {"color": TARGET, "linestyle": "--"}
                ax.plot(1 + np.flatnonzero(there), values[there], label=role, **style)
            for _, first in self.stages[1:]:
                ax.axvline(first + 0.5, color=INK, linewidth=1, linestyle=":")
            for stage, first in self.stages if len(self.stages) > 1 else ():
                ax.annotate(
                    stage, (first + 0.6, 0.02), xycoords=("data", "axes fraction"), color=INK
                )
            ax.set(xlabel="epoch", ylabel=name)
            if name == "accuracy":
                ax.set_ylim(0, 1.02)
            if curves:
                ax.legend(frameon=False)
            bare(ax)


def save_plot(path: str | Path, log: Sequence[Mapping[str, Any]]) -> bool:
    """Write the curves of a metric log as PNG; False where matplotlib is missing.

    No state of pyplot is touched, so no window opens and no figure stays open.
    """
    try:
        figure_module = need("matplotlib.figure", extra="report")
    except IsthmusError:
        return False
    figure = figure_module.Figure(figsize=(9.6, 3.8), layout="constrained")
    TrainingDisplay.from_log(log).plot(axes=figure.subplots(1, 2))
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=120, metadata={"Software": None})
    iofs.write_bytes(path, drawn.getvalue())
    return True


def _column(lines: Sequence[Mapping[str, Any]], key: str) -> Array:
    values = [line.get(key) for line in lines]
    return np.array([np.nan if v is None else float(v) for v in values])


def _there(curves: dict[str, Array]) -> dict[str, Array]:
    """Without those that hold nothing."""
    return {role: values for role, values in curves.items() if np.isfinite(values).any()}
