"""Layer 7: what a model remembers of its rows, and whether new rows keep to it.

Three things are kept in the manifest: a sketch of the digests of the rows that trained it (is a
"new" row an old one?), the range of every column (another unit?), and the moments of the features
(another preprocessing?). Nothing of a row can be read back from them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from isthmus.backbone.keys import item_digest
from isthmus.data.checks.duplicates import rounded_numbers
from isthmus.data.checks.finding import Finding
from isthmus.data.samples import FrameItems, Samples
from isthmus.errors import IsthmusError
from isthmus.types import Array

VERSION = 1
SKETCH = 2048  # smallest hashes that are kept of the training rows
LEAST_ROWS = 8
OUTSIDE = 0.5  # share of a column's values outside the remembered range
SPREAD, SHIFT, KIND = 3.0, 3.0, 0.5
SHARED = 0.01


def contract_of(
    trained: Samples, features: Sequence[Array] = (), parts: Sequence[Samples] = ()
) -> dict[str, Any]:
    """JSON-ready facts about the rows that a model was made with.

    Parameters
    ----------
    trained : Samples
        Rows whose labels trained the model.
    features : sequence of ndarray
        Features of everything that was seen before the model served: training and target rows,
        so that the gap between the domains is no news later.
    parts : sequence of Samples
        The same parts as samples, for the ranges of table columns.
    """
    hashes, count = sketch(trained)
    found: dict[str, Any] = {"version": VERSION, "rows": {"count": count, "sketch": hashes}}
    frames = [p.items.frame for p in (*parts, trained) if isinstance(p.items, FrameItems)]
    if frames:
        found["columns"] = _ranges(frames)
    if len(features):
        found["features"] = _moments(features)
    return found


def sketch(samples: Samples, most: int = SKETCH) -> tuple[list[str], int]:
    """The `most` smallest 64-bit hashes of the rows, and how many rows there were."""
    hashes = sorted({value for value in _hashes(samples) if value})
    return hashes[:most], len(samples)


def _hashes(samples: Samples) -> Iterable[str]:
    items = samples.items
    if isinstance(items, FrameItems):
        import pandas as pd

        texts = rounded_numbers(items.frame).astype(str)
        for value in pd.util.hash_pandas_object(texts, index=False):
            yield f"{int(value):016x}"
        return
    for row in range(len(items)):
        try:
            yield hashlib.sha256(b"row\0" + item_digest(items[row])).hexdigest()[:16]
        except (IsthmusError, OSError):
            yield ""


def _ranges(frames: Sequence[Any]) -> dict[str, list[float]]:
    """Column -> [1 %, 99 %] quantile over all parts, and the spread between the quartiles."""
    found = {}
    for name in frames[0].select_dtypes(include="number").columns:
        values = np.concatenate(
            [
                frame[name].to_numpy(dtype=float, na_value=np.nan)
                for frame in frames
                if name in frame.columns and getattr(frame[name].dtype, "kind", "O") in "biuf"
            ]
        )
        values = values[np.isfinite(values)]
        if len(values) >= LEAST_ROWS:
            low, first, third, high = np.percentile(values, [1, 25, 75, 99])
            found[str(name)] = [float(low), float(high), float(third - first)]
    return found


def _moments(features: Sequence[Array]) -> dict[str, Any]:
    """Of each part: shares of zeros, negatives and whole numbers, mean and deviation, rounded."""
    return {"parts": [_part(np.asarray(X)) for X in features if len(X) >= LEAST_ROWS]}


def _part(X: Array) -> dict[str, Any]:
    X = np.asarray(X[:2000], dtype=np.float64)
    return {
        "zero": float((X == 0).mean()),
        "negative": float((X < 0).mean()),
        "whole": float((np.round(X) == X).mean()),
        "mean": [float(f"{v:.4g}") for v in X.mean(axis=0)],
        "std": [float(f"{v:.4g}") for v in X.std(axis=0)],
    }


def recheck(
    contract: dict[str, Any], samples: Samples, features: Array, *, scored: bool = False
) -> list[Finding]:
    """What new rows break of the contract.

    Parameters
    ----------
    contract : dict
        As `contract_of` made it; empty or of another version: nothing is checked.
    samples, features
        New rows, and the features of those that could be read.
    scored : bool, default=False
        Whether a score will be computed: then rows that trained the model are reported.
    """
    if contract.get("version") != VERSION:
        return []
    found: list[Finding] = []
    try:
        if scored:
            found += _known_rows(contract["rows"], samples)
        if isinstance(samples.items, FrameItems) and "columns" in contract:
            found += _columns(contract["columns"], samples)
        if "features" in contract and len(features) >= LEAST_ROWS:
            found += _features(contract["features"], samples, np.asarray(features))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        reason = f"{type(error).__name__}: {error}"[:200]
        return [*found, Finding("ISX099", "info", "the contract could not be checked", reason)]
    return found


def _known_rows(rows: dict[str, Any], samples: Samples) -> Iterable[Finding]:
    known = set(rows["sketch"])
    whole = len(rows["sketch"]) < SKETCH
    limit = "g" if whole else max(known, default="")  # beyond it the sketch knows nothing
    seen = [value for value in _hashes(samples) if value and value <= limit]
    shared = sum(value in known for value in seen)
    if seen and shared > max(1, SHARED * len(seen)):
        share = shared / len(seen)
        yield Finding(
            "ISX001",
            "warning",
            f"about {100 * share:.0f} % of the scored rows trained the model",
            f"{shared} of {len(seen)} rows looked at are among the {rows['count']} training rows",
            where=samples.origin,
            remedy="Score rows that the model has not seen",
            figures={"share": share},
        )


def _columns(ranges: dict[str, list[float]], samples: Samples) -> Iterable[Finding]:
    assert isinstance(samples.items, FrameItems)
    frame = samples.items.frame
    for name, (low, high, spread) in ranges.items():
        if name not in frame.columns or getattr(frame[name].dtype, "kind", "O") not in "biuf":
            continue
        values = frame[name].to_numpy(dtype=float, na_value=np.nan)
        values = values[np.isfinite(values)]
        if len(values) < LEAST_ROWS:
            continue
        room = max(spread, 0.1 * (high - low), 1e-12)
        outside = float(((values < low - room) | (values > high + room)).mean())
        if outside > OUTSIDE:
            yield Finding(
                "ISX007",
                "warning",
                f"the column {name!r} is not what it was in training",
                f"{100 * outside:.0f} % of its values lie outside {low:g}..{high:g}; median "
                f"{float(np.median(values)):g}: another unit, or other preparation?",
                where=samples.origin,
                remedy="Prepare the column as for training",
                figures={"outside": outside},
            )


def _features(kept: dict[str, Any], samples: Samples, X: Array) -> Iterable[Finding]:
    now = _part(X)
    breaches = [_breach(then, now) for then in kept["parts"]]
    if not breaches or not all(breaches):  # like one of the known parts: fine
        return
    yield Finding(
        "ISX007",
        "warning",
        "the features are not what they were when the model was made",
        breaches[-1],
        where=samples.origin,
        remedy="Prepare the input as for training; `isthmus verify` replays stored examples",
    )


def _breach(then: dict[str, Any], now: dict[str, Any]) -> str:
    """In which way one part differs; empty where it does not."""
    for kind, words in (
        ("zero", "zeros"),
        ("negative", "negative values"),
        ("whole", "whole numbers"),
    ):
        if abs(then[kind] - now[kind]) > KIND:
            return f"{100 * then[kind]:.0f} % {words} then, {100 * now[kind]:.0f} % now"
    std, new = np.array(then["std"]), np.array(now["std"])
    varying = std > 1e-9 * max(float(std.max(initial=0)), 1e-12)
    if len(std) != len(new) or not varying.any():
        return ""
    ratio = float(np.median(new[varying] / std[varying]))
    if ratio > SPREAD or ratio < 1 / SPREAD:
        return f"they spread {ratio:.2g} times as far"
    shift = np.abs(np.array(now["mean"]) - np.array(then["mean"]))[varying] / std[varying]
    if float(np.median(shift)) > SHIFT:
        return f"their means moved by {float(np.median(shift)):.1f} deviations"
    return ""
