"""Make the table of the automatic choice (``make choice-prior``): run every candidate, then learn.

``--variants N`` (default 490), ``--records FILE`` (kept between calls: only what is missing is
run), ``--out FILE``. Needs the shared data (``ISTHMUS_TEST_DATA``).
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file
from sklearn.ensemble import GradientBoostingRegressor

from benchmarks.choice_extra import extra_tasks, variant
from benchmarks.choice_made import made_table
from benchmarks.choice_tasks import DATA, ChoiceTask, real_tasks
from isthmus import iofs
from isthmus.errors import IsthmusError
from isthmus.fit.calibrate import Temperature
from isthmus.fit.features import processor_for
from isthmus.fit.logistic import LogisticHead
from isthmus.fit.model import FeatureModel
from isthmus.select.bench import Bench
from isthmus.select.candidates import candidates
from isthmus.select.descriptors import Surroundings, columns, table
from isthmus.select.prior import FILE, SCHEMA, ChoicePrior, settled
from isthmus.select.routes.base import Domains, Labelled

CANDIDATES = candidates(labelled=False)
NAMES = tuple(c.name for c in CANDIDATES)
ROOT = Path(__file__).resolve().parents[1]
# Looked at on the reported tasks in leave-one-suite-out runs; see docs/log.md.
TEMPERATURE, CAUTION, LEAST = 0.02, 0.75, 0.0025
MADE = 200  # simulated tables
CLIP = 0.25  # of a gain: one task that falls apart must not be all that the trees learn
FORESTS = 3  # boosted sums of other seeds, averaged: one alone moves the worst tasks by points


@dataclass(frozen=True)
class Record:
    """What the candidates said of one task, and how right they were."""

    name: str
    suite: str
    reported: bool
    order: list[str]
    rows: np.ndarray
    accuracy: np.ndarray
    proba: np.ndarray  # (candidates, n_t, K) half precision
    truth: np.ndarray  # (n_t,) positions; -1 a class that the source lacks


def new_model(task: ChoiceTask):
    """The maker of models that a run has for this modality."""
    classes = tuple(sorted(set(task.ys)))

    def make() -> FeatureModel:
        processor = processor_for(task.modality)
        return FeatureModel(processor, LogisticHead(), Temperature(), "classification", classes)

    return make


def record(task: ChoiceTask, *, reported: bool) -> Record:
    """Run every candidate on one task."""
    domains = Domains(Labelled(task.Xs, task.ys.astype(object)), None, task.Xt)
    bench = Bench(domains, new_model(task))
    proba = {}
    for candidate in CANDIDATES:
        try:
            proba[candidate.name] = candidate.model(bench).predict_proba(task.Xt)
        except IsthmusError as error:
            print(f"  {task.name}: {candidate.name} failed: {error}", flush=True)
    rows, order = table(Surroundings(bench), proba, NAMES)
    place = {name: i for i, name in enumerate(bench.classes)}
    truth = np.array([place.get(label, -1) for label in task.yt])
    stack = np.stack([proba[name] for name in order])
    accuracy = (stack.argmax(axis=2) == truth).mean(axis=1)
    return Record(
        task.name, task.suite, reported, order, rows, accuracy, stack.astype(np.float16), truth
    )


def learn(records: Sequence[Record]) -> dict[str, Any]:
    """The table from these records, as JSON.

    Whatever is learned about expectations (the downside, the errors) is learned from expectations
    that a table without the record's suite gave.
    """
    X, gain, suite, weight = _stacked(records)
    held = _left_out(X, gain, suite, weight)
    short = np.minimum(gain - held, 0) ** 2
    state: dict[str, Any] = {
        "schema": SCHEMA,
        "candidates": list(NAMES),
        "columns": list(columns(NAMES)),
        "temperature": TEMPERATURE,
        "caution": CAUTION,
        "least": LEAST,
        "learned_from": {
            "tasks": len(records),
            "suites": sorted({r.suite for r in records}),
        },
        "gain": _grown(X, gain, weight, range(0, 2 * FORESTS, 2)),
        "downside": _grown(X, short, weight, range(1, 2 * FORESTS, 2)),
    }
    draft = ChoicePrior.from_dict(state | {"gain_error": {}})
    shortfall = _left_out(X, short, suite, weight)
    at, missed = 0, []
    for r in records:
        part = slice(at, at + len(r.order))
        at += len(r.order)
        expected, down = settled(held[part], shortfall[part], r.order)
        weights = draft.weights(expected, down)
        p = np.tensordot(weights, r.proba.astype(np.float64), 1)
        right = float((p.argmax(axis=1) == r.truth).mean())
        base = float(r.accuracy[r.order.index("source-only")])
        missed.append(right - base - weights @ expected)
    return state | {
        "gain_error": {
            "low": round(float(np.quantile(missed, 0.05)), 4),
            "high": round(float(np.quantile(missed, 0.95)), 4),
        },
    }


def without(suite: str, found: Sequence[Record]) -> ChoicePrior:
    """The table of all other suites: what a task of this one may be judged by."""
    return ChoicePrior.from_dict(learn([r for r in found if r.suite != suite]))


def _stacked(records: Sequence[Record]) -> tuple[np.ndarray, ...]:
    X = np.concatenate([r.rows for r in records])
    gain = np.concatenate([r.accuracy - r.accuracy[r.order.index("source-only")] for r in records])
    suite = np.concatenate([[r.suite] * len(r.order) for r in records])
    n = np.concatenate([[len(r.truth)] * len(r.order) for r in records])
    weight = 1 / (0.03**2 + 0.2 / n)  # a gain on 60 rows says less than one on 1,000
    return X, np.clip(gain, -CLIP, CLIP), suite, weight / weight.mean()


def _trees(seed: int) -> GradientBoostingRegressor:
    return GradientBoostingRegressor(
        n_estimators=120, max_depth=4, learning_rate=0.05, subsample=0.4,
        max_features=0.3, min_samples_leaf=25, random_state=seed,
    )  # fmt: skip


def _left_out(X: np.ndarray, y: np.ndarray, suite: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Predictions for every row by trees that saw no row of its suite."""
    out = np.full(len(y), np.average(y, weights=weight))
    for name in np.unique(suite):
        rest = suite != name
        if rest.any():
            fitted = _trees(7).fit(X[rest], y[rest], sample_weight=weight[rest])
            out[~rest] = fitted.predict(X[~rest])
    return out


