"""The choice with a few target labels (make bench-few-labels): 1, 5 and 20 a class.

The routes, folds, evidence and verdict are those of a run; the rest of the target's labels are
opened at the end. What is learned is learned without the suite that it is judged on, from the
records of `make bench-choice`. ``--every N`` takes every Nth real task from ``--first`` on,
``--seeds N`` repeats the draws.
"""

from __future__ import annotations

import argparse
import os
import time
from multiprocessing import Pool

import numpy as np

from benchmarks.choice_prior import DATA, ROOT, new_model, records, without
from benchmarks.choice_tasks import ChoiceTask, real_tasks
from isthmus.evaluate.intervals import cv_difference, mean_interval
from isthmus.fit.folds import folds as make_folds
from isthmus.run.standings import N_SPLITS
from isthmus.select.evidence import Evidence, can_fold, cross_validate
from isthmus.select.guard import Standing, decide
from isthmus.select.prior import ChoicePrior
from isthmus.select.routes.base import Domains, Labelled, discover
from isthmus.select.stacked import Stacked

PLAIN = ("source-only", "target-only", "pooled")


def drawn(task: ChoiceTask, k: int, seed: int) -> np.ndarray:
    """Positions of k target rows a class (all but one where there are fewer)."""
    rng = np.random.default_rng(seed)
    rows = [rng.permutation(np.flatnonzero(task.yt == c)) for c in sorted(set(task.yt))]
    return np.sort(np.concatenate([r[: min(k, max(len(r) - 1, 1))] for r in rows]))


def judged(task: ChoiceTask, k: int, seed: int, prior: ChoicePrior) -> dict[str, float]:
    """Accuracy of every route on the target rows without a label, and of the one that serves."""
    known = drawn(task, k, seed)
    rest = np.setdiff1d(np.arange(len(task.yt)), known)
    names, factory = task.ys.astype(object), new_model(task)
    yt = task.yt.astype(object)
    target = Labelled(task.Xt[known], yt[known], None, known)
    domains = Domains(Labelled(task.Xs, names), target, task.Xt)
    parts = []
    if can_fold(target, task="classification"):
        repeats = 3 if len(known) <= 200 else 1
        parts = make_folds(
            target.y, task="classification", n_splits=N_SPLITS, n_repeats=repeats, random_state=seed
        )
    start = time.monotonic()
    lent: dict[str, list] = {"target-only": [], "pooled": []}
    evidence, models = [], {}
    for route in discover():
        found = cross_validate(
            route, domains, factory, parts, task="classification", models=lent.get(route.name)
        )
        evidence.append(found)
        models[route.name] = route.fit(domains, factory)
        if route.name in lent:
            lent[route.name].append(models[route.name])
    auto = Stacked(parts, fitted=lent, seed=seed, prior=prior)
    models[auto.name] = auto.fit(domains, factory)
    evidence.append(auto.found.evidence)
    reference = next((e for e in evidence if e.route == "target-only" and parts), None)
    verdict = decide([_line(e, reference, seed) for e in evidence])
    out = {
        name: float((model.predict(task.Xt[rest]) == task.yt[rest]).mean())
        for name, model in models.items()
    }
    return out | {"serves": out[verdict.decision], "seconds": time.monotonic() - start}


def _line(e: Evidence, reference: Evidence | None, seed: int) -> Standing:
    if e.fold_scores is None:
        return Standing(e.route, e.status, e.reason)
    gap = None
    if reference is not None and reference is not e:
        gap = cv_difference(e.fold_scores - reference.fold_scores, test_fraction=1 / N_SPLITS)
    score = mean_interval(np.asarray(e.row_scores), random_state=seed)
    return Standing(e.route, e.status, e.reason, score, gap)


def _job(job: tuple[ChoiceTask, int, int, ChoicePrior]) -> dict[str, float]:
    return judged(*job)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=2)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--most", type=int, default=450)
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    tasks = real_tasks(DATA, most=given.most)[given.first :: given.every]
    known = records(490, ROOT / "build" / "choice.safetensors")
    priors = {suite: without(suite, known) for suite in {task.suite for task in tasks}}
    print("labels  serves  source  target  pooled   over the better of the last two: mean, hurt")
    with Pool(os.cpu_count()) as pool:
        for k in (1, 5, 20):
            jobs = [
                (task, k, seed, priors[task.suite]) for task in tasks for seed in range(given.seeds)
            ]
            found = list(pool.imap(_job, jobs))
            mean = {n: 100 * np.mean([f[n] for f in found]) for n in ("serves", *PLAIN)}
            best = np.array([max(f["target-only"], f["pooled"]) for f in found])
            gain = np.array([f["serves"] for f in found]) - best
            alone = np.array([f["serves"] - f["pooled"] for f in found])
            print(
                f"{k:6d}  {mean['serves']:6.1f}  {mean['source-only']:6.1f}  "
                f"{mean['target-only']:6.1f}  {mean['pooled']:6.1f}   {100 * gain.mean():+5.2f} "
                f"points, {100 * (gain < -0.01).mean():3.0f} % hurt, "
                f"worst {100 * gain.min():+.1f}; "
                f"over pooled {100 * alone.mean():+5.2f}, "
                f"{100 * (alone < -0.01).mean():.0f} % hurt; "
                f"{np.median([f['seconds'] for f in found]):.1f} s a choice",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
