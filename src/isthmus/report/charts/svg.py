"""Layer 7: scales, ticks and the frame of a chart. Colours are classes, so both themes work."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import escape, quoteattr


def num(value: float) -> str:
    """A coordinate: one decimal is a tenth of a pixel."""
    text = f"{value:.1f}"
    return text[:-2] if text.endswith(".0") else text


def tag(name: str, content: str | None = None, **attributes: object) -> str:
    """``<name a="b">content</name>``; trailing underscores are cut, others become hyphens.

    >>> tag("text", "a < b", class_="tick", text_anchor="end")
    '<text class="tick" text-anchor="end">a &lt; b</text>'
    """
    words = [name]
    for key, value in attributes.items():
        if value is None:
            continue
        shown = num(value) if isinstance(value, float) else str(value)
        words.append(f"{key.rstrip('_').replace('_', '-')}={quoteattr(shown)}")
    opening = " ".join(words)
    return f"<{opening}/>" if content is None else f"<{opening}>{escape(content)}</{name}>"


def group(parts: Iterable[str], **attributes: object) -> str:
    """A ``g`` of ready parts."""
    return tag("g", "", **attributes).replace("></g>", ">" + "".join(parts) + "</g>")


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers that lie in [low, high], about `count` of them.

    >>> ticks(0, 1, 5)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    if not high > low:
        return [low]
    raw = (high - low) / count
    power = 10 ** math.floor(math.log10(raw))
    step = next(s * power for s in (1, 2, 2.5, 5, 10) if s * power >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(k * step, 12) for k in range(first, last + 1)]


def plain(value: float) -> str:
    """A tick's text."""
    return f"{value:g}"


def percent(value: float) -> str:
    """A tick's text for shares."""
    return f"{100 * value:g} %"


@dataclass
class Plot:
    """A chart with two linear axes.

    Parameters
    ----------
    x, y : (low, high)
        Data range.
    width, height : int
        View box; on a phone the whole is scaled.
    margin : (top, right, bottom, left)
    """

    x: tuple[float, float]
    y: tuple[float, float]
    width: int = 560
    height: int = 320
    margin: tuple[int, int, int, int] = (12, 16, 44, 62)
    parts: list[str] = field(default_factory=list)

    def px(self, value: float) -> float:
        """Horizontal position of a value."""
        _, right, _, left = self.margin
        low, high = self.x
        return left + (value - low) / ((high - low) or 1) * (self.width - left - right)

    def py(self, value: float) -> float:
        """Vertical position of a value."""
        top, _, bottom, _ = self.margin
        low, high = self.y
        return (
            self.height
            - bottom
            - (value - low) / ((high - low) or 1) * (self.height - top - bottom)
        )

    def axes(
        self,
        *,
        xlabel: str = "",
        ylabel: str = "",
        xticks: Sequence[float] | None = None,
        yticks: Sequence[float] | None = None,
        xform: Callable[[float], str] = plain,
        yform: Callable[[float], str] = plain,
    ) -> None:
        """Grid lines, ticks and labels."""
        top, right, bottom, left = self.margin
        floor, end = self.height - bottom, self.width - right
        for value in ticks(*self.y) if yticks is None else yticks:
            at = self.py(value)
            self.parts.append(tag("line", class_="grid", x1=left, x2=end, y1=at, y2=at))
            self.parts.append(
                tag("text", yform(value), class_="tick", x=left - 8, y=at + 4, text_anchor="end")
            )
        for value in ticks(*self.x) if xticks is None else xticks:
            at = self.px(value)
            self.parts.append(
                tag("text", xform(value), class_="tick", x=at, y=floor + 18, text_anchor="middle")
            )
        self.parts.append(tag("line", class_="axis", x1=left, x2=end, y1=floor, y2=floor))
        if xlabel:
            self.parts.append(
                tag("text", xlabel, class_="label", x=(left + end) / 2, y=self.height - 6,
                    text_anchor="middle")
            )  # fmt: skip
        if ylabel:
            middle = (top + floor) / 2
            self.parts.append(
                tag("text", ylabel, class_="label", x=12, y=middle, text_anchor="middle",
                    transform=f"rotate(-90 12 {num(middle)})")
            )  # fmt: skip

    def line(self, points: Sequence[tuple[float, float]], class_: str) -> None:
        """A polyline through data points."""
        if not points:
            return
        path = "M" + "L".join(f"{num(self.px(x))} {num(self.py(y))}" for x, y in points)
        self.parts.append(tag("path", class_=class_, d=path, fill="none"))

    def band(self, points: Sequence[tuple[float, float, float]], class_: str) -> None:
        """The area between low and high."""
        if len(points) < 2:
            return
        there = [f"{num(self.px(x))} {num(self.py(low))}" for x, low, _ in points]
        back = [f"{num(self.px(x))} {num(self.py(high))}" for x, _, high in reversed(points)]
        self.parts.append(tag("path", class_=class_, d="M" + "L".join(there + back) + "Z"))

    def render(self, *, title: str, class_: str = "chart", id_: str | None = None) -> str:
        """The SVG; `title` is what a screen reader says."""
        return picture(self.parts, self.width, self.height, title=title, class_=class_, id_=id_)


def picture(
    parts: Iterable[str],
    width: float,
    height: float,
    *,
    title: str,
    class_: str = "chart",
    id_: str | None = None,
) -> str:
    """An ``svg`` element that a screen reader announces as one image."""
    head = tag(
        "svg", "", class_=class_, id_=id_, viewBox=f"0 0 {num(width)} {num(height)}",
        width=num(width), height=num(height), role="img", aria_label=title,
    )  # fmt: skip
    return head.replace("></svg>", ">" + "".join(parts) + "</svg>")
