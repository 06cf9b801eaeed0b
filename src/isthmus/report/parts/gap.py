"""Layer 7: how far apart source and target are: the map, the measures, class shares, drift."""

from __future__ import annotations

from typing import Any

import numpy as np

from isthmus.report.charts import bars, maps
from isthmus.report.charts.svg import percent
from isthmus.report.folder import Run
from isthmus.report.parts.table import table
from isthmus.report.words import Words

MOST_CLASSES = 24


def gap(run: Run, words: Words) -> dict[str, Any] | None:
    """Everything about the gap; None where the folder holds no rows for it."""
    if run.facts is None or run.components is None:
        return None
    t = words.t
    found = run.facts["gap"]
    made: dict[str, Any] = {
        "maps": _maps(run, words),
        "kinds": _kinds(run, words),
        "summary": "",
        **dict.fromkeys(("measures", "prior", "classes", "drift")),
    }
    if found is None:
        return made
    made["summary"] = found["summary"]
    made["notes"] = found["notes"]
    measured = found["measured"]
    made["measured"] = t(
        "Measured on %(source)s source and %(target)s target rows.",
        source=measured["source"],
        target=measured["target"],
    )
    made["measures"] = table(
        "gap-measures",
        t("Measures of the gap"),
        [
            (t("measure"), False),
            (t("value"), True),
            (t("by chance"), True),
            (t("p"), True),
            (t("reading"), False),
            (t("how"), False),
        ],
        [
            [
                words.said(g["title"]),
                (_value(g), g["value"]),
                ("" if g["chance"] is None else f"{g['chance']:.3g}", g["chance"] or 0),
                ("" if g["p_value"] is None else f"{g['p_value']:.3g}", g["p_value"] or 0),
                words.said(g["reading"]),
                words.said(g["how"]),
            ]
            for g in found["gaps"]
        ],
    )
    made["prior"] = _prior(found.get("prior"), words)
    made["classes"] = _classes(found.get("per_class"), words)
    made["drift"] = _drift(found, words)
    return made


def _value(g: dict[str, Any]) -> str:
    text = f"{g['value']:.3g}"
    if g["interval"] and g["interval"]["low"] is not None:
        text += f" [{g['interval']['low']:.3g}, {g['interval']['high']:.3g}]"
    return text


def _maps(run: Run, words: Words) -> list[dict[str, Any]]:
    """PCA of all mapped rows, then a neighbourhood map of at most 2,000 of them."""
    t, facts = words.t, run.facts
    assert facts is not None and run.components is not None
    rows = facts["rows"]
    shown = np.flatnonzero(np.array(rows["map"], dtype=bool))
    kinds, part = class_numbers(run), np.array(rows["part"])
    shares = facts["map"]["explained_variance"]
    found: list[dict[str, Any]] = []

    def add(name: str, at: Any, which: Any, caption: str) -> None:
        place = maps.placed(at)
        svg = maps.scatter(
            place, part[which].tolist(), [kinds[i] for i in which],
            title=t("Map of source and target rows: %(name)s", name=name), id_=f"map-{len(found)}",
        )  # fmt: skip
        found.append(
            {"name": name, "svg": svg, "caption": caption, "rows": which.tolist(),
             "xy": place.ravel().tolist(), "count": len(which)}
        )  # fmt: skip

    if len(shown) < 3:
        return []
    two = 100 * sum(shares[:2])
    add(
        "PCA",
        run.components[shown, :2],
        shown,
        t("The first two principal components hold %(share)s %% of the variance.",
          share=f"{two:.0f}"),
    )  # fmt: skip
    few = shown
    if len(few) > maps.NEIGHBOURED:
        few = np.sort(np.random.default_rng(0).choice(few, maps.NEIGHBOURED, replace=False))
    other = maps.neighbour_map(run.components[few])
    if other is not None:
        add(
            other[0],
            other[1],
            few,
            t("Near rows stay near; distances between groups and the sizes of groups mean little."),
        )
    return found


def class_numbers(run: Run) -> list[int]:
    """Number of each row's class: its label where it is known, else its prediction; -1 for none."""
    assert run.facts is not None
    if run.facts["task"] != "classification":
        return [-1] * len(run.facts["rows"]["id"])
    place = {name: k for k, name in enumerate(run.facts["classes"])}
    rows = run.facts["rows"]
    return [
        place.get(truth if truth is not None else predicted, -1)
        for truth, predicted in zip(rows["truth"], rows["prediction"], strict=True)
    ]


