"""Augmentation of sound: speed, noise and masks of waveforms and of spectrograms."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


class Speed:
    """Played faster or slower; pitch and length change together, as with a tape.

    Parameters
    ----------
    low, high : float, default=0.9, 1.1
        Factors of the speed (Ko et al. 2015).
    """

    def __init__(self, low: float = 0.9, high: float = 1.1) -> None:
        self.low, self.high = low, high

    def __call__(self, wave: Tensor) -> Tensor:
        """(n,) samples -> (n,): cut at the end, or filled with silence."""
        factor = self.low + (self.high - self.low) * float(torch.rand(()))
        length = max(1, round(len(wave) / factor))
        new = F.interpolate(
            wave.view(1, 1, -1).float(), size=length, mode="linear", align_corners=True
        ).view(-1)
        return F.pad(new, (0, len(wave) - length)) if length < len(wave) else new[: len(wave)]


class Noise:
    """White noise at a random distance below the signal.

    Parameters
    ----------
    low, high : float, default=10.0, 40.0
        Signal-to-noise ratio in dB. Silence stays silent.
    """

    def __init__(self, low: float = 10.0, high: float = 40.0) -> None:
        self.low, self.high = low, high

    def __call__(self, wave: Tensor) -> Tensor:
        ratio = self.low + (self.high - self.low) * float(torch.rand(()))
        power = wave.float().square().mean().sqrt() * 10 ** (-ratio / 20)
        return wave + power * torch.randn(wave.shape)


class TimeMask:
    """A stretch of time is silenced: the last axis of a waveform (n,) or spectrogram (f, t).

    Parameters
    ----------
    share : float, default=0.1
        Longest stretch as a share of the whole (Park et al. 2019, SpecAugment).
    count : int, default=1
    """

    axis = -1

    def __init__(self, share: float = 0.1, *, count: int = 1) -> None:
        self.share, self.count = share, count

    def __call__(self, sound: Tensor) -> Tensor:
        out = sound.clone()
        whole = sound.shape[self.axis]
        for _ in range(self.count):
            width = int(torch.randint(0, int(self.share * whole) + 1, ()))
            start = int(torch.randint(0, whole - width + 1, ()))
            out.narrow(self.axis, start, width).zero_()
        return out


class FrequencyMask(TimeMask):
    """A band of a spectrogram (f, t) is silenced; parameters as of `TimeMask`."""

    axis = -2


class OnSpectrogram:
    """Masks of a spectrogram for networks that take the waveform: there and back again.

    Parameters
    ----------
    *parts : callables
        (f, t) complex spectrogram -> the same shape: `FrequencyMask`, `TimeMask`.
    window : int, default=512
        Samples under one frame (Hann); frames overlap by three quarters.
    """

    def __init__(self, *parts: TimeMask, window: int = 512) -> None:
        self.parts, self.window = parts, window

    def __call__(self, wave: Tensor) -> Tensor:
        """(n,) samples -> (n,)."""
        if len(wave) < self.window:
            return wave
        form: dict[str, Any] = {
            "n_fft": self.window,
            "hop_length": self.window // 4,
            "window": torch.hann_window(self.window),
        }
        sound = torch.stft(wave.float(), **form, return_complex=True)
        for part in self.parts:
            sound = part(sound)
        return torch.istft(sound, **form, length=len(wave))
