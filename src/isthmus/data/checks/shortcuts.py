"""Layer 1: ISX028: what is no content predicts the label: names, sizes, ids, one column, a word."""

from __future__ import annotations

import io
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np

from isthmus.data.checks.finding import Finding, Severity
from isthmus.data.checks.view import RawView
from isthmus.data.samples import FileItems, FrameItems, Samples
from isthmus.types import Array

MAX_ROWS, LEAST_ROWS = 400, 40
METADATA, COLUMN, WORD = 0.5, 0.9, 0.9  # share of the way from chance to perfect
NUMBERS = "the number in the file name"
_NUMBER = re.compile(r"\d+")
_TOKEN = re.compile(r"[^\W_]+")
_ID_NAME = re.compile(r"(^|_)(id|no|nr|num|number|index|row|key|code|record)s?($|_)", re.IGNORECASE)


def find(view: RawView) -> Iterable[Finding]:
    """Probes on one kind of evidence each, cross-validated on the training rows."""
    for role, part in view.training:
        if part.task != "classification" or part.labels is None or len(part) < LEAST_ROWS:
            continue
        rows = view.chosen(part, MAX_ROWS)
        y = np.array([str(v) for v in part.labels[rows]])
        if min(Counter(y).values()) < 3 or len(set(y)) < 2:
            continue
        for name, probe in _probes(part, rows).items():
            skill = tree_skill(probe, y)
            limit = COLUMN if isinstance(part.items, FrameItems) else METADATA
            if name.startswith("id-like "):
                limit = METADATA
            if skill >= limit:
                # files are often numbered class by class; nothing here reads the number
                harmless = name == NUMBERS
                yield _finding(name, role, part, skill, "info" if harmless else "warning")
        if part.modality == "text":
            word, skill = telling_word([part.items[int(r)] for r in rows], y)
            if skill >= WORD:
                yield _finding(f"the word {word!r}", role, part, skill)


def _finding(
    name: str, role: str, part: Samples, skill: float, severity: Severity = "warning"
) -> Finding:
    return Finding(
        "ISX028",
        severity,
        f"{name} alone predicts the label of the {role} rows",
        f"cross-validated, {100 * skill:.0f} % of the way from chance to perfect",
        where=part.origin,
        remedy="Check where it comes from; leave it out if new data will not carry it",
        figures={"skill": skill},
    )


def tree_skill(values: Array, y: Array) -> float:
    """Balanced accuracy of a small tree in 5 folds, as share of the way from chance to 1.

    Parameters
    ----------
    values : ndarray of shape (n,) or (n, k)
    y : ndarray of shape (n,)
    """
    from sklearn.model_selection import StratifiedKFold
    from sklearn.tree import DecisionTreeClassifier

    X = values.reshape(len(y), -1)
    if (np.ptp(X, axis=0) == 0).all():
        return 0.0
    classes = np.unique(y)
    folds = min(5, min(Counter(y).values()))
    predicted = np.empty(len(y), dtype=y.dtype)
    for train, test in StratifiedKFold(folds, shuffle=True, random_state=0).split(X, y):
        tree = DecisionTreeClassifier(
            max_leaf_nodes=4 * len(classes), min_samples_leaf=2, random_state=0
        )
        predicted[test] = tree.fit(X[train], y[train]).predict(X[test])
    recall = np.mean([(predicted[y == c] == c).mean() for c in classes])
    return float((recall - 1 / len(classes)) / (1 - 1 / len(classes)))


