"""The classic job, frozen VGG16 under a new head, 500 photos, 10 epochs: ours against Keras fit.

Keras sends every photo through the network in every epoch; ours does so once and trains the head
on the features. Both sides have random weights of the same shapes: the time is the same, so
accuracies say nothing here about transfer. Each job of ours runs in a fresh process with an empty
cache, between two epochs of Keras, so that whatever else the machine does falls on both; ratios
are medians over rounds, by the wall clock and by processor time.

``--rounds N`` (default 2), ``--images N`` (default 500), ``--quick`` (1 round of 96 photos, which
makes fixed costs look large), ``--full`` (all 10 epochs of Keras in one round; otherwise the
epochs beside a job are averaged and multiplied by 10), ``--no-default``.

The peer's interpreter is ``ISTHMUS_PEER_PYTHON``; where unset, ``.venv-peer`` is created once with
``pip install tensorflow-cpu pillow``.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("ISTHMUS_TEST_DATA", ROOT.parent / "shared" / "data"))
EPOCHS, BATCH, HIDDEN, RATE = 10, 32, 1024, 1e-4
VGG, DEFAULT = "torchvision:vgg16", "timm:tf_efficientnet_lite0"
Cost = tuple[float, float]  # seconds by the wall clock, seconds of processor time


def option(name: str, default: int) -> int:
    return int(sys.argv[sys.argv.index(name) + 1]) if name in sys.argv else default


def make_photos(folder: Path, count: int) -> None:
    """`count` hand signs in class folders, spread over the classes; 100x100, distinct files."""
    found = sorted((DATA / "sign_digits").glob("[0-9]/*.JPG"))
    if len(found) < count:
        raise SystemExit(f"real photos not found in {DATA}; set ISTHMUS_TEST_DATA")
    for place in np.linspace(0, len(found) - 1, count).astype(int):
        target = folder / found[place].parent.name / found[place].name.lower()
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(found[place], target)


def peer_python() -> str:
    """An interpreter that has TensorFlow, made if need be."""
    given = os.environ.get("ISTHMUS_PEER_PYTHON")
    if given:
        return given
    home = ROOT / ".venv-peer"
    python = home / "bin" / "python"
    if not (home / ".ready").is_file():
        print(f"  making {home.name} with tensorflow-cpu and pillow ...", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        install = ["-m", "pip", "install", "-q", "tensorflow-cpu", "pillow"]
        subprocess.run([str(python), *install], check=True)
        (home / ".ready").touch()
    return str(python)


class Peer:
    """The Keras process; it waits, idle, while ours runs."""

    def __init__(self, photos: Path, log: Path) -> None:
        self.log = log
        with log.open("wb") as errors:
            self.process = subprocess.Popen(
                [peer_python(), str(Path(__file__).with_name("peer_keras.py")), str(photos)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self.start = self.answer()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            tail = self.log.read_text(errors="replace")[-2000:]
            raise SystemExit(f"the Keras process ended:\n{tail}")
        return json.loads(line)

    def epochs(self, count: int) -> list[dict[str, Any]]:
        assert self.process.stdin is not None
        done = []
        for _ in range(count):
            self.process.stdin.write("epoch\n")
            self.process.stdin.flush()
            done.append(self.answer())
        return done

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def dense_head(X: np.ndarray, y: np.ndarray) -> float:
    """Keras's head on features: Dense 1024 relu, dropout, softmax, Adam. Training accuracy."""
    import torch

    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(X.shape[1], HIDDEN),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.5),
        torch.nn.Linear(HIDDEN, int(y.max()) + 1),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    loss = torch.nn.CrossEntropyLoss()
    rows, labels = torch.from_numpy(np.array(X, np.float32)), torch.from_numpy(y)
    right = 0
    for _ in range(EPOCHS):
        right = 0
        for part in torch.randperm(len(rows)).split(BATCH):
            optimizer.zero_grad()
            logits = model(rows[part])
            loss(logits, labels[part]).backward()
            optimizer.step()
            right += int((logits.argmax(1) == labels[part]).sum())
    return right / len(rows)


def ours(spec: str, folder: str, head: str) -> None:
    """In a process of its own: every stage of one job, its costs printed as JSON."""
    stages: dict[str, Cost] = {}
    last = [time.perf_counter(), time.process_time()]

    def stage(name: str) -> None:
        now = [time.perf_counter(), time.process_time()]
        stages[name] = (now[0] - last[0], now[1] - last[1])
        last[:] = now

    from isthmus.backbone import Store, embed, load_backbone
    from isthmus.data import read
    from isthmus.fit.features import FeatureProcessor
    from isthmus.fit.model import FeatureModel

    if head == "dense":
        import torch  # noqa: F401
    stage("imports")
    samples = read(folder)
    stage("read")
    backbone: Any = load_backbone(spec, weights="random" if spec == VGG else None)
    stage("load")
    engine = backbone.engine  # exports the network unless its ONNX file is cached
    stage("export")
    # The default place, below $ISTHMUS_CACHE.
    got = embed(backbone, samples, store=Store(None))
    assert got.hits == 0 and len(got.rows) == len(samples), (got.hits, got.problems)
    stage("embed")
    names = np.array([str(name) for name in samples.labels])[got.rows]
    classes, y = np.unique(names, return_inverse=True)
    if head == "dense":
        accuracy = dense_head(got.features, y)
    else:
        model = FeatureModel(FeatureProcessor(), "logistic", classes=tuple(map(str, classes)))
        model.fit(got.features, names)
        accuracy = float(np.mean(model.predict(got.features) == names))
    stage("head")
    facts = {"stages": stages, "engine": engine, "accuracy": accuracy, "distinct": got.computed}
    print(json.dumps(facts))


