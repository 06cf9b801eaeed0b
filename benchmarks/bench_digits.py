"""MNIST and USPS, either way, with the small network of the papers (make bench-digits).

    python -m benchmarks.bench_digits [--seeds 3] [--methods shot,mcc] [--pairs "USPS > MNIST"]
                                      [--usps centred] [--epochs N] [--rows N] [--threads 2]

The last checkpoint counts; no target label is seen before the accuracy on the target's test rows
is taken. Finished runs are kept in build/digits.jsonl, so that a stopped benchmark goes on; the
tables of docs/digits.md are made from them after each run, unless it is a trial.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from benchmarks.choice_tasks import DATA, ROOT
from isthmus import iofs
from isthmus.align.base import Objective, Procedure
from isthmus.align.registry import find
from isthmus.fit.deep.bodies import digit_network
from isthmus.fit.deep.loop import train
from isthmus.fit.deep.network import Network
from isthmus.fit.deep.rows import Rows
from isthmus.fit.deep.settings import Settings
from isthmus.fit.deep.task_alignment import TaskAlignment

PAIRS = ("USPS > MNIST", "MNIST > USPS")


@dataclass(frozen=True)
class Protocol:
    """How the authors of a paper train on these digits.

    Parameters
    ----------
    settings : Settings
    label_smoothing : float
    moved : bool
        USPS's training rows, on either side, are turned and shifted at random.
    steps_of_the_larger : bool
        An epoch has as many steps as the domain with more rows fills; else the source.
    """

    settings: Settings
    label_smoothing: float
    moved: bool
    steps_of_the_larger: bool


_SGD = Settings(batch_size=64, optimizer="sgd", lr=0.01, weight_decay=1e-3, momentum=0.9)
SHOT = Protocol(replace(_SGD, epochs=15, schedule="dann"), 0.1, True, False)
CDAN = Protocol(replace(_SGD, epochs=10, schedule="constant", weight_decay=5e-4), 0.0, False, True)


@dataclass(frozen=True)
class Method:
    """One row of the table.

    Parameters
    ----------
    name : str
    method : str
        As `isthmus.align.registry.find` has it; empty for source-only.
    protocol : Protocol
    published : tuple of str
        Of the pairs of `PAIRS`.
    settings : mapping
        Of the method, instead of its defaults.
    """

    name: str
    method: str
    protocol: Protocol
    published: tuple[str, str] = ("", "")
    settings: Mapping[str, Any] = field(default_factory=dict)

    def made(self) -> Any:
        return find(self.method)(**self.settings)


_PAPER = {"hidden": (500, 500), "strength": 1.0, "opposed": "both"}
METHODS = {
    "source-only-shot": Method("source-only", "", SHOT, ("88.0", "79.7")),
    "shot": Method("SHOT", "shot", SHOT, ("98.0", "97.9")),
    "source-only": Method("source-only", "", CDAN),
    "dann": Method("DANN", "dann", CDAN),
    "dann-paper": Method("DANN, the paper's settings", "dann", CDAN, ("94.7", "90.4"), _PAPER),
    "cdan": Method("CDAN+E", "cdan", CDAN),
    "cdan-paper": Method("CDAN+E, the paper's settings", "cdan", CDAN, ("98.0", "95.6"), _PAPER),
    "mcc": Method("MCC", "mcc", CDAN),
}
FORMS = {
    "stretched": "Rows of USPS enlarged from 16 to 28 pixels, the digit filling the frame",
    "centred": "Rows of USPS prepared as MNIST's are: the digit in 20 pixels, 4 pixels of margin",
}
KEPT = ROOT / "build" / "digits.jsonl"
ABOUT = """
Training rows of both domains ({sizes}), accuracy in % on the target's test rows,
mean and standard deviation of the seeds (their number in brackets), the last checkpoint. The
network is the two-layer LeNet of the papers with a bottleneck of 256; SGD 0.01, momentum 0.9,
batches of 64.

As SHOT's code trains: weight decay 0.001, falling rates, label smoothing 0.1, 15 epochs of the
source and for SHOT as many of the target after them, the training rows of USPS turned by up to 10
degrees and shifted by up to 4 pixels. As CDAN's code trains: weight decay 0.0005, one rate,
nothing smoothed or turned, 10 epochs of the larger domain. Methods have their default settings;
"the paper's" are a discriminator of 500 and 500 units and a strength of 1, and the features of both
domains feel it. USPS is drawn anew into training and test rows (7,438 and 1,860, the numbers of the
file that the papers read): its own 2,007 test rows are harder. `make bench-digits` makes these
tables.

