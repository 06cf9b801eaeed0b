"""Layer 1: what was understood, in plain text for a person or as a mapping for a machine."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from isthmus.data.samples import FrameItems, Samples

_FIRST = ("modality", "task", "label", "domain", "group", "split", "text", "file", "features")
_SHOWN = 10
_NAMES = 12
_WIDTH = 96


def describe(samples: Samples) -> str:
    """The block that is printed before any work starts.

    Rows, classes with their counts, domains, groups, every guess with its reason and its option,
    what was set aside (the first ten, then a count), and notes.

    >>> from isthmus.data import read
    >>> print(describe(read([[0.0], [1.0]], label=["a", "b"])).splitlines()[0])
    array: 2 rows of features, classification
    """
    task = samples.task or "no labels"
    lines = [f"{samples.origin}: {len(samples):,} rows of {samples.modality}, {task}"]
    lines += _labels(samples)
    for role, value in (
        ("domains", samples.domain),
        ("groups", samples.groups),
        ("splits", samples.split),
    ):
        if value is not None:
            lines.append(_field(role, _counts(Counter(map(str, value)), order="count")))
    guesses = [(k, v) for k, v in samples.understood.items() if isinstance(v, dict)]
    guesses.sort(key=lambda guess: _FIRST.index(guess[0]) if guess[0] in _FIRST else len(_FIRST))
    if guesses:
        lines.append("  understood:")
    for name, entry in guesses:
        option = str(entry.get("option", ""))
        hint = f"  [{option}]" if option.startswith("--") else ""
        why = f" ({entry['why']})" if entry.get("why") else ""
        lines.append(f"    {name}: {_short(entry.get('value'))}{why}{hint}")
    lines += _quarantine(samples)
    notes = samples.understood.get("notes") or []
    if notes:
        lines.append("  notes:")
        lines += [f"    - {note}" for note in notes]
    return "\n".join(lines)


def summary(samples: Samples) -> dict[str, Any]:
    """The same as a JSON-ready mapping: what ``--format json`` prints."""
    found: dict[str, Any] = {
        "origin": samples.origin,
        "rows": len(samples),
        "seen": samples.seen,
        "modality": samples.modality,
        "task": samples.task,
        "labelled": int(samples.labelled.sum()),
        "classes": class_counts(samples),
        "understood": {k: _json(v) for k, v in samples.understood.items()},
        "quarantine": [problem.as_dict() for problem in samples.quarantine],
        "first_ids": list(samples.ids[:_SHOWN]),
    }
    for role, value in (
        ("domains", samples.domain),
        ("groups", samples.groups),
        ("splits", samples.split),
    ):
        found[role] = None if value is None else dict(sorted(Counter(map(str, value)).items()))
    if isinstance(samples.items, FrameItems):
        found["columns"] = {str(c): str(t) for c, t in samples.items.frame.dtypes.items()}
    return found


def class_counts(samples: Samples) -> dict[str, int]:
    """Class name -> rows, in the order of ``samples.classes``; empty for regression."""
    if samples.labels is None or samples.task == "regression":
        return {}
    if samples.task == "multilabel":
        return {name: int(samples.labels[:, k].sum()) for k, name in enumerate(samples.classes)}
    counts = Counter(samples.labels)
    return {name: counts[name] for name in samples.classes}


def _labels(samples: Samples) -> list[str]:
    if samples.labels is None:
        return []
    lines = []
    unlabelled = len(samples) - int(samples.labelled.sum())
    if samples.task == "regression":
        values = samples.labels[samples.labelled]
        if len(values):
            low, middle, high = np.min(values), np.median(values), np.max(values)
            lines.append(_field("label", f"from {low:g} to {high:g}, median {middle:g}"))
    else:
        counts = Counter(class_counts(samples))
        lines.append(_field(f"{len(samples.classes)} classes", _counts(counts)))
    if unlabelled:
        lines.append(_field("unlabelled", f"{unlabelled:,} rows"))
    return lines


def _quarantine(samples: Samples) -> list[str]:
    problems = samples.quarantine
    if not problems:
        return []
    share = 100 * len(problems) / max(samples.seen, 1)
    lines = [f"  set aside: {len(problems):,} of {samples.seen:,} ({share:.2f} %)  [--max-bad]"]
    lines += [f"    {p.where}: {p.reason}. {p.remedy}" for p in problems[:_SHOWN]]
    if len(problems) > _SHOWN:
        lines.append(f"    ... and {len(problems) - _SHOWN:,} more")
    return lines


def _counts(counts: Counter[str], order: str = "given") -> str:
    listed = counts.most_common() if order == "count" else list(counts.items())
    shown = ", ".join(f"{name} {count:,}" for name, count in listed[:_NAMES])
    more = f", ... {len(listed) - _NAMES:,} more" if len(listed) > _NAMES else ""
    prefix = f"{len(listed):,}: " if order == "count" else ""
    return prefix + shown + more


def _field(name: str, value: str) -> str:
    return f"  {name}: {value}"


def _short(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, dict):
        parts = [f"{k} {_short(v)}" for k, v in value.items()]
    elif isinstance(value, (list, tuple)):
        parts = [str(v) for v in value]
    else:
        return str(value)
    text = ", ".join(parts[:_NAMES])
    if len(parts) > _NAMES:
        text += f", ... {len(parts) - _NAMES:,} more"
    return text if len(text) <= 4 * _WIDTH else text[: 4 * _WIDTH] + " ..."


def _json(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _json(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(v) for v in value]
    if isinstance(value, np.generic):
        return value.item()
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)
