"""Layer 7: new data for a saved model, read the way that its training data were read."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.data import read
from isthmus.data.samples import FrameItems, Problem, Samples
from isthmus.errors import DataError, UsageError
from isthmus.types import Array, Task

logger = logging.getLogger(__name__)

_COLUMNS = ("text", "file", "features")
_ROLES = ("label", "domain", "group", "id", "split")


def read_unlabelled(
    data: Any, schema: dict[str, Any], *, max_bad: float = 1.0, **reading: Any
) -> Samples:
    """Rows to predict; whatever labels the data carry are not looked at.

    Parameters
    ----------
    data : anything `isthmus.data.read` takes, or a list of paths
    schema : dict
        Of the model: modality and the columns that it remembers.
    max_bad : float, default=1.0
    **reading
        Options of `isthmus.data.read` that overrule what is remembered.

    Raises
    ------
    DataError
        If a column that the model needs is missing, or nothing can be read.
    """
    if isinstance(data, Samples):
        return data.without_labels()
    paths = _several_paths(data)
    if paths is not None:
        whole = _media_files(paths, schema, max_bad, reading)
        if whole is not None:
            return whole
        return joined(
            [read_unlabelled(p, schema, max_bad=max_bad, **reading) for p in paths], schema
        )
    options = {name: value for name, value in reading.items() if value is not None}
    # Folders and columns that look like labels, domains or splits mean nothing here.
    if not _has_labels_beside(data):
        options = {"label": "none", "domain": "none", "group": "none"} | options
    options |= {"max_bad": max_bad}
    return _read(data, schema, options, remembered=("id",)).without_labels()


def read_labelled(
    data: Any,
    schema: dict[str, Any],
    *,
    task: Task,
    classes: Sequence[str],
    max_bad: float = 0.01,
    **reading: Any,
) -> Samples:
    """Rows to score; labels by name, multi-label columns in the order of the model.

    Raises
    ------
    DataError
        If there are no labels, or they are of another task.
    """
    if isinstance(data, Samples):
        samples = data
    else:
        options = {name: value for name, value in reading.items() if value is not None}
        options |= {"max_bad": max_bad}
        if "label" not in options or options["label"] not in (None, False, "none"):
            options.setdefault("task", task)
        samples = _read(data, schema, options, remembered=("label", "domain", "group", "id"))
    if samples.labels is None or not samples.labelled.any():
        column = schema.get("reading", {}).get("label")
        hint = f"; in training they were in {column!r}" if column else ""
        raise DataError(
            "there are no labels to compare with",
            where=samples.origin,
            why=f"no row carries one{hint}",
            remedy="Name the column with --label",
        )
    if samples.task != task:
        raise DataError(
            f"the labels are of a {samples.task} task, the model is for {task}",
            where=samples.origin,
            remedy=f"Say --task {task} if they were misread",
        )
    return _same_columns(samples, tuple(classes)) if task == "multilabel" else samples


def _read(
    data: Any, schema: dict[str, Any], options: dict[str, Any], *, remembered: tuple[str, ...]
) -> Samples:
    """Read with the remembered columns; without them where the data have no such columns."""
    # what the caller names himself must be there; what is only remembered may be missing
    spare = tuple(role for role in _ROLES if options.get(role) in (None, False, "none"))
    options = {"modality": schema["modality"], "optional": spare} | options
    known = schema.get("reading", {})
    for role in remembered:
        if role in known and role not in options and not _has_labels_beside(data):
            options[role] = known[role]
    inputs = {
        role: known[role]
        for role in _COLUMNS
        if role in known and not any(name in options for name in _COLUMNS)
    }
    if "columns" in schema and not any(name in options for name in _COLUMNS):
        inputs = {"features": [column["name"] for column in schema["columns"]]}
    if not inputs:
        return _try(data, options, ("id", *spare))
    try:
        return read(data, **options, **inputs)
    except UsageError as error:
        role, names = next(iter(inputs.items()))
        lacks = error.what.startswith("no column") and f"--{role}" in error.what.split()
        if schema["modality"] == "table" and lacks:
            raise DataError(
                "the table lacks a column that the model was trained on",
                where=error.where,
                why=error.what.removesuffix(" for --features"),
                remedy=error.remedy,
            ) from None
        samples = _try(data, options, ("id", *spare))
        # Only a table could have had the column; files and arrays have none to miss.
        found = samples.understood.get(role)
        if isinstance(found, dict) and found.get("value") not in (None, names):
            logger.warning(
                "%s: there is no %s column %r as in training; %r is read instead",
                samples.origin,
                role,
                names,
                found["value"],
            )
        return samples


def _try(data: Any, options: dict[str, Any], droppable: tuple[str, ...]) -> Samples:
    """Read; remembered or precautionary options that this kind of data does not know go."""
    try:
        return read(data, **options)
    except UsageError as error:
        for role in droppable:
            if f"--{role}" in (error.where, *error.what.split()) and role in options:
                rest = {name: value for name, value in options.items() if name != role}
                return _try(data, rest, droppable)
        raise


def _has_labels_beside(data: Any) -> bool:
    """(X, y) pairs and the like: their values cannot be switched off by a column name."""
    return not isinstance(data, (str, Path)) and not hasattr(data, "columns")


def _several_paths(data: Any) -> list[Path] | None:
    """A list of paths; a list of texts is none, unless every one of them exists."""
    if not isinstance(data, (list, tuple)) or not data:
        return None
    if all(isinstance(item, Path) for item in data):
        return list(data)
    return None


def _media_files(
    paths: list[Path], schema: dict[str, Any], max_bad: float, reading: dict[str, Any]
) -> Samples | None:
    """Many single photos or recordings as one data set; None where some are folders or tables."""
    from isthmus.data.audio import AUDIO_SUFFIXES
    from isthmus.data.images import IMAGE_SUFFIXES
    from isthmus.data.samples import FileItems

    suffixes = {"image": IMAGE_SUFFIXES, "audio": AUDIO_SUFFIXES}.get(schema["modality"])
    if suffixes is None or any(p.suffix.lower() not in suffixes or p.is_dir() for p in paths):
        return None
    names = [str(path) for path in paths]
    return Samples(
        FileItems(Path(), tuple(names)),
        _unique(names),
        schema["modality"],
        seen=len(names),
        origin=f"{len(names)} files",
    )


def joined(parts: list[Samples], schema: dict[str, Any]) -> Samples:
    """Several data sets as one, labels dropped, ids unique.

    Raises
    ------
    DataError
        If their kinds differ.
    """
    from isthmus.serve.schema import fit_to_schema

    parts = [fit_to_schema(part, schema)[0] for part in parts]
    first = parts[0]
    if len(parts) == 1:
        return first
    if isinstance(first.items, FrameItems):
        import pandas as pd

        frames = [part.items.frame for part in parts if isinstance(part.items, FrameItems)]
        items: Any = FrameItems(pd.concat(frames, ignore_index=True))
    else:
        items = ChainedItems(tuple(part.items for part in parts))
    quarantine: tuple[Problem, ...] = tuple(p for part in parts for p in part.quarantine)
    return Samples(
        items,
        _unique([name for part in parts for name in part.ids]),
        first.modality,
        quarantine=quarantine,
        seen=sum(part.seen for part in parts),
        origin=f"{len(parts)} inputs",
        understood=first.understood,
    )


def _unique(names: list[str]) -> tuple[str, ...]:
    """Repeated ids get a number: ``a.jpg``, ``a.jpg (2)``."""
    used: dict[str, int] = {}
    found = []
    taken = set(names)
    for name in names:
        used[name] = used.get(name, 0) + 1
        copy = name
        while used[name] > 1 and (copy == name or copy in taken):
            copy = f"{name} ({used[name]})"
            used[name] += copy in taken
        taken.add(copy)
        found.append(copy)
    return tuple(found)


@dataclass(frozen=True)
class ChainedItems:
    """Lazy items of several data sets, one after the other."""

    parts: tuple[Any, ...]

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def __getitem__(self, row: int) -> Any:
        for part in self.parts:
            if row < len(part):
                return part[row]
            row -= len(part)
        raise IndexError(row)

    def take(self, rows: Array) -> ChainedItems:
        return ChainedItems(tuple(_One(self, int(row)) for row in rows))


@dataclass(frozen=True)
class _One:
    """One row of other items."""

    items: Any
    row: int

    def __len__(self) -> int:
        return 1

    def __getitem__(self, row: int) -> Any:
        return self.items[self.row]


def _same_columns(samples: Samples, classes: tuple[str, ...]) -> Samples:
    """Multi-label columns in the order of the model; a class that the data lack is False."""
    if samples.classes == classes:
        return samples
    unseen = sorted(set(samples.classes) - set(classes))
    if unseen:
        raise DataError(
            f"the model never saw the labels {', '.join(map(repr, unseen))}",
            where=samples.origin,
            why="a multi-label score needs the labels of training",
            remedy="Leave these columns out of --label",
        )
    assert samples.labels is not None
    matrix = np.zeros((len(samples), len(classes)), dtype=bool)
    for column, name in enumerate(samples.classes):
        matrix[:, classes.index(name)] = samples.labels[:, column]
    return replace(samples, labels=matrix, classes=classes)