Published: the tables of SHOT (Liang et al. 2020: source-only, SHOT) and CDAN (Long et al. 2018:
DANN, CDAN+E). The authors have all 60,000 rows of MNIST, here there are 20,000. MCC has no
published figures on these pairs.
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
    """One method on one pair of domains, one seed."""

    form: str
    pair: str
    seed: int
    key: str

    def keep(self, score: float) -> None:
        line = json.dumps([self.form, self.pair, self.seed, self.key, score]) + "\n"
        before = KEPT.read_text() if KEPT.is_file() else ""
        iofs.write_bytes(KEPT, (before + line).encode())


def kept() -> dict[Run, float]:
    """What earlier runs of all training rows gave."""
    lines = KEPT.read_text().splitlines() if KEPT.is_file() else []
    return {Run(*run): score for *run, score in map(json.loads, lines)}


def score_of(run: Run, data: Mapping[str, Digits], epochs: int | None) -> float:
    """Accuracy of one run; SHOT first learns the source, as source-only of its protocol does."""
    a, b = run.pair.split(" > ")
    method = METHODS[run.key]
    protocol = method.protocol
    source, target = data[a].train, data[b].train.without_labels()
    if protocol.moved:
        source = replace(source, transform=moved if a == "USPS" else None)
        target = replace(target, transform=moved if b == "USPS" else None)
    settings = replace(protocol.settings, seed=run.seed)
    if epochs is not None:
        settings = replace(settings, epochs=epochs)
    if protocol.steps_of_the_larger:
        rows = max(len(source), len(target))
        settings = replace(settings, steps_per_epoch=rows // settings.batch_size)
    with torch.random.fork_rng():
        torch.manual_seed(run.seed)
        network = digit_network(10)
    made = method.made() if method.method else None
    objectives = [made] if isinstance(made, Objective) else []
    train(
        network, TaskAlignment(objectives, label_smoothing=protocol.label_smoothing),
        source=source, target=target if objectives else None, settings=settings,
    )  # fmt: skip
    if isinstance(made, Procedure):
        train(network, made, target=target, settings=settings)
    return accuracy(network, data[b].test)


def table(results: Mapping[Run, float], form: str) -> str:
    """Markdown; a cell without runs is empty."""
    lines = []
    for title, protocol in (("as SHOT's code trains", SHOT), ("as CDAN's code trains", CDAN)):
        head = f"| {title} | " + " | ".join(f"{p} | published" for p in PAIRS) + " |"
        lines += ["", head, "|---" * 5 + "|"]
        for key, method in METHODS.items():
            if method.protocol is not protocol:
                continue
            cells = []
            for pair, published in zip(PAIRS, method.published, strict=True):
                scores = [
                    score
                    for run, score in sorted(results.items(), key=lambda one: one[0].seed)
                    if (run.form, run.pair, run.key) == (form, pair, key)
                ]
                text = (
                    f"{np.mean(scores):.1f} ± {np.std(scores):.1f} ({len(scores)})"
                    if scores
                    else ""
                )
                cells += [text, published]
            lines.append(f"| {method.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines[1:]) + "\n"


def page(results: Mapping[Run, float], sizes: str) -> str:
    """docs/digits.md."""
    parts = ["# MNIST and USPS\n"]
    for form, about in FORMS.items():
        if any(run.form == form for run in results):
            parts.append(f"{about}:\n\n{table(results, form)}")
    return "\n".join(parts) + ABOUT.format(sizes=sizes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="a trial of so many")
    parser.add_argument("--rows", type=int, help="a trial of so many training rows a domain")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--pairs", default=",".join(PAIRS))
    parser.add_argument("--usps", default="stretched", help="or centred: how its rows are prepared")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    trial = given.rows is not None or given.epochs is not None
    results = {} if trial else kept()
    for form in given.usps.split(","):
        data = load(form, given.rows)
        sizes = ", ".join(f"{name} {len(domain.train):,}" for name, domain in data.items())
        for seed, pair, key in product(
            range(given.seeds), given.pairs.split(","), given.methods.split(",")
        ):
            run = Run(form, pair, seed, key)
            if run in results:
                continue
            start = time.perf_counter()
            results[run] = score_of(run, data, given.epochs)
            seconds = time.perf_counter() - start
            print(f"{run}: {results[run]:.2f} % ({seconds:.0f} s)", flush=True)
            if not trial:
                run.keep(results[run])
                iofs.write_bytes(ROOT / "docs" / "digits.md", page(results, sizes).encode())
    for form in given.usps.split(","):
        print(f"\n{FORMS[form]}:\n\n{table(results, form)}")


if __name__ == "__main__":
    main()
