"""Layer 2: the torch part of ``logmel:cnn``; the spectrogram is two fixed convolutions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from isthmus.backbone.logmel import BANDS, CHANNELS, HOP, RATE, WINDOW
from isthmus.errors import need
from isthmus.types import Array

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
else:
    torch = need("torch", extra="deep")
    nn, Tensor = torch.nn, torch.Tensor

FLOOR = 1e-2  # of the mel power, below which nothing is told apart


class LogMel(nn.Module):
    """(n, samples) of unit power -> (n, 1, bands, frames), each clip of mean 0 and deviation 1.

    The Fourier transform of a Hann window is a convolution with cosines and sines, so that it can
    be exported like any other layer. Bands are triangles on the mel scale (O'Shaughnessy 1987).
    """

    waves: Tensor
    bands: Tensor

    def __init__(self) -> None:
        super().__init__()
        wave, bands = _waves(), mel_bands()
        self.register_buffer("waves", torch.from_numpy(wave), persistent=False)
        self.register_buffer("bands", torch.from_numpy(bands), persistent=False)

    def forward(self, sound: Tensor) -> Tensor:
        parts = nn.functional.conv1d(sound.unsqueeze(1), self.waves, stride=HOP)
        real, imaginary = parts.chunk(2, dim=1)
        power = real * real + imaginary * imaginary
        mel = torch.log(torch.einsum("bf,nft->nbt", self.bands, power) + FLOOR)
        mean = mel.mean(dim=(1, 2), keepdim=True)
        spread = ((mel - mean) ** 2).mean(dim=(1, 2), keepdim=True).sqrt()
        return ((mel - mean) / (spread + 1e-5)).unsqueeze(1)


class LogMelCNN(nn.Module):
    """(n, samples) at 16 kHz -> (n, 256)."""

    num_features = 2 * CHANNELS[-1]

    def __init__(self) -> None:
        super().__init__()
        self.mel = LogMel()
        blocks, width = [], 1
        for channels in CHANNELS:
            blocks.append(
                nn.Sequential(
                    nn.Conv2d(width, channels, kernel_size=3, padding=1, bias=False),
                    nn.BatchNorm2d(channels),
                    nn.ReLU(),
                    nn.MaxPool2d(2),
                )
            )
            width = channels
        self.blocks = nn.Sequential(*blocks)

    def forward(self, sound: Tensor) -> Tensor:
        maps = self.blocks(self.mel(sound.float()))
        return torch.cat([maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))], dim=1)


def _waves() -> Array:
    """(2 (WINDOW / 2 + 1), 1, WINDOW) windowed cosines, then sines."""
    times, bins = np.arange(WINDOW), np.arange(WINDOW // 2 + 1)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * times / WINDOW)
    angles = 2 * np.pi * bins[:, None] * times / WINDOW
    both = np.concatenate([np.cos(angles), -np.sin(angles)]) * window / np.sqrt(WINDOW)
    return both[:, None].astype(np.float32)


def mel_bands() -> Array:
    """(BANDS, WINDOW / 2 + 1) triangles of height 1, evenly spaced in mel from 20 Hz up."""
    hertz = np.linspace(0, RATE / 2, WINDOW // 2 + 1)
    low, high = (2595 * np.log10(1 + f / 700) for f in (20.0, RATE / 2))
    edges = 700 * (10 ** (np.linspace(low, high, BANDS + 2) / 2595) - 1)
    rising = (hertz - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - hertz) / (edges[2:] - edges[1:-1])[:, None]
    bands = np.maximum(0, np.minimum(rising, falling))
    # the lowest triangles are narrower than a bin: they take the bin nearest to their middle
    empty = ~bands.any(axis=1)
    bands[empty, np.abs(hertz - edges[1:-1, None]).argmin(axis=1)[empty]] = 1.0
    return bands.astype(np.float32)
