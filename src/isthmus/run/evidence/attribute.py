"""Layer 8: what a prediction rests on: parts are hidden, and the fall of its probability is read.

Occlusion (Zeiler & Fergus, ECCV 2014) needs nothing but the model's answers, so it holds for every
backbone and every route, blends included; gradients would need a torch model.
"""

from __future__ import annotations

import logging
import time
from typing import Any

import numpy as np

from isthmus.backbone import embed
from isthmus.data.samples import FrameItems, Items, Samples, ValueItems
from isthmus.errors import DataError, IsthmusError
from isthmus.fit.blend import Model
from isthmus.run.evidence.occlude import Hidden, hide_columns, hide_pixels, hide_sound, hide_words
from isthmus.run.evidence.rows import PARTS, Kept, chosen_to_explain, part_of
from isthmus.run.evidence.scored import Scored
from isthmus.run.extract import Extracted
from isthmus.types import Array

logger = logging.getLogger(__name__)
PERMUTED, REPEATS, MOST_COLUMNS = 400, 5, 40


def explain(
    kept: Kept,
    features: Extracted,
    model: Model,
    *,
    near: dict[int, Any],
    deadline: float,
    notes: list[str],
) -> tuple[list[int], list[dict[str, Any]]]:
    """Occlusion of some rows, as many as the time allows.

    Returns
    -------
    list of int
        The rows chosen, positions in `kept`; also those that were not reached.
    list of dict
        ``row``, ``kind``, ``predicted``, ``base`` (its probability, or the value), ``drops`` (in
        the order of the parts; positive: hiding it lowers the probability) and what the parts are.
    """
    rows = [i for i in chosen_to_explain(kept) if i in near or not near]
    if model.task == "multilabel":
        notes.append("Single predictions are not taken apart where a row has several labels.")
        return rows, []
    modality = features.target.samples.modality
    if modality == "features":
        return rows, []
    found: list[dict[str, Any]] = []
    slow = 0.0
    for count, i in enumerate(rows):
        start = time.monotonic()
        if start + slow > deadline:
            notes.append(f"The time allowed for {count} of {len(rows)} occlusions.")
            break
        try:
            found.append({"row": i, **_taken_apart(kept, i, features, model, modality)})
        except IsthmusError as error:
            logger.info("no occlusion of %s: %s", kept.ids[i], error)
            continue
        slow = max(slow, time.monotonic() - start)
    return rows, found


def _taken_apart(
    kept: Kept, i: int, features: Extracted, model: Model, modality: str
) -> dict[str, Any]:
    part = part_of(features, PARTS[kept.part[i]])
    assert part is not None
    raw = part.samples.items[kept.row[i]]
    if modality == "image":
        hidden = hide_pixels(raw, where=kept.ids[i])
    elif modality == "text":
        hidden = hide_words(str(raw))
    elif modality == "audio":
        hidden = hide_sound(raw, where=kept.ids[i])
    else:
        lead = features.source or features.labelled
        assert lead is not None and isinstance(lead.samples.items, FrameItems)
        hidden = hide_columns(raw, lead.samples.items.frame)
    values = _answer(hidden, features, model)
    if model.task == "regression":
        return {
            "kind": modality,
            "predicted": None,
            "base": float(values[0, 0]),
            **hidden.facts,
        } | {"drops": [round(float(values[0, 0] - v), 5) for v in values[1:, 0]]}
    best = int(values[0].argmax())
    falls = values[0, best] - values[1:, best]
    return {
        "kind": modality,
        "predicted": model.classes[best],
        "base": round(float(values[0, best]), 5),
        **hidden.facts,
        "drops": [round(float(v), 5) for v in falls],
    }


def _answer(hidden: Hidden, features: Extracted, model: Model) -> Array:
    X = _features(hidden.items, features)
    if model.task == "regression":
        return np.asarray(model.predict(X), dtype=float).reshape(-1, 1)
    return np.asarray(model.predict_proba(X), dtype=float)


def _features(items: Any, features: Extracted) -> Array:
    """Features of raw items, or of a frame; odd values in made-up rows are no news."""
    backbone = features.backbone
    kind: Items = ValueItems(items) if isinstance(items, list) else FrameItems(items)
    names = tuple(f"variant {k}" for k in range(len(kind)))
    got = embed(backbone, Samples(kind, names, backbone.modality), store=None)
    if len(got.rows) != len(kind):
        raise DataError(got.problems[0].reason if got.problems else "not all were reached")
    return np.asarray(got.features)


def permutation(
    features: Extracted,
    model: Model,
    scored: Scored | None,
    *,
    deadline: float,
    seed: int,
    notes: list[str],
) -> dict[str, Any] | None:
    """Loss of accuracy when one column of a table is shuffled among the rows (Breiman 2001).

    Without known labels, the share of predictions that change. Five shuffles a column; the spread
    is that of the shuffles.
    """
    part = features.target
    truth = None
    if scored is not None and scored.role == "test" and features.test is not None:
        part, truth = features.test, scored.truth
    items = part.samples.items
    if not isinstance(items, FrameItems) or model.task == "multilabel":
        return None
    rng = np.random.default_rng(seed)
    rows = np.arange(len(items))
    if len(rows) > PERMUTED:
        rows = np.sort(rng.choice(rows, PERMUTED, replace=False))
    frame = items.frame.iloc[rows].reset_index(drop=True)
    before = np.asarray(model.predict(_features(frame, features)))
    y = before if truth is None else truth[rows]
    base = _agreement(before, y, model.task)
    entries: list[dict[str, Any]] = []
    names = list(frame.columns)[:MOST_COLUMNS]
    for name in names:
        if time.monotonic() > deadline:
            notes.append(f"The time allowed for {len(entries)} of {len(names)} columns.")
            break
        losses = []
        for _ in range(REPEATS):
            shuffled = frame.copy()
            order = rng.permutation(len(frame))
            shuffled[name] = frame[name].iloc[order].to_numpy()
            after = np.asarray(model.predict(_features(shuffled, features)))
            losses.append(base - _agreement(after, y, model.task))
        entries.append(
            {
                "column": str(name),
                "loss": round(float(np.mean(losses)), 5),
                "low": round(float(np.min(losses)), 5),
                "high": round(float(np.max(losses)), 5),
            }
        )
    entries.sort(key=lambda entry: -float(entry["loss"]))
    return {
        "of": "score" if truth is not None else "agreement",
        "task": model.task,
        "rows": len(rows),
        "repeats": REPEATS,
        "columns": entries,
    }


def _agreement(predicted: Array, y: Array, task: str) -> float:
    """Accuracy, or minus the mean absolute error."""
    if task == "regression":
        return -float(np.abs(np.asarray(predicted, float) - np.asarray(y, float)).mean())
    return float((predicted.astype(str) == np.asarray(y).astype(str)).mean())
