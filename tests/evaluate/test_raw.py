from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from isthmus.data.samples import FileItems, FrameItems, Samples, ValueItems
from isthmus.errors import DataError
from isthmus.evaluate.raw import RATE, RawFeatures, _mel_filters, pixels, spectrum


def samples(values, modality, **rest):
    return Samples(
        ValueItems(values), tuple(f"row {i}" for i in range(len(values))), modality, **rest
    )


def frame(data, **rest):
    table = pd.DataFrame(data)
    return Samples(FrameItems(table), tuple(map(str, range(len(table)))), "table", **rest)


def test_pixels_by_hand():
    image = np.zeros((64, 64, 3), np.uint8)
    image[:32, :, 0] = 255  # upper half red
    values = pixels(image).reshape(32, 32, 3)
    assert values[:16, :, 0].min() == 1 and values[16:].max() == 0 and values[..., 1:].max() == 0


def test_pixels_of_a_real_photo(real_data):
    path = next((real_data / "sign_digits" / "3").glob("*.JPG"))
    values = pixels(path.read_bytes())
    reference = np.asarray(Image.open(path).convert("RGB"), float) / 255
    assert values.shape == (3072,) and values.dtype == np.float32
    assert values.mean() == pytest.approx(reference.mean(), abs=0.005)


def test_mel_filters_cover_the_band():
    filters = _mel_filters()
    hertz = np.arange(257) * RATE / 512
    inside = (hertz > 200) & (hertz < 7000)
    # triangles that meet sum to 1 on the mel scale
    np.testing.assert_allclose(filters[inside].sum(axis=1), 1, atol=1e-9)


def test_spectrum_hears_the_pitch():
    time = np.arange(RATE) / RATE
    centre = (_mel_filters() * (np.arange(257) * RATE / 512)[:, None]).sum(
        axis=0
    ) / _mel_filters().sum(axis=0)
    for hertz in (440, 1000, 3000):
        tone = np.sin(2 * np.pi * hertz * time).astype(np.float32)
        values = spectrum((tone, RATE))
        assert centre[values[:40].argmax()] == pytest.approx(hertz, rel=0.12)
        assert values[values[:40].argmax() + 40] < 0.2  # a steady tone does not vary


def test_spectrum_does_not_depend_on_blocks():
    wave = np.random.default_rng(0).normal(0, 0.1, RATE * 25).astype(np.float32)
    whole = spectrum((wave, RATE))
    half = [spectrum((part, RATE)) for part in np.split(wave, [RATE * 10 + 240])]
    weight = np.array([10, 15]) / 25
    np.testing.assert_allclose(
        whole[:40], weight[0] * half[0][:40] + weight[1] * half[1][:40], atol=0.02
    )


def test_a_very_short_recording_still_has_a_spectrum():
    wave = np.full(90, 0.1, np.float32)
    assert np.isfinite(spectrum((wave, RATE))).all()


def test_broken_images_are_problems(real_data):
    root = real_data / "sign_digits"
    names = sorted(str(p.relative_to(root)) for p in (root / "7").glob("*.JPG"))[:4]
    good = [(root / name).read_bytes() for name in names]
    part = samples(
        [good[0], good[1][:200], good[2], b"no image"],
        "image",
        task="classification",
        labels=np.array(["7"] * 4, dtype=object),
        classes=("7",),
    )
    X, rows, problems = RawFeatures().fit_transform([part])
    assert X.shape == (2, 3072) and rows.tolist() == [0, 2]
    assert [p.where for p in problems] == ["row 1", "row 3"]
    assert all(p.reason and p.label == "7" for p in problems)


def test_missing_files_are_problems(tmp_path):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, "PNG")
    (tmp_path / "a.png").write_bytes(buffer.getvalue())
    part = Samples(FileItems(Path(tmp_path), ("a.png", "gone.png")), ("a.png", "gone.png"), "image")
    _, rows, problems = RawFeatures().fit_transform([part])
    assert rows.tolist() == [0] and problems[0].where == "gone.png"


def test_text_is_tfidf_of_the_training_rows_only():
    raw = RawFeatures()
    X, _, _ = raw.fit_transform([samples(["good film", "bad film"], "text")])
    assert set(raw.encoder_.vocabulary_) == {"good", "bad", "film", "good film", "bad film"}
    Z, _, _ = raw.transform(samples(["unseen words", "good day"], "text"))
    assert Z[0].nnz == 0 and Z[1].nnz == 1
    assert X.shape[1] == Z.shape[1] == 5


