"""Layer 7: right and wrong answers: confusion, errors, calibration."""

from __future__ import annotations

from typing import Any

from isthmus.report.charts import intervals
from isthmus.report.charts.svg import Plot, tag
from isthmus.report.folder import Run
from isthmus.report.parts.table import table
from isthmus.report.words import Words

MOST_CLASSES = 30
MISTAKES = 12


def confusion(run: Run, words: Words) -> dict[str, Any] | None:
    """The matrix with a shade a cell, by the share of its row; the most frequent mix-ups."""
    found = run.results["proof"]["metrics"].get("confusion")
    if not found:
        return None
    t = words.t
    names, matrix = found["classes"], found["matrix"]
    pairs = sorted(
        ((n, i, j) for i, row in enumerate(matrix) for j, n in enumerate(row) if i != j and n),
        key=lambda p: -p[0],
    )
    order = list(range(len(names)))
    if len(names) > MOST_CLASSES:  # those that take part in most mix-ups
        weight = [sum(n for n, i, j in pairs if k in (i, j)) for k in order]
        order = sorted(sorted(order, key=lambda k: -weight[k])[:MOST_CLASSES])
    cells = []
    for i in order:
        total = sum(matrix[i])
        cells.append(
            {
                "name": names[i],
                "total": total,
                "cells": [
                    {
                        "count": matrix[i][j],
                        "shade": min(9, round(9 * (matrix[i][j] / total) ** 0.7)) if total else 0,
                        "right": i == j,
                        "truth": names[i],
                        "predicted": names[j],
                    }
                    for j in order
                ],
            }
        )
    return {
        "names": [names[k] for k in order],
        "rows": cells,
        "left_out": len(names) - len(order),
        "pairs": table(
            "mix-ups",
            t("Most frequent mix-ups"),
            [(t("true"), False), (t("predicted"), False), (t("rows"), True),
             (t("share of the true class"), True)],
            [
                [names[i], names[j], n,
                 (f"{100 * n / max(sum(matrix[i]), 1):.0f} %", n / max(sum(matrix[i]), 1))]
                for n, i, j in pairs[:15]
            ],
        )
        if pairs
        else None,
    }  # fmt: skip


def errors(run: Run) -> dict[str, Any] | None:
    """Rows of the most confident mistakes, and how many mistakes there are."""
    if run.facts is None or run.facts["scored"] is None:
        return None
    rows, scored = run.facts["rows"], run.facts["scored"]
    if run.facts["task"] == "regression":
        there = [i for i, s in enumerate(rows["scored"]) if s]
        worst = sorted(there, key=lambda i: -abs(rows["truth"][i] - rows["prediction"][i]))
    else:
        worst = [i for i, right in enumerate(rows["right"]) if right is False]
        worst.sort(key=lambda i: -(rows["confidence"][i] or 0.0))
    return {
        "rows": worst[:MISTAKES],
        "wrong": scored["wrong"],
        "of": scored["rows"],
        "openings": scored["openings"],
    }


def scatter(run: Run, words: Words) -> str:
    """Predicted over true values of a regression."""
    if run.facts is None or run.facts["task"] != "regression" or not run.facts["scored"]:
        return ""
    rows = run.facts["rows"]
    pairs = [(rows["truth"][i], rows["prediction"][i]) for i, s in enumerate(rows["scored"]) if s]
    every = [v for pair in pairs for v in pair]
    room = 0.04 * ((max(every) - min(every)) or 1)
    span = (min(every) - room, max(every) + room)
    plot = Plot(span, span, width=420, height=380)
    plot.axes(xlabel=words.t("true"), ylabel=words.t("predicted"))
    plot.line([(span[0], span[0]), (span[1], span[1])], "ideal")
    plot.parts += [
        tag("circle", class_="dot s1 faint", cx=plot.px(a), cy=plot.py(b), r=3) for a, b in pairs
    ]
    return plot.render(title=words.t("Predicted over true values"))


def calibration(run: Run, words: Words) -> dict[str, Any] | None:
    """Reliability before and after the temperature."""
    found = (run.facts or {}).get("calibration")
    if not found:
        return None
    t = words.t
    panels, rows = [], []
    for name, title, class_ in (("before", t("before"), "s4"), ("after", t("after"), "s1")):
        if not found.get(name):
            continue
        panels.append(
            {
                "title": title,
                "ece": f"{100 * found[name]['ece']:.1f}",
                "svg": intervals.reliability(
                    found[name],
                    title=t("Reliability %(when)s calibration", when=title),
                    xlabel=t("stated confidence"),
                    ylabel=t("share that was right"),
                    class_=class_,
                ),
            }
        )
        rows += [
            [title, (f"{b['low']:.2f}", b["low"]), (f"{b['high']:.2f}", b["high"]), b["count"],
             (f"{b['confidence']:.3f}", b["confidence"]), (f"{b['accuracy']:.3f}", b["accuracy"])]
            for b in found[name]["bins"] if b["count"]
        ]  # fmt: skip
    return {
        "panels": panels,
        "rows": found["rows"],
        "role": found["role"],
        "table": table(
            "reliability",
            t("Confidence and accuracy by bin"),
            [(t("calibration"), False), (t("from"), True), (t("to"), True), (t("rows"), True),
             (t("mean confidence"), True), (t("accuracy"), True)],
            rows,
        ),
    }  # fmt: skip
