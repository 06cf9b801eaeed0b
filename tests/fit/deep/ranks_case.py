"""A run for test_parallel.py, started by torchrun: python ranks_case.py OUT."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import torch

from isthmus.align.base import Objective
from isthmus.fit.deep.bodies import MLP
from isthmus.fit.deep.loop import train
from isthmus.fit.deep.network import Network
from isthmus.fit.deep.rows import Rows
from isthmus.fit.deep.settings import Settings
from isthmus.fit.deep.task_alignment import TaskAlignment


class Gap(Objective):
    """Distance of the mean features: a loss of the whole batch, not of its parts."""

    def __init__(self):
        super().__init__()
        self.trade_off = 2.0

    def build(self, num_features, num_classes):
        self.scale = torch.nn.Parameter(torch.ones(num_features))

    def forward(self, source, target, progress):
        gap = self.scale * (source.features.mean(0) - target.features.mean(0))
        return gap.norm()


def main(out, folder=None):
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 6)).astype("f4")
    y = (X[:, 0] > 0).astype(int)
    torch.manual_seed(0)
    network = Network(MLP(6, (16,)), 2)
    method = TaskAlignment([Gap()])
    done = train(
        network, method, source=Rows(X, y), target=Rows(X + 1), folder=folder,
        settings=Settings(epochs=3, batch_size=24, lr=0.01, clip=1.0, seed=1,
                          optimizer="sgd"),
    )  # fmt: skip
    rank = os.environ.get("RANK", "0")
    state = {**network.state_dict(), **method.objectives[0].state_dict()}
    found = {
        "state": {name: tensor.tolist() for name, tensor in state.items()},
        "losses": [line["losses"]["gap"] for line in done.lines],
    }
    Path(f"{out}.{rank}").write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