def test_scripts_without_spaces_are_cut_into_characters():
    raw = RawFeatures()
    raw.fit_transform([samples(["这部电影很好", "这部电影很差"], "text")])
    assert {"好", "差", "很 好", "电 影"} <= set(raw.encoder_.vocabulary_)


def test_text_without_words_is_refused():
    with pytest.raises(DataError, match="raw features"):
        RawFeatures().fit_transform([samples(["", "!!"], "text")])


def test_table_columns():
    train = frame(
        {
            "age": [20.0, 40.0, np.nan, 60.0],
            "sex": ["f", "m", None, "f"],
            "empty": [np.nan] * 4,
            "flat": [1, 1, 1, 1],
            "flag": [True, False, True, True],
            "when": pd.to_datetime(["2020-01-01", "2021-01-01", None, "2022-01-01"]),
        }
    )
    raw = RawFeatures()
    X, rows, problems = raw.fit_transform([train])
    assert X.shape == (4, 5 + 3) and np.isfinite(X).all()  # sex: f, m, missing
    assert rows.tolist() == [0, 1, 2, 3] and problems == []
    assert X[2, 0] == pytest.approx(0)  # the median 40 is also the mean
    test = frame(
        {
            "flat": [2],
            "sex": ["x"],  # unseen
            "age": ["40"],  # written as text
            "empty": [3.0],
            "flag": [False],
            "when": pd.to_datetime(["2021-01-01"]),
            "extra": [1],
        }
    )
    Z, _, _ = raw.transform(test)
    assert Z.shape == (1, 8) and np.isfinite(Z).all()
    assert Z[0, 0] == pytest.approx(0) and (Z[0, 5:] == 0).all()
    with pytest.raises(DataError, match="'sex'"):
        raw.transform(frame({"age": [1.0], "empty": [1.0], "flat": [1], "flag": [True]}))


def test_an_id_column_does_not_explode():
    train = frame({"id": [f"p{i}" for i in range(400)], "x": np.arange(400.0)})
    X, _, _ = RawFeatures().fit_transform([train])
    assert X.shape[1] <= 51


def test_features_are_standardised_on_the_training_rows():
    rng = np.random.default_rng(0)
    raw = RawFeatures()
    X, _, _ = raw.fit_transform([samples(rng.normal(5, 3, (50, 4)), "features")])
    np.testing.assert_allclose([X.mean(axis=0), X.std(axis=0)], [[0] * 4, [1] * 4], atol=1e-12)
    Z, _, _ = raw.transform(samples(np.full((2, 4), 5.0), "features"))
    assert np.abs(Z).max() < 1


def test_parts_follow_each_other():
    raw = RawFeatures()
    one = samples(np.eye(3), "features")
    two = samples(np.array([[1.0, 2, 3], [np.nan, 0, 0], [4, 5, 6]]), "features")
    X, rows, problems = raw.fit_transform([one, two])
    assert rows.tolist() == [0, 1, 2, 3, 5] and len(X) == 5
    assert problems[0].where == "row 1" and "NaN" in problems[0].reason


def test_modalities_do_not_mix():
    with pytest.raises(DataError, match="modalities"):
        RawFeatures().fit_transform([samples(["a b"], "text"), samples(np.eye(2), "features")])
    raw = RawFeatures()
    raw.fit_transform([samples(np.eye(2), "features")])
    with pytest.raises(DataError, match="fitted on features"):
        raw.transform(samples(["a b"], "text"))
    with pytest.raises(DataError, match="no training row"):
        RawFeatures().fit_transform([samples([b"broken"], "image")])


def test_rows_decoded_before_are_not_read_again_and_give_the_same(monkeypatch):
    from isthmus.data import read
    from isthmus.evaluate import raw

    images = np.random.default_rng(0).integers(0, 256, (12, 40, 30, 3), dtype=np.uint8)
    samples = read(images, modality="image")
    count = []
    true = raw.pixels
    monkeypatch.setattr(raw, "pixels", lambda *a, **k: count.append(1) or true(*a, **k))
    plain, _, _ = raw.RawFeatures().fit_transform([samples])
    kept = raw.Decoded()
    count.clear()
    for rows in (np.arange(8), np.arange(4, 12), np.array([11, 0, 5])):
        got, _, _ = raw.RawFeatures(decoded=kept).fit_transform([samples.take(rows)])
        np.testing.assert_array_equal(got, plain[rows])
    assert len(count) == 12
    small = raw.Decoded(limit=3 * 3072 * 4)
    for _ in range(2):
        raw.RawFeatures(decoded=small).fit_transform([samples])
    assert small.size >= small.limit and len(small._kept) == 3
