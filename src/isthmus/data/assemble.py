"""Layer 1: raw items with raw labels -> `Samples`; the last step of every reader here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from isthmus.data.labels import (
    Distinct,
    distinct_of,
    name_notes,
    name_of,
    natural_sorted,
    to_indicator,
    to_names,
)
from isthmus.data.options import Options
from isthmus.data.paths import SPLITS
from isthmus.data.quarantine import check_bad_share
from isthmus.data.samples import Items, Problem, Samples
from isthmus.data.sheet import understand
from isthmus.data.tasks import (
    SEPARATORS,
    infer_task,
    is_list,
    list_separator,
    split_labels,
    truth,
    unlabel,
)
from isthmus.errors import DataError, UsageError
from isthmus.types import Array


@dataclass
class Draft:
    """Everything about n rows before labels become names and bad rows are set aside.

    Parameters
    ----------
    items : Items
        n raw items.
    places : list of str
        n names of rows for messages; also their ids unless `ids` is given.
    modality, origin : str
    label : sequence, or dict of column name to sequence, or None
        Raw label values; a dict holds the 0/1 columns of a multi-label task.
    domain, group, split : sequence or None
        Raw values.
    bad : dict
        Row -> (reason, remedy).
    problems : list of Problem
        Lines that never became rows.
    """

    items: Items
    places: list[str]
    modality: str
    origin: str
    ids: Sequence[Any] | None = None
    label: Any = None
    label_column: str = "label"
    domain: Sequence[Any] | None = None
    group: Sequence[Any] | None = None
    split: Sequence[Any] | None = None
    keep_split: str | None = None
    bad: dict[int, tuple[str, str]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    understood: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def finish(draft: Draft, options: Options) -> Samples:
    """Draft -> Samples: labels by name, bad rows set aside and counted.

    Raises
    ------
    DataError
        If too many rows are bad (see `check_bad_share`), or ids repeat.
    """
    n = len(draft.items)
    for role in ("domain", "group", "split"):
        value = getattr(draft, role)
        if value is not None and len(value) != n:
            raise UsageError(f"{len(value)} values of --{role} for {n} rows", where=draft.origin)
    task, labels, classes = _labels(draft, options)
    names = _names_of_rows(task, labels)
    problems = list(draft.problems)
    for row in sorted(draft.bad):
        reason, remedy = draft.bad[row]
        problems.append(Problem(draft.places[row], reason, remedy, names[row] if names else None))
    good = np.ones(n, dtype=bool)
    good[list(draft.bad)] = False
    seen = n + len(draft.problems)
    totals = Counter(names) if names and problems else Counter()
    totals.pop(None, None)
    check_bad_share(problems, seen, max_bad=options.max_bad, labels=totals or None)
    if not good.any():
        raise DataError(
            "no row can be used",
            where=draft.origin,
            why=f"all {seen:,} were set aside; {_first_reason(problems)}",
            remedy=problems[0].remedy if problems else "Give at least one row",
        )
    domain = None if draft.domain is None else _words(draft.domain, "domain", draft)
    group = None if draft.group is None else _groups(draft)
    split = None if draft.split is None else _splits(draft.split)
    if task == "classification" and labels is not None and not good.all():
        present = {name for name in labels[good] if name is not None}
        classes = tuple(natural_sorted(present))
    draft.understood["notes"] = [*draft.understood.get("notes", []), *draft.notes]
    samples = Samples(
        items=draft.items,
        ids=_ids(draft),
        modality=draft.modality,  # type: ignore[arg-type]
        task=task,  # type: ignore[arg-type]
        labels=labels,
        classes=classes,
        groups=group,
        domain=domain,
        split=split,
        quarantine=tuple(problems),
        seen=seen,
        origin=draft.origin,
        understood=draft.understood,
    )
    if not good.all():
        samples = samples.take(good)
    return keep_split(samples, draft.keep_split)


def keep_split(samples: Samples, wanted: str | None) -> Samples:
    """Rows of one split only (``val`` and ``validation`` are the same one)."""
    if wanted is None:
        return samples
    name = SPLITS.get(wanted.lower(), wanted)
    if samples.split is None:
        raise UsageError(
            f"no split {wanted!r}: the data has no splits",
            where=samples.origin,
            remedy="Leave --split out, or name the column that holds the splits",
        )
    rows = np.array([value == name for value in samples.split], dtype=bool)
    if not rows.any():
        known = ", ".join(natural_sorted(set(map(str, samples.split))))
        raise UsageError(
            f"no split {wanted!r}", where=samples.origin, remedy=f"The splits are {known}"
        )
    samples.understood["split"] = understand(name, f"given: {rows.sum():,} rows", "--split")
    return samples.take(rows)


def _labels(draft: Draft, options: Options) -> tuple[str | None, Array | None, tuple[str, ...]]:
    if draft.label is None:
        return None, None, ()
    if isinstance(draft.label, dict):
        return _columns_of_truth(draft, options)
    n = len(draft.items)
    if len(draft.label) != n:
        raise UsageError(
            f"{len(draft.label)} labels for {n} rows",
            where=draft.origin,
            remedy="Give one label a row, in the same order (None where it is unknown)",
        )
    column, tokens = unlabel(draft.label)
    missing = sum(tokens.values())
    if missing == n:
        entry = draft.understood.get("label", {})
        entry["why"] = f"{entry.get('why', 'given')}; every cell is empty: unlabelled rows"
        draft.understood["label"] = entry
        return None, None, ()
    if options.task is not None:
        task, why = options.task, "given"
    else:
        guess, why = infer_task(column)
        assert guess is not None
        task = guess
    draft.understood["task"] = understand(task, why, "--task")
    if missing and task != "multilabel":
        shown = ", ".join(f"{count:,} {token!r}" for token, count in tokens.items())
        draft.notes.append(f"{missing:,} rows carry no label ({shown}): unlabelled, not dropped")
    if task == "regression":
        return task, _numbers(draft, column), ()
    if task == "multilabel":
        return (task, *_lists(draft, column, missing))
    if any(is_list(value) for value in column.values):
        raise UsageError(
            "the labels are lists, which is not classification",
            where=draft.origin,
            remedy="Use --task multilabel",
        )
    names, classes = to_names(column)
    draft.notes.extend(name_notes(column))
    return task, names, classes


def _numbers(draft: Draft, column: Distinct) -> Array:
    import pandas as pd

    from isthmus.data.columns import to_numbers

    known = pd.Series(column.values, dtype=object, name=draft.label_column)
    numbers = np.append(to_numbers(known).to_numpy(), np.nan)[column.codes]
    for row in np.flatnonzero(np.isnan(numbers) & (column.codes >= 0)).tolist():
        value = column.values[column.codes[row]]
        reason = f"the label {value!r} is not a number"
        draft.bad.setdefault(row, (reason, "Mend it, or --task classification"))
    return numbers.astype(np.float64)


def _lists(draft: Draft, column: Distinct, missing: int) -> tuple[Array, tuple[str, ...]]:
    known = column.values
    separator = list_separator(known)
    if separator is None and all(isinstance(v, str) for v in known):
        # asked for, though the cells alone would not have shown it
        separator = next((s for s in SEPARATORS if any(s in v for v in known)), None)
    if missing:
        draft.notes.append(
            f"{missing:,} rows have an empty label: read as none of the classes; leave them out "
            "if they are unlabelled"
        )
    lists = [split_labels(value, separator) for value in known]
    draft.notes.extend(name_notes([value for row in lists for value in row]))
    indicator, classes = to_indicator([*lists, []])
    return indicator[column.codes], classes


def _columns_of_truth(
    draft: Draft, options: Options
) -> tuple[str | None, Array | None, tuple[str, ...]]:
    if options.task not in (None, "multilabel"):
        raise UsageError(f"several label columns are multi-label, not {options.task}")
    columns: dict[str, Sequence[Any]] = draft.label
    indicator = np.zeros((len(draft.items), len(columns)), dtype=bool)
    for k, (name, values) in enumerate(columns.items()):
        for row, value in enumerate(values):
            answer = truth(value)
            if answer is None:
                draft.bad.setdefault(
                    row, (f"{name} is {value!r}, neither 0 nor 1", "Write 1 where it applies")
                )
            indicator[row, k] = bool(answer)
    why = f"{len(columns)} label columns"
    draft.understood["task"] = understand("multilabel", why, "--task")
    return "multilabel", indicator, tuple(columns)


def _names_of_rows(task: str | None, labels: Array | None) -> list[str | None] | None:
    """Label names for the count of failures by class; only classification has them."""
    if task != "classification" or labels is None:
        return None
    return list(labels)


def _words(values: Sequence[Any], role: str, draft: Draft) -> Array:
    column = distinct_of(values)
    words, _ = to_names(column)
    unknown = np.array([word is None for word in words], dtype=bool)
    if unknown.any():
        words[unknown] = "(unknown)"
        draft.notes.append(f"{int(unknown.sum()):,} rows have no {role}: it is called '(unknown)'")
    draft.notes.extend(name_notes(column, what=role))
    return words


def _groups(draft: Draft) -> Array:
    assert draft.group is not None
    groups, _ = to_names(draft.group)
    missing = [row for row, name in enumerate(groups) if name is None]
    for row in missing:  # a row of unknown origin stands alone, so it never ties others together
        groups[row] = f"(alone) {draft.places[row]}"
    if missing:
        draft.notes.append(f"{len(missing):,} rows have no group: each stands alone")
    return groups


def _splits(values: Sequence[Any]) -> Array:
    column = distinct_of(values)
    names = [name_of(value) for value in column.values]
    known = ["(none)" if name is None else SPLITS.get(name.lower(), name) for name in names]
    return column.mapped(known, missing="(none)")


def _ids(draft: Draft) -> tuple[str, ...]:
    if draft.ids is None:
        return tuple(draft.places)
    ids = list(to_names(draft.ids)[0])
    if any(name is None for name in ids):
        row = ids.index(None)
        raise DataError("the id is empty", where=draft.places[row], remedy="Leave --id out")
    counts = Counter(ids)
    repeated = [name for name, count in counts.items() if count > 1]
    if repeated:
        row = ids.index(repeated[0])
        raise DataError(
            f"{len(repeated):,} ids name several rows, the first is {repeated[0]!r}",
            where=draft.places[row],
            remedy="Give a column without repetitions, or leave --id out",
        )
    return tuple(str(name) for name in ids)


def _first_reason(problems: list[Problem]) -> str:
    return f"the first: {problems[0].reason}" if problems else "there are none"
