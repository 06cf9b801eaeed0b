"""Layer 8: ISX014 and ISX015: predictions that are right under another order of the names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from isthmus.data.checks.finding import Finding
from isthmus.data.labels import natural_sorted
from isthmus.run.checks import quick
from isthmus.run.checks.view import ModelView
from isthmus.types import Array

LATE = True  # needs features
GAIN, RIGHT = 0.25, 0.5
LEAST_ROWS = 20


def find(view: ModelView) -> Iterable[Finding]:
    """Labels of the source against those of the labelled target and, where seen, the truth."""
    if view.raw.task != "classification" or view.features is None:
        return
    f = view.features
    if f.source is None or f.source.samples.labels is None:
        return
    y = f.source.samples.labels.astype(str)
    if len(set(y)) < 2:
        return
    others: list[tuple[str, Array, Array, str]] = []
    if f.labelled is not None and f.labelled.samples.labels is not None:
        others.append(
            ("labelled target", f.labelled.X, f.labelled.samples.labels, f.labelled.samples.origin)
        )
    scored, truth = view.scored(), view.truth()
    if scored is not None and truth is not None:
        others.append((scored[0], scored[1].X, truth, scored[1].samples.origin))
    for role, X, labels, where in others:
        if len(labels) < LEAST_ROWS:
            continue
        predicted = quick.predict(f.source.X, y, X, columns=view.columns, seed=view.raw.seed)
        found = permuted(labels.astype(str), predicted, role, where)
        if found is not None:
            yield found
            return


def permuted(truth: Array, predicted: Array, role: str, where: str) -> Finding | None:
    """A finding if another assignment of the names makes the predictions much better.

    Parameters
    ----------
    truth, predicted : ndarray of shape (n,) of str
    """
    from scipy.optimize import linear_sum_assignment

    names = natural_sorted({*truth.tolist(), *predicted.tolist()})
    code = {name: k for k, name in enumerate(names)}
    confusion = np.zeros((len(names), len(names)))
    np.add.at(confusion, ([code[p] for p in predicted], [code[t] for t in truth]), 1)
    rows, columns = linear_sum_assignment(-confusion)
    straight = float(np.trace(confusion) / len(truth))
    best = float(confusion[rows, columns].sum() / len(truth))
    support = confusion.sum()
    moved = {
        names[r]: names[c]
        for r, c in zip(rows, columns)
        if r != c and confusion[r, c] > 0.002 * support
    }
    # with chance predictions some assignment always looks good: ask for a clear majority
    if best < RIGHT or best - straight < GAIN or len(moved) < 2:
        return None
    kind, missing = order_of(moved, names, set(truth.tolist()))
    return Finding(
        "ISX015" if kind == "shifted" else "ISX014",
        # labelled target rows tell the routes as well, which then do without the source
        "warning" if role == "labelled target" else "error",
        f"the labels of the {role} rows seem to be in another order than those of the source",
        f"{100 * straight:.0f} % agree as they are, {100 * best:.0f} % under "
        + {
            "string": "the order of strings (1, 10, 2) against that of numbers",
            "shifted": f"a shift by one from class {missing} on, which has no row",
            "other": "the assignment " + ", ".join(f"{a}->{b}" for a, b in list(moved.items())[:8]),
        }[kind],
        where=where,
        remedy="Give class names instead of numbers, and check the table that made the numbers",
        figures={"agree": straight, "agree_permuted": best, "assignment": moved},
    )


def order_of(moved: dict[str, str], names: Sequence[str], there: set[str]) -> tuple[str, str]:
    """What an assignment (predicted name -> label) looks like: string, shifted or other."""
    if not all(name.lstrip("-").isdigit() for name in names):
        return "other", ""
    by_number, by_text = sorted(names, key=int), sorted(names)
    forth = dict(zip(by_number, by_text))
    back = {v: k for k, v in forth.items()}
    for mapping in (forth, back):
        if sum(mapping.get(a) == b for a, b in moved.items()) >= 0.8 * len(moved):
            return "string", ""
    steps = [int(b) - int(a) for a, b in moved.items()]
    shift = max(set(steps), key=steps.count)
    start = min(map(int, moved))
    # every class after the lost one moved up by one place
    if shift == -1 and steps.count(-1) >= 0.8 * len(steps) and len(there) < len(names):
        return "shifted", str(start - 1)
    return "other", ""
