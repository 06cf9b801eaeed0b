"""Layer 1: ISX015 and ISX029: which classes each side knows, and what has no counterpart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

from isthmus.data.checks.finding import Finding
from isthmus.data.checks.view import RawView
from isthmus.data.labels import natural_sorted
from isthmus.types import Array

LEAST_PER_CLASS = 5  # fewer scored rows a class may miss a class by chance
UNMAPPED = 0.01


def find(view: RawView) -> Iterable[Finding]:
    """Rows without a label, classes of one side only, with the mass that they make up."""
    yield from _unlabelled(view)
    if view.task != "classification":
        return
    known: Counter[str] = Counter()
    for _, part in view.training:
        assert part.labels is not None
        known.update(str(name) for name in part.labels if name is not None)
    if view.source is not None and view.labelled is not None:
        yield from _between_parts(view)
    if view.truth is not None:
        yield from against_truth(
            known, Counter(_texts(view.truth)), view.scored[0], view.scored[1].origin
        )


def _texts(values: Array) -> list[str]:
    return [str(value) for value in values if value is not None]


def _unlabelled(view: RawView) -> Iterable[Finding]:
    if view.source is None or not view.unlabelled_source:
        return
    whole = view.unlabelled_source + len(view.source)
    share = view.unlabelled_source / whole
    yield Finding(
        "ISX029",
        "warning" if share >= UNMAPPED else "info",
        f"{view.unlabelled_source} of {whole} source rows ({100 * share:.1f} %) carry no label",
        "they cannot teach and are left out: a gap in a label map looks like this",
        where=view.source.origin,
        remedy="Check the label column, or the table that maps labels, for missing entries",
        figures={"unlabelled": view.unlabelled_source, "rows": whole},
    )


def _between_parts(view: RawView) -> Iterable[Finding]:
    assert view.source is not None and view.labelled is not None
    assert view.source.labels is not None and view.labelled.labels is not None
    here, there = Counter(_texts(view.source.labels)), Counter(_texts(view.labelled.labels))
    foreign = {name: n for name, n in there.items() if name not in here}
    if foreign:
        share = sum(foreign.values()) / max(sum(there.values()), 1)
        yield Finding(
            "ISX029",
            "warning",
            f"{100 * share:.0f} % of the labelled target rows have labels that the source lacks",
            f"{_listed(foreign)}; the source has {_listed(here)}",
            where=view.labelled.origin,
            remedy="Give both sides the same names where they mean the same class",
            figures={"share": share},
        )


def against_truth(
    known: Counter[str], truth: Counter[str], role: str, where: str
) -> Iterable[Finding]:
    """Classes of the training rows against those of the scored rows.

    Parameters
    ----------
    known, truth : Counter
        Class name -> rows, in training and among the scored rows.
    """
    total = sum(truth.values())
    foreign = {name: n for name, n in truth.items() if name not in known}
    if foreign and total:
        share = sum(foreign.values()) / total
        yield Finding(
            "ISX029",
            "error" if share > 0.5 else "warning",
            f"{100 * share:.1f} % of the {role} rows have labels that no training row has",
            f"{_listed(foreign)}; training has {_listed(known)}: each of them counts as wrong",
            where=where,
            remedy="Give both sides the same names where they mean the same class",
            figures={"share": share, "rows": sum(foreign.values())},
        )
    absent = [name for name in known if name not in truth]
    expected = {name: known[name] / sum(known.values()) * total for name in absent}
    missing = [name for name in absent if expected[name] >= LEAST_PER_CLASS]
    if missing and len(missing) < len(known):
        yield Finding(
            "ISX015",
            "warning",
            f"{len(missing)} of {len(known)} classes have no {role} row",
            f"{', '.join(natural_sorted(missing))} missing; nothing was renumbered: labels are "
            "compared by name",
            where=where,
            remedy="Check that the rows of these classes were not lost",
            figures={"missing": natural_sorted(missing)},
        )


def _listed(counts: dict[str, int] | Counter[str]) -> str:
    names = natural_sorted(counts)
    shown = ", ".join(f"{name!r} ({counts[name]})" for name in names[:8])
    return shown + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def majority(values: Array) -> tuple[str, float]:
    """The most frequent name and its share."""
    names, counts = np.unique(np.array(_texts(values), dtype=str), return_counts=True)
    return str(names[counts.argmax()]), float(counts.max() / counts.sum())
