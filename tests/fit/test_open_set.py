"""A model that abstains: what it says, that it comes back bit-equal, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.errors import BundleError, UsageError
from isthmus.fit.blend import BlendModel, model_from_state, uncalibrated
from isthmus.fit.features import FeatureProcessor
from isthmus.fit.model import FeatureModel
from isthmus.fit.open_set import OpenSetModel, Strangeness, doubt, far, novelty_of

CLASSES = ("ant", "bee", "cat")


@pytest.fixture(scope="module")
def made():
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    X = (rng.normal(size=(90, 5)) + 5 * np.eye(5)[y]).astype("f4")
    processor = FeatureProcessor()
    inner = FeatureModel(processor, "logistic", None, "classification", CLASSES)
    inner.fit(X, np.array(CLASSES, dtype=object)[y])
    front = inner.processor_
    Z = front.transform(X)
    centre = Z.mean(axis=0)
    means = np.stack([(Z - centre)[y == c].mean(axis=0) for c in range(3)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    scale = np.array([[0.2, 0.1], [0.1, 0.2]])
    return OpenSetModel(inner, Strangeness(front, centre, means, scale), 2.0), X


def strangers(n=30):
    return (np.random.default_rng(1).normal(size=(n, 5)) + 8 * np.eye(5)[3]).astype("f4")


def test_rows_of_another_place_are_answered_unknown(made):
    model, X = made
    assert (model.predict(strangers()) == "unknown").mean() > 0.9
    assert (model.predict(X) == "unknown").mean() < 0.1
    np.testing.assert_array_equal(model.predict(X) == "unknown", model.novelty(X) > 0.5)
    known = model.predict(X) != "unknown"
    np.testing.assert_array_equal(model.predict(X)[known], model.inner.predict(X)[known])
    np.testing.assert_array_equal(model.predict_proba(X), model.inner.predict_proba(X))
    np.testing.assert_array_equal(uncalibrated(model, X), uncalibrated(model.inner, X))
    assert novelty_of(model.inner, X) is None


def test_novelty_is_the_formula(made):
    model, X = made
    s = model.strangeness
    P = model.predict_proba(X)
    entropy = -(P * np.log(np.maximum(P, 1e-12))).sum(axis=1) / np.log(3)
    np.testing.assert_allclose(doubt(P), entropy, atol=1e-12)
    Z = s.front.transform(X) - s.centre
    cosine = Z @ s.prototypes.T / np.linalg.norm(Z, axis=1, keepdims=True)
    np.testing.assert_allclose(far(Z, s.prototypes), 1 - cosine.max(axis=1), atol=1e-6)
    score = (entropy - 0.2) / 0.1 + (1 - cosine.max(axis=1) - 0.1) / 0.2
    np.testing.assert_allclose(model.novelty(X), 1 / (1 + np.exp(-(score - 2.0))), atol=1e-5)


@pytest.mark.parametrize("blended", [False, True])
def test_it_comes_back_bit_equal(made, blended):
    model, X = made
    if blended:
        blend = BlendModel([model.inner, model.inner], [0.5, 0.5], ["a", "b"])
        model = OpenSetModel(blend, model.strangeness, 1.5)
    again = model_from_state(*model.to_state())
    assert isinstance(again, OpenSetModel)
    for rows in (X, strangers()):
        np.testing.assert_array_equal(again.novelty(rows), model.novelty(rows))
        np.testing.assert_array_equal(again.predict(rows), model.predict(rows))


def test_parts_that_do_not_fit_are_refused(made):
    model, _ = made
    tensors, meta = model.to_state()
    for name, value in (
        ("centre", np.zeros(4)),
        ("prototypes", np.zeros((3, 4))),
        ("prototypes", np.zeros((0, 5))),
        ("scale", np.zeros((2, 2))),
    ):
        with pytest.raises(BundleError):
            model_from_state({**tensors, name: value}, meta)
    for bad in ({"format": 9}, {"threshold": float("nan")}, {"inner": meta}, {"front": None}):
        with pytest.raises(BundleError):
            model_from_state(tensors, {**meta, **bad})
    del tensors["centre"]
    with pytest.raises(BundleError, match="incomplete"):
        model_from_state(tensors, meta)


def test_a_class_called_unknown_is_refused(made):
    model, X = made
    names = ("ant", "bee", "unknown")
    y = np.array(names, dtype=object)[np.arange(90) % 3]
    inner = FeatureModel(FeatureProcessor(), "logistic", None, "classification", names).fit(X, y)
    with pytest.raises(UsageError, match="'unknown'"):
        OpenSetModel(inner, model.strangeness, 0.0)
