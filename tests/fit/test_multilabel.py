"""One head per column; the joint logistic road equals the separate fits."""

import json

import numpy as np
import pytest

from isthmus.errors import BundleError, DataError
from isthmus.fit import (
    KNNHead,
    LogisticHead,
    MultiLabelHead,
    NearestMeanHead,
    RidgeHead,
)


def data(n=200, d=10, k=4, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    return X, X @ rng.normal(size=(d, k)) * 0.7 + rng.normal(size=(n, k)) > 0.4


def test_joint_columns_are_the_separate_ones():
    X, Y = data()
    joint = MultiLabelHead(LogisticHead(C=0.5, tol=1e-6)).fit(X, Y)
    for j in range(4):
        alone = LogisticHead(C=0.5, tol=1e-6).fit(X, Y[:, j])
        assert np.allclose(joint.predict_proba(X)[:, j], alone.predict_proba(X)[:, 1], atol=1e-5)


@pytest.mark.parametrize("head", [None, RidgeHead(), NearestMeanHead(), KNNHead()])
def test_every_head_serves_and_beats_the_commonest_answer(head):
    X, Y = data(400)
    fitted = MultiLabelHead(head).fit(X[:300], Y[:300])
    p = fitted.predict_proba(X[300:])
    assert p.shape == (100, 4) and ((p > 0) & (p < 1)).all()
    right = (fitted.predict(X[300:]) == Y[300:]).mean()
    common = (Y[300:] == (Y[:300].mean(axis=0) > 0.5)).mean()
    assert right > common + 0.1
    assert np.array_equal(fitted.predict(X), fitted.predict_proba(X) > 0.5)


def test_constant_columns_follow_the_rule_of_succession():
    X, Y = data(100)
    Y = np.column_stack([Y[:, 0], np.zeros(100, bool), np.ones(100, bool)])
    head = MultiLabelHead().fit(X, Y)
    p = head.predict_proba(X)
    assert head.constant_ == [1, 2]
    assert np.allclose(p[:, 1], 1 / 102) and np.allclose(p[:, 2], 101 / 102)
    assert np.allclose(MultiLabelHead().fit(X, Y[:, 1:]).predict_proba(X), p[:, 1:])


def test_one_penalty_for_all_columns_chosen_on_grouped_folds():
    X, Y = data()
    head = MultiLabelHead().fit(X, Y, groups=np.arange(200) // 10)
    assert len({h.C_ for h in head.heads_}) == 1
    assert head.oof_logits_.shape == (200, 4) and head.oof_rows_.all()
    assert ((head.oof_logits_ > 0) == Y).mean() > 0.7


def test_numbers_with_two_values_are_yes_and_no():
    X, Y = data()
    a = MultiLabelHead(LogisticHead(C=1.0)).fit(X, Y)
    b = MultiLabelHead(LogisticHead(C=1.0)).fit(X, Y.astype(int))
    assert np.array_equal(a.predict_proba(X), b.predict_proba(X))


@pytest.mark.parametrize("head", [None, RidgeHead(), KNNHead(3)])
def test_state_gives_the_same_bits(head):
    X, Y = data(80)
    Y[:, 2] = True
    fitted = MultiLabelHead(head).fit(X, Y)
    tensors, meta = fitted.to_state()
    again = MultiLabelHead.from_state(tensors, json.loads(json.dumps(meta, allow_nan=False)))
    assert again.predict_proba(X).tobytes() == fitted.predict_proba(X).tobytes()
    with pytest.raises(BundleError):
        MultiLabelHead.from_state({}, meta)


def test_refusals():
    X, Y = data()
    for bad in (Y[:, 0], Y[:50], np.arange(800).reshape(200, 4), Y.astype(str)):
        with pytest.raises(DataError):
            MultiLabelHead().fit(X, bad)
    with pytest.raises(DataError, match="NaN"):
        MultiLabelHead().fit(X, np.where(Y, 1.0, np.nan))
