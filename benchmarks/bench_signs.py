"""Sign-language photos at 5, 10 and 20 labels a class (make bench-signs).

    python -m benchmarks.bench_signs [--draws 3] [--shots 5,10,20] [--size 64] [--steps 60]
                                     [--first-draw 0] [--trial]

The package's pretrained image network is tuned in four ways and trained from scratch. Labelled
photos are drawn anew for every draw, and the seed of the training with them; all ways see the same
rows and are scored on the same other photos. The table goes to docs/signs.md after each draw,
unless ``--trial``.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import t as student

from benchmarks.choice_tasks import DATA, ROOT
from isthmus import iofs
from isthmus.data import read
from isthmus.evaluate.shots import draw_shots
from isthmus.fit.deep.bodies import backbone_body
from isthmus.fit.deep.network import Network
from isthmus.fit.deep.surgery import he_initialise
from isthmus.fit.finetune import FineTunedClassifier

TEST_ROWS, BATCH = 500, 16


@dataclass(frozen=True)
class Way:
    """One row of the table: how the network is trained, and for how many steps (of the usual)."""

    name: str
    strategy: str
    lr: float
    pretrained: bool = True
    steps: float = 1.0


WAYS = (
    Way("head only", "head-only", 3e-3),
    Way("head, then everything (LP-FT)", "lp-ft", 3e-3),
    Way("everything", "full", 1e-3),
    Way("LoRA, rank 8", "lora", 1e-3),
    Way("from scratch, twice the steps", "full", 1e-3, pretrained=False, steps=2.0),
)
ABOUT = """
Accuracy in % on {test} photos that no way has seen, mean of {draws} draws of the labelled photos
(and seeds) with its 95 % t interval over the draws; the second table is the difference to training
from scratch, draw by draw. The network is {name} at {size} x {size} pixels, weights from its
package, one linear layer on top; AdamW, batches of {batch}, cosine schedule, {steps} steps for
every number of labels (from scratch: {scratch} steps), no augmentation, last checkpoint. From
scratch: the same network, every weight drawn anew. Learning rates: {rates}; they were set by
hand after one look at another draw, and LoRA's was lowered after 0.003 had diverged on two of
these. Who made a sign is not recorded, so one person's hands can be on both sides; it is the same
for every row.
"""


def photos(size: int) -> tuple[np.ndarray, np.ndarray, str]:
    """Pixels (n, size, size, 3) as the network takes them, class names, and the network's name."""
    _, backbone = backbone_body(size=size)
    samples = read(DATA / "sign_digits")
    return (
        np.stack([np.asarray(backbone.preprocess(item)) for item in samples.items]),
        np.asarray(samples.labels).astype(str),
        backbone.name,
    )


def fitted(way: Way, X: np.ndarray, y: np.ndarray, *, steps: int, seed: int) -> FineTunedClassifier:
    """One way on labelled rows."""
    size = X.shape[1]

    def network(classes: int) -> Network:
        body, _ = backbone_body(size=size)
        if not way.pretrained:
            he_initialise(body, seed=seed)
        return Network(body, classes)

    updates = round(way.steps * steps)
    per_epoch = -(-len(X) // BATCH)
    epochs = max(2, round(updates / per_epoch))  # of LP-FT one for the head, one for the rest
    return FineTunedClassifier(
        network,
        strategy=way.strategy,
        epochs=epochs,
        batch_size=BATCH,
        lr=way.lr,
        random_state=seed,
    ).fit(X, y)


def interval(values: list[float]) -> str:
    """Mean and 95 % t interval."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return f"{mean:.1f}"
    half = float(student.ppf(0.975, len(values) - 1)) * np.std(values, ddof=1)
    half /= math.sqrt(len(values))
    return f"{mean:.1f} [{mean - half:.1f}, {mean + half:.1f}]"


def tables(found: dict[tuple[str, int], list[float]], shots: tuple[int, ...]) -> str:
    """Both tables as Markdown."""
    head = "| | " + " | ".join(f"{k} a class" for k in shots) + " |\n" + "|---" * 4 + "|\n"
    own = head.replace("|---" * 4, "|---" * (len(shots) + 1))
    text = own
    for way in WAYS:
        text += f"| {way.name} | "
        text += " | ".join(interval(found[way.name, k]) for k in shots) + " |\n"
    scratch = WAYS[-1].name
    text += "\nPoints over training from scratch:\n\n" + own
    for way in WAYS[:-1]:
        gains = [np.subtract(found[way.name, k], found[scratch, k]).tolist() for k in shots]
        text += f"| {way.name} | " + " | ".join(f"{interval(g)}" for g in gains) + " |\n"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--first-draw", type=int, default=0)
    parser.add_argument("--shots", default="5,10,20")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--ways", help="first words of their names, comma-separated, for a trial")
    parser.add_argument("--trial", action="store_true", help="print, and leave docs/signs.md")
    given = parser.parse_args()
    shots = tuple(int(k) for k in given.shots.split(","))
    torch.set_num_threads(1)
    X, y, name = photos(given.size)
    found: dict[tuple[str, int], list[float]] = {}
    for draw in range(given.first_draw, given.first_draw + given.draws):
        drawn = {k: draw_shots(y, k, random_state=draw).rows for k in shots}
        rest = np.setdiff1d(np.arange(len(y)), np.concatenate(list(drawn.values())))
        test = np.random.default_rng(draw).permutation(rest)[:TEST_ROWS]
        for k in shots:
            for way in WAYS:
                if given.ways and not way.name.startswith(tuple(given.ways.split(","))):
                    continue
                model = fitted(way, X[drawn[k]], y[drawn[k]], steps=given.steps, seed=draw)
                score = 100 * float((model.predict(X[test]) == y[test]).mean())
                found.setdefault((way.name, k), []).append(score)
                print(f"draw {draw}, {k} a class, {way.name}: {score:.1f} %", flush=True)
        if not given.trial:
            facts = ABOUT.format(
                test=TEST_ROWS,
                draws=draw - given.first_draw + 1,
                name=name,
                size=given.size,
                batch=BATCH,
                steps=given.steps,
                scratch=round(WAYS[-1].steps * given.steps),
                rates="; ".join(f"{way.name}: {way.lr:g}" for way in WAYS),
            )
            text = "# Hand signs with few labels\n\n" + tables(found, shots) + facts
            text += "\n`make bench-signs` makes this table.\n"
            iofs.write_bytes(ROOT / "docs" / "signs.md", text.encode())
    if not given.ways:
        print("\n" + tables(found, shots))


if __name__ == "__main__":
    main()
