"""Layer 2: the default for tables: skrub's TableVectorizer, fitted on the training rows.

skrub decides per column (number, date, few names, many names) and fits the encoders; they are kept
as plain numbers (`isthmus.backbone.tabular_columns`), applied by our own code and stored without
pickle. A test compares the result with skrub's own.

================================  ================================================================
column                            features
================================  ================================================================
numbers, booleans, durations      the value; missing and infinite: the median, and one indicator
texts that are all numbers        the same: "1" is 1
dates (also as texts)             year, month, day, hour, weekday, seconds since 1970
under 40 different names          one indicator each, missing included; unseen names: zeros
40 and more                       30 numbers: latent semantic analysis of 3- and 4-grams
constant or empty                 none, with a note
================================  ================================================================
"""

from __future__ import annotations

import difflib
import logging
import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from isthmus import iofs
from isthmus.backbone import tabular_clean as clean
from isthmus.backbone.tabular_clean import Plain
from isthmus.backbone.tabular_columns import Category, Column, Date, Number, Text, restore
from isthmus.errors import BackboneError, DataError, UsageError, need
from isthmus.types import Array, Modality

log = logging.getLogger(__name__)

CODE = 1  # raise it whenever the same rows would give other features
NEARLY = 0.9  # a text column with this share of numbers is worth a note


@dataclass(frozen=True)
class TabularBackbone:
    """A `FrameBackbone`: fit on the training frame, then apply to any frame with its columns.

    Parameters
    ----------
    cardinality : int, default=40
        A text column with fewer different names is one-hot encoded.
    components : int, default=30
        Features of a text column with as many or more.
    columns : tuple of Column
        The fitted encoders, in the order of the training frame; empty before `fit`.
    ignored : tuple of str
        Columns of the training frame without features (constant, empty).
    notes : tuple of str
        What `fit` did that a user may want to know.
    """

    cardinality: int = 40
    components: int = 30
    columns: tuple[Column, ...] = ()
    ignored: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    name: str = "tabular"
    modality: Modality = "table"

    @property
    def features(self) -> list[str]:
        """Name of every feature."""
        return [feature for column in self.columns for feature in column.features]

    @property
    def num_features(self) -> int:
        return len(self.features)

    @property
    def recipe(self) -> dict[str, Any]:
        return {"kind": "table", "cardinality": self.cardinality, "components": self.components}

    @property
    def reference(self) -> dict[str, Any]:
        """Rebuilds the unfitted backbone; the fit is in `state`."""
        return {"spec": "tabular"}

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the fitted state."""
        tensors, meta = self.state()
        digests = {
            key: [str(t.dtype), list(t.shape), iofs.sha256_bytes(t.tobytes())]
            for key, t in tensors.items()
        }
        return iofs.sha256_bytes(iofs.canonical_json(["tabular", CODE, meta, digests]))

    def fit(self, frame: Any) -> TabularBackbone:
        """A fitted copy.

        Parameters
        ----------
        frame : pandas or polars DataFrame
            Training rows, features only: every column is used.

        Raises
        ------
        DataError
            If there are no rows, two columns of one name, a cell that is a list, or nothing that
            varies.
        """
        table = clean.as_pandas(frame)
        if not len(table):
            raise DataError("the table has no rows")
        notes: list[str] = []
        plain = [
            _typed(clean.plain(table[name], where=name), name, notes) for name in table.columns
        ]
        vectorizer = self._vectorizer(plain)
        columns, ignored = [], []
        for place, (name, column) in enumerate(zip(table.columns, plain, strict=True)):
            made = _fitted(name, column, vectorizer, f"c{place}")
            if made is None:
                ignored.append(name)
                what = "empty" if column.missing.all() else "constant"
                notes.append(f"{name}: {what}, not used")
            else:
                columns.append(made)
                notes += _worth_saying(name, column, made)
        if not columns:
            raise DataError(
                "no column of the table varies", why=f"all of {', '.join(ignored[:5])} are constant"
            )
        return replace(self, columns=tuple(columns), ignored=tuple(ignored), notes=tuple(notes))

    def __call__(self, frame: Any) -> Array:
        """(n, num_features) float32, finite. What was odd is logged; see `encode`."""
        features, notes = self.encode(frame)
        for note in notes:
            log.warning("%s", note)
        return features

    def encode(self, frame: Any) -> tuple[Array, tuple[str, ...]]:
        """Features and notes: columns ignored, values unseen, missing or unreadable.

        Parameters
        ----------
        frame : pandas or polars DataFrame
            Columns are found by name; their order does not matter.

        Raises
        ------
        UsageError
            Before `fit`.
        DataError
            If a column is missing, or holds something else than while fitting.
        """
        if not self.columns:
            raise UsageError("the table encoder is not fitted", remedy="Call fit(frame) first")
        table = clean.as_pandas(frame)
        wanted = [column.name for column in self.columns]
        missing = [name for name in wanted if name not in table.columns]
        if missing:
            raise DataError(
                f"the table lacks {len(missing)} of {len(wanted)} columns: {_list(missing)}",
                why=_near(missing, [c for c in table.columns if c not in wanted]),
                remedy="Provide the columns that the model was fitted on",
            )
        known = {*wanted, *self.ignored}
        extra = [name for name in table.columns if name not in known]
        notes = [f"columns not used while fitting are ignored: {_list(extra)}"] if extra else []
        blocks = []
        for column in self.columns:
            block, more = column.encode(clean.plain(table[column.name], where=column.name))
            blocks.append(block)
            notes += more
        return np.hstack(blocks), tuple(notes)

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """(tensors, JSON); `from_state` gives a backbone whose features are bit-identical."""
        tensors: dict[str, Array] = {}
        entries = []
        for place, column in enumerate(self.columns):
            own, meta = column.state()
            tensors |= {f"columns.{place}.{key}": value for key, value in own.items()}
            entries.append({"name": column.name, "kind": column.kind, **meta})
        return tensors, {
            "code": CODE,
            "cardinality": self.cardinality,
            "components": self.components,
            "columns": entries,
            "ignored": list(self.ignored),
            "notes": list(self.notes),
        }

    @classmethod
    def from_state(cls, tensors: dict[str, Array], meta: dict[str, Any]) -> TabularBackbone:
        """The fitted backbone of a `state`.

        Raises
        ------
        BackboneError
            If the state is damaged or of another version.
        """
        if meta.get("code") != CODE:
            raise BackboneError(
                f"the table encoder was stored by version {meta.get('code')!r} of its code",
                why=f"this is version {CODE}",
                remedy="Fit the model again",
            )
        columns = []
        try:
            for place, entry in enumerate(meta["columns"]):
                prefix = f"columns.{place}."
                own = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
                columns.append(restore(str(entry["name"]), str(entry["kind"]), own, entry))
            return cls(
                cardinality=int(meta["cardinality"]),
                components=int(meta["components"]),
                columns=tuple(columns),
                ignored=tuple(str(v) for v in meta["ignored"]),
                notes=tuple(str(v) for v in meta["notes"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BackboneError(
                "the stored table encoder is damaged", why=f"{type(error).__name__}: {error}"
            ) from None

    def _vectorizer(self, plain: list[Plain]) -> Any:
        """skrub's TableVectorizer, fitted on the cleaned columns under the names c0, c1, ..."""
        skrub = need("skrub", extra="tabular")
        from sklearn.preprocessing import OneHotEncoder

        made = skrub.TableVectorizer(
            cardinality_threshold=self.cardinality,
            # No name is left out where there are two, as skrub would: an unseen one must differ
            # from both.
            low_cardinality=OneHotEncoder(
                sparse_output=False, dtype="float32", handle_unknown="ignore"
            ),
            high_cardinality=skrub.StringEncoder(n_components=self.components, random_state=0),
            datetime=skrub.DatetimeEncoder(add_weekday=True),
            drop_if_constant=True,
        )
        table = pd.DataFrame({f"c{i}": _for_skrub(column) for i, column in enumerate(plain)})
        with warnings.catch_warnings():
            # fewer different n-grams than components: handled by Text, nothing is lost
            warnings.filterwarnings("ignore", message="The matrix shape is", category=UserWarning)
            return made.fit(table)


