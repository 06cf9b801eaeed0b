"""Layer 7: curves of trained routes, from the metric logs (``*.jsonl``) of the folder."""

from __future__ import annotations

from typing import Any

from isthmus.report.charts import intervals
from isthmus.report.folder import Run
from isthmus.report.words import Words

AXES = ("epoch", "step", "iteration")
PANELS = (("loss", ("loss", "nll")), ("accuracy", ("acc", "f1", "score")), ("lr", ("lr",)))


def training(run: Run, words: Words) -> list[dict[str, Any]]:
    """One entry a log: charts of losses, of accuracies, of the rest, and the table behind them."""
    found = []
    for name, steps in run.logs.items():
        numeric = [
            {k: float(v) for k, v in s.items()
             if isinstance(v, (int, float)) and not isinstance(v, bool)}
            for s in steps
        ]  # fmt: skip
        axis = next((a for a in AXES if any(a in s for s in numeric)), None)
        keys = list(dict.fromkeys(k for s in numeric for k in s if k not in (*AXES, "time")))
        if len(numeric) < 2 or not keys:
            continue
        panels: dict[str, dict[str, list[tuple[float, float]]]] = {}
        for key in keys:
            points = [
                (s.get(axis, k) if axis else float(k), s[key])
                for k, s in enumerate(numeric)
                if key in s and abs(s[key]) < 1e30
            ]
            if len(points) > 1:
                panels.setdefault(_panel(key), {})[key] = points
        charts = [
            {
                "names": list(series),
                "svg": intervals.lines(
                    series,
                    xlabel=words.said(axis) if axis else words.t("line"),
                    title=f"{name}: {', '.join(series)}",
                ),
            }
            for series in panels.values()
        ]
        if charts:
            found.append({"name": name, "charts": charts, "steps": len(numeric),
                          "keys": [axis or "line", *keys],
                          "csv": _csv(numeric, axis, keys)})  # fmt: skip
    return found


def _panel(key: str) -> str:
    for panel, words in PANELS:
        if any(word in key.lower() for word in words):
            return panel
    return key


def _csv(steps: list[dict[str, float]], axis: str | None, keys: list[str]) -> str:
    head = [axis or "line", *keys]
    lines = [",".join(head)]
    for k, s in enumerate(steps):
        values = [s.get(axis, k) if axis else k, *(s.get(key) for key in keys)]
        lines.append(",".join("" if v is None else f"{v:.6g}" for v in values))
    return "\n".join(lines) + "\n"
