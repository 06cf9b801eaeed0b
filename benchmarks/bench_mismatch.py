"""Classes of one side only: `--classes partial` and `open` (make bench-mismatch).

From each real pair half of the classes are taken away: from the target (partial), from the source
(open), from neither (closed: what the settings cost where nothing is missing). ``--most N`` rows a
side, ``--records FILE`` is kept between calls, ``--every N`` takes every N-th pair.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.choice_prior import ROOT, new_model
from benchmarks.choice_tasks import DATA, ChoiceTask, digit_photos, pixels, spoken, surf
from isthmus import iofs
from isthmus.errors import IsthmusError
from isthmus.evaluate.metrics import score
from isthmus.fit.open_set import UNKNOWN
from isthmus.select.absent import absent_classes, thinned
from isthmus.select.blended import blend
from isthmus.select.novelty import abstaining
from isthmus.select.prior import choice_prior
from isthmus.select.routes.base import Domains, Labelled

KINDS = ("closed", "partial", "open")
FEWEST = 6  # classes below which half of them is no mismatch to speak of


def tasks(folder: Path, most: int) -> list[ChoiceTask]:
    """Pairs with enough classes, the suites in turn."""
    suites = [[t.capped(most) for t in maker(folder)] for maker in (surf, spoken, digit_photos)]
    suites.append([t.capped(most) for t in pixels(folder) if t.suite == "digits"])
    suites.append([t.capped(most) for t in pixels(folder) if t.suite == "coil"])
    found = []
    while any(suites):
        found += [own.pop(0) for own in suites if own]
    return [t for t in found if len(set(t.ys) & set(t.yt)) >= FEWEST]


def without(task: ChoiceTask, kind: str, seed: int = 0) -> ChoiceTask:
    """The pair without half of the classes on one side."""
    names = sorted(set(task.ys) & set(task.yt))
    kept = np.random.default_rng(seed).permutation(names)[: len(names) // 2]
    s = np.isin(task.ys, kept if kind == "open" else names)
    t = np.isin(task.yt, kept if kind == "partial" else names)
    return replace(task, Xs=task.Xs[s], ys=task.ys[s], Xt=task.Xt[t], yt=task.yt[t])


def served(domains: Domains, make: Any) -> tuple[Any, Any]:
    """The model that a run without target labels serves, and its blend."""
    found = blend(domains, make)
    if found.gain.value >= choice_prior().least:
        return found.model, found
    assert domains.source is not None
    return make().fit(domains.source.X, domains.source.y), found


def measured(task: ChoiceTask, kind: str) -> dict[str, Any]:
    """Figures of a closed run and of the setting, on one pair."""
    task = without(task, kind)
    make = new_model(task)
    y, codes = task.ys.astype(object), np.unique(task.ys, return_inverse=True)[1]
    domains = Domains(Labelled(task.Xs, y), None, task.Xt)
    model, found = served(domains, make)
    out: dict[str, Any] = {"name": task.name, "suite": task.suite, "kind": kind}
    out["closed"] = figures(task, model, None)
    if kind != "open":
        gone = absent_classes(found.model.predict_proba(task.Xt), codes)
        keep = thinned(codes, gone.weights)
        fewer = Domains(Labelled(task.Xs[keep], y[keep]), None, task.Xt)
        lighter = model if len(keep) == len(y) else served(fewer, make)[0]
        truly = set(np.unique(task.ys)) - set(task.yt)
        named = {make().classes[c] for c in gone.absent}
        out["partial"] = figures(task, lighter, None) | {
            "found": len(named & truly), "gone": len(truly), "wrongly": len(named - truly),
        }  # fmt: skip
    if kind != "partial":
        made = abstaining(model, domains, make)
        strange = made.model.strangeness(task.Xt, model.predict_proba(task.Xt))
        out["open"] = figures(task, made.model, UNKNOWN) | {
            "refused": made.refused,
            "source_refused": made.false_refusal,
            "novel": float((~np.isin(task.yt, task.ys)).mean()),
            "strange": [round(float(v), 4) for v in np.quantile(strange, np.linspace(0, 1, 21))],
            "confidence": float(model.predict_proba(task.Xt).max(axis=1).mean()),
            "held_out": [found.task["held_out_accuracy"], found.task["confidence_drop"]],
            "auc": found.task["domain_auc"],
            "marked": found.classes.get("novel"),
        }
    return out


def figures(task: ChoiceTask, model: Any, unknown: str | None) -> dict[str, float | None]:
    """Accuracy on known rows and the figures of unknown ones."""
    classes = tuple(model.classes)
    said = score(
        task.yt, predicted=model.predict(task.Xt), classes=classes, task="classification",
        n_boot=0, unknown=unknown,
    )  # fmt: skip
    names = ("accuracy", "os_star", "unknown_recall", "h_score", "known_accuracy", "false_refusal")
    found = {n: float(said[n].value) if n in said else None for n in names}
    if found["known_accuracy"] is None:  # a closed run on known classes alone
        found["known_accuracy"] = found["accuracy"]
    return {n: None if v is None or not np.isfinite(v) else v for n, v in found.items()}


def records(most: int, every: int, path: Path) -> Iterator[dict[str, Any]]:
    """Figures of every pair; what the file holds is not run again."""
    have = json.loads(path.read_text("utf-8")) if path.exists() else {}
    for task in tasks(DATA, most)[::every]:
        for kind in KINDS:
            key = f"{task.name} {task.modality} {kind} {most}"
            if key not in have:
                try:
                    have[key] = measured(task, kind)
                except IsthmusError as error:
                    print(f"{key}: {error}", flush=True)
                    continue
                iofs.write_json(path, have)
            yield have[key]


def report(found: list[dict[str, Any]]) -> None:
    """The tables."""

    def column(kind: str, setting: str, name: str) -> np.ndarray:
        return np.array(
            [
                np.nan if r[setting][name] is None else 100 * r[setting][name]
                for r in found
                if r["kind"] == kind
            ]
        )

    for kind in ("partial", "closed"):
        change = column(kind, "partial", "accuracy") - column(kind, "closed", "accuracy")
        own = [r["partial"] for r in found if r["kind"] == kind]
        print(
            f"--classes partial, {kind} pairs ({len(own)}): closed run "
            f"{column(kind, 'closed', 'accuracy').mean():.1f} %, change {change.mean():+.2f}, "
            f"better in {(change > 0).mean():.0%}, worse by a point in {(change < -1).mean():.0%}, "
            f"worst {change.min():+.1f}; classes called absent: "
            f"{sum(o['found'] for o in own)} of {sum(o['gone'] for o in own)} that are, "
            f"{sum(o['wrongly'] for o in own)} that are not"
        )
    for kind in ("open", "closed"):
        own = [r for r in found if r["kind"] == kind]
        lost = column(kind, "open", "known_accuracy") - column(kind, "closed", "known_accuracy")
        print(
            f"--classes open, {kind} pairs ({len(own)}): known rows right "
            f"{column(kind, 'closed', 'known_accuracy').mean():.1f} %, change {lost.mean():+.2f} "
            f"points, worst {lost.min():+.1f}; known rows refused "
            f"{column(kind, 'open', 'false_refusal').mean():.1f} %"
        )
        if kind == "open":
            print(
                f"  OS* {column(kind, 'open', 'os_star').mean():.1f}, UNK "
                f"{column(kind, 'open', 'unknown_recall').mean():.1f}, H "
                f"{column(kind, 'open', 'h_score').mean():.1f} (closed run 0); all rows right "
                f"{column(kind, 'closed', 'accuracy').mean():.1f} > "
                f"{column(kind, 'open', 'accuracy').mean():.1f} %"
            )
    for suite in sorted({r["suite"] for r in found}):
        own = [r for r in found if r["suite"] == suite]
        h = [r["open"]["h_score"] for r in own if r["kind"] == "open"]
        p = [
            r["partial"]["accuracy"] - r["closed"]["accuracy"]
            for r in own
            if r["kind"] == "partial"
        ]
        shown = (np.mean(h) if h else np.nan, np.mean(p) if p else np.nan)
        print(f"  {suite:10s} H {100 * shown[0]:5.1f}, partial {100 * shown[1]:+5.1f} points")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=500)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--records", type=Path, default=ROOT / "build" / "mismatch.json")
    given = parser.parse_args()
    given.records.parent.mkdir(parents=True, exist_ok=True)
    logging.disable(logging.WARNING)  # heads that stop early say so once a fit
    report(list(records(given.most, given.every, given.records)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
