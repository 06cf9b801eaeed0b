"""Randomness as a pure function of where one stands: a seed for every (seed, stream, position)."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def counter_seed(*parts: int) -> int:
    """A 63-bit seed from whole numbers: the same parts give the same seed on every machine.

    Nothing is drawn in turn from a generator, so it cannot matter how many workers there are, or
    where a run was interrupted.
    """
    packed = struct.pack(f"<{len(parts)}q", *parts)
    return int.from_bytes(hashlib.blake2b(packed, digest_size=8).digest(), "little") >> 1


def stream(*parts: int) -> np.random.Generator:
    """A NumPy generator at `counter_seed` of the parts."""
    return np.random.Generator(np.random.PCG64(counter_seed(*parts)))


def set_seed(seed: int, device: torch.device | None = None) -> None:
    """Seed torch's default generator of the CPU, and of one CUDA device.

    `torch.manual_seed` also visits every other device, and queues a call with a stack trace where
    CUDA is not initialised: too slow for every step.
    """
    torch.default_generator.manual_seed(seed)
    if device is not None and device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.default_generators[index].manual_seed(seed)


@contextmanager
def own_randomness(device: torch.device) -> Iterator[None]:
    """Whatever is seeded and drawn inside, the caller's random state is as before afterwards."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield
