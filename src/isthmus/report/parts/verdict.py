"""Layer 7: the verdict, from the figures themselves, so that it reads well in every language."""

from __future__ import annotations

from typing import Any

from isthmus.report import numbers
from isthmus.report.charts import intervals
from isthmus.report.folder import Run
from isthmus.report.parts.findings import findings
from isthmus.report.words import Words


def verdict(run: Run, words: Words) -> dict[str, Any]:
    """Badge, headline, main figures, and the run's own sentences."""
    t, results = words.t, run.results
    proof, metric = results["proof"], results["proof"]["metric"]
    chosen = results["chosen"]
    gain = proof["gains"].get("no transfer")
    score = proof["headline"].get(chosen)
    found = findings(run)
    mark, headline = _headline(proof, gain, words)
    if results["verdict"]["evidence"].get("rule", "").startswith("declined"):
        declined = t("The source was declined: the model that serves does without it.")
        if results["verdict"]["evidence"]["rule"] == "declined without labels":
            declined = t("Adaptation was declined: no gain was to be expected.")
    else:
        declined = ""
    figures = []
    if score and score.get("value") is not None:
        span = intervals.span_of([score], share=numbers.is_share(metric))
        if numbers.is_share(metric):
            span = (0.0, 1.0)
        figures.append(
            {
                "label": f"{words.said(metric)} · {words.said(chosen)}",
                "value": numbers.number(score["value"], metric),
                "range": _range(score, metric, words),
                "bar": intervals.cell(score, span, title=numbers.figure(score, metric)),
            }
        )
    if gain and gain.get("value") is not None:
        wide = max(abs(gain[k]) for k in ("value", "low", "high"))
        form = numbers.gain({"value": gain["value"]}, metric)
        figures.append(
            {
                "label": t("gain over no transfer")
                + (f" ({t('points')})" if numbers.is_share(metric) else ""),
                "value": form,
                "range": _range(gain, metric, words, signed=True),
                "bar": intervals.cell(
                    gain, (-wide * 1.1, wide * 1.1), title=numbers.gain(gain, metric)
                ),
            }
        )
    return {
        "mark": mark,
        "headline": headline,
        "declined": declined,
        "figures": figures,
        "sentence": results["verdict"]["sentence"],
        "reason": results["verdict"]["reason"],
        "outcome": proof["outcome"],
        "protocol": proof["protocol"],
        "where": {
            "sealed": t("measured on %(n)s sealed test rows", n=numbers.grouped(proof["rows"])),
            "cv-target": t(
                "cross-validated on %(n)s labelled target rows", n=numbers.grouped(proof["rows"])
            ),
            "cv-source": t(
                "cross-validated on %(n)s source rows; says nothing about the gap",
                n=numbers.grouped(proof["rows"]),
            ),
            "none": t("not measured"),
        }[proof["kind"]],
        "warnings": sum(f["severity"] != "info" for f in found if not f.get("overridden")),
        "overridden": [f for f in found if f.get("overridden")],
    }


def _headline(proof: dict[str, Any], gain: Any, words: Words) -> tuple[str, str]:
    t = words.t
    if proof["kind"] == "none":
        return "open", t("Nothing could be measured")
    if not gain or gain.get("low") is None or gain.get("high") is None:
        return "open", t("There is no figure without transfer to compare with")
    if proof["kind"] == "cv-source":
        return "open", t("The target has no labels: its accuracy is unknown")
    if gain["low"] > 0:
        return "good", t("Transfer helped")
    if gain["high"] < 0:
        return "bad", t("Transfer hurt")
    return "open", t("No proof that transfer helped")


def _range(score: dict[str, Any], metric: str, words: Words, *, signed: bool = False) -> str:
    if score.get("low") is None or score.get("high") is None:
        return ""
    if signed:
        text = numbers.gain(score, metric).partition("[")[2].rstrip("]")
    else:
        text = numbers.figure(score, metric).partition("[")[2].rstrip("]")
    text = text.replace(", ", " … ")
    level = f"{100 * score.get('level', 0.95):g}"
    return words.t("%(level)s %% interval %(range)s", level=level, range=text)
