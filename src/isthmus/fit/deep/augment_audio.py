"""Augmentation of sound: speed, noise and masks of waveforms and of spectrograms."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from isthmus.errors import UsageError
from isthmus.fit.deep.augment_tokens import check_share


def check_wave(wave: Tensor) -> None:
    """Refuse what is not one channel of samples.

    Raises
    ------
    UsageError
    """
    if wave.ndim != 1:
        raise UsageError(
            f"an array of shape {tuple(wave.shape)} is no recording of shape (samples,)",
            remedy="Take the mean of its channels",
        )


def _check_range(low: float, high: float, *, where: str, above: float = -math.inf) -> None:
    if not above < low <= high < math.inf:
        least = "" if above == -math.inf else f" above {above:g}"
        raise UsageError(
            f"low={low}, high={high}", where=where, remedy=f"Give two numbers{least}, low <= high"
        )


class Speed:
    """Played faster or slower; pitch and length change together, as with a tape.

    Parameters
    ----------
    low, high : float, default=0.9, 1.1
        Factors of the speed (Ko et al. 2015).

    Raises
    ------
    UsageError
        If they are no range above 0.
    """

    def __init__(self, low: float = 0.9, high: float = 1.1) -> None:
        _check_range(low, high, where="Speed", above=0.0)
        self.low, self.high = low, high

    def __call__(self, wave: Tensor) -> Tensor:
        """(n,) samples -> (n,): cut at the end, or filled with silence."""
        check_wave(wave)
        if not len(wave):
            return wave
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

    Raises
    ------
    UsageError
        If they are no range.
    """

    def __init__(self, low: float = 10.0, high: float = 40.0) -> None:
        _check_range(low, high, where="Noise")
        self.low, self.high = low, high

    def __call__(self, wave: Tensor) -> Tensor:
        """(n,) samples -> (n,)."""
        check_wave(wave)
        if not len(wave):
            return wave
        ratio = self.low + (self.high - self.low) * float(torch.rand(()))
        power = wave.float().square().mean().sqrt() * 10 ** (-ratio / 20)
        return wave + power * torch.randn(wave.shape)


class TimeMask:
    """A stretch of time is silenced: the last axis of a waveform (n,) or spectrogram (f, t).

    Parameters
    ----------
    share : float, default=0.1
        Longest stretch as a share of the whole (Park et al. 2019, SpecAugment); where that is
        less than one sample nothing is silenced.
    count : int, default=1

    Raises
    ------
    UsageError
        If `share` is no share.
    """

    axis = -1

    def __init__(self, share: float = 0.1, *, count: int = 1) -> None:
        check_share(share, where=type(self).__name__)
        self.share, self.count = share, count

    def __call__(self, sound: Tensor) -> Tensor:
        if sound.ndim < -self.axis:
            raise UsageError(
                f"an array of shape {tuple(sound.shape)} has no frequencies to silence",
                where=type(self).__name__,
                remedy="Put it into OnSpectrogram(...)",
            )
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
        Samples under one frame (Hann), 4 or more; frames overlap by three quarters. A recording
        that is shorter stays as it is.

    Raises
    ------
    UsageError
        If `window` is below 4.
    """

    def __init__(self, *parts: TimeMask, window: int = 512) -> None:
        if window < 4:
            raise UsageError(f"window={window}", where="OnSpectrogram", remedy="Give 4 or more")
        self.parts, self.window = parts, window

    def __call__(self, wave: Tensor) -> Tensor:
        """(n,) samples -> (n,)."""
        check_wave(wave)
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
