"""Recordings against known sines, exact integers and files that lie about themselves."""

from __future__ import annotations

import io
import struct
import wave
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from isthmus.data.audio import AUDIO_SUFFIXES, MAX_CHANNELS, decode
from isthmus.data.mpeg import _frame
from isthmus.errors import DataError

soundfile = pytest.importorskip("soundfile")
pytest.importorskip("soxr")


def sine(frequency, seconds=1.0, rate=16_000, amplitude=0.5):
    return amplitude * np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate)


def encode(samples, rate=16_000, kind="WAV", subtype=None) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, subtype=subtype)
    return buffer.getvalue()


def wav(data: bytes, *, channels=1, rate=8000, bits=16, tag=1, claimed=None) -> bytes:
    """A WAV written by hand; `claimed` is what its data chunk says about its size."""
    align = channels * bits // 8
    fmt = struct.pack("<HHIIHH", tag, channels, rate, rate * align, align, bits)
    size = len(data) if claimed is None else claimed
    body = b"WAVEfmt " + struct.pack("<I", 16) + fmt + b"data" + struct.pack("<I", size) + data
    return b"RIFF" + struct.pack("<I", min(len(body), 0xFFFFFFFF)) + body


@pytest.fixture(scope="module")
def spoken(real_data) -> list[bytes]:
    return [p.read_bytes() for p in sorted((real_data / "spoken_digits").glob("*.wav"))[::30]]


# ---- scale


def test_real_recordings_equal_the_standard_library(spoken):
    for raw in spoken:
        with wave.open(io.BytesIO(raw)) as file:
            assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (8000, 1, 2)
            expected = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768
        samples = decode(raw, rate=8000)
        assert samples.dtype == np.float32 and samples.ndim == 1
        assert np.array_equal(samples, expected.astype(np.float32))


def test_integer_widths_are_divided_by_their_full_scale():
    eight = wav(bytes([0, 64, 128, 192, 255]), bits=8)
    assert decode(eight, rate=8000).tolist() == [-1, -0.5, 0, 0.5, 127 / 128]
    sixteen = wav(np.array([-32768, -16384, 0, 32767], "<i2").tobytes())
    assert decode(sixteen, rate=8000).tolist() == [-1, -0.5, 0, np.float32(32767 / 32768)]
    wide = wav(np.array([-(2**31), 2**30], "<i4").tobytes(), bits=32)
    assert decode(wide, rate=8000).tolist() == [-1, 0.5]
    three = wav(b"\x00\x00\x80" + b"\x00\x00\x40", bits=24)
    assert decode(three, rate=8000).tolist() == [-1, 0.5]


def test_float_files_are_taken_as_they_are():
    values = np.array([-1, -0.25, 0, 0.5, 1], "<f4")
    assert decode(wav(values.tobytes(), bits=32, tag=3), rate=8000).tolist() == values.tolist()


def test_peaks_above_one_scale_the_whole_recording():
    values = np.array([-2, 0.5, 1], "<f4")
    decoded = decode(wav(values.tobytes(), bits=32, tag=3), rate=8000)
    assert decoded.tolist() == [-1, 0.25, 0.5]


def test_unscaled_floats_are_refused():
    values = np.array([-20000, 0.5, 1], "<f4")
    with pytest.raises(DataError, match=r"not scaled.*32768"):
        decode(wav(values.tobytes(), bits=32, tag=3), rate=8000)
    with pytest.raises(DataError, match="not scaled"):
        decode((values, 8000), rate=8000)


@pytest.mark.parametrize(
    "kind, subtype, tolerance",
    [
        ("WAV", "PCM_16", 1e-4),
        ("WAV", "ULAW", 0.02),
        ("WAV", "MS_ADPCM", 0.05),
        ("WAVEX", "PCM_24", 1e-6),
        ("FLAC", "PCM_16", 1e-4),
        ("AIFF", "PCM_16", 1e-4),
        ("AU", "PCM_16", 1e-4),
        ("OGG", "VORBIS", 0.05),
        ("OGG", "OPUS", 0.1),
        ("MP3", "MPEG_LAYER_III", 0.05),
    ],
)
def test_every_format_returns_the_sine(kind, subtype, tolerance):
    tone = sine(440)
    decoded = decode(encode(tone, kind=kind, subtype=subtype), rate=16_000)[:16_000]
    assert len(decoded) == 16_000
    assert np.abs(decoded - tone)[1000:-1000].max() < tolerance


