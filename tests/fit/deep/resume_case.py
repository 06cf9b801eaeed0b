"""A run for test_resume.py: python resume_case.py FOLDER OUT WORKERS [KILL_AT_STEP]."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch

from isthmus.align.dann import DANN
from isthmus.fit.deep.bodies import SmallCNN
from isthmus.fit.deep.loop import train
from isthmus.fit.deep.network import Network
from isthmus.fit.deep.rows import Rows
from isthmus.fit.deep.seeds import own_randomness, set_seed
from isthmus.fit.deep.settings import Settings
from isthmus.fit.deep.task_alignment import TaskAlignment


class Jitter:
    """An augmentation that draws: a random shift and noise."""

    def __call__(self, image):
        shift = int(torch.randint(-2, 3, ()))
        return torch.roll(image, shift, dims=-1) + 0.05 * torch.randn(image.shape)


def digest(tensors):
    total = hashlib.sha256()
    for name in sorted(tensors):
        total.update(name.encode() + tensors[name].detach().contiguous().numpy().tobytes())
    return total.hexdigest()


def main(folder, out, workers, kill_at=None):
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 1, 28, 28)).astype("f4")
    y = rng.integers(0, 3, 90)
    cpu = torch.device("cpu")
    with own_randomness(cpu):
        set_seed(5)
        network = Network(SmallCNN(), 3, bottleneck=16)
    method = TaskAlignment([DANN(hidden=(8,))])
    optimizers = {}
    settings = Settings(
        epochs=2, batch_size=16, workers=workers, checkpoint_every=2, ema=0.9, clip=5.0,
        optimizer="adamw", balance=("class",), seed=3,
    )  # fmt: skip
    seen = []

    def on_step(done, total):
        if done == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        seen.append(done)

    done = train(
        network,
        method,
        source=Rows(X, y, transform=Jitter()),
        target=Rows(X[::-1].copy() + 0.5, transform=Jitter()),
        settings=settings,
        folder=folder,
        watch=lambda network, epoch, losses: {"held_out": -losses["task"]},
        on_step=on_step,
    )
    for name, optimizer in method.optimizers().items():
        for index, state in optimizer.state_dict()["state"].items():
            optimizers |= {f"{name}{index}{key}": value for key, value in state.items()}
    found = {
        "weights": digest(network.state_dict()),
        "discriminator": digest(method.objectives[0].state_dict()),
        "optimizer": digest(optimizers),
        "lines": done.lines,
        "log": (Path(folder) / "metrics.jsonl").read_text(),
        "steps": done.steps,
        "made": len(seen),
    }
    Path(out).write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), *map(int, sys.argv[4:]))
