"""Layer 8: the rows to label next and the learning curve as CSV files in a run's folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from isthmus import iofs
from isthmus.data.samples import Samples
from isthmus.errors import DataError
from isthmus.select.label_next import LabelNext
from isthmus.select.learning_curve import LearningCurve
from isthmus.serve.writers import frame_to_csv

LABEL_NEXT, LEARNING_CURVE = "label_next.csv", "learning_curve.csv"
COLUMNS = ("id", "rank", "score", "uncertainty", "coverage", "typicality", "reason")
CURVE_COLUMNS = ("labels", "score", "low", "high", "kind")


def write_label_next(folder: str | Path, chosen: Sequence[LabelNext], samples: Samples) -> Path:
    """Write ``label_next.csv``: id, rank from 1, figures, reason; best first.

    Fill in a column ``label`` and the file is what ``--target-labels`` takes.

    Parameters
    ----------
    folder : path
    chosen : sequence of LabelNext
        Their rows are positions in `samples`.
    samples : Samples
        The target rows that were chosen from; gives the ids.

    Raises
    ------
    DataError
        If a row is not one of `samples`.
    """
    import pandas as pd

    rows = []
    for rank, item in enumerate(chosen, start=1):
        if not 0 <= item.row < len(samples):
            raise DataError(
                f"row {item.row} of {len(samples)} target rows", where=LABEL_NEXT,
                why="the list was made from other rows",
            )  # fmt: skip
        figures = [round(v, 6) for v in (item.score, item.uncertainty, item.coverage)]
        name = str(samples.ids[item.row])
        rows.append([name, rank, *figures, round(item.typicality, 6), item.reason])
    frame = pd.DataFrame(rows, columns=list(COLUMNS), dtype=object)
    path = Path(folder) / LABEL_NEXT
    iofs.write_text(path, frame_to_csv(frame))
    return path


def write_learning_curve(folder: str | Path, curve: LearningCurve) -> Path:
    """Write ``learning_curve.csv``: labels, score, low, high, kind; see `LearningCurve.rows`.

    A curve that could not be measured gives the header alone; its `reason` says why.
    """
    import pandas as pd

    frame = pd.DataFrame(curve.rows(), columns=list(CURVE_COLUMNS), dtype=object)
    path = Path(folder) / LEARNING_CURVE
    iofs.write_text(path, frame_to_csv(frame))
    return path
