"""Nearest mean against scikit-learn's NearestCentroid, LDA and Ledoit-Wolf."""

import json

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import NearestCentroid

from isthmus.errors import UsageError
from isthmus.fit import NearestMeanHead
from isthmus.fit import centroid as module


def data(n=120, d=6, K=3, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % K
    return rng.normal(size=(K, d))[y] * 1.2 + rng.normal(size=(n, d)) @ rng.normal(size=(d, d)), y


def test_spherical_is_the_nearest_centroid():
    X, y = data()
    assert (NearestMeanHead().fit(X, y).predict(X) == NearestCentroid().fit(X, y).predict(X)).all()


def test_shared_covariance_is_linear_discriminant_analysis():
    X, y = data(150)
    ours = NearestMeanHead(shrinkage=0.3, priors="data").fit(X, y)
    residual = X - ours.means_[y]
    S = residual.T @ residual / len(X)
    S = 0.7 * S + 0.3 * np.trace(S) / 6 * np.eye(6)
    share = np.bincount(y) / len(y)
    z = np.stack(
        [
            -0.5 * np.einsum("ij,jk,ik->i", X - m, np.linalg.inv(S), X - m) + np.log(p)
            for m, p in zip(ours.means_, share, strict=True)
        ],
        axis=1,
    )
    p = np.exp(z - z.max(axis=1, keepdims=True))
    assert np.allclose(ours.predict_proba(X), p / p.sum(axis=1, keepdims=True))


def test_faint_shrinkage_approaches_scikit_learns_lda():
    X, y = data(200)
    ours = NearestMeanHead(shrinkage=1e-9, priors="data").fit(X, y)
    peer = LinearDiscriminantAnalysis(solver="lsqr").fit(X, y)
    assert np.allclose(ours.predict_proba(X), peer.predict_proba(X), atol=1e-6)


@pytest.mark.parametrize("shape", [(120, 6), (30, 50)])
def test_automatic_shrinkage_is_ledoit_wolf(shape):
    X, y = data(*shape)
    head = NearestMeanHead(shrinkage="auto").fit(X, y)
    peer = LedoitWolf(assume_centered=True).fit(X - head.means_[y])
    assert head.shrinkage_ == pytest.approx(peer.shrinkage_, rel=1e-8)
    assert np.allclose(head.coef_, np.linalg.solve(peer.covariance_, head.means_.T).T)


def test_the_road_through_the_rows_gives_the_same(monkeypatch):
    X, y = data(30, 50)
    direct = NearestMeanHead(shrinkage="auto").fit(X, y)
    monkeypatch.setattr(module, "EXACT_UP_TO", 40)
    through = NearestMeanHead(shrinkage="auto").fit(X, y)
    assert through.shrinkage_ == pytest.approx(direct.shrinkage_)
    assert np.allclose(through.coef_, direct.coef_)
    monkeypatch.setattr(module, "EXACT_UP_TO", 10)
    with pytest.raises(UsageError, match="pca"):
        NearestMeanHead(shrinkage="auto").fit(X, y)


def test_cosine_ignores_the_length_of_rows():
    X, y = data()
    long = X * np.random.default_rng(1).uniform(0.1, 9, (len(X), 1))
    a, b = (NearestMeanHead(metric="cosine").fit(Z, y) for Z in (X, long))
    assert np.allclose(a.predict_proba(X), b.predict_proba(long))
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    means = np.stack([unit[y == k].mean(axis=0) for k in range(3)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    assert (a.predict(X) == (unit @ means.T).argmax(axis=1)).all()


def test_weights_are_repeated_rows_and_priors_are_optional():
    X, y = data()
    w = np.random.default_rng(0).integers(0, 4, len(X))
    again = np.repeat(np.arange(len(X)), w)
    for head in (NearestMeanHead(), NearestMeanHead(shrinkage="auto", priors="data")):
        p = head.fit(X, y, sample_weight=w).predict_proba(X)
        assert np.allclose(p, head.fit(X[again], y[again]).predict_proba(X))
    skew = np.repeat(np.arange(len(X)), np.where(y == 0, 9, 1))
    means = [NearestMeanHead(priors=p).fit(X[skew], y[skew]) for p in ("uniform", "data")]
    assert np.allclose(means[1].intercept_ - means[0].intercept_, np.log([9 / 11, 1 / 11, 1 / 11]))


def test_one_row_a_class_is_cautious():
    X = np.random.default_rng(0).normal(size=(5, 200))
    head = NearestMeanHead(shrinkage="auto").fit(X, list("abcde"))
    p = head.predict_proba(X)
    assert list(head.predict(X)) == list("abcde") and p.max() < 0.7


def test_state_gives_the_same_bits():
    X, y = data()
    head = NearestMeanHead(metric="cosine", shrinkage="auto").fit(X, y)
    tensors, meta = head.to_state()
    again = NearestMeanHead.from_state(tensors, json.loads(json.dumps(meta)))
    assert again.predict_proba(X).tobytes() == head.predict_proba(X).tobytes()


@pytest.mark.parametrize(
    "bad", [{"metric": "l1"}, {"shrinkage": 0.0}, {"shrinkage": "oas"}, {"priors": "flat"}]
)
def test_refusals(bad):
    with pytest.raises(UsageError):
        NearestMeanHead(**bad).fit(*data())
