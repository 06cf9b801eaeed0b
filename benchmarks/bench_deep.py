"""Deep training: our step against a hand-written one, alignment against source-only, DANN on
cached features against skada's deep part. All ratios come from one run, interleaved, in
processor time.

    python -m benchmarks.bench_deep [--quick] [--repeats 5] [--threads 2]
"""

from __future__ import annotations

import argparse
import statistics
import time
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn

from isthmus.align.registry import find, made
from isthmus.fit.deep.bodies import MLP, digit_network
from isthmus.fit.deep.loop import train
from isthmus.fit.deep.network import Network
from isthmus.fit.deep.rows import Rows
from isthmus.fit.deep.settings import Settings
from isthmus.fit.deep.task_alignment import TaskAlignment

ALIGNED = ("dann", "cdan", "mcc", "deep-coral", "dan", "mdd", "wdgrl")


def plain_loop(net: nn.Module, X: Any, y: Any, steps: int, batch: int) -> float:
    """What one writes by hand: shuffled batches of a tensor, cross-entropy, the same AdamW.

    As in our loop biases and norm scales have no weight decay, and the clock starts after the
    first step.
    """
    X, y = torch.from_numpy(X), torch.from_numpy(y)
    flat = [p for p in net.parameters() if p.ndim < 2]
    groups = [{"params": [p for p in net.parameters() if p.ndim > 1]}, {"params": flat}]
    groups[1]["weight_decay"] = 0.0
    optimizer = torch.optim.AdamW(groups, lr=1e-3, weight_decay=1e-4, fused=True)
    net.train()
    start = 0.0
    order = torch.randperm(len(X))
    for step in range(steps):
        at = step * batch % (len(X) - batch + 1)
        rows = order[at : at + batch]
        loss = nn.functional.cross_entropy(net(X[rows]), y[rows])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        loss.item()  # a log of losses needs it
        start = start or time.process_time()
    return (time.process_time() - start) / (steps - 1)


def our_loop(net: Network, source: Rows, target: Rows | None, names: list[str], steps: int,
             batch: int) -> float:  # fmt: skip
    """Seconds a step, the set-up (identity of the data, optimizers) left out.

    On an MLP methods have the settings for features, as `isthmus transfer --method` has.
    """
    small = isinstance(net.body, MLP)
    methods = [made(name, on_features=small) for name in names]
    settings = Settings(epochs=1, steps_per_epoch=steps, batch_size=batch)
    marks: list[float] = []

    def mark(done: int, total: int) -> None:
        if done in (1, total):  # a look at the clock can cost as much as a small step
            marks.append(time.process_time())

    train(
        net, TaskAlignment(methods), source=source, target=target,
        settings=settings, on_step=mark,
    )  # fmt: skip
    return (marks[-1] - marks[0]) / (steps - 1)


def resnet() -> Network:
    """A network of the size that is adapted in earnest; its weights are random."""
    import timm

    return Network(timm.create_model("resnet18", num_classes=0), 10)


