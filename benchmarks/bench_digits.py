"""MNIST and USPS, either way, with the small network of the papers (make bench-digits).

    python -m benchmarks.bench_digits [--seeds 3] [--epochs 10] [--rows N] [--methods shot,mcc]
                                      [--pairs "USPS > MNIST"] [--threads 2]

The last checkpoint counts; no target label is seen before the accuracy on the target's test rows
is taken. The table goes to docs/digits.md after each run, unless ``--rows`` makes it a trial.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn import functional

from benchmarks.choice_tasks import DATA, ROOT
from isthmus import iofs
from isthmus.align.base import Objective
from isthmus.align.registry import find
from isthmus.fit.deep.bodies import digit_network
from isthmus.fit.deep.loop import train
from isthmus.fit.deep.network import Network
from isthmus.fit.deep.rows import Rows
from isthmus.fit.deep.settings import Settings
from isthmus.fit.deep.task_alignment import TaskAlignment

PAIRS = ("USPS > MNIST", "MNIST > USPS")
METHODS: dict[str, dict[str, object]] = {
    "source-only": {}, "dann": {}, "cdan": {}, "mcc": {}, "shot": {},
}  # fmt: skip
NAMES = {"source-only": "source-only", "dann": "DANN", "cdan": "CDAN+E", "mcc": "MCC",
         "shot": "SHOT"}  # fmt: skip
PUBLISHED: dict[str, tuple[str, str]] = {
    "source-only": ("88.0", "79.7"),
    "dann": ("73.0 (2)", "77.1 (2)"),
    "cdan": ("98.0", "95.6"),
    "mcc": ("", ""),
    "shot": ("98.0", "97.9"),
}
# the schedule, rates and smoothing of SHOT's digits
SETTINGS = Settings(
    batch_size=64, optimizer="sgd", lr=0.01, weight_decay=1e-3, momentum=0.9, schedule="dann"
)
ABOUT = """
Training rows of both domains ({sizes}), accuracy in % on the target's test rows, mean and
standard deviation of the seeds. The network is the two-layer LeNet of the papers with a
bottleneck of 256; SGD 0.01, momentum 0.9, weight decay 0.001, batches of 64, label smoothing 0.1,
{epochs} epochs of the source, and for SHOT as many of the target after them. Training rows of
USPS, on either side, are turned by up to 10 degrees and shifted by up to 4 pixels, as in SHOT's
code; every method gets the same rows. Methods have their default settings.