def _grown(X: np.ndarray, y: np.ndarray, weight: np.ndarray, seeds: Sequence[int]) -> dict:
    """The mean of boosted trees of several seeds as JSON; step and mean are inside the values."""
    start, trees = 0.0, []
    for seed in seeds:
        model = _trees(seed).fit(X, y, sample_weight=weight)
        start += float(np.ravel(model.init_.constant_)[0]) / len(seeds)
        step = model.learning_rate / len(seeds)
        for (stage,) in model.estimators_:
            tree = stage.tree_
            trees.append(
                {
                    "feature": [int(f) if f >= 0 else -1 for f in tree.feature],
                    "threshold": [float(f"{t:.6g}") for t in tree.threshold],
                    "left": [max(int(i), 0) for i in tree.children_left],
                    "right": [max(int(i), 0) for i in tree.children_right],
                    "value": [float(f"{step * v:.4g}") for v in tree.value[:, 0, 0]],
                }
            )
    return {"start": float(f"{start:.6g}"), "trees": trees}


def _job(job: tuple[str, int]) -> Record:
    kind, i = job
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if kind == "reported":
        return record(_TASKS[i], reported=True)
    if kind == "made":
        return record(made_table(i), reported=False)
    return record(variant(_TASKS + _EXTRA, i), reported=False)


_TASKS: list[ChoiceTask] = []
_EXTRA: list[ChoiceTask] = []


def records(count: int, path: Path, data: Path = DATA) -> list[Record]:
    """Records of the reported tasks, of `count` variants and of `MADE` simulated tables.

    What the file holds is not run.
    """
    _TASKS[:] = real_tasks(data, most=1000)
    _EXTRA[:] = extra_tasks(data)
    have = load_records(path) if path.exists() else {}
    jobs = [("reported", i) for i in range(len(_TASKS))] + [("variant", i) for i in range(count)]
    jobs += [("made", i) for i in range(MADE)]
    missing = [job for job in jobs if "/".join(map(str, job)) not in have]
    with Pool(os.cpu_count()) as pool:
        for n, (job, found) in enumerate(zip(missing, pool.imap(_job, missing), strict=True)):
            have["/".join(map(str, job))] = found
            if n % 50 == 49:
                print(f"{n + 1} of {len(missing)}", flush=True)
                save_records(path, have)
    save_records(path, have)
    return [have["/".join(map(str, job))] for job in jobs]


def save_records(path: Path, have: dict[str, Record]) -> None:
    """One safetensors file; text goes into its JSON header."""
    tensors: dict[str, np.ndarray] = {}
    about = {}
    for key, r in have.items():
        about[key] = [r.name, r.suite, r.reported, r.order]
        for field in ("rows", "accuracy", "proba", "truth"):
            tensors[f"{key}:{field}"] = np.ascontiguousarray(getattr(r, field))
    iofs.write_tensors(path, tensors)
    iofs.write_json(path.with_suffix(".json"), about)


def load_records(path: Path) -> dict[str, Record]:
    """What `save_records` wrote."""
    tensors, about = load_file(path), json.loads(path.with_suffix(".json").read_text("utf-8"))
    return {
        key: Record(
            *facts, *(tensors[f"{key}:{field}"] for field in ("rows", "accuracy", "proba", "truth"))
        )
        for key, facts in about.items()
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variants", type=int, default=490)
    parser.add_argument("--records", type=Path, default=ROOT / "build" / "choice.safetensors")
    parser.add_argument("--out", type=Path, default=FILE)
    given = parser.parse_args()
    given.records.parent.mkdir(parents=True, exist_ok=True)
    state = learn(records(given.variants, given.records))
    iofs.write_text(given.out, json.dumps(state, separators=(",", ":")) + "\n")
    print(f"{given.out}: {given.out.stat().st_size / 1e3:.0f} kB from {state['learned_from']}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
