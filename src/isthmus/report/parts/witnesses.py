"""Layer 7: beside the automatic choice: the task as it saw it, and what validators would pick."""

from __future__ import annotations

from typing import Any

from isthmus.report import numbers
from isthmus.report.parts.table import table
from isthmus.report.words import Words

APART = (0.6, 0.8, 0.97)  # domain AUC below which the domains are hardly, somewhat, far apart


def diagnosis(choice: dict[str, Any] | None, words: Words) -> list[str]:
    """What the choice without target labels went by, in sentences."""
    if not choice or "diagnosis" not in choice:
        return []
    t, task = words.t, choice["diagnosis"]
    auc = task["domain_auc"]
    how_far = (t("hardly"), t("somewhat"), t("far"), t("wholly"))[sum(auc >= a for a in APART)]
    said = [
        t(
            "The domains are %(apart)s apart (domain AUC %(auc)s); source-only has %(accuracy)s %% "
            "on held-out source rows, and its confidence changes by %(change)s points from there "
            "to the target.",
            apart=how_far,
            auc=f"{auc:.2f}",
            accuracy=f"{100 * task['held_out_accuracy']:.1f}",
            change=f"{-100 * task['confidence_drop']:+z.1f}",
        )
    ]
    seen = choice.get("classes") or {}
    if seen.get("absent"):
        said.append(
            t(
                "Perhaps absent from the target: %(names)s. If so: --classes partial.",
                names=", ".join(seen["absent"]),
            )
        )
    if seen.get("novel"):
        said.append(
            t(
                "%(share)s of the target rows may be of classes that the source lacks; the same "
                "mark hits %(alarm)s %% of the source rows.",
                share=numbers.figure(seen["novel"], "accuracy"),
                alarm=f"{100 * seen['false_alarm']:.1f}",
            )
        )
    return said


def validators(choice: dict[str, Any] | None, words: Words) -> dict[str, Any] | None:
    """Each label-free validator: its pick here, and what such picks were worth elsewhere."""
    if not choice or not choice.get("validators"):
        return None
    t = words.t
    rows = []
    for entry in choice["validators"]:
        known = entry.get("measured")
        why = "" if "picks" in entry else words.said(entry.get("left_out") or "")
        rows.append(
            [
                entry["validator"],
                words.said(entry["picks"]) if "picks" in entry else "–",
                *(_measured(known) if known else [("–", -9.0)] * 4),
                why,
            ]
        )
    return table(
        "validators",
        t("Label-free validators: what they would pick here, and what such picks were worth"),
        [
            (t("validator"), False),
            (t("picks"), False),
            (t("rank correlation with the true accuracy"), True),
            (t("gain of its picks (points)"), True),
            (t("picks that hurt"), True),
            (t("worst pick (points)"), True),
            (t("note"), False),
        ],
        rows,
    )


def _measured(known: dict[str, Any]) -> list[tuple[str, float]]:
    """Rank correlation with its interval and tasks, mean gain, share of hurtful picks, worst."""
    rank = known["rank"]
    text = f"{rank['value']:+z.2f}"
    if rank.get("low") is not None and rank.get("high") is not None:
        text += f" [{rank['low']:+z.2f}, {rank['high']:+z.2f}]"
    if rank.get("tasks"):
        text += f" · {rank['tasks']}"
    return [
        (text, float(rank["value"])),
        (f"{100 * known['gain']:+z.1f}", float(known["gain"])),
        (f"{100 * known['hurt']:.0f} %", float(known["hurt"])),
        (f"{100 * known['worst']:+z.1f}", float(known["worst"])),
    ]
