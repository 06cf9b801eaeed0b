"""Layer 8: after the score: is it plausible, and what must be said beside it?

Works on a finished `Result`; everything it needs stands in ``results.json``.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus.data.checks.class_sets import against_truth
from isthmus.data.checks.finding import Finding, ordered
from isthmus.data.checks.too_few import LEAST_SCORED, half_width
from isthmus.fit.open_set import UNKNOWN

if TYPE_CHECKING:
    from isthmus.run.record import Result

SOLE = ("majority", "no transfer", "target-only")
FREQUENT = 0.8


def postcheck(result: Result) -> list[Finding]:
    """Findings about the figures of a run.

    Returns
    -------
    list of Finding
        Warnings and infos; a score that was computed is never taken back.
    """
    return ordered(from_results(result.results))


def from_results(results: dict[str, Any]) -> list[Finding]:
    """The same from the content of ``results.json``."""
    proof = results["proof"]
    if proof["kind"] == "none":
        return []
    found = [*_openings(proof), *_hurts(results, proof), *_luck(results, proof)]
    if results["task"] == "classification":
        found += [*_imbalance(proof), *_classes(results, proof)]
    return found


def _openings(proof: dict[str, Any]) -> list[Finding]:
    if proof["openings"] <= 1:
        return []
    return [
        Finding(
            "ISX022",
            "warning",
            f"the test labels were opened {proof['openings']} times",
            "a figure that was picked after looking at it is too good",
            remedy="Choose on other rows, and score a fresh test set once",
            figures={"openings": proof["openings"]},
        )
    ]


def _hurts(results: dict[str, Any], proof: dict[str, Any]) -> list[Finding]:
    """Paired intervals of the chosen route over the baselines, wholly below zero."""
    found = []
    for name in SOLE:
        gain = proof["gains"].get(name)
        if gain is None or gain["high"] is None or gain["high"] >= 0:
            continue
        found.append(
            Finding(
                "ISX023",
                "warning",
                f"the route {results['chosen']!r} is worse than {name!r}",
                f"by {gain['value']:.3g} [{gain['low']:.3g}, {gain['high']:.3g}] on the same rows",
                remedy="Do not use it; label some target rows, or take another source",
                figures=dict(gain),
            )
        )
    return found


def _luck(results: dict[str, Any], proof: dict[str, Any]) -> list[Finding]:
    """Few scored rows, where the checks before the run could not count them yet."""
    rows = proof["rows"]
    # "half_width" tells the check of scored rows from that of labelled rows a class
    before = (f for f in results.get("findings", ()) if f["code"] == "ISX030")
    if rows >= LEAST_SCORED or any("half_width" in f["figures"] for f in before):
        return []
    return [
        Finding(
            "ISX030",
            "warning",
            f"the score rests on {rows} rows",
            f"a share is uncertain by about +-{half_width(rows):.0f} points",
            remedy="Score more rows, or repeat over at least 5 seeds and report the spread",
            figures={"rows": rows},
        )
    ]


def _imbalance(proof: dict[str, Any]) -> list[Finding]:
    metrics = proof["metrics"]
    support = metrics.get("support") or {}
    total = sum(support.values())
    if not total:
        return []
    name, count = max(support.items(), key=lambda item: item[1])
    share = count / total
    if share < FREQUENT:
        return []
    balanced = (metrics.get("balanced_accuracy") or {}).get("value")
    words = "" if balanced is None else f"; balanced accuracy {100 * balanced:.0f} %"
    return [
        Finding(
            "ISX024",
            "warning",
            f"{100 * share:.0f} % of the scored rows are {name!r}",
            f"always saying so scores {100 * share:.0f} %{words}",
            remedy="Read balanced accuracy and macro F1 beside accuracy",
            figures={"majority": share, "balanced": balanced},
        )
    ]


def _classes(results: dict[str, Any], proof: dict[str, Any]) -> list[Finding]:
    metrics = proof["metrics"]
    support = {str(k): int(v) for k, v in (metrics.get("support") or {}).items()}
    known: Counter[str] = Counter()
    for role in ("source", "labelled target"):
        known.update(results["data"].get(role, {}).get("classes", {}))
    if (results.get("label_set") or {}).get("open"):
        known[UNKNOWN] = 1  # the model answers it where a class is none of its own
    truth = Counter({name: count for name, count in support.items() if count})
    found = list(against_truth(known, truth, "scored", "")) if known and truth else []
    permuted = _permuted(metrics)
    return [*found, *([] if permuted is None else [permuted])]


def _permuted(metrics: dict[str, Any]) -> Finding | None:
    """The confusion matrix under another assignment of the names."""
    from isthmus.run.checks.permutation import LEAST_ROWS
    from isthmus.run.checks.permutation import permuted as judge

    confusion = metrics.get("confusion")
    if not isinstance(confusion, dict):
        return None
    names = confusion.get("labels") or confusion.get("classes")
    matrix = np.array(confusion.get("matrix") or [], dtype=int)
    if names is None or matrix.shape != (len(names), len(names)) or matrix.sum() < LEAST_ROWS:
        return None
    truth, predicted = np.nonzero(matrix)
    counts = matrix[truth, predicted]
    labels = np.array([str(n) for n in names])
    found = judge(np.repeat(labels[truth], counts), np.repeat(labels[predicted], counts), "", "")
    if found is None:
        return None
    # after the fact it is a warning: the score stands, with this beside it
    return Finding(
        found.code, "warning", found.title.replace("  ", " "), found.evidence, remedy=found.remedy,
        figures=found.figures,
    )  # fmt: skip
