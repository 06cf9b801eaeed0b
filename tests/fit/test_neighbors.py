"""k nearest neighbours against scikit-learn and against votes counted by hand."""

import json

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from isthmus.errors import BundleError, UsageError
from isthmus.fit import KNNHead
from isthmus.fit import neighbors as module


def data(n=150, d=5, K=3, seed=0, spread=0.8):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % K
    return rng.normal(size=(K, d))[y] * spread + rng.normal(size=(n, d)) + 2, y


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("k", [1, 4, 7, 500])
def test_votes_are_those_of_scikit_learn(metric, k):
    X, y = data()
    Q = data(seed=1)[0]
    ours = KNNHead(k, metric=metric).fit(X, y)
    near = min(k, 150)
    peer = KNeighborsClassifier(near, metric=metric, algorithm="brute").fit(X, y)
    expected = (peer.predict_proba(Q) * near + 1 / 3) / (near + 1)
    assert np.allclose(ours.predict_proba(Q), expected, atol=1e-8)


def test_blocks_do_not_change_the_answer(monkeypatch):
    X, y = data()
    whole = KNNHead(5).fit(X, y).predict_proba(X)
    monkeypatch.setattr(module, "BLOCK_BYTES", 8 * 5 * 11)
    assert np.allclose(KNNHead(5).fit(X, y).predict_proba(X), whole)


@pytest.mark.parametrize("k", [1, 3, 6, "cv"])
def test_weights_are_repeated_rows(k):
    X, y = data(60)
    w = np.random.default_rng(0).integers(0, 4, 60)
    again = np.repeat(np.arange(60), w)
    Q = data(seed=1)[0]
    a, b = KNNHead(k).fit(X, y, sample_weight=w), KNNHead(k).fit(X[again], y[again])
    assert a.k_ == b.k_
    assert np.allclose(a.predict_proba(Q), b.predict_proba(Q), atol=1e-7)


def test_chosen_k_has_the_least_leave_one_out_loss():
    X, y = data(80)
    head = KNNHead(metric="euclidean").fit(X, y)
    losses = {}
    for k in module.CANDIDATES:
        total = 0.0
        for i in range(80):
            rest = np.arange(80) != i
            p = KNNHead(k, metric="euclidean").fit(X[rest], y[rest]).predict_proba(X[i : i + 1])
            total -= np.log(p[0, y[i]])
            if k == head.k_:
                assert np.allclose(np.exp(head.oof_logits_[i]), p[0], atol=1e-5)
        losses[k] = total
    assert head.k_ == min(losses, key=losses.get)
    assert "leave-one-out" in head.k_how_


def test_groups_are_left_out_whole():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 8)
    y = rng.integers(0, 2, 20)[groups]
    X = rng.normal(size=(20, 6))[groups] * 3 + 0.05 * rng.normal(size=(160, 6))
    leaky, honest = KNNHead().fit(X, y), KNNHead().fit(X, y, groups=groups)
    right = [(h.oof_logits_.argmax(axis=1) == y).mean() for h in (leaky, honest)]
    assert right[0] == 1.0 and right[1] < 0.8
    alone = KNNHead().fit(X, y, groups=np.zeros(160))
    assert alone.oof_rows_ is None and "no class is left" in alone.k_how_


def test_a_tie_goes_to_the_nearer_row_and_class_weights_tilt():
    X, y = np.array([[0.0], [1.0]]), np.array(["far", "near"])
    assert KNNHead(2, metric="euclidean").fit(X, y).predict([[0.9]])[0] == "near"
    tilted = KNNHead(2, metric="euclidean", class_weight={"far": 3.0, "near": 1.0}).fit(X, y)
    assert np.allclose(tilted.predict_proba([[0.9]]), [[0.75, 0.25]])


def test_single_row_classes_are_not_scored():
    X, y = data(31)
    y = np.append(np.arange(30) % 2, 9)
    head = KNNHead().fit(X, y)
    assert not head.oof_rows_[30] and head.oof_rows_[:30].all()


def test_state_gives_the_same_bits_and_refuses_damage():
    X, y = data()
    X = X.astype(np.float32)
    head = KNNHead().fit(X, y)
    tensors, meta = head.to_state()
    again = KNNHead.from_state(tensors, json.loads(json.dumps(meta)))
    assert again.predict_proba(X).tobytes() == head.predict_proba(X).tobytes()
    with pytest.raises(BundleError):
        KNNHead.from_state({**tensors, "codes_": tensors["codes_"] + 5}, meta)


def test_refusals():
    for bad in ({"n_neighbors": 0}, {"n_neighbors": "auto"}, {"metric": "l1"}):
        with pytest.raises(UsageError):
            KNNHead(**bad).fit(*data())