def _kinds(run: Run, words: Words) -> list[dict[str, Any]]:
    """Parts that are on the map, for its legend."""
    assert run.facts is not None
    rows = run.facts["rows"]
    present = sorted({p for p, m in zip(rows["part"], rows["map"], strict=True) if m})
    return [{"code": p, "name": words.said(rows["parts"][p])} for p in present]


def _prior(prior: dict[str, Any] | None, words: Words) -> dict[str, Any] | None:
    if not prior or not prior.get("classes"):
        return None
    t = words.t
    entries = [e for e in prior["classes"] if e.get("source") is not None]
    shown = sorted(entries, key=lambda e: -abs((e["target"] or 0) - e["source"]))[:MOST_CLASSES]
    order = [e["class"] for e in entries]
    shown.sort(key=lambda e: order.index(e["class"]))
    names = (words.said("source"), words.said("target"))
    return {
        "reading": prior["reading"],
        "from": prior["from"],
        "svg": bars.dumbbells(
            shown,
            title=t("Class shares of source and target"),
            xlabel=t("share of the rows"),
            names=names,
        ),
        "table": table(
            "class-shares",
            t("Class shares of source and target"),
            [
                (t("class"), False),
                (names[0], True),
                (names[1], True),
                (t("low"), True),
                (t("high"), True),
            ],
            [
                [
                    e["class"],
                    *(
                        _share(v)
                        for v in (e["source"], e["target"], *(e.get("interval") or (None, None)))
                    ),
                ]
                for e in entries
            ],
        ),
    }


def _share(value: float | None) -> tuple[str, float]:
    return ("", -1.0) if value is None else (f"{100 * value:.1f} %", value)


def _classes(found: dict[str, Any] | None, words: Words) -> dict[str, Any] | None:
    if not found:
        return None
    t = words.t
    rows = [
        [
            e["class"],
            e["source"],
            e["target"],
            ("", -9.0) if e["towards"] is None else (f"{100 * e['towards']:.0f} %", e["towards"]),
            e["other"] or "",
            ("", -1.0) if not e["auc"] else (f"{e['auc']['value']:.2f}", e["auc"]["value"]),
            words.said(e["reading"]),
        ]
        for e in found["classes"]
    ]
    return {
        "by": found["by"],
        "table": table(
            "class-gaps",
            t("How far each class moved towards another one"),
            [(t("class"), False), (t("source rows"), True), (t("target rows"), True),
             (t("moved"), True), (t("towards"), False), (t("domain AUC"), True),
             (t("reading"), False)],
            rows,
        ),
    }  # fmt: skip


def _drift(found: dict[str, Any], words: Words) -> dict[str, Any]:
    t, drift = words.t, found["drift"]
    worst = drift["worst"]
    made: dict[str, Any] = {"reading": drift["reading"], "svg": "", "table": None}
    made["columns"] = [
        {
            "name": e["column"],
            "svg": bars.histogram(e, title=t("%(name)s: source and target", name=e["column"])),
            "table": table(
                f"column-{k}",
                e["column"],
                [(t("from"), True), (words.said("source"), True), (words.said("target"), True)],
                [
                    [(f"{edge:.5g}", edge), _share(a), _share(b)]
                    for edge, a, b in zip(e["edges"], e["source"], e["target"])
                ],
            ),
        }
        for k, e in enumerate(found.get("columns") or [])
    ]
    if worst and drift["named"]:
        made["svg"] = bars.bars(
            [(e["feature"], e["statistic"], None, None) for e in worst],
            title=t("Features that drifted most"),
            xlabel=t("Kolmogorov–Smirnov distance"),
            form=percent,
        )
    if worst:
        name = t("feature") if drift["named"] else t("feature number")
        made["table"] = table(
            "drift",
            t("Features that drifted most"),
            [(name, False), (t("KS distance"), True), (t("adjusted p"), True),
             (t("shift of the mean (deviations)"), True)],
            [
                [e["feature"], (f"{e['statistic']:.3f}", e["statistic"]),
                 (f"{e['adjusted_p']:.2g}", e["adjusted_p"]),
                 ("" if e["shift"] is None else f"{e['shift']:+z.2f}", e["shift"] or 0.0)]
                for e in worst
            ],
        )  # fmt: skip
    return made
