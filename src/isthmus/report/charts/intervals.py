"""Layer 7: a value with its interval in a table cell, and lines with bands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from isthmus.report.charts.svg import Plot, group, percent, picture, plain, tag

WIDTH, HEIGHT = 168, 22


def cell(
    score: dict[str, Any], span: tuple[float, float], *, title: str, class_: str = "s1"
) -> str:
    """Point and whiskers on a common span; a line marks zero where it is inside."""

    def at(value: float) -> float:
        share = (value - span[0]) / ((span[1] - span[0]) or 1)
        return 6 + min(max(share, 0.0), 1.0) * (WIDTH - 12)

    middle = HEIGHT / 2
    parts = [tag("line", class_="grid", x1=6, x2=WIDTH - 6, y1=middle, y2=middle)]
    if span[0] < 0 < span[1]:
        parts.append(tag("line", class_="zero", x1=at(0), x2=at(0), y1=1, y2=HEIGHT - 1))
    if score.get("low") is not None and score.get("high") is not None:
        low, high = at(score["low"]), at(score["high"])
        parts.append(tag("line", class_=f"whisker {class_}", x1=low, x2=high, y1=middle, y2=middle))
        parts += [
            tag("line", class_=f"whisker {class_}", x1=x, x2=x, y1=middle - 4, y2=middle + 4)
            for x in (low, high)
        ]
    parts.append(tag("circle", class_=f"dot {class_}", cx=at(score["value"]), cy=middle, r=4.5))
    return picture(parts, WIDTH, HEIGHT, title=title, class_="spark")


def span_of(scores: Sequence[dict[str, Any] | None], *, share: bool) -> tuple[float, float]:
    """A common span with a little room; shares keep inside 0..1."""
    values = [
        s[k] for s in scores if s for k in ("value", "low", "high") if s.get(k) is not None
    ] or [0.0, 1.0]
    low, high = min(values), max(values)
    room = 0.05 * (high - low or 1.0)
    low, high = low - room, high + room
    return (max(low, 0.0), min(high, 1.0)) if share else (low, high)


def learning_curve(
    rows: Sequence[dict[str, str]], *, xlabel: str, ylabel: str, title: str, share: bool
) -> str:
    """Measured points with their intervals over the number of labels."""
    points = [
        (float(r["labels"]), float(r["score"]), float(r["low"]), float(r["high"]))
        for r in rows
        if r.get("kind") == "measured" and all(r.get(k) for k in ("score", "low", "high"))
    ]
    if len(points) < 2:
        return ""
    low, high = min(p[2] for p in points), max(p[3] for p in points)
    room = 0.08 * (high - low or 1)
    y = (max(low - room, 0), min(high + room, 1)) if share else (low - room, high + room)
    plot = Plot((0, points[-1][0] * 1.03), y, height=280, margin=(12, 16, 44, 68))
    plot.axes(xlabel=xlabel, ylabel=ylabel, yform=percent if share else plain)
    plot.band([(x, a, b) for x, _, a, b in points], "band s1")
    plot.line([(x, v) for x, v, _, _ in points], "line s1")
    plot.parts += [
        tag("circle", class_="dot s1", cx=plot.px(x), cy=plot.py(v), r=4) for x, v, _, _ in points
    ]
    return plot.render(title=title)


def lines(
    series: dict[str, list[tuple[float, float]]], *, xlabel: str, title: str, height: int = 240
) -> str:
    """Several curves over one axis, with their names at the end."""
    every = [p for points in series.values() for p in points]
    xs, ys = [p[0] for p in every], [p[1] for p in every]
    room = 0.06 * ((max(ys) - min(ys)) or 1)
    plot = Plot((min(xs), max(xs)), (min(ys) - room, max(ys) + room), height=height)
    plot.axes(xlabel=xlabel)
    for k, points in enumerate(series.values()):
        plot.line(points, f"line s{k % 8 + 1} d{k // 8}")
    return plot.render(title=title)


def reliability(table: dict[str, Any], *, title: str, xlabel: str, ylabel: str, class_: str) -> str:
    """Accuracy over confidence, bars as wide as the bins, dots as large as their share of rows."""
    plot = Plot((0, 1), (0, 1), width=320, height=300, margin=(10, 26, 44, 68))
    plot.axes(
        xlabel=xlabel, ylabel=ylabel, xform=percent, yform=percent,
        xticks=(0, 0.25, 0.5, 0.75, 1), yticks=(0, 0.25, 0.5, 0.75, 1),
    )  # fmt: skip
    bars, dots = [], []
    total = sum(b["count"] for b in table["bins"]) or 1
    for b in table["bins"]:
        if not b["count"]:
            continue
        x0, x1, y = plot.px(b["low"]), plot.px(b["high"]), plot.py(b["accuracy"])
        bars.append(
            tag("rect", class_=f"bar {class_}", x=x0 + 1, width=x1 - x0 - 2, y=y,
                height=max(plot.py(0) - y, 0.5))
        )  # fmt: skip
        size = 2.5 + 6 * (b["count"] / total) ** 0.5
        dots.append(
            tag("circle", class_="dot ink", cx=plot.px(b["confidence"]), cy=y, r=float(size))
        )
    plot.parts.append(group(bars))
    plot.line([(0, 0), (1, 1)], "ideal")
    plot.parts.append(group(dots))
    return plot.render(title=title, class_="chart square")
