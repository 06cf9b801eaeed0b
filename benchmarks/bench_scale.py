"""Adapters: 1,000 + 1,000 rows against skada in one run, then 100,000 + 100,000 rows x 256.

The first part gives ratios of processor time and the accuracy of one nearest neighbour (weights:
logistic regression) on both sides, on 256 pixels of USPS and MNIST. The second sets the solver of
bounded memory beside the exact one on real rows, with the accuracy of both (``--many``: on 3,000 +
3,000 digits, beyond what is worked on exactly unasked). The third runs every
method of ``isthmus/adapt`` with its defaults in a process of its own, on clustered rows, and
prints seconds and peak memory against the limits of 60 s and 4 GB.

``--only NAME`` (repeatable), ``--rows N`` (default 100000), ``--no-peer``, ``--no-solvers``,
``--no-scale``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

DATA = Path(os.environ.get("ISTHMUS_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
SECONDS, GIGABYTES = 60.0, 4.0
FEATURES, CLASSES, LABELED = 256, 10, 1000
REGRESSION = ("biased_ridge", "jdot_regressor", "trada_boost_r2", "two_stage_trada_boost_r2")


def option(name: str, default: int) -> int:
    return int(sys.argv[sys.argv.index(name) + 1]) if name in sys.argv else default


def only() -> list[str]:
    return [sys.argv[i + 1] for i, word in enumerate(sys.argv) if word == "--only"]


def rows(n: int) -> tuple[np.ndarray, ...]:
    """Ten clusters in 256 features; the target is wider and moved by 0.15 in each of them."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(CLASSES, FEATURES)) * 0.25
    ys, yt = rng.integers(0, CLASSES, n), rng.integers(0, CLASSES, n)
    Xs = (centres[ys] + rng.normal(size=(n, FEATURES))).astype(np.float32)
    Xt = (centres[yt] + 1.1 * rng.normal(size=(n, FEATURES)) + 0.15).astype(np.float32)
    return Xs, ys, Xt, yt


