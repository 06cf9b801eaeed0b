"""Layer 8: a result as a person reads it in a terminal; built from the JSON form alone."""

from __future__ import annotations

from typing import Any


def render(results: dict[str, Any], run: dict[str, Any]) -> str:
    """The printed page: what was used, the leaderboard, the verdict, the proof."""
    lines = [""]
    data = ", ".join(f"{entry['rows']:,} {role}" for role, entry in results["data"].items())
    lines.append(f"Data       {data} rows ({results['modality']}, {results['task']})")
    lines.append(f"Backbone   {results['backbone']['name']}")
    lines.append(f"Evidence   {results['evidence']}")
    bad = results["quarantine"]
    if bad["bad"]:
        first = bad["rows"][0]
        lines.append(
            f"Set aside  {bad['bad']} of {bad['seen']} rows, first {first['where']}: "
            f"{first['reason']} (all in quarantine.csv)"
        )
    lines += ["", "Leaderboard", *leaderboard(results, run), *troubles(results), ""]
    lines.append(f"Verdict    {results['verdict']['sentence']}")
    lines.append(f"Because    {results['verdict']['reason']}")
    proof = results["proof"]
    lines.append(f"Proof      {proof['outcome']}")
    lines.append(f"Protocol   {proof['protocol']}")
    return "\n".join(lines)


def leaderboard(results: dict[str, Any], run: dict[str, Any]) -> list[str]:
    """Aligned rows: route, evidence before the test, score in the proof, cost."""
    proof = results["proof"]
    header = ("", "route", "evidence (before the test)", proof["column"], "seconds")
    rows = [header]
    scores = dict(proof["headline"])
    said: set[str] = set()  # a reason is given once; thirty lines of it hide the figures
    for entry in results["routes"]:
        name = entry["route"]
        evidence = figure(entry["score"], entry["metric"])
        if not evidence:
            again = entry["reason"] in said or not entry["reason"]
            evidence = entry["status"] if again else f"{entry['status']}: {entry['reason']}"
            said.add(entry["reason"])
        mark = "*" if name == results["chosen"] else ""
        proved = figure(scores.pop(name, None), proof["metric"])
        seconds = run.get("routes", {}).get(name)
        rows.append((mark, name, evidence, proved, "" if seconds is None else f"{seconds:.1f}"))
    for name, score in scores.items():
        rows.append(("", name, "baseline", figure(score, proof["metric"]), ""))
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    return ["  ".join(cell.ljust(w) for cell, w in zip(row, widths)).rstrip() for row in rows]


def troubles(results: dict[str, Any]) -> list[str]:
    """What the methods themselves report: numerical trouble with its remedy."""
    lines = [
        f"note: {entry['route']}: {trouble['reason']}. {trouble['remedy']}"
        for entry in results["routes"]
        for trouble in entry.get("troubles", [])
    ]
    by_hand = sum(bool(entry.get("by_hand")) for entry in results["routes"])
    if by_hand > 1 and results["proof"]["kind"] == "sealed":
        lines.append(
            "note: the best of many figures on one test set is too good; a method picked by this "
            "column needs another test set."
        )
    return lines


def figure(score: dict[str, Any] | None, metric: str) -> str:
    """``87.4 % [85.0, 89.6]`` for shares, plain numbers otherwise; empty when there is none."""
    if score is None or score.get("value") is None:
        return ""
    value, low, high = score["value"], score.get("low"), score.get("high")
    share = "accuracy" in metric or metric in ("macro F1",)
    form = (lambda x: f"{100 * x:.1f}") if share else (lambda x: f"{x:.4g}")
    text = form(value) + (" %" if share else "")
    return text if low is None or high is None else f"{text} [{form(low)}, {form(high)}]"
