"""Layer 8: a diagnosis as a person reads it; built from the JSON form alone."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

WIDTH = 100
MOST = 12  # classes that are listed


def render(found: dict[str, Any]) -> str:
    """The printed page."""
    here, there = found["source"], found["target"]
    labelled = f", {there['labelled']:,} with labels" if there["labelled"] else ", no labels"
    lines = [
        "",
        f"Source     {here['origin']}: {here['rows']:,} rows ({found['modality']}, "
        f"{found['task'] or 'no labels'})",
        f"Target     {there['origin']}: {there['rows']:,} rows{labelled}",
        f"Backbone   {found['backbone']}",
    ]
    if found["set_aside"]:
        first = found["set_aside"][0]
        lines.append(
            f"Set aside  {len(found['set_aside'])} rows, first {first['where']}: {first['reason']}"
        )
    lines += ["", "Gap between the domains"]
    lines += _aligned([(g["title"], _figure(g), g["reading"]) for g in found["gaps"]])
    lines += _model(found.get("source_model"))
    lines += _sources(found.get("held_out_sources"))
    lines += _prior(found["prior"])
    lines += _classes(found["per_class"])
    lines += _drift(found["drift"])
    lines += ["", *_wrapped("In short   ", found["summary"])]
    for note in found["notes"]:
        lines += _wrapped("note       ", note)
    for gap in found["gaps"]:
        for trouble in gap["troubles"]:
            lines += _wrapped("note       ", f"{gap['title']}: {trouble}")
    return "\n".join(lines)


def _figure(gap: dict[str, Any]) -> str:
    text = _number(gap["value"])
    interval = gap["interval"]
    if interval is not None and interval["low"] is not None:
        text += f" [{_number(interval['low'])}, {_number(interval['high'])}]"
    return text if gap["p_value"] is None else f"{text}, p = {gap['p_value']:.2g}"


def _model(model: dict[str, Any] | None) -> list[str]:
    if model is None:
        return []
    home, away = (_score(model[side], share=True) for side in ("source", "target"))
    lines = ["", f"A model of the source ({model['metric']})"]
    lines.append(f"  held-out source rows  {home}")
    lines.append(f"  target rows           {away}")
    return lines + _wrapped("  ", model["reading"])


def _sources(found: dict[str, Any] | None) -> list[str]:
    if found is None:
        return []
    share = found["metric"] == "accuracy"
    lines = ["", f"Each source held out in turn ({found['metric']} on its rows, labels unseen)"]
    rows = []
    for entry in found["table"]:
        gain = entry["gain"]
        rows.append(
            (
                f"{entry['source']} ({entry['rows']:,})",
                entry["method"],
                _score(entry["score"], share=share),
                "" if gain is None else f"gain {_score(gain, share=share, sign=True)}",
            )
        )
    for name, gain in found["gains"].items():
        rows.append(
            ("mean of the sources", name, "", f"gain {_score(gain, share=share, sign=True)}")
        )
    return lines + _aligned(rows) + _wrapped("  ", found["reading"])


def _score(interval: dict[str, Any], *, share: bool, sign: bool = False) -> str:
    """With its interval; shares in percent, differences of shares in points."""
    value, low, high = (interval[k] for k in ("value", "low", "high"))
    if value is None:
        return str(interval.get("how") or "-")

    def form(v: float) -> str:
        if share:
            return f"{100 * v:+z.1f}" if sign else f"{100 * v:.1f}"
        return ("+" if sign and v > 0 else "") + _number(v)

    text = form(value) + (" %" if share and not sign else "")
    return text if low is None or high is None else f"{text} [{form(low)}, {form(high)}]"


def _prior(prior: dict[str, Any] | None) -> list[str]:
    if prior is None:
        return []
    lines = ["", f"Class shares (target: {prior['from']})"]
    if not prior["classes"]:
        lines = ["", f"Values ({prior['from']})"]
    ranked = sorted(
        prior["classes"],
        key=lambda c: -abs((c["target"] or 0) - c["source"]) if c["target"] is not None else 0.0,
    )
    rows = []
    for entry in ranked[:MOST]:
        target = "" if entry["target"] is None else f"target {100 * entry['target']:5.1f} %"
        if entry["interval"]:
            target += " [{:.1f}, {:.1f}]".format(*(100 * (v or 0) for v in entry["interval"]))
        if entry.get("bbse"):
            target += "   BBSE {:.1f} % [{:.1f}, {:.1f}]".format(
                *(100 * (v or 0) for v in entry["bbse"])
            )
        rows.append((entry["class"], f"source {100 * entry['source']:5.1f} %", target))
    lines += _aligned(rows)
    if len(ranked) > MOST:
        lines.append(f"  ... and {len(ranked) - MOST} classes whose shares differ less")
    lines += _wrapped("  ", prior["reading"])
    for key, words in (("missing", "The target lacks"), ("novel", "Only the target has")):
        if prior[key]:
            lines += _wrapped("  ", f"{words}: {', '.join(prior[key])}.")
    return lines


def _classes(found: dict[str, Any] | None) -> list[str]:
    if found is None:
        return []
    lines = ["", f"Each class (target rows by {found['by']}; 0 = in place, 1 = at another class)"]
    rows = []
    for entry in found["classes"][:MOST]:
        moved = "" if entry["towards"] is None else f"{entry['towards']:+z.2f}"
        seen = ""
        if entry["auc"] is not None:
            seen = "AUC {value:.2f} [{low:.2f}, {high:.2f}]".format(**entry["auc"])
        counts = f"{entry['source']:,} and {entry['target']:,} rows"
        rows.append((entry["class"], counts, moved, seen, entry["reading"]))
    lines += _aligned(rows)
    if len(found["classes"]) > MOST:
        lines.append(f"  ... and {len(found['classes']) - MOST} classes that moved less")
    return lines


def _drift(found: dict[str, Any]) -> list[str]:
    lines = ["", "Features one by one", *_wrapped("  ", found["reading"])]
    rows = []
    for entry in found["worst"]:
        name = entry["feature"] if found["named"] else f"feature {entry['feature']}"
        shift = entry["shift"]
        moved = "constants differ" if shift is None else f"mean {shift:+z.2f} sd"
        rows.append((name, f"KS {entry['statistic']:.2f}", moved))
    return lines + _aligned(rows)


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Columns of equal width; the last one is wrapped below itself."""
    if not rows:
        return []
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    lines = []
    for row in rows:
        head = "  " + "".join(f"{cell:<{w}}  " for cell, w in zip(row[:-1], widths, strict=True))
        lines += _wrapped(head, row[-1]) if row[-1] else [head.rstrip()]
    return lines


def _wrapped(head: str, words: str) -> list[str]:
    return textwrap.wrap(
        words, max(WIDTH, len(head) + 40), initial_indent=head, subsequent_indent=" " * len(head)
    )


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if 0.001 <= abs(value) < 100 or value == 0 else f"{value:.2g}"
