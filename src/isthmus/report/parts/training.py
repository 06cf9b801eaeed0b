"""Layer 7: curves of trained routes, from the metric logs (``*.jsonl``) of the folder."""

from __future__ import annotations

from typing import Any

from isthmus.report.charts import intervals
from isthmus.report.folder import Run
from isthmus.report.words import Words

AXES = ("epoch", "step", "iteration")
PANELS = (
    ("loss", ("loss", "nll")),
    ("accuracy", ("acc", "f1", "score", "confidence", "held_out")),
    ("lr", ("lr",)),
)


def training(run: Run, words: Words) -> list[dict[str, Any]]:
    """One entry a log: charts of losses, of accuracies, of the rest, and the table behind them."""
    found = []
    for name, steps in _stages(run.logs):
        numeric = [_numbers(step) for step in steps]
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


def _stages(logs: dict[str, list[dict[str, Any]]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Each stage of a training by itself: every one counts its epochs from the start."""
    found: dict[str, list[dict[str, Any]]] = {}
    for name, steps in logs.items():
        for step in steps:
            stage = step.get("stage")
            found.setdefault(f"{name}: {stage}" if stage else name, []).append(step)
    return list(found.items())


def _numbers(step: dict[str, Any]) -> dict[str, float]:
    """The figures of an entry; those of ``losses`` are called losses unless they say what."""
    inner = step.get("losses")
    losses = inner if isinstance(inner, dict) else {}
    flat = {k: v for k, v in step.items() if not (k == "step" and "epoch" in step)}
    flat |= {k if _named(k) else f"{k} loss": v for k, v in losses.items()}
    return {
        k: float(v)
        for k, v in flat.items()
        if isinstance(v, (int, float)) and not isinstance(v, bool)
    }


def _named(key: str) -> bool:
    return any(word in key.lower() for _, words in PANELS for word in words)


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