def plain_dann(X: Any, y: Any, hidden: tuple[int, ...] = (64,), batch: int = 64) -> float:
    """An epoch of the textbook's DANN, with nothing but torch: the floor of any loop."""
    body = nn.Sequential(nn.Linear(1280, 256), nn.ReLU())
    head, critic = (
        nn.Linear(256, 10),
        nn.Sequential(
            *(part for a, b in pairwise((256, *hidden)) for part in (nn.Linear(a, b), nn.ReLU())),
            nn.Linear(hidden[-1], 1),
        ),
    )
    nets = (body, head, critic)
    optimizer = torch.optim.AdamW(
        [p for net in nets for p in net.parameters()], lr=1e-3, fused=True
    )
    source, target = torch.from_numpy(X), torch.from_numpy(X + 1)
    names, domain = torch.from_numpy(y), torch.cat([torch.ones(batch), torch.zeros(batch)])
    start = time.process_time()
    orders = torch.randperm(len(X)), torch.randperm(len(X))
    for at in range(0, len(X) - batch + 1, batch):
        first, second = (order[at : at + batch] for order in orders)
        z = body(torch.cat([source[first], target[second]]))
        reversed_z = 2 * z.detach() - z  # the value of z, the gradient of -z
        loss = nn.functional.cross_entropy(head(z[:batch]), names[first])
        odds = critic(reversed_z).squeeze(1)
        loss = loss + nn.functional.binary_cross_entropy_with_logits(odds, domain)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    rng = np.random.default_rng(0)
    images = rng.normal(size=(2000, 1, 28, 28)).astype("f4")
    features = rng.normal(size=(5000, 1280)).astype("f4")
    photos = rng.normal(size=(256, 3, 96, 96)).astype("f4")
    cases: dict[str, tuple[Any, Any]] = {
        "digit network, 64 images": (lambda: digit_network(10), images),
        "MLP on 1,280 features, 64 rows": (lambda: Network(MLP(1280, (256,)), 10), features),
        "ResNet-18, 64 photos of 96 pixels": (resnet, photos),
    }
    for name, (make, X) in cases.items():
        steps = 30 if given.quick else 100
        if X is photos:  # a step of it is a hundred of the others
            steps = 5
        y = rng.integers(0, 10, len(X))
        ours, hand = [], []
        for _ in range(given.repeats):  # interleaved: the machine's mood hits both
            hand.append(plain_loop(make(), X, y, steps, 64))
            ours.append(our_loop(make(), Rows(X, y), None, [], steps, 64))
        ratio = statistics.median(ours) / statistics.median(hand)
        print(f"{name}: {1e3 * statistics.median(ours):.2f} ms a step, by hand "
              f"{1e3 * statistics.median(hand):.2f}: {ratio:.3f}x (target 1.05)")  # fmt: skip
        base, found = [], {name: [] for name in ALIGNED}
        target = Rows(X[::-1].copy())
        for _ in range(max(2, given.repeats // 2)):
            # source-only on as many samples: both halves of the batch are source rows
            base.append(our_loop(make(), Rows(X, y), None, [], steps, 128))
            for method, times in found.items():
                times.append(our_loop(make(), Rows(X, y), target, [method], steps, 64))
        for method, times in found.items():
            ratio = statistics.median(times) / statistics.median(base)
            print(f"  {method}: {ratio:.2f}x source-only on as many rows (target 1.3)")
        if X is features:
            small = find("dann").on_features["hidden"]
            hand = [plain_loop(make(), X, y, steps, 128) for _ in range(3)]
            floor = [plain_dann(X, y, small) / (len(X) // 64) for _ in range(3)]
            ratio = statistics.median(floor) / statistics.median(hand)
            print(f"  dann by hand over source-only by hand: {ratio:.2f}x")
    dann_on_features(features, rng)


def dann_on_features(X: Any, rng: Any, epochs: int = 20) -> None:
    """5,000 + 5,000 x 1,280; then epoch by epoch in turn with skada's DANN of the same network."""
    y = rng.integers(0, 10, len(X))
    source, target = Rows(X, y), Rows(X + 1)

    def ours(count: int, **settings: Any) -> None:
        method = made("dann", on_features=True, **settings)
        train(
            Network(MLP(1280, (256,)), 10), TaskAlignment([method]), source=source, target=target,
            settings=Settings(epochs=count, batch_size=64),
        )  # fmt: skip

    wall = time.monotonic()
    ours(epochs)
    print(f"DANN on cached features, {epochs} epochs: {time.monotonic() - wall:.1f} s (target 30)")
    try:
        from skada.deep import DANN as SkadaDANN
    except ImportError:
        print("  skada's deep part is not installed (pip install skorch)")
        return
    Z = np.concatenate([X, X + 1]).astype("f4")
    domain = np.repeat([1, -2], [len(X), len(X)])
    labels = np.concatenate([y, np.full(len(X), -1)])

    def theirs() -> None:
        body = nn.Sequential(nn.Linear(1280, 256), nn.ReLU())
        SkadaDANN(
            nn.Sequential(body, nn.Linear(256, 10)), reg=1, layer_name="0", num_features=256,
            max_epochs=1, batch_size=64, train_split=None, lr=1e-3, verbose=0,
        ).fit(Z, labels, sample_domain=domain)  # fmt: skip

    seconds: dict[str, list[float]] = {"ours": [], "theirs": [], "plain": []}
    for _ in range(3):
        seconds["plain"].append(plain_dann(X, y))
        for name, call in (("ours", lambda: ours(1, hidden=(64,), rate=1.0)), ("theirs", theirs)):
            start = time.process_time()
            call()
            seconds[name].append(time.process_time() - start)
    mine, other, floor = (statistics.median(seconds[name]) for name in ("ours", "theirs", "plain"))
    print(f"  an epoch: skada {other:.2f} s, ours {mine:.2f}: {other / mine:.1f}x (target 8); "
          f"torch by hand {floor:.2f}: {other / floor:.1f}x")  # fmt: skip


if __name__ == "__main__":
    main()
