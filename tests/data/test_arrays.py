from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from isthmus.data import read
from isthmus.errors import DataError, UsageError

RNG = np.random.default_rng(0)


def test_features():
    X, y = RNG.normal(size=(6, 3)).astype(np.float32), [0, 1, 2, 0, 1, 2]
    samples = read((X, y))
    assert samples.modality == "features" and samples.labels.tolist() == list("012012")
    np.testing.assert_array_equal(np.stack([samples.items[i] for i in range(6)]), X)
    assert samples.items[0].dtype == np.float32
    assert read(X).labels is None and read((X, None)).labels is None
    assert read(X.tolist()).items[5].tolist() == X[5].tolist()


def test_rows_with_nan_are_set_aside():
    X = np.ones((4, 2))
    X[1, 1], X[3, 0] = np.nan, np.inf
    samples = read(X, max_bad=0.5)
    assert samples.ids == ("array[0]", "array[2]")
    assert [p.where for p in samples.quarantine] == ["array[1]", "array[3]"]
    assert np.isnan(read(X, modality="table").items.frame.to_numpy()).sum() == 2


def test_sparse_matrices_become_plain_ones():
    X = sparse.random(5, 4, density=0.5, random_state=0, format="csr")
    np.testing.assert_array_equal(read(X).items[2], X.toarray()[2])
    with pytest.raises(DataError, match="GiB"):
        read(sparse.csr_matrix((10**6, 10**6)))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((2, 8, 9), (8, 9)),
        ((2, 8, 9, 3), (8, 9, 3)),
        ((2, 3, 8, 9), (8, 9, 3)),
        ((2, 8, 9, 1), (8, 9, 1)),
        ((2, 8, 9, 4), (8, 9, 4)),
    ],
)
def test_images(shape, expected):
    array = RNG.integers(0, 256, shape, dtype=np.uint8)
    samples = read(array)
    assert samples.modality == "image" and samples.items[1].shape == expected
    if expected == (8, 9, 3) and shape[1] == 3:
        np.testing.assert_array_equal(samples.items[1][..., 2], array[1, 2])


def test_images_are_decoded_alike_whatever_their_dtype():
    from isthmus.data.images import decode

    array = RNG.integers(0, 256, (2, 5, 6, 3), dtype=np.uint8)
    for other in (array, array.astype(int), array.astype(float), array / 255.0):
        np.testing.assert_array_equal(decode(read(other).items[0]), array[0])


@pytest.mark.parametrize("low_high", [(-1, 1), (0, 300), (0.5, 200.5)])
def test_ambiguous_pixel_ranges_are_refused(low_high):
    array = np.linspace(*low_high, 2 * 8 * 8).reshape(2, 8, 8)
    with pytest.raises(DataError, match="pixel values lie in"):
        read(array)


@pytest.mark.parametrize(
    "shape", [(5,), (), (2, 5, 6, 7), (1, 2, 3, 4, 5), (0, 3)], ids=lambda s: str(s)
)
def test_shapes_that_are_no_rows(shape):
    with pytest.raises((DataError, UsageError)):
        read(np.zeros(shape))


def test_texts():
    for texts in (["a b", "c"], np.array(["a b", "c"]), np.array(["a b", "c"], dtype=object)):
        samples = read((texts, [1, 0]))
        assert samples.modality == "text" and samples.items[0] == "a b"
    samples = read(["a", "", None, "  "], max_bad=1)
    assert len(samples) == 1 and samples.seen == 4
    assert read(pd.Series(["a b", "c d"])).items[1] == "c d"


def test_file_names(tmp_path, monkeypatch):
    for name in ("a.jpg", "b.png"):
        (tmp_path / name).write_bytes(name.encode())
    samples = read([tmp_path / "a.jpg", tmp_path / "b.png"])
    assert samples.modality == "image" and samples.items[1] == b"b.png"
    monkeypatch.chdir(tmp_path)
    samples = read(["a.jpg", "b.png"])
    assert samples.ids == ("a.jpg", "b.png") and samples.items[0] == b"a.jpg"
    with pytest.raises(DataError, match=r"c.jpg' does not exist"):
        read(["a.jpg", "c.jpg"])
    with pytest.raises(UsageError, match="several kinds"):
        read([Path("a.jpg"), Path("a.wav")])
    assert read(tmp_path / "a.jpg").items[0] == b"a.jpg"


def test_lists_of_pictures_recordings_and_bytes():
    pictures = [np.zeros((4, 5), np.uint8), np.zeros((6, 7, 3), np.uint8)]
    assert read(pictures).modality == "image"
    sounds = [(np.zeros(100, np.float32), 8000), (np.zeros((50, 2)), 16000)]
    samples = read((sounds, ["a", "b"]))
    assert samples.modality == "audio" and samples.items[1][1] == 16000
    assert read([b"\x89PNG\r\n\x1a\n..."]).modality == "image"
    assert read([b"RIFF\0\0\0\0WAVE"]).modality == "audio"
    with pytest.raises(DataError, match="mixes"):
        read([b"\x89PNG", "text"])


def test_pictures_of_pillow():
    from PIL import Image

    samples = read([Image.new("RGB", (4, 3), (255, 0, 0)), Image.new("P", (2, 2))])
    assert samples.items[0].shape == (3, 4, 3) and samples.items[0][0, 0].tolist() == [255, 0, 0]
    assert samples.items[1].shape == (2, 2, 3)


def test_tensors():
    torch = pytest.importorskip("torch")
    samples = read((torch.ones(3, 2), torch.tensor([0, 1, 1])))
    assert samples.modality == "features" and samples.classes == ("0", "1")


def test_multilabel_matrix():
    samples = read((np.ones((3, 2)), np.array([[1, 0], [1, 1], [0, 0]])))
    assert samples.task == "multilabel" and samples.classes == ("0", "1")
    assert samples.labels.tolist() == [[True, False], [True, True], [False, False]]
    with pytest.raises(DataError, match="2 targets per row"):
        read((np.ones((3, 2)), RNG.normal(size=(3, 2))))


def test_structured_arrays():
    array = np.array([(1.5, "a"), (2.5, "b")], dtype=[("x", float), ("label", "U3")])
    samples = read(array)
    assert samples.labels.tolist() == ["a", "b"] and samples.items.frame["x"].tolist() == [1.5, 2.5]


def test_columns_by_name_do_not_exist_in_arrays():
    with pytest.raises(UsageError, match="names a column"):
        read(np.ones((3, 2)), label="y")


def test_modalities_that_do_not_fit():
    with pytest.raises(UsageError, match="cannot be text"):
        read(np.ones((3, 2)), modality="text")
    with pytest.raises(UsageError, match="cannot be audio"):
        read(np.zeros((3, 4, 4), np.uint8), modality="audio")


def test_the_callers_arrays_are_not_modified():
    X, y = np.ones((4, 2)), np.array(["a ", "b", "a", "?"], dtype=object)
    X[0, 0] = np.nan
    before = X.copy(), y.copy()
    read((X, y), max_bad=1)
    np.testing.assert_array_equal(X, before[0])
    assert y.tolist() == before[1].tolist()
