"""Choosing the regularisation of a linear head: ours against LogisticRegressionCV, same grid.

Run ``python -m benchmarks heads`` or ``python benchmarks/bench_heads.py``; ``--full`` adds the
50,000 x 1,280 x 100 job that the peer cannot finish in reasonable time.
"""

from __future__ import annotations

import sys
import time
import warnings

import numpy as np

GRID = np.logspace(-4, 4, 10)  # LogisticRegressionCV's own default


def features(n: int, d: int, classes: int, seed: int) -> tuple[np.ndarray, ...]:
    """Correlated, standardised rows as pooled network features are: a few directions dominate.

    Returns training and test rows; about 85 % of the test rows can be told.
    """
    rng = np.random.default_rng(seed)
    spectrum = np.arange(1, d + 1) ** -0.6
    basis = np.linalg.qr(rng.normal(size=(d, d)))[0].astype(np.float32)
    means = rng.normal(size=(classes, d)) * spectrum * 0.35
    y = rng.integers(0, classes, 2 * n)
    rows = np.empty((2 * n, d), dtype=np.float32)
    for part in np.array_split(np.arange(2 * n), max(1, n // 5000)):
        noise = rng.normal(size=(len(part), d)) * spectrum
        rows[part] = (means[y[part]] * (np.arange(d) < 60) + noise).astype(np.float32) @ basis
    rows -= rows[:n].mean(axis=0)
    rows /= rows[:n].std(axis=0)
    return rows[:n], y[:n], rows[n:], y[n:]


def ours(X: np.ndarray, y: np.ndarray, T: np.ndarray, t: np.ndarray) -> dict[str, float]:
    from isthmus.fit.logistic import LogisticHead

    clocks = time.perf_counter(), time.process_time()
    head = LogisticHead(C=GRID).fit(X, y)
    seconds, cpu = time.perf_counter() - clocks[0], time.process_time() - clocks[1]
    return {
        "seconds": seconds,
        "cpu": cpu,
        "C": head.C_,
        "accuracy": float(np.mean(head.predict(T) == t)),
    }


def peer(X: np.ndarray, y: np.ndarray, T: np.ndarray, t: np.ndarray) -> dict[str, float]:
    from sklearn.linear_model import LogisticRegressionCV

    clocks = time.perf_counter(), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it stops at its 100 iterations, unconverged
        model = LogisticRegressionCV(
            Cs=GRID,
            cv=5,
            scoring="neg_log_loss",
            l1_ratios=(0.0,),
            use_legacy_attributes=False,
        ).fit(X, y)
    seconds, cpu = time.perf_counter() - clocks[0], time.process_time() - clocks[1]
    accuracy = float(np.mean(model.predict(T) == t))
    return {"seconds": seconds, "cpu": cpu, "C": float(np.ravel(model.C_)[0]), "accuracy": accuracy}


def show(name: str, result: dict[str, float]) -> None:
    print(
        f"{name:>8}: {result['seconds']:8.1f} s ({result['cpu']:.1f} s CPU)  C={result['C']:.4g}"
        f"  test accuracy {100 * result['accuracy']:.2f} %"
    )


def main() -> None:
    """Print the ratio of times at equal accuracy."""
    n = 2_000 if "--quick" in sys.argv else 10_000
    data = features(n, 1280, 20, 0)
    print(f"heads: {n:,} x 1,280 features, 20 classes, grid of {len(GRID)}, 5 folds, float32")
    mine, theirs = ours(*data), peer(*data)
    mine2 = ours(*data)  # once more after the peer: both ends of whatever else the machine did
    show("isthmus", mine)
    show("isthmus", mine2)
    show("sklearn", theirs)
    slower = max(mine["seconds"], mine2["seconds"])
    cpu = theirs["cpu"] / max(mine["cpu"], mine2["cpu"])
    print(f"ratio: {theirs['seconds'] / slower:.1f}x, CPU time {cpu:.1f}x (claim: at least 10x)")
    gap = 100 * (mine["accuracy"] - theirs["accuracy"])
    print(f"accuracy difference: {gap:+.2f} points (claim: within 0.2 or better)")
    if "--full" in sys.argv:
        print("heads: 50,000 x 1,280 features, 100 classes, same grid")
        show("isthmus", ours(*features(50_000, 1280, 100, 1)))


if __name__ == "__main__":
    main()
