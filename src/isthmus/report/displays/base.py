"""Layer 7: what the displays share: colours of the report, and an axis to draw on."""

from __future__ import annotations

from typing import Any

from isthmus.errors import need

SOURCE, TARGET, INK = "#2166ac", "#b84a08", "#57606a"


class Display:
    """Remembers where it was drawn.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure
    """

    ax_: Any
    figure_: Any

    def _axes(self, ax: Any, *, size: tuple[float, float] = (6.4, 4.4)) -> Any:
        if ax is None:
            plt = need("matplotlib.pyplot", extra="report")
            _, ax = plt.subplots(figsize=size, layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        return ax


def bare(ax: Any) -> None:
    """No frame above and on the right."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
