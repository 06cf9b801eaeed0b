"""The automatic choice against every single candidate and label-free selection (make bench-choice).

Everything learned is learned without the suite that it is judged on (leave one data set out). A
task is hurt where accuracy falls by more than a point below a tuned source-only.
``--records FILE`` as in `choice_prior`; ``--variants N`` of them are run where they are missing.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.choice_prior import NAMES, ROOT, Record, records, without
from isthmus.select.descriptors import OWN, TASK
from isthmus.select.prior import ChoicePrior

STOCK = ("centre", "pca", "coral", "gfk", "tca", "balanced", "prior")
SELECTORS = {  # column of the descriptors, and whether more is better
    "entropy": ("entropy", False),
    "information maximisation": ("information", True),
    "batch nuclear norm": ("nuclear_norm", True),
    "neighbour consistency": ("neighbor_kappa", True),
    "agreement with all": ("agreement", True),
}


@dataclass(frozen=True)
class Outcome:
    """One task under the automatic choice of a table that never saw its suite."""

    record: Record
    blend: float
    choice: float
    declined: bool


def judged(found: Sequence[Record], *, reported: bool) -> list[Outcome]:
    """Every record by a table without its suite; `reported`: only suites that are reported."""
    out = []
    for suite in sorted({r.suite for r in found if r.reported or not reported}):
        prior = without(suite, found)
        out += [outcome(r, prior) for r in found if r.suite == suite]
    return out


def outcome(r: Record, prior: ChoicePrior) -> Outcome:
    """The choice on one task."""
    gain, down = prior.expected(r.rows, r.order)
    weights = prior.weights(gain, down)
    proba = np.tensordot(weights, r.proba.astype(np.float64), 1)
    right = float((proba.argmax(axis=1) == r.truth).mean())
    base = float(r.accuracy[r.order.index("source-only")])
    declined = float(weights @ gain) < prior.least
    return Outcome(r, right, base if declined else right, declined)


def line(name: str, gains: np.ndarray, regret: np.ndarray | None = None) -> str:
    """Gain with a 90 % bootstrap interval over tasks, share hurt, worst, regret."""
    rng = np.random.default_rng(0)
    means = [rng.choice(gains, len(gains)).mean() for _ in range(2000)]
    low, high = 100 * np.quantile(means, [0.05, 0.95])
    text = (
        f"{name:28s} {100 * gains.mean():+6.2f} [{low:+5.2f}, {high:+5.2f}]  "
        f"{100 * (gains < -0.01).mean():5.1f} %  {100 * gains.min():+6.1f}"
    )
    return text if regret is None else f"{text}  {100 * regret.mean():+6.2f}"


def report(found: list[Outcome], title: str) -> None:
    """One table."""
    base = np.array([o.record.accuracy[o.record.order.index("source-only")] for o in found])

    def column(pick: Callable[[Outcome], float]) -> np.ndarray:
        return np.array([pick(o) for o in found]) - base

    def single(name: str) -> Callable[[Outcome], float]:
        def pick(o: Outcome) -> float:
            order = o.record.order
            return float(o.record.accuracy[order.index(name if name in order else "source-only")])

        return pick

    best = np.max([column(single(name)) for name in STOCK], axis=0)
    print(f"\n== {title}: {len(found)} tasks, source-only {100 * base.mean():.1f} %")
    print(f"{'':28s} {'gain':>6s} {'90 %':^16s}  {'hurt':>7s}  {'worst':>6s}  {'regret':>6s}")
    choice = column(lambda o: o.choice)
    print(line("choice (blend or decline)", choice, best - choice))
    blend = column(lambda o: o.blend)
    print(line("blend, never declined", blend, best - blend))
    mean = column(
        lambda o: float(
            (o.record.proba.astype(float).mean(axis=0).argmax(axis=1) == o.record.truth).mean()
        )
    )
    print(line("plain mean of all", mean, best - mean))
    for name in NAMES[1:]:
        own = column(single(name))
        print(line(f"always {name}", own, best - own))
    for name, (key, more) in SELECTORS.items():
        at = len(TASK) + OWN.index(key)

        def pick(o: Outcome, at: int = at, more: bool = more) -> float:
            value = o.record.rows[:, at]
            return float(o.record.accuracy[value.argmax() if more else value.argmin()])

        own = column(pick)
        print(line(f"selected by {name}", own, best - own))
    print(line("best of stock, in hindsight", best))
    declined = np.mean([o.declined for o in found])
    print(f"declined {100 * declined:.0f} % of the tasks (estimated accuracy: make bench-estimate)")
    print("by suite, gain of the choice:")
    for suite in sorted({o.record.suite for o in found}):
        mine = [i for i, o in enumerate(found) if o.record.suite == suite]
        print(
            f"  {suite:14s} {len(mine):4d}  {100 * choice[mine].mean():+6.2f}  worst "
            f"{100 * choice[mine].min():+6.1f}"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variants", type=int, default=490)
    parser.add_argument("--records", type=Path, default=ROOT / "build" / "choice.safetensors")
    parser.add_argument("--reported", action="store_true", help="leave other suites out")
    given = parser.parse_args()
    given.records.parent.mkdir(parents=True, exist_ok=True)
    found = judged(records(given.variants, given.records), reported=given.reported)
    report([o for o in found if o.record.reported], "0 labels, the reported tasks")
    report([o for o in found if not o.record.reported], "0 labels, variants of all sets")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