def job(spec: str, photos: Path, cache: Path, head: str) -> dict[str, Any]:
    """One job of ours from process start to process end, features never cached."""
    shutil.rmtree(cache / "features", ignore_errors=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.bench_classic", "--ours", spec, str(photos), head],
        cwd=ROOT,
        env=os.environ | {"ISTHMUS_CACHE": str(cache)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return json.loads(done.stdout.splitlines()[-1]) | {"total": (wall, cpu)}


def show(name: str, done: dict[str, Any]) -> None:
    parts = ", ".join(f"{k} {wall:.1f} ({cpu:.1f})" for k, (wall, cpu) in done["stages"].items())
    wall, cpu = done["total"]
    facts = f"{done['engine']}, training accuracy {done['accuracy']:.2f}"
    print(f"    {name}: {wall:.1f} s (processor {cpu:.1f} s): {parts}; {facts}", flush=True)


def epochs_cost(epochs: list[dict[str, Any]]) -> Cost:
    """Cost of 10 epochs from those that were run."""
    scale = EPOCHS / len(epochs)
    return sum(e["wall"] for e in epochs) * scale, sum(e["cpu"] for e in epochs) * scale


def jobs(photos: Path, folder: Path) -> dict[str, Cost]:
    """All of our jobs once; what each cost with and without its export."""
    found: dict[str, Cost] = {}

    def one(name: str, spec: str, cache: Path, head: str) -> None:
        cold = not cache.exists()
        done = job(spec, photos, cache, head)
        show(name, done)
        found[name] = done["total"]
        if cold:  # a network is exported once for all data sets
            wall, cpu = (all_ - part for all_, part in zip(done["total"], done["stages"]["export"]))
            found[f"{name}, export not counted"] = (wall, cpu)

    one("VGG16, Dense 1024 head", VGG, folder / "vgg", "dense")
    if "--no-default" not in sys.argv:
        cache = folder / "default"
        one("default backbone, logistic head", DEFAULT, cache, "logistic")
        one("default backbone kept from before, Dense 1024 head", DEFAULT, cache, "dense")
    shutil.rmtree(folder)
    return found


def main() -> None:
    if "--ours" in sys.argv:
        ours(*sys.argv[sys.argv.index("--ours") + 1 :][:3])
        return
    quick, full = "--quick" in sys.argv, "--full" in sys.argv
    count = option("--images", 96 if quick else 500)
    rounds = 1 if full else option("--rounds", 1 if quick else 2)
    ratios: dict[str, list[Cost]] = {}
    costs: dict[str, list[Cost]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos = folder / "photos"
        photos.mkdir()
        make_photos(photos, count)
        peer = Peer(photos, folder / "peer.log")
        start = (peer.start["wall"], peer.start["cpu"])
        cores = len(os.sched_getaffinity(0))
        print(f"{count} photos, {cores} cores, load {os.getloadavg()[0]:.1f}")
        versions = f"TensorFlow {peer.start['tensorflow']}, Keras {peer.start['keras']}"
        print(f"  {versions}: start-up {start[0]:.1f} s (processor {start[1]:.1f} s)", flush=True)
        run = EPOCHS // 2 if full else 1
        before = peer.epochs(run)
        for i in range(rounds):
            mine = jobs(photos, folder / f"round{i}")
            after = peer.epochs(run)
            ten = epochs_cost(before + after)
            costs.setdefault("Keras, 10 epochs", []).append(ten)
            for key, cost in mine.items():
                costs.setdefault(key, []).append(cost)
                rows = {
                    "Keras 10 epochs / ours": ten,
                    "the same, Keras's start-up counted": (ten[0] + start[0], ten[1] + start[1]),
                }
                for row, theirs in rows.items():
                    pair = (theirs[0] / cost[0], theirs[1] / cost[1])
                    ratios.setdefault(f"{key}: {row}", []).append(pair)
            each = ", ".join(f"{e['wall']:.1f}" for e in before + after)
            print(
                f"  round {i + 1}: Keras epochs {each} s (processor "
                f"{ten[1] / EPOCHS:.1f} s an epoch, training accuracy {after[-1]['accuracy']:.2f})"
                f", load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
            before = after
        peer.stop()
    how = "all run" if full else f"2 epochs a round times {EPOCHS // 2}"
    print(f"  seconds, median of {rounds}: wall clock | processor   (Keras: {how})")
    for key, values in costs.items():
        print(f"    {key}: {middle(values, 0):.1f} | {middle(values, 1):.1f}")
    print("  ratios, median: wall clock | processor   (ours: process start to trained head)")
    for key, values in ratios.items():
        claim = ""
        if "start-up" not in key:
            claim = f"   claim: at least {7 if key.startswith('VGG16') else 100}"
        print(f"    {key}: {middle(values, 0):.3g}x | {middle(values, 1):.3g}x{claim}")


def middle(values: list[Cost], place: int) -> float:
    return statistics.median(value[place] for value in values)


if __name__ == "__main__":
    main()
