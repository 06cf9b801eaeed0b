"""Layer 7: what was understood of the data, and what had to be set aside."""

from __future__ import annotations

from typing import Any

from isthmus.report.folder import Run
from isthmus.report.numbers import grouped
from isthmus.report.parts.table import table
from isthmus.report.words import Words

MOST = 40


def data(run: Run, words: Words) -> dict[str, Any]:
    """Rows and classes a part, every guess with its option, set-aside rows, notes."""
    t, results = words.t, run.results
    understood = (run.facts or {}).get("understood", {})
    parts = []
    for role, entry in results["data"].items():
        counts = entry.get("classes") or {}
        parts.append(
            {
                "role": words.said(role),
                "rows": grouped(entry["rows"]),
                "origin": entry["origin"],
                "classes": len(counts),
            }
        )
    names = list(
        dict.fromkeys(name for e in results["data"].values() for name in e.get("classes") or {})
    )
    roles = [role for role, e in results["data"].items() if e.get("classes")]
    classes = None
    if names and roles:
        classes = table(
            "classes",
            t("Labelled rows of each class"),
            [(t("class"), False), *((words.said(role), True) for role in roles)],
            [[n, *(results["data"][r]["classes"].get(n, 0) for r in roles)] for n in names],
        )
    guesses = []
    for role, entry in understood.items():
        for name, guess in entry["understood"].items():
            if isinstance(guess, dict) and "value" in guess:
                guesses.append(
                    [words.said(role), words.said(name),
                     _short(guess.get("value"), words),
                     words.said(str(guess.get("why") or "")), str(guess.get("option") or "")]
                )  # fmt: skip
    bad = results["quarantine"]
    return {
        "modality": words.said(results["modality"]),
        "task": words.said(results["task"]),
        "backbone": results["backbone"]["name"],
        "features": grouped(results["backbone"]["num_features"]),
        "parts": parts,
        "classes": classes,
        "guesses": table(
            "understood",
            t("What was understood, why, and the option that overrides it"),
            [(x, False) for x in (t("part"), t("what"), t("value"), t("why"), t("option"))],
            guesses,
        )
        if guesses
        else None,
        "bad": bad["bad"],
        "seen": grouped(bad["seen"]),
        "quarantine": table(
            "quarantine",
            t("Rows that were set aside"),
            [(x, False) for x in (t("where"), t("reason"), t("remedy"))],
            [
                [row["where"], words.said(row["reason"]), words.said(row["remedy"])]
                for row in bad["rows"][:MOST]
            ],
        )
        if bad["rows"]
        else None,
        "notes": results["notes"],
    }


def _short(value: Any, words: Words) -> str:
    """A value in a cell; only sentences are translated, names of columns and classes stay."""
    if isinstance(value, dict):
        text = ", ".join(
            f"{k} {_short(v, words) if isinstance(v, dict) else v}" for k, v in value.items()
        )
    elif isinstance(value, list):
        text = ", ".join(map(str, value))
    else:
        text = "–" if value is None else words.said(str(value))
    return text if len(text) < 160 else text[:159] + "…"
