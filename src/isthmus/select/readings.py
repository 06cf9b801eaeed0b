"""Layer 6: what a figure of `diagnose` means, in one plain sentence each.

The words follow the interval or the p-value where there is one, and the level of chance where
there is none; no sentence claims more than its figure holds.
"""

from __future__ import annotations

from typing import Any

from isthmus.types import Interval


def separation(auc: Interval) -> str:
    """Of the domain AUC."""
    if auc.low <= 0.5:
        return "A linear classifier does not tell the domains apart better than chance could."
    steps = (
        (0.7, "The domains differ a little; a linear classifier sees it in some rows."),
        (0.9, "The domains differ clearly; most rows show where they come from."),
        (0.99, "The domains are far apart; few rows could come from either."),
    )
    for limit, words in steps:
        if auc.value < limit:
            return words
    return "The domains are told apart almost without error: every row shows where it comes from."


def a_distance(value: Interval) -> str:
    """Of the proxy A-distance."""
    half = "nearer to the same" if value.value < 1 else "nearer to fully apart"
    return f"0 would be one domain, 2 two domains without overlap: {half}."


def mmd(p_value: float | None) -> str:
    """Of the MMD with its permutation test."""
    if p_value is None:
        return "Not tested."
    deals = f"one domain dealt out at random gives this in {_p(p_value)} of the deals."
    if p_value <= 0.05:
        return f"The distributions differ: {deals}"
    return f"Chance explains it: {deals}"


def against_chance(value: float, chance: float, thing: str) -> str:
    """Of a distance without a test: how many times the figure of a random deal."""
    if chance <= 0:
        same = value <= 0
        return f"The {thing} agree." if same else f"The {thing} differ; a random deal gives 0."
    times, deal = value / chance, f"a random deal of the rows ({chance:.2g})"
    if times < 1.5:
        return f"The {thing} differ about as much as in {deal}."
    return f"The {thing} differ {times:,.0f} times as much as in {deal}."


def otdd(own: int, classes: int) -> str:
    """Of the label-aware transport: do classes lie nearest to their namesakes?"""
    if classes == 0:
        return "The domains share no class name."
    if own == classes:
        return f"All {classes} shared classes lie nearest to their own name, as they should."
    return (
        f"{own} of {classes} shared classes lie nearest to their own name; the others are nearer "
        "to another class."
    )


def shares(value: Interval, p_value: float, expected: float) -> str:
    """Of the class shares counted on both sides."""
    if p_value > 0.05:
        return f"The class shares agree within chance ({_p(p_value)} of random deals differ so)."
    return (
        f"The class shares differ: {100 * value.value:.0f} % of the rows would have to change "
        f"class, where chance alone gives {100 * expected:.0f} %."
    )


def estimated_shares(moved: list[str], trust: bool) -> str:
    """Of the class shares estimated without target labels."""
    if not moved:
        words = "No class share is estimated to differ beyond its interval."
    else:
        listed = ", ".join(moved[:5]) + (" and others" if len(moved) > 5 else "")
        words = f"Estimated to differ beyond their intervals: {listed}."
    if trust:
        return words
    return (
        f"{words} The domains are far apart, so the estimates may be wrong: they assume classes "
        "that look the same in both."
    )


def class_gap(towards: float, other: str) -> str:
    """Of a class: how far its mean moved towards another class, 1 = all of the way."""
    if towards < 0.25:
        return "keeps to its side"
    if towards < 0.5:
        return f"moved towards {other!r}, still nearer to itself"
    return f"is now nearer to where {other!r} was: labels may not carry over"


def drift(count: int, total: int, level: float) -> str:
    """Of the features one by one."""
    if count == 0:
        return f"None of {total} features drifted (false discovery rate {100 * level:.0f} %)."
    if count == total:
        return f"All {total} features drifted: the difference is not confined to a few."
    return (
        f"{count} of {total} features drifted; expect {100 * level:.0f} % of these to be false "
        "alarms."
    )


def accuracy_loss(here: Interval, there: Interval, unit: str) -> str:
    """Of a source model on held-out source rows and on labelled target rows."""
    loss = 100 * (here.value - there.value)
    if there.low > here.high:
        return "A source model does better on the target than at home."
    if there.high >= here.low:
        return f"A source model does about as well on the target as at home ({-loss:+z.1f} points)."
    return (
        f"A source model loses {loss:.1f} points of {unit} on the target: there is something to "
        "gain."
    )


def summary(found: dict[str, Any]) -> str:
    """The page in two or three sentences."""
    auc = found["gaps"][0]["interval"]
    lines = []
    if auc["low"] <= 0.5:
        lines.append("No gap between the domains that a linear classifier can see.")
    elif auc["value"] < 0.9:
        lines.append(
            "The domains differ, with overlap: weights and maps have something to work on."
        )
    else:
        lines.append("The domains hardly overlap: weights will rest on few rows; maps may help.")
    model = found.get("source_model")
    if model:
        lines.append(model["reading"])
    prior = found.get("prior")
    if prior and prior["shifted"]:
        lines.append(
            "The class shares differ: methods that align whole domains may mix classes up."
        )
    return " ".join(lines)


def _p(p_value: float) -> str:
    share = 100 * p_value
    return f"{share:.0f} %" if share >= 1 else "under 1 %"
