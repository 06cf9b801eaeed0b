"""Layer 7: what predictions rest on: parts of the item, nearest labelled rows, columns."""

from __future__ import annotations

from typing import Any

from isthmus.report.charts import bars, heat
from isthmus.report.charts.svg import percent, plain
from isthmus.report.folder import Run
from isthmus.report.parts.table import table
from isthmus.report.words import Words

WORD_STEPS = 4
NOTHING: dict[str, Any] = {"svg": "", "words": [], "bars": "", "flat": False, "table": None}


def rests(run: Run, words: Words) -> dict[str, Any] | None:
    """Explained rows with their drawing and neighbours, and the columns of a table."""
    if run.facts is None:
        return None
    t = words.t
    near = run.facts["neighbours"]
    drawn = {entry["row"]: entry for entry in run.facts["explained"]}
    chosen = list(drawn) or [int(k) for k in list(near)[:6]]
    items = []
    for row in chosen:
        entry = drawn.get(row)
        items.append(
            {
                "row": row,
                "near": [{"row": r, "distance": f"{d:.2f}"} for r, d in near.get(str(row), [])],
                **(_drawing(run, entry, words) if entry else NOTHING),
            }
        )
    made = {"items": items, "importance": None, "kind": run.results["modality"]}
    importance = run.facts.get("importance")
    if importance and importance["columns"]:
        of_score = importance["of"] == "score"
        share = importance["task"] != "regression"
        unit = t("loss of accuracy") if of_score else t("predictions that change")
        if not share:
            unit = t("growth of the mean absolute error")
        shown = importance["columns"][:20]
        made["importance"] = {
            "svg": bars.bars(
                [(c["column"], c["loss"], c["low"], c["high"]) for c in shown],
                title=t("Columns the model rests on"),
                xlabel=unit,
                form=percent if share else plain,
            ),
            "rows": importance["rows"],
            "repeats": importance["repeats"],
            "table": table(
                "importance",
                t("Columns the model rests on"),
                [(t("column"), False), (unit, True), (t("low"), True), (t("high"), True)],
                [[c["column"], *((f"{c[k]:.4f}", c[k]) for k in ("loss", "low", "high"))]
                 for c in importance["columns"]],
            ),
        }  # fmt: skip
    return made if items or made["importance"] else None


def _drawing(run: Run, entry: dict[str, Any], words: Words) -> dict[str, Any]:
    t = words.t
    base = entry["base"]
    sure = f"{100 * base:.0f} %" if entry["predicted"] is not None else f"{base:.4g}"
    title = t(
        "What the prediction %(name)s (%(sure)s) rests on", name=entry["predicted"] or "", sure=sure
    )
    made: dict[str, Any] = {"sure": sure, "svg": "", "words": [], "bars": "", "flat": _flat(entry)}
    kind = entry["kind"]
    if kind == "image":
        uri = run.data_uri(entry["row"])
        made["svg"] = heat.over_picture(uri, entry, title=title) if uri else ""
    elif kind == "audio":
        made["svg"] = heat.over_spectrogram(entry, title=title, seconds=t("s"))
    elif kind == "text":
        made["words"] = [
            {
                "text": word,
                "step": round(WORD_STEPS * abs(s)),
                "against": s < 0,
                "drop": f"{100 * d:+z.1f}",
            }
            for word, s, d in zip(entry["words"], heat.strength(entry["drops"]), entry["drops"])
        ]
    else:
        order = sorted(range(len(entry["drops"])), key=lambda k: -abs(entry["drops"][k]))[:8]
        made["bars"] = bars.bars(
            [(f"{entry['columns'][k]} = {entry['values'][k]}", entry["drops"][k], None, None)
             for k in order],
            title=title, xlabel=t("fall when it has its usual value"), width=460, left=170,
            form=percent if entry["predicted"] is not None else plain,
        )  # fmt: skip
    names = entry.get("words") or [
        f"{c} = {v}" for c, v in zip(entry.get("columns", []), entry.get("values", []))
    ]
    if not names:
        names = [f"{r + 1}, {c + 1}" for r in range(entry["grid"][0])
                 for c in range(entry["grid"][1])]  # fmt: skip
    made["table"] = table(
        f"parts-{entry['row']}",
        title,
        [(t("part"), False), (t("fall of the probability"), True)],
        [[n, (f"{d:+z.4f}", d)] for n, d in zip(names, entry["drops"])],
    )
    return made


def _flat(entry: dict[str, Any]) -> bool:
    """Whether no single part matters: then nothing is painted, and the reader is told."""
    return max((abs(d) for d in entry["drops"]), default=0.0) < 0.005
