"""For test_finetune_kinds.py: python finetune_case.py ENCODER SOURCE TARGET OUT [KILL_AT_STEP]."""

from __future__ import annotations

import os
import signal
import sys

import torch

from isthmus.fit.deep import loop
from isthmus.run.finetune import finetune


def main(encoder, source, target, out, kill_at=None):
    torch.set_num_threads(1)
    update = loop._Run._update

    def watched(self, step, *rest):
        if kill_at is not None and step == int(kill_at):
            os.kill(os.getpid(), signal.SIGKILL)
        update(self, step, *rest)

    loop._Run._update = watched
    finetune(
        source, target, text="text", label="label", backbone=f"hf:{encoder}", on="network",
        method="dann", augment="standard", epochs=3, batch_size=16, out=out, device="cpu",
        workers=1,
    )  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
