"""The feature model: names in and out, calibrated, leak-free, the same after saving."""

import json

import numpy as np
import pytest

from isthmus import iofs
from isthmus.errors import BundleError, DataError, UsageError
from isthmus.fit import (
    FeatureModel,
    FeatureProcessor,
    LogisticHead,
    NearestMeanHead,
    Temperature,
)
from isthmus.fit import model as module

NAMES = ("2", "10", "ant", "never")


def data(n=240, d=12, seed=0, spread=0.7):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 3, n)
    means = np.random.default_rng(99).normal(size=(3, d)) * spread
    X = (means[codes] + rng.normal(size=(n, d))).astype(np.float32)
    return X, np.array(NAMES, dtype=object)[codes]


@pytest.mark.parametrize("head", ["logistic", "ridge", "nearest-mean", "knn"])
def test_names_in_names_out_in_the_given_order(head):
    X, y = data()
    model = FeatureModel(FeatureProcessor(), head, Temperature(), classes=NAMES).fit(X, y)
    p = model.predict_proba(X)
    assert p.shape == (240, 4) and np.allclose(p.sum(axis=1), 1) and (p[:, 3] == 0).all()
    assert model.unseen_ == ("never",)
    names = model.predict(X)
    assert names.dtype == object and (names == y).mean() > 0.8
    assert (names == np.array(NAMES, dtype=object)[p.argmax(axis=1)]).all()
    assert model.facts()["calibration"].startswith("fitted on")
    json.dumps(model.facts(), allow_nan=False)


@pytest.mark.parametrize("head", ["logistic", "ridge", "nearest-mean", "knn"])
def test_calibration_makes_confidence_match_accuracy(head):
    X, y = data(600, spread=0.35)
    T, t = data(4000, seed=1, spread=0.35)
    truth = np.array([NAMES.index(name) for name in t])

    def loss(model):
        return -np.log(model.predict_proba(T)[np.arange(4000), truth]).mean()

    plain = FeatureModel(FeatureProcessor(), head, None, classes=NAMES).fit(X, y)
    model = FeatureModel(FeatureProcessor(), head, Temperature(), classes=NAMES).fit(X, y)
    p = model.predict_proba(T)
    assert abs(p.max(axis=1).mean() - (p.argmax(axis=1) == truth).mean()) < 0.05
    assert loss(model) < loss(plain) + 0.02
    assert (model.predict(T) == plain.predict(T)).all()


def test_held_out_logits_come_from_processors_that_never_saw_the_row():
    # Twelve rows, 300 features: the scale of each column is dominated by each row.
    rng = np.random.default_rng(0)
    X = rng.standard_t(2, size=(24, 300)).astype(np.float32)
    y = np.array(["2", "10"] * 12, dtype=object)
    seen_sizes = []

    class Spy(FeatureProcessor):
        def fit(self, X, y=None, sample_weight=None):
            seen_sizes.append(len(X))
            return super().fit(X, y, sample_weight)

    FeatureModel(Spy(), "logistic", Temperature(), classes=NAMES).fit(X, y)
    assert seen_sizes[0] == 24 and set(seen_sizes[1:]) <= {19, 20} and len(seen_sizes) == 16


def test_groups_make_the_temperature_honest():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 8)
    codes = rng.integers(0, 2, 40)[groups]
    X = rng.normal(size=(40, 30))[groups] + 0.05 * rng.normal(size=(320, 30))
    y = np.array(["2", "10"], dtype=object)[codes]
    for head in ("nearest-mean", "logistic"):
        model = FeatureModel(FeatureProcessor(), head, Temperature(), classes=NAMES)
        p = model.fit(X, y, groups=groups).predict_proba(rng.normal(size=(500, 30)))
        assert p.max(axis=1).mean() < 0.75, head  # labels are random: it must not be sure


def test_impossible_folds_are_a_reason():
    X, y = data(3)
    y = np.array(["2", "10", "ant"], dtype=object)
    for head in ("logistic", "ridge", "nearest-mean", "knn"):
        model = FeatureModel(None, head, Temperature(), classes=NAMES).fit(X, y)
        assert model.temperature_.T_ == 1.0 and model.calibration_.startswith("T = 1"), head
    X, y = data(30)
    one = FeatureModel(None, "nearest-mean", Temperature(), classes=NAMES)
    assert "one group" in one.fit(X, y, groups=["a"] * 30).calibration_


