"""Layer 7: the leaderboard: evidence before the test, score in the proof, cost; the candidates."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from isthmus.report import numbers
from isthmus.report.charts import intervals
from isthmus.report.folder import Run
from isthmus.report.parts.table import table
from isthmus.report.parts.witnesses import diagnosis, validators
from isthmus.report.words import Words


def routes(run: Run, words: Words) -> dict[str, Any]:
    """The leaderboard as a table with drawn intervals, and the candidates of the blend."""
    t, results = words.t, run.results
    proof, metric = results["proof"], results["proof"]["metric"]
    share = numbers.is_share(metric)
    headline, gains = dict(proof["headline"]), proof["gains"]
    evidence_span = intervals.span_of(
        [r["score"] for r in results["routes"]], share=all(
            numbers.is_share(r["metric"]) for r in results["routes"])
    )  # fmt: skip
    span = intervals.span_of(list(headline.values()), share=share)
    rows = []
    for entry in results["routes"]:
        name = entry["route"]
        rows.append(
            [
                _name(name, results["chosen"], words),
                _evidence(entry, evidence_span, words),
                *_proved(headline.pop(name, None), span, metric),
                *_gained(gains.get(name), metric, name == results["chosen"], words),
                _cost(run.times.get("routes", {}).get(name)),
            ]
        )
    for name, score in headline.items():
        rows.append(
            [
                (words.said(name), name),
                t("baseline"),
                *_proved(score, span, metric),
                *_gained(gains.get(name), metric, False, words),
                _cost(None),
            ]
        )
    known = t("points") if share else words.said(metric)
    board = table(
        "leaderboard",
        t("Routes on the same rows"),
        [
            (t("route"), False),
            (t("evidence before the test"), True),
            (f"{words.said(metric)} ({words.said(_where(proof))})", True),
            (t("chosen route minus this one (%(unit)s)", unit=known), True),
            (t("cost"), True),
        ],
        rows,
    )
    return {
        "board": board,
        "evidence": results["evidence"],
        "candidates": _candidates(results.get("choice"), words),
        "networks": _networks(results, words),
        "diagnosis": diagnosis(results.get("choice"), words),
        "validators": validators(results.get("choice"), words),
        "metrics": _metrics(proof, words),
        "per_class": _per_class(proof, words),
        "notes": [
            t(
                "%(route)s: %(reason)s. %(remedy)s.",
                route=words.said(entry["route"]),
                reason=words.said(trouble["reason"]),
                remedy=words.said(trouble["remedy"]).rstrip("."),
            )
            for entry in results["routes"]
            for trouble in entry.get("troubles", [])
        ]
        + [words.said(note) for note in proof["notes"]],
    }


def _where(proof: dict[str, Any]) -> str:
    return {
        "sealed": "sealed test",
        "cv-target": "cross-validation",
        "cv-source": "on source rows",
    }.get(proof["kind"], "not measured")


def _name(name: str, chosen: str, words: Words) -> tuple[Markup, str]:
    shown = Markup("{}").format(words.said(name))
    if name == chosen:
        shown += Markup(' <span class="tag good">{}</span>').format(words.t("serves"))
    return shown, name


def _stack(svg: str, text: str) -> Markup:
    # svg is made here and escapes its texts
    return Markup('<span class="figure">{}<span>{}</span></span>').format(Markup(svg), text)


def _sentence(text: str) -> Markup:
    """Words in a column of figures: these may wrap."""
    return Markup('<span class="sentence">{}</span>').format(text)


def _evidence(entry: dict[str, Any], span: tuple[float, float], words: Words) -> Any:
    t = words.t
    if entry["score"] and entry["score"].get("value") is not None:
        text = numbers.figure(entry["score"], entry["metric"])
        svg = intervals.cell(entry["score"], span, title=text, class_="s3")
        return _stack(svg, text), float(entry["score"]["value"])
    gain = entry.get("expected_gain")
    if gain:
        text = t(
            "expected %(gain)s points; estimated %(accuracy)s, no label used",
            gain=numbers.gain(gain, "accuracy"),
            accuracy=numbers.figure(entry["estimated_accuracy"], "accuracy"),
        )
        return _sentence(text), float(entry["estimated_accuracy"]["value"])
    reason = words.said(entry["reason"]) if entry["reason"] else ""
    status = words.said(entry["status"])
    return _sentence(f"{status}: {reason}") if reason else status, -1e9


def _proved(score: Any, span: tuple[float, float], metric: str) -> list[Any]:
    if not score or score.get("value") is None:
        return [("–", -1e9)]
    text = numbers.figure(score, metric)
    return [(_stack(intervals.cell(score, span, title=text), text), float(score["value"]))]


def _gained(gain: Any, metric: str, chosen: bool, words: Words) -> list[Any]:
    if chosen or not gain or gain.get("value") is None:
        return [("–", -1e9)]
    return [(numbers.gain(gain, metric), float(gain["value"]))]


def _cost(seconds: float | None) -> tuple[str, float]:
    return ("–", -1.0) if seconds is None else (numbers.seconds(seconds), float(seconds))


def _candidates(choice: dict[str, Any] | None, words: Words) -> dict[str, Any] | None:
    if not choice:
        return None
    t = words.t
    rows = []
    expected = any(c["expected_gain"] is not None for c in choice["candidates"])
    for c in sorted(choice["candidates"], key=lambda c: -(c["weight"] or 0)):
        likelihood = c["evidence"].get("held_out_log_likelihood")
        if c["expected_gain"] is not None:
            gain = (f"{100 * c['expected_gain']:+z.1f}", c["expected_gain"])
            worst = c["expected_gain"] - 2 * c["downside"]
            agreement = c["evidence"].get("agreement")
            more = [
                gain,
                (f"{100 * worst:+z.1f}", worst),
                ("", -1) if agreement is None else (f"{100 * agreement:.0f} %", agreement),
            ]
        elif expected:
            more = [("–", -9.0), ("–", -9.0), ("–", -9.0)]
        else:
            more = [("–", -99.0) if likelihood is None else (f"{likelihood:.3f}", likelihood)]
        rows.append(
            [words.said(c["candidate"]), (f"{100 * (c['weight'] or 0):.0f} %", c["weight"] or 0),
             *more, words.said(c["reason"]) if c["reason"] else ""]
        )  # fmt: skip
    middle = (
        [(t("expected gain (points)"), True), (t("at worst about"), True),
         (t("agrees with all"), True)]
        if expected
        else [(t("log-likelihood of held-out labels"), True)]
    )  # fmt: skip
    return table(
        "candidates",
        t("Candidates of the blend"),
        [(t("candidate"), False), (t("weight"), True), *middle, (t("note"), False)],
        rows,
    )


def _networks(results: dict[str, Any], words: Words) -> list[str]:
    """Whether networks were trained, and what came of them."""
    t, said = words.t, []
    small, itself = (results.get("choice") or {}).get("networks"), results.get("network")
    if small:
        why = words.said(small["why"])
        said.append(t("Trained networks among the candidates: %(why)s.", why=why))
    if itself:
        said.append(t("The pretrained network itself: %(why)s.", why=words.said(itself["why"])))
    return said


def _metrics(proof: dict[str, Any], words: Words) -> dict[str, Any] | None:
    t = words.t
    rows = []
    for name, value in proof["metrics"].items():
        if isinstance(value, dict) and {"value", "low", "how"} <= set(value):
            unit = "accuracy" if name in _SHARES else ""
            shown: tuple[str, float] = ("–", -1e9)
            if value["value"] is not None:
                shown = (numbers.figure(value, unit), float(value["value"]))
            rows.append([words.said(name.replace("_", " ")), shown, words.said(value["how"])])
    exact = proof.get("exact")
    if exact and exact["value"] is not None:
        shown = (numbers.figure(exact, "accuracy"), float(exact["value"]))
        rows.insert(1, [t("accuracy, exact interval"), shown, words.said(exact["how"])])
    if not rows:
        return None
    return table(
        "metrics",
        t("All figures of the route that serves"),
        [(t("figure"), False), (t("value"), True), (t("how"), False)],
        rows,
    )


_SHARES = (
    "accuracy", "balanced_accuracy", "precision_macro", "precision_weighted", "recall_macro",
    "recall_weighted", "f1_macro", "f1_weighted", "ece", "ece_adaptive", "f1_micro",
    "subset_accuracy", "hamming_loss", "os_star", "unknown_recall", "h_score", "os",
    "known_accuracy", "false_refusal",
)  # fmt: skip


def _per_class(proof: dict[str, Any], words: Words) -> dict[str, Any] | None:
    t, found = words.t, proof["metrics"].get("per_class")
    if not found:
        return None
    support = proof["metrics"].get("support") or {}
    names = ("precision", "recall", "f1")

    def cell(value: Any) -> tuple[str, float]:
        if not value or value.get("value") is None:
            return "–", -1.0
        return numbers.figure(value, "accuracy"), float(value["value"])

    return table(
        "per-class",
        t("Figures of each class"),
        [(t("class"), False), (t("rows"), True), *((words.said(n), True) for n in names)],
        [[c, support.get(c, 0), *(cell(f.get(n)) for n in names)] for c, f in found.items()],
    )
