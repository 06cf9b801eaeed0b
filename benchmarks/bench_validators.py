"""What each label-free validator is worth on the product's candidates (make bench-validators).

On every real task the candidates are ranked by each validator and by their true accuracy. Those
that fit candidates again see at most ``--most`` rows a side of every third task. ``--out FILE``
writes the table that runs show beside a validator's pick.
"""

from __future__ import annotations

import argparse
import os
from collections import defaultdict
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from benchmarks.choice_prior import CANDIDATES, DATA, new_model
from benchmarks.choice_tasks import ChoiceTask, real_tasks
from isthmus import iofs
from isthmus.errors import IsthmusError
from isthmus.fit.features import processor_for
from isthmus.fit.folds import folds
from isthmus.select.bench import Bench
from isthmus.select.candidates import Candidate
from isthmus.select.descriptors import NEIGHBORS, neighbors
from isthmus.select.routes.base import Domains, Labelled
from isthmus.select.validate.base import Predict, Scene, Trial, discover, validate
from isthmus.select.witnesses import FILE

Found = dict[str, dict[str, float]]  # validator -> candidate -> score; "accuracy" among them


def fitted(task: ChoiceTask, candidate: Candidate, Xs: Any, ys: Any, Xt: Any) -> Predict:
    """One candidate between any two sets of rows, with all classes of the task."""
    names = np.array(sorted(set(task.ys)), dtype=object)
    bench = Bench(Domains(Labelled(Xs, names[ys]), None, Xt), new_model(task))
    return candidate.model(bench).predict_proba


def scores(task: ChoiceTask, *, again: bool) -> Found:
    """Every validator's scores on one task; only those that fit again, or only the others."""
    processor = processor_for(task.modality).fit(np.concatenate([task.Xs, task.Xt]))
    Xs, Xt = processor.transform(task.Xs), processor.transform(task.Xt)
    classes = sorted(set(task.ys))
    ys = np.searchsorted(classes, task.ys)
    parts = folds(ys, task="classification", n_splits=3, random_state=0) if again else []
    trials = []
    for candidate in CANDIDATES:

        def refit(A: Any, codes: Any, B: Any, one: Candidate = candidate) -> Predict:
            return fitted(task, one, A, codes, B)

        try:
            predict = refit(Xs, ys, Xt)
            held = None
            if again:
                held = np.zeros((len(ys), len(classes)))
                for train, test in parts:
                    held[test] = refit(Xs[train], ys[train], Xs[test])(Xs[test])
            trials.append(Trial(candidate.name, predict(Xt), held, predict, refit))
        except (IsthmusError, np.linalg.LinAlgError, ValueError) as error:
            print(f"  {task.name}: {candidate.name}: {error}", flush=True)
    consensus = np.mean([trial.target_proba for trial in trials], axis=0)
    near = neighbors(Xt, NEIGHBORS)
    scene = Scene(Xs, ys, Xt, len(classes), _ratio(Xs, Xt), near, consensus)
    truth = np.array([classes.index(y) if y in classes else -1 for y in task.yt])
    out: Found = {
        "accuracy": {t.name: float((t.target_proba.argmax(1) == truth).mean()) for t in trials}
    }
    for name, validator in discover().items():
        if again == bool(validator.needs):
            said = validate(validator, scene, trials)
            out[name] = {key: s.value for key, s in said.items() if s.value is not None}
    return out


def _ratio(Xs: np.ndarray, Xt: np.ndarray) -> np.ndarray:
    """Density ratio of a domain classifier, clipped, mean 1."""
    from sklearn.linear_model import LogisticRegression

    side = np.repeat([0, 1], [len(Xs), len(Xt)])
    model = LogisticRegression(C=0.1, max_iter=500).fit(np.concatenate([Xs, Xt]), side)
    w = np.clip(np.exp(model.decision_function(Xs)) * len(Xs) / len(Xt), 0.05, 20)
    return np.asarray(w / w.mean())


def measured(found: list[Found], least: int = 5) -> dict[str, Any]:
    """Validator -> rank correlation with the accuracy, and what its picks gained."""
    rows: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for task in found:
        right = task["accuracy"]
        for name, said in task.items():
            if name == "accuracy" or len(said) < least:
                continue
            common = sorted(said)
            rank = spearmanr([said[c] for c in common], [right[c] for c in common])[0]
            pick = max(common, key=lambda c: said[c])
            rank = 0.0 if not np.isfinite(rank) else float(rank)
            rows[name].append((rank, right[pick] - right["source-only"]))
    out = {}
    rng = np.random.default_rng(0)
    for name, pairs in sorted(rows.items()):
        rank, gain = np.array(pairs).T
        means = [rng.choice(rank, len(rank)).mean() for _ in range(2000)]
        low, high = np.quantile(means, [0.025, 0.975])
        out[name] = {
            "rank": {
                "value": round(float(rank.mean()), 3),
                "low": round(float(low), 3),
                "high": round(float(high), 3),
                "tasks": len(pairs),
            },
            "gain": round(float(gain.mean()), 4),
            "hurt": round(float((gain < -0.01).mean()), 3),
            "worst": round(float(gain.min()), 3),
        }
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=120)
    parser.add_argument("--out", type=Path, default=FILE)
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    tasks = real_tasks(DATA, most=600)
    with Pool(os.cpu_count()) as pool:
        few = [task.capped(given.most) for task in tasks[::3]]
        found = [
            *pool.imap(_job, [(task, False) for task in tasks]),
            *pool.imap(_job, [(task, True) for task in few]),
        ]
    table = measured(found)
    for name, row in sorted(table.items(), key=lambda pair: -pair[1]["rank"]["value"]):
        rank = row["rank"]
        print(
            f"{name:20s} rank {rank['value']:+.2f} [{rank['low']:+.2f}, {rank['high']:+.2f}] on "
            f"{rank['tasks']:2d} tasks; picks {100 * row['gain']:+5.1f} points, hurt "
            f"{100 * row['hurt']:3.0f} %, worst {100 * row['worst']:+.0f}"
        )
    iofs.write_json(given.out, {"made_by": "benchmarks/bench_validators.py", "validators": table})
    return 0


def _job(job: tuple[ChoiceTask, bool]) -> Found:
    return scores(job[0], again=job[1])


if __name__ == "__main__":
    raise SystemExit(main())
