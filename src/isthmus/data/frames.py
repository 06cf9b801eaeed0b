"""Layer 1: `Sheet` -> `Samples`: the rows of a table as texts, files, features or columns."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from isthmus.data.assemble import Draft, finish
from isthmus.data.columns import clean
from isthmus.data.infer import Roles, find_roles
from isthmus.data.labels import is_missing, name_of
from isthmus.data.options import Options
from isthmus.data.samples import FileItems, FrameItems, Items, Samples, ValueItems
from isthmus.data.sheet import Sheet, understand
from isthmus.errors import DataError, IsthmusError, UsageError
from isthmus.iofs import open_inside

if TYPE_CHECKING:
    import pandas as pd

_EMPTY_TEXT = ("the text is empty", "Fill it in, or delete the row")


def to_samples(sheet: Sheet, options: Options) -> Samples:
    """Give every column its role and turn the rows into items.

    Raises
    ------
    UsageError
        If an option names a column that does not exist or does not fit.
    DataError
        If too many rows are bad, or a file name leads outside its folder.
    """
    roles = find_roles(sheet, options)
    bad: dict[int, tuple[str, str]] = {}
    ids: Any = None
    items: Items
    if roles.modality == "text":
        items = _texts(sheet.frame, roles.inputs, bad)
        _note_repeats(sheet, roles, items.values)
    elif roles.inputs[0] in sheet.media:
        items = sheet.media[roles.inputs[0]][1]
        for row in np.flatnonzero(sheet.frame[roles.inputs[0]].isna()).tolist():
            bad[row] = (f"no {roles.modality} in this row", "Fill it in, or delete the row")
    elif roles.modality in ("image", "audio"):
        items, names = _files(sheet, roles.inputs[0], bad)
        if len(set(names)) == len(names):
            ids = names
    elif roles.modality == "features":
        items = ValueItems(cast("Sequence[Any]", _matrix(sheet.frame[roles.inputs], bad, sheet)))
    else:
        items = FrameItems(_table(sheet, roles, bad))
    if roles.id is not None and options.wanted("id") is not None:
        ids = sheet.frame[roles.id]
    draft = Draft(
        items=items,
        places=sheet.places,
        modality=roles.modality,
        origin=sheet.name,
        ids=ids,
        label=_label_values(sheet, roles),
        label_column=roles.label[0] if roles.label else "label",
        domain=_column(sheet, roles.domain),
        group=_column(sheet, roles.group),
        split=_column(sheet, roles.split),
        keep_split=roles.keep_split,
        bad=bad,
        problems=sheet.problems,
        understood=sheet.understood,
        notes=sheet.notes,
    )
    return finish(draft, options)


def _column(sheet: Sheet, name: str | None) -> Any:
    return None if name is None else sheet.frame[name]


def _label_values(sheet: Sheet, roles: Roles) -> Any:
    if not roles.label:
        return None
    if len(roles.label) == 1:
        return sheet.frame[roles.label[0]]
    return {name: sheet.frame[name].to_list() for name in roles.label}


def _texts(frame: pd.DataFrame, columns: list[str], bad: dict[int, tuple[str, str]]) -> ValueItems:
    parts = [frame[column].to_list() for column in columns]
    texts: list[str] = []
    for row, cells in enumerate(zip(*parts)):
        words = [c if isinstance(c, str) else name_of(c) or "" for c in cells]
        text = "\n".join(word for word in words if word.strip())
        if not text:
            bad[row] = _EMPTY_TEXT
        texts.append(text)
    return ValueItems(texts)


def _note_repeats(sheet: Sheet, roles: Roles, values: Sequence[str]) -> None:
    """Texts that occur more than once, and whether their labels agree; empty ones are none."""
    import pandas as pd

    texts = pd.Series(values, dtype=object).str.strip()
    texts = texts[texts != ""]
    repeated = texts[texts.duplicated(keep=False)]
    if repeated.empty:
        return
    extra = int(texts.duplicated(keep="first").sum())
    note = f"{extra:,} texts occur again"
    if len(roles.label) == 1:
        labels = (
            sheet.frame[roles.label[0]].iloc[repeated.index].astype("str").set_axis(repeated.index)
        )
        clashing = int((labels.groupby(repeated).nunique() > 1).sum())
        if clashing:
            note += f"; {clashing:,} of them with different labels"
    sheet.notes.append(note)


def _table(sheet: Sheet, roles: Roles, bad: dict[int, tuple[str, str]]) -> pd.DataFrame:
    cleaned, report = clean(sheet.frame[roles.inputs])
    cleaned = cleaned.reset_index(drop=True)
    if report.missing:
        shown = {name: dict(tokens) for name, tokens in report.missing.items()}
        sheet.understood["missing"] = understand(
            shown, "cells that stand for a missing value", "--features"
        )
    sheet.notes.extend(report.notes)
    empty = cleaned.isna().all(axis=1).to_numpy()
    for row in np.flatnonzero(empty).tolist():
        bad[row] = ("every feature is missing", "Fill the row in, or delete it")
    return cleaned


def _matrix(frame: pd.DataFrame, bad: dict[int, tuple[str, str]], sheet: Sheet) -> np.ndarray:
    cleaned, report = clean(frame)
    words = [name for name in cleaned.columns if cleaned[name].dtype != np.float64]
    if words:
        raise UsageError(
            f"the column {words[0]!r} holds words, features are numbers",
            where=sheet.name,
            remedy="Use --modality table, or name the columns with --features",
        )
    sheet.notes.extend(report.notes)
    matrix = cleaned.to_numpy(dtype=np.float64)
    for row in np.flatnonzero(~np.isfinite(matrix).all(axis=1)).tolist():
        bad[row] = ("a feature is missing", "Fill it in, or use --modality table")
    return matrix


def _files(
    sheet: Sheet, column: str, bad: dict[int, tuple[str, str]]
) -> tuple[FileItems, list[str]]:
    root = (sheet.root or Path.cwd()).resolve()
    sheet.understood["root"] = understand(
        str(root), "given" if sheet.rooted else "the folder of the table", "--root"
    )
    names: list[str] = []
    finder = _Inside(root, absolute=sheet.rooted, origin=sheet.name)
    for row, value in enumerate(sheet.frame[column].to_list()):
        name = "" if is_missing(value) else str(value).strip()
        if not name:
            bad[row] = ("no file is named", "Fill the name in, or delete the row")
        elif "://" in name:
            bad[row] = (f"{name!r} is a web address", "Nothing is fetched: download it first")
        else:
            found = finder.find(name, sheet.places[row])
            if found is None:
                bad[row] = (
                    f"the file {name!r} does not exist",
                    f"File names are relative to {root}; another folder: --root",
                )
            else:
                name = found
        names.append(name or f"(row {row})")
    repeats = len(names) - len(set(names))
    if repeats:
        sheet.notes.append(f"{repeats:,} rows name a file that another row names too")
    return FileItems(root, tuple(names)), names


class _Inside:
    """Names -> names relative to the root, none of them leading out of it.

    The rule is that of `iofs.open_inside`; a folder is resolved once, not once per file in it.
    """

    def __init__(self, root: Path, *, absolute: bool, origin: str) -> None:
        self.root, self.absolute, self.origin = root, absolute, origin
        self.folders: dict[str, bool] = {}

    def find(self, name: str, place: str) -> str | None:
        """The name relative to the root, or None where no such file exists.

        Raises
        ------
        DataError
            If the name leads outside the root: this is never one bad row among many.
        """
        if "\\" in name and os.sep == "/" and not (self.root / name).exists():
            name = name.replace("\\", "/")
        if Path(name).is_absolute():
            if not self.absolute:
                raise DataError(
                    f"the file name {name!r} is absolute",
                    where=place,
                    why="a table may only refer to files beside or below it",
                    remedy="Name the folder that holds the files: --root FOLDER",
                )
            try:
                name = str(Path(name).relative_to(self.root))
            except ValueError:
                raise self._outside(name, place) from None
        parent = os.path.dirname(name)  # noqa: PTH120
        if parent not in self.folders:
            self._resolve(parent, place)
            self.folders[parent] = True
        path = self.root / name
        if path.name in ("..", ".") or path.is_symlink():
            self._resolve(name, place)
        return name if path.is_file() else None

    def _resolve(self, name: str, place: str) -> None:
        try:
            open_inside(self.root, name)
        except (IsthmusError, OSError, RuntimeError):
            raise self._outside(name, place) from None

    def _outside(self, name: str, place: str) -> DataError:
        return DataError(
            f"the file name {name!r} leads outside {self.root}",
            where=place,
            why="a table may only refer to files inside its folder",
            remedy="Name the folder that holds all files: --root FOLDER",
        )
