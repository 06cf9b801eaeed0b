"""Walking MP3 frames: counts against files whose number of samples is known."""

from __future__ import annotations

import io

import numpy as np
import pytest

from isthmus.data.mpeg import _frame, samples_without_length

soundfile = pytest.importorskip("soundfile")


def mp3(samples, rate) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="MP3")
    return buffer.getvalue()


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_count_of_known_recordings(rate, channels):
    sound = np.random.default_rng(0).uniform(-0.3, 0.3, (3 * rate, channels))
    raw = mp3(sound, rate)
    assert samples_without_length(raw) is None  # the Xing header states the length
    first, per_frame = _frame(raw, 0)
    assert per_frame == (1152 if rate >= 32_000 else 576)
    counted, _ = samples_without_length(raw[first:])
    assert 3 * rate <= counted <= 3 * rate + 4 * per_frame
    assert samples_without_length(raw[first:] + b"TAG" + b"\0" * 125) == (counted, per_frame)
    tagged = b"ID3\4\0\0\0\0\1\0" + b"\0" * 128 + raw[first:]
    assert samples_without_length(tagged) == (counted, per_frame)


def test_what_is_no_mp3():
    for data in (
        b"",
        b"\xff",
        b"ID3",
        b"RIFF" * 20,
        b"\xff\xfb\xf0\0" * 9,
        b"\xff\xf1\x50\x80" * 9,
    ):
        assert samples_without_length(data) is None