# ---- rate


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("frequency", [100, 440, 3000])
def test_resampling_keeps_frequency_and_amplitude(rate, frequency):
    raw = encode(sine(frequency, 2.0, rate), rate, subtype="FLOAT")
    decoded = decode(raw, rate=16_000)
    assert abs(len(decoded) - 32_000) <= 1
    middle = decoded[8_000:24_000]  # 1 second: bins of the transform are whole Hz
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert np.argmax(spectrum) == frequency
    t = np.arange(8_000, 24_000) / 16_000
    basis = np.stack([np.sin(2 * np.pi * frequency * t), np.cos(2 * np.pi * frequency * t)], 1)
    (a, b), *_ = np.linalg.lstsq(basis, middle.astype(float), rcond=None)
    assert np.hypot(a, b) == pytest.approx(0.5, rel=0.01)
    assert np.arctan2(b, a) == pytest.approx(0, abs=0.01)  # no delay either
    assert np.abs(middle - basis @ [a, b]).max() < 0.005


def test_what_the_new_rate_cannot_hold_is_removed_not_folded():
    raw = encode(sine(15_000, 1.0, 48_000) + sine(500, 1.0, 48_000, 0.1), 48_000, subtype="FLOAT")
    middle = decode(raw, rate=16_000)[4_000:12_000]
    t = np.arange(4_000, 12_000) / 16_000
    assert np.abs(middle - 0.1 * np.sin(2 * np.pi * 500 * t)).max() < 0.001


def test_same_rate_is_untouched():
    tone = sine(440).astype(np.float32)
    assert np.array_equal(decode((tone, 16_000), rate=16_000), tone)


# ---- channels


def test_channels_are_averaged():
    left, right = sine(440), sine(1000, amplitude=0.3)
    raw = encode(np.stack([left, right], 1), subtype="FLOAT")
    assert np.allclose(decode(raw, rate=16_000), (left + right) / 2, atol=1e-6)


def test_long_stereo_is_mixed_block_by_block_without_a_seam():
    rng = np.random.default_rng(0)
    stereo = rng.uniform(-0.5, 0.5, (600_000, 2)).astype(np.float32)
    assert np.allclose(
        decode(encode(stereo, subtype="FLOAT"), rate=16_000), stereo.mean(axis=1), atol=1e-6
    )


def test_channels_that_cancel_are_refused():
    tone = sine(440)
    for inverted in (-tone, -0.95 * tone):
        with pytest.raises(DataError, match="cancel"):
            decode(encode(np.stack([tone, inverted], 1)), rate=16_000)
    one_sided = np.stack([tone, 0 * tone], 1)
    assert np.allclose(decode(encode(one_sided), rate=16_000), tone / 2, atol=1e-4)


def test_silence_is_allowed():
    assert not decode(encode(np.zeros((800, 2))), rate=16_000).any()


# ---- damage and lies


@pytest.mark.parametrize(
    "kind, subtype",
    [
        ("WAV", "PCM_16"),
        ("WAV", "IMA_ADPCM"),
        ("WAVEX", "PCM_24"),
        ("FLAC", "PCM_16"),
        ("AIFF", "FLOAT"),
        ("AU", "PCM_16"),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
        ("MP3", "MPEG_LAYER_III"),
    ],
)
def test_every_truncation_is_refused_or_equal(kind, subtype):
    rng = np.random.default_rng(0)
    raw = encode(sine(440) + 0.05 * rng.standard_normal(16_000), kind=kind, subtype=subtype)
    whole = decode(raw, rate=16_000)
    for cut in {*rng.integers(0, len(raw), 40).tolist(), *range(len(raw) - 10, len(raw))}:
        try:
            assert np.array_equal(decode(raw[:cut], rate=16_000), whole), cut
        except DataError:
            pass