Published: SHOT's table (Liang et al. 2020: source-only, CDAN+E, SHOT), (2) the table of ADDA
(Tzeng et al. 2017), of 1,800 and 2,000 training rows. The authors have all 60,000 rows of MNIST,
here there are 20,000. MCC has no published figures on these pairs.
"""


def moved(image: torch.Tensor) -> torch.Tensor:
    """An image (1, 28, 28) turned by up to 10 degrees and shifted by up to 4 pixels."""
    turn = (2 * torch.rand(()) - 1) * np.deg2rad(10.0)
    shift = torch.randint(-4, 5, (2,)) * 2 / image.shape[-1]
    cos, sin = turn.cos(), turn.sin()
    move = torch.stack([cos, -sin, shift[0], sin, cos, shift[1]]).reshape(1, 2, 3)
    grid = functional.affine_grid(move, [1, *image.shape], align_corners=False)
    return functional.grid_sample(
        image[None], grid, padding_mode="border", align_corners=False
    )[0]  # fmt: skip


@dataclass(frozen=True)
class Digits:
    """One domain: images from -1 (black) to 1, of shape (n, 1, 28, 28)."""

    train: Rows
    test: Rows


def load(rows: int | None, seed: int = 0) -> dict[str, Digits]:
    """Both domains; USPS is enlarged from 16 to 28 pixels."""
    found = {}
    for name, file in (("USPS", "usps.npz"), ("MNIST", "mnist_25k.npz")):
        parts = []
        with np.load(DATA / "digits" / file) as stored:
            for part in ("train", "test"):
                X = torch.from_numpy(stored[f"X_{part}"]).float()[:, None] / 127.5 - 1
                if X.shape[-1] != 28:
                    X = functional.interpolate(X, size=(28, 28), mode="bilinear")
                parts.append(Rows(X, stored[f"y_{part}"].astype(np.int64)))
        if rows is not None and rows < len(parts[0]):
            parts[0] = parts[0].take(np.random.default_rng(seed).permutation(len(parts[0]))[:rows])
        found[name] = Digits(*parts)
    return found


@torch.no_grad()
def accuracy(network: Network, rows: Rows) -> float:
    """Share of the rows that are classified right, in %."""
    network.eval()
    right = sum(int((network(b.inputs).argmax(1) == b.labels).sum()) for b in rows.in_order(500))
    return 100 * right / len(rows)


def runs(
    methods: tuple[str, ...], pair: str, seed: int, epochs: int, data: Mapping[str, Digits]
) -> dict[str, float]:
    """Accuracy of each method; SHOT goes on from the source-only network of the seed."""
    a, b = pair.split(" > ")
    source, target = data[a].train, data[b].train.without_labels()
    if a == "USPS":
        source = replace(source, transform=moved)
    else:
        target = replace(target, transform=moved)
    settings = replace(SETTINGS, epochs=epochs, seed=seed)
    found: dict[str, float] = {}
    learned: dict[str, torch.Tensor] = {}
    for name in methods:
        start = time.perf_counter()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = digit_network(10)
        if name == "shot":
            network.load_state_dict(learned)
            train(network, find(name)(**METHODS[name]), target=target, settings=settings)
        else:
            objectives: list[Objective] = []
            if name != "source-only":
                objectives = [find(name)(**METHODS[name])]
            train(
                network, TaskAlignment(objectives, label_smoothing=0.1), source=source,
                target=target if objectives else None, settings=settings,
            )  # fmt: skip
        if name == "source-only":
            learned = {key: value.clone() for key, value in network.state_dict().items()}
        found[name] = accuracy(network, data[b].test)
        seconds = time.perf_counter() - start
        print(f"{pair}, seed {seed}, {name}: {found[name]:.2f} % ({seconds:.0f} s)", flush=True)
    return found


def table(results: Mapping[tuple[str, str], list[float]], methods: tuple[str, ...]) -> str:
    """Markdown; a cell without runs is empty."""
    head = "| method | " + " | ".join(f"{p} | published" for p in PAIRS) + " |"
    lines = [head, "|---" * 5 + "|"]
    for method in methods:
        cells = []
        for k, pair in enumerate(PAIRS):
            scores = results.get((pair, method), [])
            text = f"{np.mean(scores):.1f} ± {np.std(scores):.1f}" if scores else ""
            if len(scores) == 1:
                text = f"{scores[0]:.1f}"
            cells += [text, PUBLISHED[method][k]]
        lines.append(f"| {NAMES[method]} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rows", type=int, help="at most so many training rows a domain")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--pairs", default=",".join(PAIRS))
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    chosen = set(given.methods.split(","))
    if "shot" in chosen:
        chosen.add("source-only")  # whose network it goes on from
    methods = tuple(name for name in METHODS if name in chosen)
    data = load(given.rows)
    sizes = ", ".join(f"{name} {len(domain.train):,}" for name, domain in data.items())
    results: dict[tuple[str, str], list[float]] = {}
    for seed in range(given.seeds):
        for pair in given.pairs.split(","):
            for method, score in runs(methods, pair, seed, given.epochs, data).items():
                results.setdefault((pair, method), []).append(score)
            if given.rows is None:
                seeds = f"\nSeeds: {seed + 1}. `make bench-digits` makes this table.\n"
                text = "# MNIST and USPS\n\n" + table(results, methods)
                text += ABOUT.format(sizes=sizes, epochs=given.epochs) + seeds
                iofs.write_bytes(ROOT / "docs" / "digits.md", text.encode())
    print("\n" + table(results, methods))


if __name__ == "__main__":
    main()