def test_large_features_are_processed_block_by_block(monkeypatch, tmp_path):
    X, y = data(6000, 40)
    whole = FeatureModel(FeatureProcessor(pca=20), LogisticHead(C=0.1), classes=NAMES).fit(X, y)
    monkeypatch.setattr(module, "_LAZY_BYTES", 1000)
    monkeypatch.setattr(module, "_PREDICT_BYTES", 40 * 8 * 100)
    disk = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", X.dtype, X.shape)
    disk[:] = X
    lazy = FeatureModel(FeatureProcessor(pca=20), LogisticHead(C=0.1), classes=NAMES).fit(disk, y)
    assert np.allclose(lazy.predict_proba(disk), whole.predict_proba(X), atol=1e-5)
    for head in ("ridge", "nearest-mean", "knn"):
        model = FeatureModel(FeatureProcessor(), head, classes=NAMES).fit(disk, y)
        assert (model.predict(disk) == y).mean() > 0.85, head


def test_regression_and_multilabel():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 6))
    model = FeatureModel(FeatureProcessor(), "ridge", task="regression").fit(X, X[:, 0] * 2 + 1)
    assert np.abs(model.predict(X) - (X[:, 0] * 2 + 1)).max() < 0.1
    with pytest.raises(UsageError, match="probabilities"):
        model.predict_proba(X)
    Y = X[:, :3] + rng.normal(size=(120, 3)) > 0
    many = FeatureModel(
        FeatureProcessor(), "logistic", Temperature(), task="multilabel", classes=("a", "b", "c")
    ).fit(X, Y)
    assert many.predict(X).dtype == bool and (many.predict(X) == Y).mean() > 0.75
    assert many.predict_proba(X).shape == (120, 3)
    assert many.calibration_.startswith("fitted")


@pytest.mark.parametrize("head", ["logistic", "ridge", "nearest-mean", "knn"])
@pytest.mark.parametrize("task", ["classification", "multilabel"])
def test_saved_model_predicts_the_same_bits(tmp_path, head, task):
    X, y = data(100)
    if task == "multilabel":
        y = np.stack([y == name for name in NAMES], axis=1)
    model = FeatureModel(FeatureProcessor(pca=5, l2=True), head, Temperature(), task, NAMES).fit(
        X, y
    )
    tensors, meta = model.to_state()
    iofs.write_tensors(tmp_path / "m.safetensors", tensors)
    iofs.write_json(tmp_path / "m.json", meta)
    again = FeatureModel.from_state(
        iofs.read_tensors(tmp_path / "m.safetensors"), iofs.read_json(tmp_path / "m.json")
    )
    assert again.predict_proba(X).tobytes() == model.predict_proba(X).tobytes()
    assert np.array_equal(again.predict(X), model.predict(X))
    assert again.to_state()[1] == meta


def test_damaged_states_are_refused():
    X, y = data(60)
    model = FeatureModel(FeatureProcessor(), LogisticHead(C=1.0), classes=NAMES).fit(X, y)
    tensors, meta = model.to_state()
    cut = {k: v for k, v in tensors.items() if k != "head.coef_"}
    for bad_tensors, bad_meta in (
        (cut, meta),
        (tensors, {**meta, "format": 99}),
        (tensors, {**meta, "classes": ["2"]}),
        (tensors, {**meta, "processor": None, "n_features": 3}),
        (tensors, {k: v for k, v in meta.items() if k != "task"}),
    ):
        with pytest.raises(BundleError):
            FeatureModel.from_state(bad_tensors, bad_meta)


def test_same_seed_gives_the_same_bits():
    X, y = data()
    first, again = (
        FeatureModel(FeatureProcessor(), NearestMeanHead(), Temperature(), classes=NAMES).fit(X, y)
        for _ in range(2)
    )
    assert first.predict_proba(X).tobytes() == again.predict_proba(X).tobytes()


def test_refusals():
    X, y = data(30)
    missing = y.copy()
    missing[3] = None
    with pytest.raises(DataError, match="1 rows have no label"):
        FeatureModel(classes=NAMES).fit(X, missing)
    with pytest.raises(DataError, match="not among the classes"):
        FeatureModel(classes=("2", "10")).fit(X, y)
    with pytest.raises(UsageError, match="no class names"):
        FeatureModel().fit(X, y)
    with pytest.raises(UsageError, match="twice"):
        FeatureModel(classes=(*NAMES, "2")).fit(X, y)
    with pytest.raises(DataError, match="groups"):
        FeatureModel(classes=NAMES).fit(X, y, groups=[1])
    with pytest.raises(DataError):
        FeatureModel(task="regression", head="ridge").fit(X, np.full(30, np.nan))
    with pytest.raises(DataError):
        FeatureModel(task="multilabel", classes=NAMES).fit(X, np.ones((30, 2)))
    fitted = FeatureModel(classes=NAMES).fit(X, y)
    with pytest.raises(DataError, match="features"):
        fitted.predict(X[:, :5])
    with pytest.raises(DataError):
        fitted.predict(np.full_like(X, np.nan))
