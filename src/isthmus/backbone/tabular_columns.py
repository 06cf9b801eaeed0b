"""Layer 2: fitted encoders of single columns, as plain values that can be stored without pickle.

skrub decides what a column is and fits its encoder; what is kept here is the fitted numbers, and
the few lines that apply them. Serving needs neither skrub nor the training data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from isthmus.backbone import tabular_clean as clean
from isthmus.backbone.tabular_clean import Plain
from isthmus.errors import BackboneError, DataError
from isthmus.types import Array

# More unreadable values than this, and the column is another one than at fitting.
MOST_UNREADABLE = 0.5
_LARGEST = float(np.finfo(np.float32).max)
_PARTS: dict[str, Callable[[Any], Any]] = {
    "year": lambda dates: dates.dt.year,
    "month": lambda dates: dates.dt.month,
    "day": lambda dates: dates.dt.day,
    "hour": lambda dates: dates.dt.hour,
    "weekday": lambda dates: dates.dt.day_of_week + 1,
    "total_seconds": lambda dates: (
        (dates - pd.Timestamp(0, tz=dates.dt.tz)) / pd.Timedelta(seconds=1)
    ),
}
Encoded = tuple[Array, list[str]]


@dataclass(frozen=True)
class Number:
    """A number; missing and infinite ones are the median of the training rows.

    Parameters
    ----------
    median : float
    indicator : bool
        A second feature is 1 where the value was missing: only if some were while fitting.
    """

    name: str
    median: float
    indicator: bool
    kind = "number"

    @property
    def features(self) -> list[str]:
        return [self.name, *([f"{self.name} is missing"] if self.indicator else [])]

    def encode(self, column: Plain) -> Encoded:
        """(n, 1 or 2) float32 and notes."""
        values, bad = clean.numbers(column)
        notes = _unreadable(self.name, "numbers", bad, column)
        return _filled(self.name, values[:, None], (self.median,), self.indicator, notes)

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        return {}, {"median": self.median, "indicator": self.indicator}

    @classmethod
    def fitted(cls, name: str, column: Plain) -> Number:
        values = clean.numbers(column)[0]
        usable = values[_usable(values)]
        return cls(name, float(np.median(usable)), bool(usable.size < values.size))


@dataclass(frozen=True)
class Date:
    """A date: its parts as numbers, and the seconds since 1970.

    Parameters
    ----------
    parts : tuple of str
        Which; hours only if some date had a time of day.
    format, zone : str or None
        How texts are read; time zone in which the parts are taken.
    medians : tuple of float
        Per part, for missing dates.
    """

    name: str
    parts: tuple[str, ...]
    format: str | None
    zone: str | None
    medians: tuple[float, ...]
    indicator: bool
    kind = "date"

    @property
    def features(self) -> list[str]:
        made = [f"{self.name} {part}" for part in self.parts]
        return [*made, *([f"{self.name} is missing"] if self.indicator else [])]

    def encode(self, column: Plain) -> Encoded:
        """(n, parts [+ 1]) float32 and notes."""
        values, bad = _date_parts(column, self.parts, self.format, self.zone)
        notes = _unreadable(self.name, "dates", bad, column)
        return _filled(self.name, values, self.medians, self.indicator, notes)

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        return {}, {
            "parts": list(self.parts),
            "format": self.format,
            "zone": self.zone,
            "medians": list(self.medians),
            "indicator": self.indicator,
        }

    @classmethod
    def fitted(
        cls, name: str, column: Plain, parts: list[str], format: str | None, zone: str | None
    ) -> Date:
        values, _ = _date_parts(column, tuple(parts), format, zone)
        usable = ~np.isnan(values).any(1)
        medians = tuple(float(m) for m in np.median(values[usable], axis=0))
        return cls(name, tuple(parts), format, zone, medians, not bool(usable.all()))


@dataclass(frozen=True)
class Category:
    """One feature per name of the training rows; a name unseen there gives zeros everywhere.

    Parameters
    ----------
    names : tuple of str or None
        None stands for a missing value, if there were any.
    """

    name: str
    names: tuple[str | None, ...]
    kind = "category"

    @property
    def features(self) -> list[str]:
        return [f"{self.name} = {'missing' if n is None else n}" for n in self.names]

    def encode(self, column: Plain) -> Encoded:
        """(n, names) float32 and notes."""
        place = {name: i for i, name in enumerate(self.names)}
        found = clean.names(column)
        codes = np.array([place.get(name, -1) for name in found], dtype=np.int64)
        made = np.zeros((len(codes), len(self.names)), dtype=np.float32)
        known = np.flatnonzero(codes >= 0)
        made[known, codes[known]] = 1
        unseen = [v for v, code in zip(found, codes) if code < 0 and v is not None]
        notes = []
        if unseen:
            notes.append(f"{self.name}: {_some(unseen)} not seen while fitting, encoded as zeros")
        absent = int(sum(v is None for v in found)) if None not in place else 0
        if absent:
            notes.append(f"{self.name}: {absent} missing, none were while fitting")
        return made, notes

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        return {}, {"names": list(self.names)}


@dataclass(frozen=True)
class Text:
    """Latent semantic analysis of character 3- and 4-grams (skrub's ``StringEncoder``).

    Deerwester et al., "Indexing by latent semantic analysis", JASIS 1990.

    Parameters
    ----------
    grams : tuple of str
        The vocabulary, in the order of the columns of the term matrix.
    idf : ndarray of shape (len(grams),), float64
    components : ndarray of shape (k, len(grams)), float32, or None
        None: fewer than k different grams, whose weights are the features themselves.
    """

    name: str
    grams: tuple[str, ...] = field(repr=False)
    idf: Array = field(repr=False)
    components: Array | None = field(repr=False)
    count: int
    scale: float
    indicator: bool
    ngram_range: tuple[int, int] = (3, 4)
    kind = "text"

    @property
    def features(self) -> list[str]:
        made = [f"{self.name} text {i}" for i in range(self.count)]
        return [*made, *([f"{self.name} is missing"] if self.indicator else [])]

    @cached_property
    def _terms(self) -> Any:
        from sklearn.feature_extraction.text import TfidfVectorizer

        made = TfidfVectorizer(
            analyzer="char_wb",
            ngram_range=self.ngram_range,
            vocabulary={gram: i for i, gram in enumerate(self.grams)},
        )
        made.idf_ = self.idf
        return made

    def encode(self, column: Plain) -> Encoded:
        """(n, count [+ 1]) float32 and notes; a missing text is the empty one."""
        found = clean.names(column)
        missing = np.array([v is None for v in found])
        terms = self._terms.transform(["" if v is None else v for v in found]).astype(np.float32)
        if self.components is None:
            made = terms[:, : self.count].toarray()
        else:
            made = terms @ self.components.T
        made = np.asarray(made, dtype=np.float32) / np.float32(self.scale)
        if self.indicator:
            made = np.column_stack([made, missing.astype(np.float32)])
        notes = []
        if missing.any() and not self.indicator:
            notes.append(f"{self.name}: {int(missing.sum())} missing, none were while fitting")
        return made, notes

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        raw = [gram.encode() for gram in self.grams]
        tensors: dict[str, Array] = {
            "grams": np.frombuffer(b"".join(raw), dtype=np.uint8).copy(),
            "ends": np.cumsum([len(part) for part in raw], dtype=np.int64),
            "idf": self.idf,
        }
        if self.components is not None:
            tensors["components"] = self.components
        return tensors, {
            "count": self.count,
            "scale": self.scale,
            "indicator": self.indicator,
            "ngram_range": list(self.ngram_range),
        }

    @classmethod
    def fitted(cls, name: str, column: Plain, encoder: Any) -> Text:
        """From a fitted skrub ``StringEncoder``."""
        terms = encoder.vectorizer_
        grams = sorted(terms.vocabulary_, key=terms.vocabulary_.__getitem__)
        svd = getattr(encoder, "tsvd_", None)
        return cls(
            name,
            tuple(grams),
            np.asarray(terms.idf_, dtype=np.float64),
            None if svd is None else np.asarray(svd.components_, dtype=np.float32),
            int(encoder.n_components_),
            float(encoder.scaling_factor_),
            bool(column.missing.any()),
            tuple(encoder.ngram_range),
        )


Column = Number | Date | Category | Text


def restore(name: str, kind: str, tensors: dict[str, Array], meta: dict[str, Any]) -> Column:
    """A column encoder from its stored state.

    Raises
    ------
    BackboneError
        If the state is not one that `state` can have written.
    """
    try:
        return _restore(name, kind, tensors, meta)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise BackboneError(
            f"the stored encoder of the column {name!r} is damaged",
            why=f"{type(error).__name__}: {error}",
        ) from None


def _restore(name: str, kind: str, tensors: dict[str, Array], meta: dict[str, Any]) -> Column:
    if kind == "number":
        return Number(name, _finite(meta["median"]), bool(meta["indicator"]))
    if kind == "date":
        parts = tuple(meta["parts"])
        medians = tuple(_finite(m) for m in meta["medians"])
        if len(medians) != len(parts) or not set(parts) <= set(_PARTS):
            raise ValueError("parts and medians do not fit")
        return Date(name, parts, meta["format"], meta["zone"], medians, bool(meta["indicator"]))
    if kind == "category":
        names = tuple(meta["names"])
        if not all(n is None or isinstance(n, str) for n in names):
            raise ValueError("a name is not text")
        return Category(name, names)
    if kind == "text":
        raw, ends = tensors["grams"].tobytes(), [0, *tensors["ends"].tolist()]
        grams = tuple(raw[a:b].decode() for a, b in pairwise(ends))
        components, count = tensors.get("components"), int(meta["count"])
        wide = components is None or components.shape == (count, len(grams))
        if ends[-1] != len(raw) or tensors["idf"].shape != (len(grams),) or not wide:
            raise ValueError("vocabulary, weights and components do not fit")
        low, high = meta["ngram_range"]
        return Text(
            name,
            grams,
            tensors["idf"],
            components,
            count,
            _finite(meta["scale"]),
            bool(meta["indicator"]),
            (int(low), int(high)),
        )
    raise ValueError(f"unknown kind {kind!r}")


def _finite(value: Any) -> float:
    number = float(value)
    if not np.isfinite(number):
        raise ValueError("a number is not finite")
    return number


def _usable(values: Array) -> Array:
    """Neither missing nor infinite, as float32 sees it."""
    return np.abs(values) <= _LARGEST  # False for NaN


def _filled(
    name: str, values: Array, medians: tuple[float, ...], indicator: bool, notes: list[str]
) -> Encoded:
    """Missing and infinite values replaced by the medians, with the indicator where wanted."""
    usable = _usable(values)
    infinite = int((~usable & ~np.isnan(values)).any(1).sum())
    if infinite:
        notes.append(f"{name}: {infinite} infinite or beyond float32, taken as missing")
    lost = ~usable.all(1)
    if lost.any() and not indicator:
        notes.append(f"{name}: {int(lost.sum())} missing, none were while fitting; median used")
    made = np.where(usable, values, np.asarray(medians)).astype(np.float32)
    if indicator:
        made = np.column_stack([made, lost.astype(np.float32)])
    return made, notes


def _date_parts(
    column: Plain, parts: tuple[str, ...], format: str | None, zone: str | None
) -> tuple[Array, list[str]]:
    """(n, parts) float64, NaN where there is no date."""
    found, bad = clean.dates(column, format=format, zone=zone)
    made = [_PARTS[part](found).to_numpy(dtype=np.float64, na_value=np.nan) for part in parts]
    return np.column_stack(made), bad


def _unreadable(name: str, what: str, bad: list[str], column: Plain) -> list[str]:
    """A note on single odd values; a refusal where most of the column is something else."""
    if not bad:
        return []
    present = int((~column.missing).sum())
    if len(bad) > MOST_UNREADABLE * present:
        raise DataError(
            f"the column held {what} while fitting; now {_some(bad)} are not",
            where=name,
            why=f"{len(bad)} of {present} values",
            remedy="Check that the columns were not mixed up",
        )
    return [f"{name}: {_some(bad)} not {what}, taken as missing"]


def _some(values: list[Any]) -> str:
    """``3 values ('a', 'b', ...)``."""
    shown = list(dict.fromkeys(repr(str(v)[:40]) for v in values))
    dots = ", ..." if len(shown) > 3 else ""
    return f"{len(values)} values ({', '.join(shown[:3])}{dots})"
