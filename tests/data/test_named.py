from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_linnerud,
)
from sklearn.utils import Bunch

from isthmus.data import read
from isthmus.errors import DataError, UsageError


def test_digits_are_features_unless_images_are_asked_for():
    bunch = load_digits()
    samples = read(bunch)
    assert samples.modality == "features" and samples.classes == tuple("0123456789")
    np.testing.assert_array_equal(samples.items.values, bunch.data)
    assert samples.labels.tolist() == [str(y) for y in bunch.target]
    images = read(bunch, modality="image")
    assert images.modality == "image"
    # optdigits count pixels from 0 to 16: 16 is white
    np.testing.assert_array_equal(images.items[0], np.round(bunch.images[0] * 255 / 16))


def test_names_of_targets():
    assert read(load_iris()).classes == ("setosa", "versicolor", "virginica")
    cancer = load_breast_cancer()
    samples = read(cancer)
    expected = [str(cancer.target_names[y]) for y in cancer.target]
    assert samples.labels.tolist() == expected


def test_bunch_with_a_frame():
    samples = read(load_iris(as_frame=True))
    assert samples.modality == "table" and samples.items.frame.shape == (150, 4)
    assert samples.classes == ("setosa", "versicolor", "virginica")


def test_regression_bunch():
    bunch = load_diabetes()
    samples = read(bunch)
    assert samples.task == "regression"
    np.testing.assert_array_equal(samples.labels, bunch.target)


def test_several_targets_are_refused():
    with pytest.raises(DataError, match="3 targets per row"):
        read(load_linnerud())


def test_bunch_of_texts():
    bunch = Bunch(data=["a b", "c d"], target=np.array([1, 0]), target_names=["neg", "pos"])
    samples = read(bunch)
    assert samples.modality == "text" and samples.labels.tolist() == ["pos", "neg"]


def test_targets_that_are_no_positions_keep_their_values():
    samples = read(Bunch(data=np.ones((2, 1)), target=np.array([5, 7]), target_names=["a", "b"]))
    assert samples.classes == ("5", "7")


def test_bunch_without_data_or_images():
    with pytest.raises(DataError, match="no data"):
        read(Bunch(target=[1]))
    with pytest.raises(UsageError, match="no images"):
        read(load_iris(), modality="image")


def test_published_sets(real_data):
    with np.load(real_data / "published/surf_dslr.npz") as file:
        X, y = file["X"], file["y"]
    samples = read(real_data / "published/surf_dslr.npz")
    np.testing.assert_array_equal(samples.items.values, X)
    assert samples.labels.tolist() == [str(v) for v in y] and len(samples.classes) == 10
    coil = read(real_data / "published/coil.npz")
    assert set(coil.domain) == {"coil1", "coil2"} and coil.items.values.shape == (1440, 1024)
    assert coil.classes == tuple(str(i) for i in range(20))


def test_digit_files(real_data):
    with np.load(real_data / "digits/usps.npz") as file:
        arrays = dict(file)
    samples = read(real_data / "digits/usps.npz")
    assert samples.modality == "image" and samples.classes == tuple("0123456789")
    assert samples.split.tolist() == ["train"] * 7291 + ["test"] * 2007
    test = read(real_data / "digits/usps.npz", split="test")
    assert len(test) == 2007
    np.testing.assert_array_equal(test.items[5], arrays["X_test"][5])
    assert test.labels.tolist() == [str(v) for v in arrays["y_test"]]


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


def test_names_in_files(tmp_path):
    path = save(
        tmp_path / "a.npz", data=np.ones((4, 2)), target=["x", "y"] * 2, groups=[1, 1, 2, 2]
    )
    samples = read(path)
    assert samples.classes == ("x", "y") and samples.groups.tolist() == ["1", "1", "2", "2"]
    path = save(tmp_path / "b.npz", X_a=np.ones((2, 2)), y_a=[0, 1], X_b=np.ones((1, 2)))
    samples = read(path)
    assert samples.domain.tolist() == ["a", "a", "b"]
    assert samples.labels.tolist() == ["0", "1", None]
    np.save(tmp_path / "c.npy", np.ones((3, 2)))
    assert len(read(tmp_path / "c.npy")) == 3
    assert read({"X": np.ones((2, 2)), "y": [0, 1]}).classes == ("0", "1")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": np.array([{"a": 1}], dtype=object)}, "Python objects"),
        ({"foo": np.ones(3), "bar": np.ones(3)}, "no array X"),
        ({"X_a": np.ones((2, 2)), "X_b": np.ones((2, 3))}, "different shapes"),
        ({"X_a": np.ones((2, 2)), "y_a": np.ones(3), "X_b": np.ones((2, 2))}, "3 labels for 2"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, arrays, message):
    with pytest.raises(DataError, match=message):
        read(save(tmp_path / "x.npz", **arrays))


def test_damaged_and_hostile_files(tmp_path):
    path = save(tmp_path / "x.npz", X=np.ones((50, 50)))
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2])
    with pytest.raises(DataError, match="cannot be read"):
        read(path)
    path.write_bytes(b"not a zip")
    with pytest.raises(DataError, match="cannot be read"):
        read(path)
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY\x01\x00\xff\xff{" + b" " * 100)
    with pytest.raises(DataError, match="cannot be read"):
        read(tmp_path / "x.npy")


def test_decompression_bombs_are_refused_before_they_unpack(tmp_path, monkeypatch):
    monkeypatch.setattr("isthmus.data.named._BOMB_BYTES", 1 << 20)
    np.savez_compressed(tmp_path / "x.npz", X=np.zeros((4000, 500)))
    with pytest.raises(DataError, match="bomb"):
        read(tmp_path / "x.npz")
