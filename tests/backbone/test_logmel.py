"""The spectrogram of `logmel:cnn` against NumPy's Fourier transform; no weights, no features."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.backbone import load_backbone
from isthmus.errors import BackboneError, UsageError

torch = pytest.importorskip("torch")

from isthmus.backbone.logmel import BANDS, HOP, RATE, WINDOW  # noqa: E402
from isthmus.backbone.logmel_network import FLOOR, LogMel, LogMelCNN, mel_bands  # noqa: E402


def test_the_spectrogram_is_that_of_numpy():
    wave = np.random.default_rng(0).standard_normal(WINDOW + 9 * HOP).astype(np.float32)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    frames = np.stack([wave[k * HOP : k * HOP + WINDOW] * window for k in range(10)])
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2 / WINDOW
    mel = np.log(power @ mel_bands().T + FLOOR).T
    expected = (mel - mel.mean()) / (mel.std() + 1e-5)
    found = LogMel()(torch.from_numpy(wave[None])).numpy()
    assert found.shape == (1, 1, BANDS, 10)
    np.testing.assert_allclose(found[0, 0], expected, atol=2e-4)


def test_a_tone_is_loudest_in_its_band():
    edges = 2595 * np.log10(1 + np.array([20.0, RATE / 2]) / 700)
    middles = 700 * (10 ** (np.linspace(*edges, BANDS + 2)[1:-1] / 2595) - 1)
    for hertz in (300.0, 1000.0, 5000.0):
        wave = np.sin(2 * np.pi * hertz * np.arange(RATE) / RATE).astype(np.float32)
        bands = LogMel()(torch.from_numpy(wave[None]))[0, 0].mean(dim=1)
        assert abs(int(bands.argmax()) - int(np.abs(middles - hertz).argmin())) <= 1
    assert (mel_bands() >= 0).all() and mel_bands().any(axis=1).all()


def test_the_same_numbers_each_time_and_no_pretrained_ones():
    first, second = (load_backbone("logmel:cnn", weights="random").open_module() for _ in range(2))
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name
    assert sum(p.numel() for p in LogMelCNN().parameters()) < 150_000
    with pytest.raises(BackboneError, match="no pretrained weights"):
        load_backbone("logmel:cnn")
    with pytest.raises(UsageError, match="logmel:rnn"):
        load_backbone("logmel:rnn", weights="random")