def _typed(column: Plain, name: str, notes: list[str]) -> Plain:
    """Names that are all numbers become numbers, before skrub might see years or dates in them."""
    if column.kind != "name" or column.category or column.missing.all():
        return column
    values, bad = clean.numbers(column)
    if not bad:
        return Plain("number", values)
    present = int((~column.missing).sum())
    if len(bad) <= (1 - NEARLY) * present:
        notes.append(
            f"{name}: taken as text because {len(bad)} of {present} values are not numbers, "
            f"for example {bad[0][:40]!r}"
        )
    return column


def _for_skrub(column: Plain) -> pd.Series:
    if column.kind == "number":
        # infinity counts as missing everywhere
        return pd.Series(np.where(np.isfinite(column.values), column.values, np.nan))
    if column.kind == "date":
        return column.values.reset_index(drop=True)
    return pd.Series(column.values, dtype="category" if column.category else object)


def _fitted(name: str, column: Plain, vectorizer: Any, label: str) -> Column | None:
    """What skrub found the column to be, with its numbers; None where it dropped the column."""
    kind = vectorizer.column_to_kind_.get(label)
    encoder = vectorizer.transformers_.get(label)
    if encoder is None or label not in vectorizer.transformers_:
        return None
    if kind == "numeric":
        return Number.fitted(name, column)
    if kind == "low_cardinality":
        found = [None if pd.isna(v) else str(v) for v in encoder.categories_[0]]
        return Category(name, tuple(found))
    if kind == "high_cardinality":
        return Text.fitted(name, column, encoder)
    reader = next(
        (s for s in vectorizer.all_processing_steps_[label] if type(s).__name__ == "ToDatetime"),
        None,
    )
    zone = None if reader is None else reader.output_time_zone_
    return Date.fitted(
        name,
        column,
        list(encoder.extracted_features_),
        None if reader is None else reader.format_,
        None if zone is None else str(zone),
    )


def _worth_saying(name: str, column: Plain, made: Column) -> list[str]:
    """Notes on a fitted column: infinite values, and names that differ in every row."""
    if isinstance(made, Number):
        infinite = int(np.isinf(column.values).sum())
        return [f"{name}: {infinite} infinite, taken as missing"] if infinite else []
    if isinstance(made, Text):
        found = column.values[~column.missing]
        if len(set(found)) == len(found):
            return [f"{name}: a different text in every row; if it is an identifier, leave it out"]
    return []


def _near(missing: list[str], others: list[str]) -> str:
    """Columns of nearly the same name: the usual cause."""
    folded = {name.strip().casefold(): name for name in others}
    for name in missing:
        close = difflib.get_close_matches(name.strip().casefold(), folded, n=1, cutoff=0.8)
        if close:
            return f"there is {folded[close[0]]!r} in place of {name!r}"
    return ""


def _list(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def load(name: str = "", **options: Any) -> TabularBackbone:
    """The default table encoder, unfitted.

    Raises
    ------
    UsageError
        If an option is given that only a network has.
    """
    given = [k for k, v in options.items() if v not in (None, False) and k != "device"]
    if given or name:
        raise UsageError(f"{given[0] if given else name!r} does not apply to tables")
    return TabularBackbone()