def test_truncated_real_wav_is_refused(spoken):
    for raw in spoken:
        for cut in (len(raw) - 1, len(raw) - 2, len(raw) // 2, 60, 44, 43, 20, 5):
            with pytest.raises(DataError):
                decode(raw[:cut], rate=16_000)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_ogg_cut_between_two_pages(subtype):
    raw = encode(np.random.default_rng(0).uniform(-0.3, 0.3, 80_000), kind="OGG", subtype=subtype)
    pages = [i for i in range(len(raw)) if raw.startswith(b"OggS\0", i)]
    assert len(pages) > 4
    for page in pages[1:]:
        with pytest.raises(DataError):
            decode(raw[:page], rate=16_000)


def test_mp3_whose_length_would_be_guessed_wrong():
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, 80_000)
    sound = np.concatenate([sine(440, 5), noise, np.zeros(80_000)])
    for mode in ("VARIABLE", "CONSTANT"):
        buffer = io.BytesIO()
        options = {"bitrate_mode": mode, "compression_level": 0.5}
        with soundfile.SoundFile(buffer, "w", 16_000, 1, format="MP3", **options) as file:
            file.write(sound)
        raw = buffer.getvalue()
        assert len(decode(raw, rate=16_000)) == 240_000
        first, _ = _frame(raw, 0)
        assert _frame(raw, first)  # the length header is a frame of its own
        if mode == "VARIABLE":
            with pytest.raises(DataError, match="does not state its length"):
                decode(raw[first:], rate=16_000)
        else:
            assert abs(len(decode(raw[first:], rate=16_000)) - 240_000) < 3 * 576


def test_header_that_promises_more_than_there_is():
    data = np.zeros(100, "<i2").tobytes()
    with pytest.raises(DataError, match=r"cut off.*400 bytes has only 200"):
        decode(wav(data, claimed=400), rate=8000, where="a.wav")
    assert len(decode(wav(data, claimed=0xFFFFFFFF), rate=8000)) == 100  # written to a pipe
    assert len(decode(wav(data, claimed=198), rate=8000)) == 99


def test_flac_that_claims_an_hour_too_much_takes_no_memory():
    raw = bytearray(encode(sine(440), kind="FLAC"))
    raw[21] = raw[21] & 0xF0 | 0xF  # 36 bits of the number of samples, in STREAMINFO
    raw[22:26] = b"\xff" * 4
    with pytest.raises(DataError, match=r"claims .* seconds.*limit"):
        decode(bytes(raw), rate=16_000)
    raw[21] &= 0xF0
    raw[22:26] = (50_000_000).to_bytes(4, "big")  # 52 minutes: allowed, but not there
    with pytest.raises(DataError):
        decode(bytes(raw), rate=16_000)


def test_real_length_bomb():
    raw = encode(np.zeros(16_000 * 100, dtype=np.int16), kind="FLAC")
    assert len(raw) < 20_000
    assert len(decode(raw, rate=16_000)) == 1_600_000
    with pytest.raises(DataError, match=r"100 seconds.*limit is 60"):
        decode(raw, rate=16_000, max_seconds=60)


def test_too_many_channels():
    data = np.zeros(MAX_CHANNELS + 1, "<i2").tobytes()
    with pytest.raises(DataError, match="33 channels"):
        decode(wav(data, channels=MAX_CHANNELS + 1), rate=8000)


@pytest.mark.parametrize("rate", [1, 999, 768_001, 2_000_000_000])
def test_implausible_rates(rate):
    with pytest.raises(DataError, match="not plausible"):
        decode(wav(b"\0" * 20, rate=rate), rate=16_000)


