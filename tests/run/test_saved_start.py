"""A saved dense network as a start: pixels of its size, the account, and what cannot be."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from isthmus import iofs  # noqa: E402
from isthmus.errors import DataError, UsageError  # noqa: E402
from isthmus.run import saved_start  # noqa: E402
from isthmus.run.finetune import finetune  # noqa: E402


def saved(path, *widths, seed=0):
    rng = np.random.default_rng(seed)
    tensors = {}
    for k, (given, made) in enumerate(itertools.pairwise(widths)):
        tensors[f"dense{k}.weight"] = rng.normal(size=(made, given)).astype("f4") / given**0.5
        tensors[f"dense{k}.bias"] = np.zeros(made, dtype="f4")
    iofs.write_tensors(path, tensors)
    return path


def test_pictures_are_seen_as_grey_squares_of_the_size_of_its_input(tmp_path):
    file = saved(tmp_path / "w.safetensors", 784, 16, 10)
    found, backbone = saved_start.read(file, None, "image", "features")
    assert backbone == "pixels:28" and found.widths == (16, 10)
    assert saved_start.read(file, "timm:x", "image", "features")[1] == "timm:x"
    said = []
    build = saved_start.builder(found, 784, dropout=0.0, seed=0, say=said.append)
    network = build(10)
    assert torch.equal(network.head.weight, found.layers[-1][1])
    assert "4 of 4 tensors loaded" in said[0]
    build(3)
    assert "2 of 4 tensors loaded" in said[1] and "head.weight (10, 16) for (3, 16)" in said[1]


def test_what_cannot_be_a_start_is_refused(tmp_path):
    file = saved(tmp_path / "w.safetensors", 50, 16, 10)
    with pytest.raises(UsageError, match="no square of grey pixels"):
        saved_start.read(file, None, "image", "features")
    with pytest.raises(UsageError, match="--on features"):
        saved_start.read(file, None, "image", "network")
    for gone, why in ((tmp_path / "v.safetensors", "does not exist"), (tmp_path, "a folder")):
        with pytest.raises(UsageError, match=f"{why}.*--start-from"):
            saved_start.read(gone, None, "features", "features")
    found, backbone = saved_start.read(file, None, "features", "features")
    assert backbone is None
    with pytest.raises(DataError, match="30 features, the saved network takes 50"):
        saved_start.builder(found, 30, dropout=0.0, seed=0, say=print)


@pytest.mark.data
def test_digits_start_from_the_file_and_the_model_is_served(real_data, tmp_path):
    with np.load(real_data / "digits" / "usps.npz") as stored:
        X, y = stored["X_train"][:200], stored["y_train"][:200]
    file = saved(tmp_path / "w.safetensors", 256, 16, 10)
    done = finetune(
        target=(X, y), shots=4, recipe="saved-dense", start_from=file, epochs=2,
        out=tmp_path / "run",
    )  # fmt: skip
    assert done.results["recipe"] == "saved-dense" and done.results["epochs"] == 2
    done = finetune(
        target=(X, y), shots=4, recipe="saved-dense", start_from=file, epochs=3,
        out=tmp_path / "run", overwrite=True,
    )  # fmt: skip
    assert len(done.results["log"]) == 3  # from the start: the checkpoints were another call's
    assert done.results["backbone"]["name"] == "pixels:16"
    from isthmus.serve.predictor import load

    again = load(tmp_path / "run").predict(X[:20])
    rows = [done.ids.index(name) for name in map(str, again["id"]) if name in done.ids]
    assert len(again) == 20 and rows is not None
