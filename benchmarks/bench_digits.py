"""MNIST and USPS, either way, with the small network of the papers (make bench-digits).

    python -m benchmarks.bench_digits [--seeds 3] [--epochs 15] [--rows N] [--methods shot,mcc]
                                      [--pairs "USPS > MNIST"] [--usps centred] [--threads 2]

The last checkpoint counts; no target label is seen before the accuracy on the target's test rows
is taken. Finished runs are kept in build/digits.jsonl, so that a stopped benchmark goes on; the
tables of docs/digits.md are made from them after each run, unless ``--rows`` makes it a trial.
"""

from __future__ import annotations

import argparse
import json
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
FORMS = {
    "stretched": "Rows of USPS enlarged from 16 to 28 pixels, the digit filling the frame",
    "centred": "Rows of USPS prepared as MNIST's are: the digit in 20 pixels, 4 pixels of margin",
}
KEPT = ROOT / "build" / "digits.jsonl"
ABOUT = """
Training rows of both domains ({sizes}), accuracy in % on the target's test rows, mean and
standard deviation of the seeds (their number in brackets). The network is the two-layer LeNet of
the papers with a bottleneck of 256; SGD 0.01, momentum 0.9, weight decay 0.001, batches of 64,
label smoothing 0.1, {epochs} epochs of the source, and for SHOT as many of the target after them.
Training rows of USPS, on either side, are turned by up to 10 degrees and shifted by up to 4
pixels, as in SHOT's code; every method gets the same rows. Methods have their default settings.
USPS is drawn anew into training and test rows (7,438 and 1,860, the numbers of the file that the
papers read): its own 2,007 test rows are harder. The last checkpoint counts. `make bench-digits`
makes these tables.

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


def load(form: str, rows: int | None, seed: int = 0) -> dict[str, Digits]:
    """Both domains, 28 x 28 pixels; `form` is one of `FORMS`.

    USPS is drawn anew into 7,438 rows for training and 1,860 for testing, as many as in the file
    that the papers read: its own test rows are harder than its training rows.
    """
    found = {}
    for name, file in (("USPS", "usps.npz"), ("MNIST", "mnist_25k.npz")):
        with np.load(DATA / "digits" / file) as stored:
            X, y = ([stored[f"{key}_{part}"] for part in ("train", "test")] for key in "Xy")
        split = len(y[0])
        order = np.arange(split + len(y[1]))
        images = torch.from_numpy(np.concatenate(X)).float()[:, None] / 127.5 - 1
        if name == "USPS":
            split, order = 7438, np.random.default_rng(0).permutation(len(order))
            side = 28 if form == "stretched" else 20
            images = functional.interpolate(images, size=(side, side), mode="bilinear")
            images = functional.pad(images, [(28 - side) // 2] * 4, value=-1.0)
        whole = Rows(images, np.concatenate(y).astype(np.int64))
        train, test = whole.take(order[:split]), whole.take(order[split:])
        if rows is not None and rows < len(train):
            train = train.take(np.random.default_rng(seed).permutation(len(train))[:rows])
        found[name] = Digits(train, test)
    return found


@torch.no_grad()
def accuracy(network: Network, rows: Rows) -> float:
    """Share of the rows that are classified right, in %."""
    network.eval()
    right = sum(int((network(b.inputs).argmax(1) == b.labels).sum()) for b in rows.in_order(500))
    return 100 * right / len(rows)


@dataclass(frozen=True)
class Run:
    """One pair of domains, one seed."""

    form: str
    pair: str
    seed: int
    epochs: int

    def keep(self, method: str, score: float) -> None:
        line = json.dumps([self.form, self.pair, self.seed, self.epochs, method, score]) + "\n"
        before = KEPT.read_text() if KEPT.is_file() else ""
        iofs.write_bytes(KEPT, (before + line).encode())


def kept() -> dict[tuple[Run, str], float]:
    """What earlier runs of all training rows gave."""
    found = {}
    if KEPT.is_file():
        for line in KEPT.read_text().splitlines():
            form, pair, seed, epochs, method, score = json.loads(line)
            found[Run(form, pair, seed, epochs), method] = score
    return found


def accuracies(
    run: Run, methods: tuple[str, ...], data: Mapping[str, Digits], *, keep: bool
) -> dict[str, float]:
    """Accuracy of each method; SHOT goes on from the source-only network of the seed."""
    a, b = run.pair.split(" > ")
    source, target = data[a].train, data[b].train.without_labels()
    if a == "USPS":
        source = replace(source, transform=moved)
    else:
        target = replace(target, transform=moved)
    settings = replace(SETTINGS, epochs=run.epochs, seed=run.seed)
    found: dict[str, float] = {}
    learned: dict[str, torch.Tensor] = {}
    for name in methods:
        start = time.perf_counter()
        with torch.random.fork_rng():
            torch.manual_seed(run.seed)
            network = digit_network(10)
        if name == "shot":
            network.load_state_dict(learned)
            train(network, find(name)(), target=target, settings=settings)
        else:
            objectives: list[Objective] = [] if name == "source-only" else [find(name)()]
            train(
                network, TaskAlignment(objectives, label_smoothing=0.1), source=source,
                target=target if objectives else None, settings=settings,
            )  # fmt: skip
        if name == "source-only":
            learned = {key: value.clone() for key, value in network.state_dict().items()}
        found[name] = accuracy(network, data[b].test)
        if keep:
            run.keep(name, found[name])
        seconds = time.perf_counter() - start
        print(f"{run}, {name}: {found[name]:.2f} % ({seconds:.0f} s)", flush=True)
    return found


def table(results: Mapping[tuple[Run, str], float], form: str, epochs: int) -> str:
    """Markdown; a cell without runs is empty."""
    head = "| method | " + " | ".join(f"{p} | published" for p in PAIRS) + " |"
    lines = [head, "|---" * 5 + "|"]
    for method, name in NAMES.items():
        cells = []
        for k, pair in enumerate(PAIRS):
            scores = [
                score
                for (run, of), score in sorted(results.items(), key=lambda one: one[0][0].seed)
                if of == method and (run.form, run.pair, run.epochs) == (form, pair, epochs)
            ]
            text = f"{np.mean(scores):.1f} ± {np.std(scores):.1f} ({len(scores)})" if scores else ""
            cells += [text, PUBLISHED[method][k]]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def page(results: Mapping[tuple[Run, str], float], epochs: int, sizes: str) -> str:
    """docs/digits.md."""
    parts = ["# MNIST and USPS\n"]
    for form, about in FORMS.items():
        if any(run.form == form and run.epochs == epochs for run, _ in results):
            parts.append(f"{about}:\n\n{table(results, form, epochs)}")
    return "\n".join(parts) + ABOUT.format(sizes=sizes, epochs=epochs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--rows", type=int, help="at most so many training rows a domain")
    parser.add_argument("--methods", default=",".join(NAMES))
    parser.add_argument("--pairs", default=",".join(PAIRS))
    parser.add_argument("--usps", default=",".join(FORMS), help="how its rows are prepared")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    chosen = set(given.methods.split(","))
    trial = given.rows is not None
    results = {} if trial else kept()
    for form in given.usps.split(","):
        data = load(form, given.rows)
        sizes = ", ".join(f"{name} {len(domain.train):,}" for name, domain in data.items())
        for seed in range(given.seeds):
            for pair in given.pairs.split(","):
                run = Run(form, pair, seed, given.epochs)
                left = [name for name in NAMES if name in chosen and (run, name) not in results]
                if "shot" in left and "source-only" not in left:
                    left.insert(0, "source-only")  # whose network it goes on from
                for method, score in accuracies(run, tuple(left), data, keep=not trial).items():
                    results[run, method] = score
                if not trial:
                    text = page(results, given.epochs, sizes)
                    iofs.write_bytes(ROOT / "docs" / "digits.md", text.encode())
    for form in given.usps.split(","):
        print(f"\n{FORMS[form]}:\n\n{table(results, form, given.epochs)}")


if __name__ == "__main__":
    main()
