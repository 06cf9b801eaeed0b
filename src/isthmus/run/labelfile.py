"""Layer 8: labels that come apart from their rows: `--target-labels FILE`."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from isthmus.data import read
from isthmus.data.labels import to_names
from isthmus.data.samples import Samples
from isthmus.errors import DataError
from isthmus.types import Array


@dataclass(frozen=True)
class Marked:
    """Target rows with the file's labels on them, or a labelled data set of its own (`extra`)."""

    samples: Samples
    chosen: Array
    extra: Samples | None = None


def attach_labels(rows: Samples, labels: Any) -> Marked:
    """Put the labels of a two-column table (id, label) on the rows that it names.

    Ids are matched in full first, then by file name alone where that is unambiguous. Anything that
    is not such a table (a folder, a table with the data in it) is read as labelled target rows.

    Raises
    ------
    DataError
        If the table names rows that the target does not have, or one row twice with two labels.
    """
    table = _id_table(labels)
    if table is None:
        extra = read(labels)
        if extra.modality != rows.modality:
            raise DataError(
                f"the target labels are rows of {extra.modality}, the target is {rows.modality}",
                where=extra.origin,
                remedy="Give a table with the columns id and label (`isthmus read` shows the ids), "
                "or labelled rows of the target's kind",
            )
        if not extra.labelled.any():
            raise DataError(
                "the target labels hold no labels",
                where=extra.origin,
                remedy="Give a table with the columns id and label, or a labelled data set",
            )
        return Marked(rows, np.zeros(len(rows), dtype=bool), extra.take(extra.labelled))
    ids, values, origin = table
    position = _positions(rows)
    names, _ = to_names(values)
    regression = rows.task == "regression"
    given: dict[int, Any] = {}
    unknown = []
    for row_id, name in zip(ids, names, strict=True):
        if name is None:
            continue
        row = position.get(row_id)
        if row is None:
            unknown.append(row_id)
            continue
        if given.get(row, name) != name:
            raise DataError(
                f"two labels for one row: {given[row]!r} and {name!r}",
                where=f"{origin}: {row_id}",
                remedy="Keep one of them",
            )
        given[row] = name
    if unknown:
        near = difflib.get_close_matches(unknown[0], list(position), n=1)
        raise DataError(
            f"{len(unknown)} of {len(ids)} ids are not rows of the target, first {unknown[0]!r}",
            where=origin,
            why=f"the target's ids look like {rows.ids[0]!r}",
            remedy=f"Did you mean {near[0]!r}?"
            if near
            else "Use the ids that `isthmus read` shows",
        )
    chosen = np.zeros(len(rows), dtype=bool)
    chosen[list(given)] = True
    if regression:
        filled: Array = np.full(len(rows), np.nan)
        filled[list(given)] = [float(v) for v in given.values()]
        if rows.labels is not None:  # the target's own labels stay, to be sealed
            filled = np.where(chosen, filled, rows.labels)
        return Marked(replace(rows, labels=filled), chosen)
    own = rows.labels if rows.labels is not None else np.full(len(rows), None, dtype=object)
    labels_now: Array = own.copy()
    for row, name in given.items():
        if labels_now[row] is not None and labels_now[row] != name:
            raise DataError(
                f"the file says {name!r}, the target itself {labels_now[row]!r}",
                where=f"{origin}: {rows.ids[row]}",
                remedy="Mend one of the two",
            )
        labels_now[row] = name
    return Marked(replace(rows, labels=labels_now, task="classification"), chosen)


def _positions(rows: Samples) -> dict[str, int]:
    """Full id -> row, and bare file name -> row where only one row has it."""
    full = {row_id: i for i, row_id in enumerate(rows.ids)}
    bare: dict[str, list[int]] = {}
    for row_id, i in full.items():
        bare.setdefault(PurePosixPath(row_id).name, []).append(i)
    for name, where in bare.items():
        if len(where) == 1:
            full.setdefault(name, where[0])
    return full


def _id_table(labels: Any) -> tuple[list[str], list[Any], str] | None:
    import pandas as pd

    if isinstance(labels, dict):
        return [str(k) for k in labels], list(labels.values()), "target_labels"
    if isinstance(labels, pd.Series):
        return [str(k) for k in labels.index], list(labels), "target_labels"
    if isinstance(labels, (str, Path)) and Path(labels).suffix.lower() in (".csv", ".tsv"):
        frame = _as_text(Path(labels))
        origin = Path(labels).name
    elif isinstance(labels, pd.DataFrame):
        frame, origin = labels, "target_labels"
    else:
        return None
    columns = {str(c).strip().lower(): c for c in frame.columns}
    key = next(
        (columns[c] for c in ("id", "file", "path", "filename", "row") if c in columns), None
    )
    label = next((columns[c] for c in ("label", "class", "target", "y") if c in columns), None)
    if key is None and label is None and frame.shape[1] == 2:
        key, label = frame.columns[0], frame.columns[1]
    if key is None or label is None or frame.shape[1] > 3:
        return None
    return [str(v).strip() for v in frame[key]], list(frame[label]), origin


def _as_text(path: Path) -> Any:
    """A table of texts; whatever the file is instead is refused by name."""
    import csv

    import pandas as pd

    try:
        return pd.read_csv(
            path, sep=None, engine="python", dtype=str, keep_default_na=True, encoding="utf-8-sig"
        )
    except UnicodeDecodeError:
        why = "its bytes are not UTF-8 text"
    except (csv.Error, ValueError) as error:  # pandas' own errors are ValueErrors
        why = "it is empty" if not path.stat().st_size else " ".join(str(error).split())[:200]
    except FileNotFoundError:
        why = "there is no such file"
    raise DataError(
        "the target labels cannot be read",
        where=str(path),
        why=why,
        remedy="Give a CSV file in UTF-8 with the columns id and label",
    )
