"""Layer 7: figures as they are printed: shares in per cent, intervals in brackets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SHARES = ("accuracy", "macro F1", "micro F1", "label accuracy")
WATTS = 65.0  # a desktop processor under load


def is_share(metric: str) -> bool:
    """Whether a metric lies in 0..1 and is printed in per cent."""
    return metric in SHARES


def figure(score: Mapping[str, Any] | None, metric: str) -> str:
    """``87.4 % [85.0, 89.6]`` for shares, plain numbers otherwise; empty where there is none.

    >>> figure({"value": 0.874, "low": 0.85, "high": 0.896}, "accuracy")
    '87.4 % [85.0, 89.6]'
    """
    if not score or score.get("value") is None:
        return ""
    low, high = score.get("low"), score.get("high")
    text = number(score["value"], metric)
    if low is None or high is None:
        return text
    return f"{text} [{number(low, metric, unit=False)}, {number(high, metric, unit=False)}]"


def number(value: float, metric: str, *, unit: bool = True) -> str:
    """One figure in the unit of its metric."""
    if is_share(metric):
        return f"{100 * value:.1f}" + (" %" if unit else "")
    return f"{value:.4g}"


def gain(score: Mapping[str, Any] | None, metric: str) -> str:
    """A signed difference: points for shares."""
    if not score or score.get("value") is None:
        return ""
    scale = 100 if is_share(metric) else 1
    form = (lambda x: f"{scale * x:+z.1f}") if is_share(metric) else (lambda x: f"{x:+.3g}")
    text = form(score["value"])
    if score.get("low") is None or score.get("high") is None:
        return text
    return f"{text} [{form(score['low'])}, {form(score['high'])}]"


def grouped(count: int) -> str:
    """``10,000``."""
    return f"{count:,}"


def seconds(value: float) -> str:
    """``0.4 s``, ``12 s``, ``3 min 20 s``.

    >>> seconds(200), seconds(3.14159)
    ('3 min 20 s', '3.1 s')
    """
    if value < 60:
        return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def watt_hours(value: float, watts: float = WATTS) -> float:
    """Energy of so many seconds at a stated power."""
    return value * watts / 3600
