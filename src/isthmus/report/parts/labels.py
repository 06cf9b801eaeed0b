"""Layer 7: what more labels would bring, and which rows to label next."""

from __future__ import annotations

from typing import Any

from isthmus.report.charts import intervals
from isthmus.report.folder import Run
from isthmus.report.numbers import is_share
from isthmus.report.parts.table import table
from isthmus.report.words import Words

SHOWN, CARDS = 50, 12


def labels(run: Run, words: Words) -> dict[str, Any] | None:
    """Learning curve with its data, the list, and the cards of its first rows."""
    if not run.label_next and not run.curve:
        return None
    t = words.t
    unit = "accuracy" if run.results["task"] == "classification" else ""
    expected = next((r for r in run.curve if r.get("kind") == "expected gain"), None)
    measured = [r for r in run.curve if r.get("kind") == "measured"]
    made: dict[str, Any] = {"svg": "", "curve": None, "expected": "", "cards": [], "table": None}
    if measured:
        made["svg"] = intervals.learning_curve(
            run.curve,
            xlabel=t("labelled target rows"),
            ylabel=t("accuracy") if unit else t("score"),
            title=t("Score over the number of labelled target rows"),
            share=is_share(unit),
        )
        made["curve"] = table(
            "learning-curve",
            t("Score over the number of labelled target rows"),
            [(t("labels"), True), (t("score"), True), (t("low"), True), (t("high"), True)],
            [[(r["labels"], int(float(r["labels"]))), *(_figure(r.get(k)) for k in
              ("score", "low", "high"))] for r in measured],
            first=False,
        )  # fmt: skip
    if expected and expected.get("score") and is_share(unit):
        more = int(float(expected["labels"])) - int(
            float(measured[-1]["labels"]) if measured else 0
        )
        made["expected"] = t(
            "%(more)s more labels should gain about %(gain)s points of accuracy, within "
            "[%(low)s, %(high)s].",
            more=more,
            **{k: f"{100 * float(expected[n]):+z.1f}" for k, n in
               (("gain", "score"), ("low", "low"), ("high", "high"))},
        )  # fmt: skip
    if run.label_next:
        made["table"] = table(
            "label-next",
            t("Label these next"),
            [(t("rank"), True), (t("row"), False), (t("score"), True), (t("doubt"), True),
             (t("unlike labelled rows"), True), (t("typical"), True), (t("why"), False)],
            [
                [(r["rank"], int(r["rank"])), r["id"], *(_figure(r[k]) for k in
                 ("score", "uncertainty", "coverage", "typicality")), words.said(r["reason"])]
                for r in run.label_next[:SHOWN]
            ],
            first=False,
        )  # fmt: skip
        if run.facts is not None:
            made["cards"] = run.facts["rows"]["label_next"][:CARDS]
    return made


def _figure(value: str | None) -> tuple[str, float]:
    if not value:
        return "", -1.0
    number = float(value)
    return f"{number:.2f}", number
