"""The automatic choice against skada's stock methods (make bench-rivals), 0 labels, real tasks.

Ours is judged by a table that never saw the task's suite (records of `bench_choice`). Each rival
is used as its documentation has it: standardised features, its default settings, scikit-learn's
logistic regression. One that fails counts as source-only, and failures are counted.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Sequence
from functools import partial
from multiprocessing import Pool
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from benchmarks.bench_choice import judged, line
from benchmarks.choice_prior import DATA, ROOT, records
from benchmarks.choice_tasks import ChoiceTask, real_tasks

SECONDS = 120.0  # after which a rival's next task is not waited for


def rivals():
    """Name -> skada pipeline."""
    import skada

    def piped(adapter):
        head = LogisticRegression(max_iter=1000).set_fit_request(sample_weight=True)
        return skada.make_da_pipeline(StandardScaler(), adapter, head)

    return {
        "skada CORAL": piped(skada.CORALAdapter()),
        "skada SA": piped(skada.SubspaceAlignmentAdapter()),
        "skada TCA": piped(skada.TransferComponentAnalysisAdapter(n_components=20)),
        "skada LinOT": piped(skada.LinearOTMappingAdapter()),
        "skada OT mapping": piped(skada.OTMappingAdapter()),
        "skada density": piped(skada.DensityReweightAdapter()),
        "skada Gaussian": piped(skada.GaussianReweightAdapter()),
        "skada KMM": piped(skada.KMMReweightAdapter()),
    }


def compared(task: ChoiceTask, *, only: Sequence[str] = ()) -> dict[str, float]:
    """Accuracy of every rival, or of those named; NaN where it failed."""
    names = sorted(set(task.ys))
    codes = np.array([names.index(y) for y in task.ys])
    truth = np.array([names.index(y) if y in names else -1 for y in task.yt])
    X = np.concatenate([task.Xs, task.Xt]).astype(np.float64)
    y = np.concatenate([codes, np.full(len(task.Xt), -1)])
    side = np.repeat([1, -2], [len(task.Xs), len(task.Xt)])
    out = {}
    for name, model in rivals().items():
        if only and name not in only:
            continue
        start = time.monotonic()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model.fit(X, y, sample_domain=side)
                Xt = task.Xt.astype(np.float64)
                said = model.predict(Xt, sample_domain=np.full(len(Xt), -2))
            out[name] = float((said == truth).mean())
        except Exception as error:  # whatever a rival trips over is its result
            print(f"  {task.name}: {name}: {type(error).__name__}: {error}"[:150], flush=True)
            out[name] = float("nan")
        if time.monotonic() - start > SECONDS:
            print(f"  {task.name}: {name} took {time.monotonic() - start:.0f} s", flush=True)
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--only", action="append", default=[], help='a rival, e.g. "skada KMM"')
    parser.add_argument("--records", type=Path, default=ROOT / "build" / "choice.safetensors")
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    ours = [o for o in judged(records(490, given.records), reported=True) if o.record.reported]
    by_name = {o.record.name: o for o in ours}
    tasks = [t for t in real_tasks(DATA, most=1000) if t.name in by_name]
    tasks = tasks[given.first :: given.every]
    with Pool(os.cpu_count()) as pool:
        theirs = list(pool.imap(partial(compared, only=given.only), tasks))
    mine = [by_name[t.name] for t in tasks]
    base = np.array([o.record.accuracy[o.record.order.index("source-only")] for o in mine])
    gains = {}
    for name in theirs[0]:
        raw = np.array([found[name] for found in theirs])
        gains[name] = np.where(np.isnan(raw), 0.0, raw - base)
    best = np.max(list(gains.values()), axis=0)
    print(
        f"{len(tasks)} tasks, points against a tuned source-only: gain, 90 %, hurt, worst, regret"
    )
    choice = np.array([o.choice for o in mine]) - base
    print(line("choice", choice, best - choice))
    print(line("always source-only", 0 * base, best))
    for name, gain in gains.items():
        failed = sum(np.isnan(found[name]) for found in theirs)
        print(line(name, gain, best - gain) + (f"  failed on {failed}" if failed else ""))
    print(line("best of these, in hindsight", best))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