def test_no_samples_and_bad_numbers():
    with pytest.raises(DataError, match="no samples"):
        decode(wav(b""), rate=8000)
    for bad in (np.nan, np.inf, -np.inf):
        values = np.array([0.1, bad, 0.2], "<f4")
        with pytest.raises(DataError, match="NaN"):
            decode(wav(values.tobytes(), bits=32, tag=3), rate=16_000)
    both = np.array([np.inf, -np.inf], "<f4")
    with pytest.raises(DataError, match="NaN"):
        decode(wav(both.tobytes(), bits=32, tag=3, channels=2), rate=16_000)


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "AIFF", "AU", "MP3"])
def test_flipped_bytes_never_escape_as_another_error(kind):
    raw = encode(sine(440, 0.3), kind=kind)
    rng = np.random.default_rng(3)
    for _ in range(100):
        bad = bytearray(raw)
        for place in rng.integers(0, rng.choice([64, len(raw)]), 3):
            bad[place] = rng.integers(256)
        try:
            samples = decode(bytes(bad), rate=16_000)
        except DataError:
            continue
        assert samples.dtype == np.float32 and np.isfinite(samples).all()
        assert np.abs(samples).max() <= 1


@pytest.mark.parametrize(
    "raw, words",
    [
        (b"", "empty"),
        (b"<html>404</html>", "HTML.*fetch"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        (b"\x89PNG\r\n\x1a\n", "PNG image.*recording"),
        (b"\0\0\0\x20ftypM4A ", "AAC.*WAV or FLAC"),
        (b"MATLAB 5.0 MAT-file", "no recording format"),
        (b"\xff\xf1\x50\x80" + b"\0" * 50, "no recording format"),  # raw AAC
        (b"OggS" + b"\0" * 40, "cut off|damaged"),
        (b"RIFF\x24\0\0\0WAVE", "cut off"),
    ],
)
def test_refusals_say_what_it_is(raw, words):
    with pytest.raises(DataError, match=words):
        decode(raw, rate=16_000, where="x.wav")


# ---- memory


def test_arrays_with_their_rate():
    tone = sine(440)
    whole = (tone * 32767).astype(np.int16)
    assert np.array_equal(
        decode((whole, 16_000), rate=16_000), whole.astype(np.float32) / np.float32(32768)
    )
    high = np.array([-(2**31), 2**30], np.int32)
    assert decode((high, 16_000.0), rate=16_000).tolist() == [-1, 0.5]
    assert decode((np.array([0, 192], np.uint8), 8000), rate=8000).tolist() == [-1, 0.5]
    stereo = np.stack([tone, tone / 2], 1)
    for both in (stereo, stereo.T):
        assert np.allclose(decode((both, 16_000), rate=16_000), 0.75 * tone, atol=1e-6)
    assert abs(len(decode((tone, np.int64(8000)), rate=16_000)) - 32_000) <= 1


@pytest.mark.parametrize(
    "raw, words",
    [
        (np.zeros(100), r"no sample rate.*\(samples, sample_rate\)"),
        ([0.0, 0.1], "no sample rate"),
        ((np.zeros(100), None), "not a number"),
        ((np.zeros(100), True), "not a number"),
        ((np.zeros(100), "16000"), "not a number"),
        ((np.zeros(100), float("nan")), "not plausible"),
        ((np.zeros(0), 16_000), "no samples"),
        ((np.zeros((3, 4)), 16_000), "which axis"),
        ((np.zeros((100, 2, 2)), 16_000), "not a recording"),
        ((np.zeros(100, np.int64), 16_000), "no agreed full scale"),
        ((np.full(100, 1e300), 16_000), "NaN"),
        ((np.array(["a"]), 16_000), "no agreed full scale"),
    ],
)
def test_arrays_that_are_refused(raw, words):
    with pytest.raises(DataError, match=words):
        decode(raw, rate=16_000)


def test_the_callers_array_is_not_changed():
    loud = sine(440, amplitude=3.0)
    before = loud.copy()
    decode((loud, 16_000), rate=16_000)
    assert np.array_equal(loud, before)


def test_threads_give_what_one_thread_gives(spoken):
    def attempt(raw):
        return decode(raw, rate=16_000).tobytes()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(attempt, spoken * 4)) == [attempt(raw) for raw in spoken] * 4


def test_suffixes_are_lower_case():
    assert {".wav", ".flac", ".ogg", ".mp3"} <= AUDIO_SUFFIXES
    assert all(suffix == suffix.lower() for suffix in AUDIO_SUFFIXES)
