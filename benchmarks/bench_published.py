"""Every published cell of SURF, digits and COIL beside ours; exit 1 where one is off.

A cell is off when it differs by more than 0.5 points (deterministic methods) or 1.5 (others).
Cells that cannot be matched for a known reason are listed in `KNOWN` with it, and marked ``*``.

``--only NAME`` (part of a row's name), ``--data FOLDER`` (default: ``ISTHMUS_TEST_DATA``, or
``../shared/data`` beside the project; the files are in its folder ``published``).

SURF: 800 visual words of Office-Caltech10, rows divided by their sum, columns standardised domain
by domain (Gong et al. 2012). Digits (16 x 16) and COIL (32 x 32): pixels, rows of unit length
(Long et al. 2013). The classifier is 1-NN on all source rows unless the row says otherwise.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
SURF = ["C>A", "C>W", "C>D", "A>C", "A>W", "A>D", "W>C", "W>A", "W>D", "D>C", "D>A", "D>W"]
PIXELS = ["USPS>MNIST", "MNIST>USPS", "COIL1>2", "COIL2>1"]
FULL = {"C": "caltech", "A": "amazon", "W": "webcam", "D": "dslr"}
FILES = {
    "USPS>MNIST": ("mnist_usps", "usps", "mnist"),
    "MNIST>USPS": ("mnist_usps", "mnist", "usps"),
    "COIL1>2": ("coil", "coil1", "coil2"),
    "COIL2>1": ("coil", "coil2", "coil1"),
}
Pair = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def data_folder() -> Path:
    if "--data" in sys.argv:
        base = Path(sys.argv[sys.argv.index("--data") + 1])
    else:
        base = Path(os.environ.get("ISTHMUS_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not (base / "published").is_dir():
        raise SystemExit(f"published data not found in {base}; set ISTHMUS_TEST_DATA")
    return base / "published"


def unit(X: np.ndarray) -> np.ndarray:
    return X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-300)


def load(folder: Path, pair: str) -> Pair:
    """Xs, ys, Xt, yt as the papers prepare them."""
    if pair in FILES:
        name, source, target = FILES[pair]
        with np.load(folder / f"{name}.npz") as stored:
            sides = [
                (unit(stored[f"X_{side}"].astype(float)), stored[f"y_{side}"])
                for side in (source, target)
            ]
        return (*sides[0], *sides[1])
    sides = []
    for letter in pair.split(">"):
        with np.load(folder / f"surf_{FULL[letter]}.npz") as stored:
            X, y = stored["X"].astype(float), stored["y"]
        X = X / X.sum(axis=1, keepdims=True)
        spread = X.std(axis=0)
        sides.append(((X - X.mean(axis=0)) / np.where(spread > 0, spread, 1), y))
    return (*sides[0], *sides[1])


def one_nn(Zs: np.ndarray, ys: np.ndarray, Zt: np.ndarray) -> np.ndarray:
    squared = (Zs**2).sum(axis=1) - 2 * Zt @ Zs.T
    return np.asarray(ys[squared.argmin(axis=1)])


def nearest(adapter: Any = None, *, length: bool = False) -> Callable[..., np.ndarray]:
    """1-NN after an adapter; `length`: on rows of unit length afterwards."""

    def run(Xs: np.ndarray, ys: np.ndarray, Xt: np.ndarray) -> np.ndarray:
        Zs, Zt = Xs, Xt
        if adapter is not None:
            got = adapter.adapt(Xs, ys, Xt)
            Zs, Zt = got.Xs, got.map_target(Xt)
        return one_nn(unit(Zs), ys, unit(Zt)) if length else one_nn(Zs, ys, Zt)

    return run


def svm(adapter: Any = None) -> Callable[..., np.ndarray]:
    def run(Xs: np.ndarray, ys: np.ndarray, Xt: np.ndarray) -> np.ndarray:
        from sklearn.svm import SVC

        rows = Xs if adapter is None else adapter.adapt(Xs, ys, Xt).Xs
        return np.asarray(SVC(C=0.1, kernel="linear").fit(rows, ys).predict(Xt))

    return run


def estimator(model: Any) -> Callable[..., np.ndarray]:
    def run(Xs: np.ndarray, ys: np.ndarray, Xt: np.ndarray) -> np.ndarray:
        from isthmus.data.domains import stack_domains

        X, y, side, _ = stack_domains(Xs, ys, Xt)
        return np.asarray(model.fit(X, y, sample_domain=side).labels_)

    return run


@dataclass(frozen=True)
class Row:
    """One line of the table: its published cells (None: not published), the mean last on SURF."""

    name: str
    pairs: list[str]
    published: list[float | None]
    run: Callable[..., np.ndarray]
    tolerance: float = 0.5  # every method here is deterministic


SURF_TABLE = """
1-NN                   23.7 25.8 25.5 26.0 29.8 25.5 19.9 23.0 59.2 26.3 28.5 63.4  31.4
PCA 100                37.0 32.5 38.2 34.7 35.6 27.4 26.4 31.0 77.1 29.7 32.0 75.9  39.8
PCA 20 + L2            44.8 38.0 44.6 40.4 38.3 38.2 33.1 30.9 91.7 33.7 34.2 87.8  46.3
GFK 20                 46.0 37.0 40.8 40.7 37.0 40.1 24.8 27.6 85.4 29.3 28.7 80.3  43.1
TCA                    45.6 39.3 45.9 42.0 40.0 35.7 31.5 30.5 91.1 33.0 32.8 87.5  46.2
JDA                    43.1 39.3 49.0 40.9 38.0 42.0 33.0 29.8 92.4 31.2 33.4 89.2  46.8
SA 50                  42.0 39.0 45.2 40.0 40.3 35.0 31.3 32.2 86.0 32.0 37.1 85.8  45.5
SVM C=0.1              52.4 40.7 42.0 44.1 41.7 40.8 29.9 34.1 87.9 31.4 32.4 73.6  45.9
CORAL + SVM            48.1 39.3 38.2 43.8 39.3 37.6 35.5 36.0 85.4 33.3 37.6 85.4  46.6
JGSA                   -    -    -    -    -    -    -    -    -    -    -    -     50.0
MEDA                   -    -    -    -    -    -    -    -    -    -    -    -     52.7
"""
PIXEL_TABLE = """
1-NN                   44.70 65.94 83.61 82.78
PCA 100                44.95 66.22 84.72 84.03
GFK 20                 48.95 66.67 85.0  84.7
TCA                    52.9  57.5  87.5  85.3
JDA                    59.7  67.28 90.1  88.6
SA 50                  54.4  66.4  86.8  85.0
"""


def rows() -> list[Row]:
    """The table. Settings are those that the published cells were made with.

    SURF: TCA and JDA have the linear kernel, trade-off 1, and 30 components: all 24 cells are then
    met; with 20 components 8 of the 12 of JDA are missed. Pixels: the primal form, trade-off 0.1,
    100 components.
    """
    from isthmus.adapt.coral import CORAL
    from isthmus.adapt.gfk import GFK
    from isthmus.adapt.jda import JDA
    from isthmus.adapt.jgsa import JGSA
    from isthmus.adapt.meda import MEDA
    from isthmus.adapt.pca import PCA
    from isthmus.adapt.subspace_alignment import SubspaceAlignment
    from isthmus.adapt.tca import TCA

    words: dict[str, Any] = {"kernel": "linear", "trade_off": 1.0, "normalize": True}
    pixels: dict[str, Any] = {"kernel": "primal", "trade_off": 0.1, "normalize": True}
    both = {
        "1-NN": nearest(),
        "PCA 100": nearest(PCA(100)),
        "GFK 20": nearest(GFK(20)),
    }
    on_surf = both | {
        "PCA 20 + L2": nearest(PCA(20), length=True),
        "TCA": nearest(TCA(30, **words)),
        "JDA": nearest(JDA(30, max_iter=10, **words)),
        "SA 50": nearest(SubspaceAlignment(50)),
        "SVM C=0.1": svm(),
        "CORAL + SVM": svm(CORAL()),
        "JGSA": nearest(JGSA(30, normalize=True)),
        "MEDA": estimator(MEDA()),
    }
    on_pixels = both | {
        "TCA": nearest(TCA(100, **pixels)),
        "JDA": nearest(JDA(100, max_iter=10, **pixels)),
        "SA 50": nearest(SubspaceAlignment(50, centre=False)),
    }
    return [
        Row(name, pairs, cells, runs[name])
        for table, pairs, runs in ((SURF_TABLE, SURF, on_surf), (PIXEL_TABLE, PIXELS, on_pixels))
        for name, cells in parsed(table, len(pairs) + (pairs is SURF))
    ]


def parsed(table: str, count: int) -> list[tuple[str, list[float | None]]]:
    """(name, cells) of each line; the last `count` words of a line are its cells."""
    found = []
    for line in table.strip().splitlines():
        words = line.split()
        cells = [None if word == "-" else float(word) for word in words[-count:]]
        found.append((" ".join(words[:-count]), cells))
    return found


GFK_SURF = (
    "no one subspace (PCA, or PLS of the source), dimension (5 to 60) and preparation meets this "
    "row; with k = 10 or 20 the row that Long et al. 2013 print for GFK is met in every cell"
)
KNOWN = {
    ("GFK 20", "SURF"): GFK_SURF,
    ("JDA", "COIL1>2"): "Long et al. 2013 print 89.31, which is met; the labels settle in round 7",
}


def main() -> int:
    folder = data_folder()
    only = sys.argv[sys.argv.index("--only") + 1].lower() if "--only" in sys.argv else ""
    wanted = [row for row in rows() if only in row.name.lower()]
    data = {pair: load(folder, pair) for row in wanted for pair in row.pairs}
    off: list[str] = []
    notes: dict[str, str] = {}
    shown = None
    for row in wanted:
        heads = [*row.pairs, "mean"] if row.pairs is SURF else row.pairs
        if row.pairs is not shown:
            shown = row.pairs
            print(f"\n{'accuracy, %':<26}" + "".join(f"{head:>11}" for head in heads))
        start, found = time.perf_counter(), []
        for pair in row.pairs:
            Xs, ys, Xt, yt = data[pair]
            found.append(100 * float(np.mean(row.run(Xs, ys, Xt) == yt)))
        if row.pairs is SURF:
            found.append(float(np.mean(found)))
        printed = ours = ""
        for head, want, got in zip(heads, row.published, found):
            mark = " "
            # published cells have one decimal: half a unit of it is no difference
            if want is not None and abs(got - want) > row.tolerance + 0.05:
                group = "SURF" if row.pairs is SURF else head
                mark = "*" if (row.name, group) in KNOWN else "!"
                if mark == "*":
                    notes[f"{row.name}, {group}"] = KNOWN[row.name, group]
                else:
                    off.append(f"{row.name}, {head}: {got:.2f}, published {want}")
            printed += f"{'-' if want is None else want:>10} "
            ours += f"{got:>10.2f}{mark}"
        print(f"{row.name:<14}{'published':>12}{printed}")
        seconds = time.perf_counter() - start
        print(f"{'':<14}{'ours':>12}{ours}  {seconds:.0f} s", flush=True)
    print()
    for cell, reason in notes.items():
        print(f"* {cell}: {reason}")
    for line in off:
        print(f"! off: {line}")
    print(f"{len(off)} cells off; {len(notes)} documented exceptions")
    return 1 if off else 0


if __name__ == "__main__":
    sys.exit(main())
