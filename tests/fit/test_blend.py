"""Several models as one: the weighted mean by hand, the way through files, what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from isthmus import iofs
from isthmus.errors import BundleError
from isthmus.fit.blend import BlendModel, model_from_state
from isthmus.fit.calibrate import Temperature
from isthmus.fit.features import FeatureProcessor
from isthmus.fit.logistic import LogisticHead
from isthmus.fit.model import FeatureModel

CLASSES = ("ant", "bee", "cat")


def member(C, *, classes=CLASSES, seed=0):
    rng = np.random.default_rng(seed)
    codes = np.arange(90) % 3
    X = (rng.normal(size=(90, 4)) + 2 * np.eye(4)[codes]).astype("f4")
    y = np.array(CLASSES, dtype=object)[codes]
    return FeatureModel(
        FeatureProcessor(), LogisticHead(C=C), Temperature(), "classification", classes
    ).fit(X, y)


@pytest.fixture(scope="module")
def blend():
    return BlendModel([member(0.01), member(10.0, seed=1)], [3, 1], ["tight", "loose"])


@pytest.fixture
def rows():
    return np.random.default_rng(5).normal(size=(20, 4)).astype("f4")


def test_it_is_the_weighted_mean(blend, rows):
    one, other = (m.predict_proba(rows) for m in blend.members)
    np.testing.assert_allclose(blend.predict_proba(rows), 0.75 * one + 0.25 * other)
    want = np.array(CLASSES, dtype=object)[(0.75 * one + 0.25 * other).argmax(axis=1)]
    assert (blend.predict(rows) == want).all()
    np.testing.assert_allclose(np.exp(blend.logits(rows)), blend.predict_proba(rows))
    assert blend.facts()["chosen"] == {"tight": 0.75, "loose": 0.25}


def test_it_comes_back_from_files_bit_for_bit(blend, rows, tmp_path):
    tensors, meta = blend.to_state()
    iofs.write_tensors(tmp_path / "t.safetensors", tensors)
    meta = json.loads(json.dumps(meta, allow_nan=False))
    again = model_from_state(iofs.read_tensors(tmp_path / "t.safetensors"), meta)
    assert isinstance(again, BlendModel) and again.names == blend.names
    np.testing.assert_array_equal(again.predict_proba(rows), blend.predict_proba(rows))
    alone = model_from_state(*blend.members[0].to_state())
    np.testing.assert_array_equal(alone.predict_proba(rows), blend.members[0].predict_proba(rows))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda t, m: m.pop("members"),
        lambda t, m: m.update(format=2),
        lambda t, m: m.update(classes=["ant", "bee", "dog"]),
        lambda t, m: m["members"].pop(),
        lambda t, m: t.pop("weights"),
        lambda t, m: t.update(weights=np.array([1.0, -1.0])),
        lambda t, m: t.update(weights=np.array([0.0, np.nan])),
        lambda t, m: t.pop("member.1.head.coef_"),
    ],
)
def test_a_spoilt_state_is_refused(blend, spoil):
    tensors, meta = blend.to_state()
    tensors, meta = dict(tensors), json.loads(json.dumps(meta))
    spoil(tensors, meta)
    with pytest.raises(BundleError):
        BlendModel.from_state(tensors, meta)


def test_members_must_agree():
    with pytest.raises(ValueError, match="disagree"):
        BlendModel([member(1.0), member(1.0, classes=(*CLASSES, "dog"))], [1, 1], ["a", "b"])
    with pytest.raises(ValueError, match="names"):
        BlendModel([member(1.0)], [1], [])
    with pytest.raises(ValueError, match="zero"):
        BlendModel([member(1.0)], [0], ["a"])
