"""Estimates of accuracy without labels, on the tasks of the choice (make bench-estimate).

``--records FILE`` as in `choice_prior`; ``--estimates FILE`` is kept between calls. To the reported
records ``--variants N`` others are added. ``--out FILE`` writes the calibration that runs use.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.choice_extra import extra_tasks, variant
from benchmarks.choice_prior import ROOT, Record, load_records, new_model
from benchmarks.choice_prior import _left_out as left_out_gain
from benchmarks.choice_prior import _stacked as stacked
from benchmarks.choice_tasks import DATA, ChoiceTask, real_tasks
from isthmus import iofs
from isthmus.adapt.domain_classifier_weights import DomainClassifierWeights
from isthmus.errors import IsthmusError
from isthmus.select.bench import Bench
from isthmus.select.estimate import combine
from isthmus.select.estimate.base import discover
from isthmus.select.estimated import FILE, all_estimates
from isthmus.select.prior import choice_prior, settled
from isthmus.select.routes.base import Domains, Labelled
from isthmus.select.views import views

NAMES = (  # what the calibration rests on: needs no density ratio, and answers nearly always
    "agreement-change", "agreement-line", "atc-mc", "doc", "held-out", "transport",
)  # fmt: skip
Found = dict[str, float | None]


def estimates(task: ChoiceTask, record: Record) -> Found:
    """Every estimator's answer for the mean of the candidates."""
    domains = Domains(Labelled(task.Xs, task.ys.astype(object)), None, task.Xt)
    seen = views(Bench(domains, new_model(task)))
    scene = seen.scene
    weights = DomainClassifierWeights(reg=10.0).adapt(scene.Xs, scene.ys, scene.Xt).weights
    seen = replace(seen, scene=replace(scene, weights=np.asarray(weights, dtype=float)))
    consensus = record.proba.astype(np.float64).mean(axis=0)[seen.rows]
    return {name: one.value for name, one in all_estimates(seen, consensus, discover()).items()}


def gathered(have: dict[str, Record], path: Path, variants: int) -> dict[str, Found]:
    """Estimates of the reported records and of `variants` others; what the file holds is kept."""
    found: dict[str, Found] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    keys = [k for k in have if have[k].reported]
    keys += [k for k in have if k.startswith("variant/")][:variants]
    missing = [k for k in keys if k not in found]
    if missing:
        reported, extra = real_tasks(DATA, most=1000), extra_tasks(DATA)
        for n, key in enumerate(missing):
            kind, _, i = key.partition("/")
            task = reported[int(i)] if kind == "reported" else variant(reported + extra, int(i))
            try:
                found[key] = estimates(task, have[key])
            except IsthmusError as error:
                print(f"  {task.name}: {error}", flush=True)
                found[key] = {}
            if n % 10 == 9 or key == missing[-1]:
                iofs.write_json(path, found)
                print(f"{n + 1} of {len(missing)}", flush=True)
    return {key: found[key] for key in keys}


def accuracies(have: dict[str, Record], path: Path) -> dict[str, float]:
    """Of each blend on the target rows; its weights come from gains learnt without its data set."""
    if path.exists():
        stored: dict[str, float] = json.loads(path.read_text("utf-8"))
        if set(stored) == set(have):
            return stored
    X, gain, suite, weight = stacked(list(have.values()))
    held, prior, at, found = left_out_gain(X, gain, suite, weight), choice_prior(), 0, {}
    for key, r in have.items():
        part = slice(at, at + len(r.order))
        at += len(r.order)
        expected, _ = settled(held[part], np.zeros(len(r.order)), r.order)
        weights = prior.weights(expected, prior.expected(r.rows, r.order)[1])
        proba = np.tensordot(weights, r.proba.astype(np.float64), 1)
        found[key] = float((proba.argmax(axis=1) == r.truth).mean())
    iofs.write_json(path, found)
    return found


def learnt(records: Sequence[combine.Record]) -> combine.Calibration:
    """The calibration, of the few estimates that it is to rest on."""
    few = [replace(r, estimates={n: r.estimates.get(n) for n in NAMES}) for r in records]
    return combine.calibrate(few)


def left_out(records: Sequence[combine.Record], shown: np.ndarray) -> np.ndarray:
    """(m, 3) value and interval of each shown record, by a calibration without its data set."""
    out = np.full((len(records), 3), np.nan)
    groups = np.array([r.group for r in records])
    for group in np.unique(groups[shown]):
        made = learnt([r for r in records if r.group != group])
        for i in np.flatnonzero((groups == group) & shown):
            told = made.apply(records[i].estimates, n_t=records[i].n)
            out[i] = told.value, told.low, told.high
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variants", type=int, default=190)
    parser.add_argument("--records", type=Path, default=ROOT / "build" / "choice.safetensors")
    parser.add_argument("--estimates", type=Path, default=ROOT / "build" / "estimates.json")
    parser.add_argument("--out", type=Path, default=FILE)
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    have = load_records(given.records)
    found = gathered(have, given.estimates, given.variants)
    keys = [k for k in found if found[k]]
    right = accuracies(have, given.estimates.with_suffix(".truth.json"))
    records = [combine.Record(found[k], right[k], len(have[k].truth), have[k].suite) for k in keys]
    shown = np.array([have[k].reported for k in keys])
    truth = np.array([r.truth for r in records])
    missed: dict[str, Any] = {}
    for name in sorted(records[0].estimates):
        told = [(r.estimates[name], r.truth) for r, s in zip(records, shown, strict=True) if s]
        off = np.array([v - t for v, t in told if v is not None])
        if len(off):
            miss, bias = 100 * np.abs(off).mean(), 100 * off.mean()
            missed[name] = round(miss / 100, 4)
            print(f"{name:20s} misses by {miss:5.1f}, bias {bias:+5.1f}")
    value, low, high = left_out(records, shown).T
    off = (value - truth)[shown]
    inside = ((low <= truth) & (truth <= high))[shown]
    print(
        f"combined, data set left out: misses by {100 * np.abs(off).mean():.1f} points "
        f"(bias {100 * off.mean():+.1f}) on {len(off)} pairs; 90 % intervals hold "
        f"{100 * inside.mean():.0f} %, width {100 * (high - low)[shown].mean():.0f} points"
    )
    groups = np.array([r.group for r in records])[shown]
    for group in np.unique(groups):
        print(f"  {group:12s} {100 * np.abs(off[groups == group]).mean():5.1f}")
    made = learnt(records).to_dict()
    iofs.write_json(
        given.out,
        {"made_by": "benchmarks/bench_estimate.py", "calibration": made, "missed": missed},
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