def job(name: str, n: int) -> dict[str, Any]:
    """One method on n + n rows: adapt (or fit) and map (or predict) every target row."""
    from isthmus.adapt.base import Adapter, discover

    cls = discover()[name]
    Xs, ys, Xt, yt = rows(n)
    peak, stop = [memory()], threading.Event()

    def watch() -> None:
        while not stop.wait(0.02):
            peak[0] = max(peak[0], memory())

    threading.Thread(target=watch, daemon=True).start()
    wall, cpu = time.perf_counter(), time.process_time()
    if getattr(cls, "unlike_spaces", False):
        cls().fit_domains(Xs, ys, Xt[:, :200]).predict(Xt[:, :200])
    elif issubclass(cls, Adapter):
        cls().adapt(Xs, ys, Xt).map_target(Xt)
    else:
        y = np.r_[ys, yt].astype(np.float64 if name in REGRESSION else np.int64)
        domain = np.repeat([0, -1], n)
        if name == "multi_source":
            domain[:n] = np.arange(n) % 4
        labeled = np.zeros(2 * n, bool)
        labeled[n : n + min(LABELED, n // 10)] = True
        X = np.concatenate([Xs, Xt])
        cls().fit(X, y, sample_domain=domain, target_labeled=labeled).predict(Xt)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    stop.set()
    return {"wall": wall, "cpu": cpu, "peak": peak[0]}


def memory() -> float:
    """Resident memory of this process in GB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e9


def scale(n: int) -> int:
    """Every method; how many were over a limit."""
    from isthmus.adapt.base import discover

    over = 0
    print(f"{n:,} + {n:,} rows x {FEATURES}, float32, {LABELED} target labels where a method reads")
    for name in only() or sorted(discover()):
        command = [sys.executable, "-m", "benchmarks.bench_scale", "--job", name, str(n)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=5 * SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            over += 1
            print(f"  {name:<28} not finished in {5 * SECONDS:.0f} s   OVER", flush=True)
            continue
        if done.returncode:
            over += 1
            print(f"  {name:<28} FAILED: {done.stderr.strip().splitlines()[-1][:150]}", flush=True)
            continue
        got = json.loads(done.stdout.splitlines()[-1])
        fine = got["wall"] <= SECONDS and got["peak"] <= GIGABYTES
        over += not fine
        print(
            f"  {name:<28} {got['wall']:6.1f} s (processor {got['cpu']:6.1f} s)  "
            f"{got['peak']:4.1f} GB{'' if fine else '   OVER'}",
            flush=True,
        )
    return over


def digits(n: int = 1000) -> tuple[np.ndarray, ...]:
    """The first rows of USPS and MNIST, unit length."""
    with np.load(DATA / "published" / "mnist_usps.npz") as found:
        X, y = {}, {}
        for name in ("usps", "mnist"):
            X[name] = found[f"X_{name}"][:n].astype(np.float64)
            X[name] /= np.linalg.norm(X[name], axis=1, keepdims=True)
            y[name] = found[f"y_{name}"][:n].ravel()
    return X["usps"], y["usps"], X["mnist"], y["mnist"]


def peers() -> None:
    """Ours and skada's on the same rows, in turns; best of three each."""
    import skada
    from sklearn.base import clone
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    from isthmus.adapt.base import find
    from isthmus.fit.foreign import adapt_foreign

    Xs, ys, Xt, yt = digits()

    def accuracy(Zs: Any, Zt: Any, weights: Any) -> float:
        if weights is None:
            return 100 * KNeighborsClassifier(1).fit(Zs, ys).score(Zt, yt)
        model = LogisticRegression(max_iter=500).fit(Zs, ys, sample_weight=weights)
        return 100 * model.score(Zt, yt)

    def theirs(adapter: Any) -> tuple[Any, Any, Any]:
        found = adapt_foreign(clone(adapter), Xs, ys, Xt, classes=True)
        return found.Xs, found.map_target(Xt), found.weights

    def ours(adapter: Any) -> tuple[Any, Any, Any]:
        found = adapter.adapt(Xs, ys, Xt)
        return found.Xs, found.map_target(Xt), found.weights

    pairs: list[tuple[str, dict[str, Any], Any, float | None]] = [
        ("tca", {}, skada.TransferComponentAnalysisAdapter(n_components=20), 20),
        ("tca", {"kernel": "rbf"}, skada.TransferComponentAnalysisAdapter(n_components=20), None),
        # skada stops after 1,000 Frank-Wolfe steps, short of the optimum; 10,000 come as near
        ("kmm", {}, skada.KMMReweightAdapter(), 10),
        ("kmm", {"gamma": 0.47}, skada.KMMReweightAdapter(gamma=0.47, max_iter=10_000), 10),
        ("subspace_alignment", {}, skada.SubspaceAlignmentAdapter(n_components=50), None),
        ("coral", {"reg": 1e-3}, skada.CORALAdapter(reg=1e-3), None),
        ("sinkhorn_transport", {}, skada.EntropicOTMappingAdapter(), None),
        ("class_regularized_transport", {}, skada.ClassRegularizerOTMappingAdapter(), None),
        ("emd_transport", {}, skada.OTMappingAdapter(), None),
        ("kliep", {}, skada.KLIEPReweightAdapter(gamma=1.0), None),
        ("gaussian_ratio", {}, skada.GaussianReweightAdapter(), None),
    ]
    print("1,000 + 1,000 rows x 256 (USPS, MNIST); processor time, accuracy of ours | skada's")
    for name, options, other, claim in pairs:
        if only() and name not in only():
            continue
        costs: dict[str, list[float]] = {"ours": [], "skada": []}
        scores: dict[str, Any] = {}
        sides: dict[str, Callable[[], Any]] = {
            "ours": lambda: ours(find(name)(**options)),  # noqa: B023
            "skada": lambda: theirs(other),  # noqa: B023
        }
        for _ in range(3):
            for side, run in sides.items():
                if costs[side] and min(costs[side]) > 20:
                    continue
                start = time.process_time()
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        found = run()
                        costs[side].append(time.process_time() - start)
                        scores[side] = f"{accuracy(*found):.1f}"
                except Exception as error:  # the peer's failure is a result
                    costs[side].append(float("nan"))
                    scores[side] = f"{type(error).__name__}: {str(error)[:60]}"
        ratio = min(costs["skada"]) / min(costs["ours"])
        label = name + "".join(f" {key}={value}" for key, value in options.items())
        text = f"   claim: at least {claim:g}x" if claim else ""
        print(
            f"  {label:<30} {min(costs['ours']):.3f} | {min(costs['skada']):.3f} s: {ratio:.1f}x, "
            f"{scores['ours']} | {scores['skada']} %{text}",
            flush=True,
        )


def solvers() -> None:
    """Accuracy with the exact solver and the approximate one, the same three seeds, real rows."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    from isthmus.adapt.base import Adapter, discover

    usps, mnist = (2000, 1800)
    Xs, ys, Xt, yt = digits(max(usps, mnist))
    sides = {"USPS > MNIST": (Xs, ys, Xt, yt), "MNIST > USPS": (Xt, yt, Xs, ys)}
    surf = {name: bag(name) for name in ("amazon", "caltech", "webcam")}
    for a, b in (("amazon", "webcam"), ("caltech", "amazon")):
        sides[f"{a} > {b}"] = (*surf[a], *surf[b])
    if "--many" in sys.argv:  # beyond the rows that are worked on exactly unasked
        sides = {"3,000 > 3,000": many()}

    def accuracy(cls: Any, options: dict[str, Any], side: tuple[Any, ...]) -> float:
        As, cs, At, ct = side
        if not issubclass(cls, Adapter):
            rows, labels = np.concatenate([As, At]), np.concatenate([cs, ct])
            domain = np.repeat([0, -1], [len(As), len(At)])
            model = cls(**options).fit(rows, labels, sample_domain=domain)
            return 100 * float(np.mean(model.predict(At) == ct))
        found = cls(**options).adapt(As, cs, At)
        if found.weights is None:
            near = KNeighborsClassifier(1).fit(found.Xs, cs)
            return 100 * near.score(found.map_target(At), ct)
        head = LogisticRegression(max_iter=500).fit(As, cs, sample_weight=found.weights)
        return 100 * head.score(At, ct)

    print("exact solver | approximate, means of three seeds (ranges), %")
    for name, cls in sorted(discover().items()):
        has = cls().get_params()
        few = not issubclass(cls, Adapter) and getattr(cls, "needs_target_labels", False)
        if "solver" not in has or few or name in REGRESSION or (only() and name not in only()):
            continue
        rbf = {"kernel": "rbf", "normalize": True} if "kernel" in has and "gamma" in has else {}
        seeds: tuple[int, ...] = (0, 1, 2) if "random_state" in has else (0,)
        for label, side in sides.items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                exact, near = [], []
                for seed in seeds:
                    chosen = rbf | ({"random_state": seed} if "random_state" in has else {})
                    exact.append(accuracy(cls, {**chosen, "solver": "exact"}, side))
                    near.append(accuracy(cls, {**chosen, "solver": "approximate"}, side))
            off = float(np.mean(near) - np.mean(exact))
            mark = "" if abs(off) <= 0.5 else "   OFF"
            print(
                f"  {name:<28} {label:<16} {np.mean(exact):5.1f} ({min(exact):.1f} to "
                f"{max(exact):.1f}) | {np.mean(near):5.1f} ({min(near):.1f} to {max(near):.1f})  "
                f"{off:+.1f}{mark}",
                flush=True,
            )


def many(n: int = 3000) -> tuple[np.ndarray, ...]:
    """Digits of USPS and MNIST on 16 x 16 pixels, unit length."""
    found = []
    for name, side in (("usps", 16), ("mnist_25k", 28)):
        with np.load(DATA / "digits" / f"{name}.npz") as file:
            X, y = file["X_train"][:n].astype(np.float64), file["y_train"][:n].astype(int)
        if side == 28:  # the middle 24 x 24, every 1.5 pixels by the mean of the pixels around
            X = X[:, 2:26, 2:26].repeat(2, axis=1).repeat(2, axis=2)
            X = X.reshape(n, 16, 3, 16, 3).mean(axis=(2, 4))
        X = X.reshape(n, -1)
        found += [X / np.linalg.norm(X, axis=1, keepdims=True), y]
    return found[0], found[1], found[2], found[3]


def bag(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Bags of words: shares, standardised."""
    with np.load(DATA / "published" / f"surf_{name}.npz") as found:
        X, y = found["X"].astype(np.float64), found["y"].ravel()
    X /= X.sum(axis=1, keepdims=True)
    spread = X.std(axis=0)
    return (X - X.mean(axis=0)) / np.where(spread > 0, spread, 1), y


def main() -> int:
    if "--job" in sys.argv:
        name, n = sys.argv[sys.argv.index("--job") + 1 :][:2]
        print(json.dumps(job(name, int(n))))
        return 0
    if "--no-peer" not in sys.argv:
        peers()
    if "--no-solvers" not in sys.argv:
        solvers()
    return 0 if "--no-scale" in sys.argv else scale(option("--rows", 100_000))


if __name__ == "__main__":
    sys.exit(main())