def _probes(part: Samples, rows: Array) -> dict[str, Array]:
    """Name of the evidence -> (n,) or (n, k) numbers."""
    found: dict[str, Array] = {}
    if isinstance(part.items, FrameItems):
        frame = part.items.frame.iloc[rows]
        for name in frame.columns:
            column = frame[name]
            kind = getattr(column.dtype, "kind", "O")
            if kind in "biuf":
                values = column.to_numpy(dtype=float, na_value=np.nan)
                values = np.where(np.isfinite(values), values, -1e9)
            else:
                values = column.astype(str).factorize(sort=True)[0].astype(float)
                if len(set(values)) > len(rows) / 4:  # free text, names
                    continue
            unique = len(np.unique(values)) == len(rows)
            whole = kind in "iu" or bool((values == np.round(values)).all())
            like_id = unique and whole and (_ID_NAME.search(str(name)) or _sorted(values))
            found[f"{'id-like ' if like_id else ''}column {name!r}"] = values
        return found
    if isinstance(part.items, FileItems):
        found["the file size"] = _sizes(part.items, rows)
    names = [part.ids[int(r)].rsplit("/", 1)[-1] for r in rows]
    if isinstance(part.items, FileItems) and not _label_in_name(part):
        numbers, words = _name_parts(names)
        found[NUMBERS], found["the words in the file name"] = numbers, words
    if part.modality == "image":
        found["size and kind of the picture file"] = np.array(
            [_header(part.items[int(r)]) for r in rows]
        )
    elif part.modality == "text":
        found["the length of the text"] = np.array([len(part.items[int(r)]) for r in rows], float)
    return found


def _sorted(values: Array) -> bool:
    steps = np.diff(values)
    return bool((steps > 0).all() or (steps < 0).all())


def _sizes(items: FileItems, rows: Array) -> Array:
    found = np.zeros(len(rows))
    for i, row in enumerate(rows):
        try:
            found[i] = (items.root / items.names[int(row)]).stat().st_size
        except OSError:
            continue
    return found


def _label_in_name(part: Samples) -> bool:
    """Whether the labels were read from the names: then a name that predicts is no wonder."""
    entry = part.understood.get("label")
    value = str(entry.get("value") or "") if isinstance(entry, dict) else ""
    return "{label}" in value


def _name_parts(names: list[str]) -> tuple[Array, Array]:
    """(n, 2) first and last number in each name; (n,) its words as codes, where there are few."""
    numbers = [[float(n[:12]) for n in _NUMBER.findall(name)] or [-1.0] for name in names]
    words = [_NUMBER.sub("", name.rsplit(".", 1)[0].casefold()) for name in names]
    order = {word: code for code, word in enumerate(sorted(set(words)))}
    codes = [order[word] if len(order) < len(names) / 4 else 0 for word in words]
    return np.array([[n[0], n[-1]] for n in numbers]), np.array(codes, dtype=float)


def _header(raw: Any) -> list[float]:
    """Width, height, mode and JPEG quality, without decoding."""
    from PIL import Image

    if isinstance(raw, np.ndarray):
        return [float(raw.shape[0]), float(raw.shape[1]), 0.0, 0.0]
    try:
        with Image.open(io.BytesIO(raw)) as image:
            tables = getattr(image, "quantization", None) or {}
            quality = float(sum(sum(table) for table in tables.values()))
            mode = float(sum(map(ord, image.mode + (image.format or ""))))
            return [float(image.width), float(image.height), mode, quality]
    except Exception:  # damaged files are another finding
        return [0.0, 0.0, 0.0, 0.0]


def telling_word(texts: list[str], y: Array) -> tuple[str, float]:
    """The word whose presence says most about one class, and its skill for that class."""
    seen: dict[str, list[int]] = defaultdict(list)
    for row, text in enumerate(texts):
        for word in set(_TOKEN.findall(str(text).casefold())):
            seen[word].append(row)
    best, skill = "", 0.0
    for word, rows in seen.items():
        if len(rows) < 0.1 * len(y):
            continue
        has = np.zeros(len(y), dtype=bool)
        has[rows] = True
        for name in set(y):
            mine = y == name
            found = has[mine].mean() - has[~mine].mean()  # Youden's J
            if abs(found) > skill:
                best, skill = word, float(abs(found))
    return best, skill
