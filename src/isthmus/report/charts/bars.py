"""Layer 7: rows of bars, dumbbells and small histograms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from isthmus.report.charts.svg import Plot, percent, picture, plain, tag, ticks

ROW = 26


def short(name: str, most: int = 18) -> str:
    """A label that fits its margin."""
    return name if len(name) <= most else name[: most - 1] + "…"


def dumbbells(
    entries: Sequence[dict[str, Any]], *, title: str, xlabel: str, names: tuple[str, str]
) -> str:
    """Two shares a class, joined; the second with its interval where there is one."""
    high = max(max(e["source"], e["target"] or 0, *(e.get("interval") or [0])) for e in entries)
    height = 18 + ROW * len(entries) + 44
    plot = Plot((0, high * 1.05), (0, 1), height=height, margin=(8, 20, 44, 128))
    bottom = height - 44
    for value in ticks(0, high * 1.05):
        x = plot.px(value)
        plot.parts.append(tag("line", class_="grid", x1=x, x2=x, y1=8, y2=bottom))
        plot.parts.append(
            tag("text", percent(value), class_="tick", x=x, y=bottom + 17, text_anchor="middle")
        )
    for k, e in enumerate(entries):
        y = 8 + ROW * (k + 0.6)
        plot.parts.append(
            tag("text", short(e["class"]), class_="name", x=118, y=y + 4, text_anchor="end")
        )
        a = plot.px(e["source"])
        if e["target"] is not None:
            b = plot.px(e["target"])
            plot.parts.append(tag("line", class_="join", x1=a, x2=b, y1=y, y2=y))
            if e.get("interval"):
                low, top = (plot.px(v) for v in e["interval"])
                plot.parts.append(tag("line", class_="whisker s2", x1=low, x2=top, y1=y, y2=y))
            plot.parts.append(tag("path", class_="dot s2", d=diamond(b, y, 6)))
        plot.parts.append(tag("circle", class_="dot s1", cx=a, cy=y, r=5))
    plot.parts.append(
        tag("text", xlabel, class_="label", x=(128 + 540) / 2, y=height - 6, text_anchor="middle")
    )
    return plot.render(title=title)


def diamond(x: float, y: float, r: float) -> str:
    """Path of a diamond: the mark of the target, so that colour is not the only difference."""
    return f"M{x - r:.1f} {y:.1f}l{r} {-r} {r} {r} {-r} {r}z"


def bars(
    entries: Sequence[tuple[str, float, float | None, float | None]],
    *,
    title: str,
    xlabel: str,
    form: Callable[[float], str] = plain,
    class_: str = "s1",
    width: int = 560,
    left: int = 150,
) -> str:
    """Horizontal bars from zero, with whiskers where low and high are known."""
    values = [v for e in entries for v in e[1:] if v is not None]
    low, high = min(0.0, *values), max(0.0, *values)
    if high == low:
        high = 1.0
    height = 12 + ROW * len(entries) + 44
    plot = Plot((low, high * 1.04), (0, 1), width=width, height=height, margin=(8, 20, 44, left))
    bottom = height - 44
    for value in ticks(low, high * 1.04, 4):
        x = plot.px(value)
        plot.parts.append(tag("line", class_="grid", x1=x, x2=x, y1=8, y2=bottom))
        plot.parts.append(
            tag("text", form(value), class_="tick", x=x, y=bottom + 17, text_anchor="middle")
        )
    zero = plot.px(0)
    for k, (name, value, least, most) in enumerate(entries):
        y = 8 + ROW * (k + 0.5)
        end = plot.px(value)
        plot.parts.append(
            tag("text", short(name, left // 7), class_="name", x=left - 10, y=y + 4,
                text_anchor="end")
        )  # fmt: skip
        kind = class_ if value >= 0 else "s2"
        plot.parts.append(
            tag("rect", class_=f"bar {kind}", x=min(zero, end), y=y - 7, height=14,
                width=max(abs(end - zero), 1.0))
        )  # fmt: skip
        if least is not None and most is not None:
            plot.parts.append(
                tag("line", class_="whisker ink", x1=plot.px(least), x2=plot.px(most), y1=y, y2=y)
            )
    plot.parts.append(tag("line", class_="axis", x1=zero, x2=zero, y1=8, y2=bottom))
    plot.parts.append(
        tag("text", xlabel, class_="label", x=(left + width - 20) / 2, y=height - 6,
            text_anchor="middle")
    )  # fmt: skip
    return plot.render(title=title)


def histogram(entry: dict[str, Any], *, title: str) -> str:
    """Shares of source (filled) and target (outlined) rows on common bins."""
    width, height, bottom, left = 260, 132, 22, 8
    counts = (entry["source"], entry["target"])
    high = max(max(counts[0]), max(counts[1])) or 1
    n = len(counts[0])
    step = (width - 2 * left) / n
    parts = []

    def top(value: float) -> float:
        return height - bottom - value / high * (height - bottom - 8)

    for k in range(n):
        x = left + k * step
        parts.append(
            tag("rect", class_="bar s1", x=x + 1, width=step - 2, y=top(counts[0][k]),
                height=height - bottom - top(counts[0][k]))
        )  # fmt: skip
    if entry["discrete"]:
        parts += [
            tag("rect", class_="outline s2", x=left + k * step + 3, width=step - 6,
                y=top(counts[1][k]), height=height - bottom - top(counts[1][k]))
            for k in range(n)
        ]  # fmt: skip
    else:
        steps = "".join(
            f"L{left + k * step:.1f} {top(v):.1f}L{left + (k + 1) * step:.1f} {top(v):.1f}"
            for k, v in enumerate(counts[1])
        )
        floor = height - bottom
        path = f"M{left} {floor}{steps}L{width - left} {floor}"
        parts.append(tag("path", class_="line s2", d=path, fill="none"))
    parts.append(
        tag("line", class_="axis", x1=left, x2=width - left, y1=height - bottom, y2=height - bottom)
    )
    edges = entry["edges"]
    shown = edges[:-1] if entry["discrete"] else edges
    for k in {0, len(shown) - 1} if len(shown) > 6 or not entry["discrete"] else range(len(shown)):
        x = left + (k + (0.5 if entry["discrete"] else 0)) * step
        anchor = "middle" if entry["discrete"] else ("start" if k == 0 else "end")
        parts.append(
            tag("text", f"{shown[k]:.4g}", class_="tick", x=x, y=height - 6, text_anchor=anchor)
        )
    return picture(parts, width, height, title=title, class_="chart small")
