"""Source-free Gaussians: scikit-learn at both ends, statistics alone, help and harm."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.mixture import GaussianMixture

from isthmus import iofs
from isthmus.adapt.sides import softmax
from isthmus.adapt.source_free_gaussian import SourceFreeGaussian
from isthmus.adapt.source_statistics import SourceStatistics
from isthmus.adapt.state import from_state, to_state
from isthmus.data.domains import stack_domains
from isthmus.errors import DataError, UsageError

CENTRES = np.array([[0.0, 0, 0], [3, 0, 0], [0, 3, 1]])
NAMES = np.array(["x", "y", "z"])


def domains(n=400, m=500, seed=0, moved=(0.0, 0, 0), target=(1, 1, 1), own=0.0):
    """Three Gaussian classes; the target is moved, has other shares, and means of its own."""
    rng = np.random.default_rng(seed)
    p = np.array(target) / sum(target)
    ys, yt = rng.integers(0, 3, n), rng.choice(3, m, p=p)
    Xs = CENTRES[ys] + rng.normal(size=(n, 3))
    Xt = (CENTRES + own * rng.normal(size=(3, 3)))[yt] + rng.normal(size=(m, 3)) + moved
    return Xs, NAMES[ys], Xt, NAMES[yt]


def fit(model, Xs, ys, Xt, known=None):
    X, y, domain, labeled = stack_domains(Xs, ys.astype(object), Xt, known)
    return model.fit(X, y, sample_domain=domain, target_labeled=labeled)


@pytest.mark.parametrize("covariance", ["pooled", "class"])
def test_without_trust_it_is_scikit_learns_gaussian_mixture(covariance):
    Xs, ys, Xt, _ = domains(own=0.3)
    got = fit(
        SourceFreeGaussian(trust=0, align=False, covariance=covariance, tol=1e-12, max_iter=3000),
        Xs,
        ys,
        Xt,
    )
    s = got.statistics_
    want = GaussianMixture(
        3,
        covariance_type="tied" if covariance == "pooled" else "full",
        weights_init=s.counts / s.counts.sum(),
        means_init=s.means,
        precisions_init=np.linalg.inv(s.covariance),
        reg_covar=0,
        tol=1e-10,
        max_iter=3000,
    ).fit(Xt)
    np.testing.assert_allclose(got.means_, want.means_, atol=1e-4)
    np.testing.assert_allclose(got.covariance_, want.covariances_, atol=1e-4)
    np.testing.assert_allclose(got.prior_, want.weights_, atol=1e-4)
    np.testing.assert_allclose(got.predict_proba(Xt), want.predict_proba(Xt), atol=1e-3)
    assert got.info_["log_likelihood"] == pytest.approx(want.score(Xt), abs=1e-6)


def test_with_infinite_trust_it_is_scikit_learns_discriminant_analysis_of_the_source():
    Xs, ys, Xt, _ = domains(moved=(1.0, 1, 0))
    model = SourceFreeGaussian(trust=np.inf, align=False, prior="source", shrinkage=0.0)
    got = fit(model, Xs, ys, Xt)
    want = LinearDiscriminantAnalysis(solver="lsqr").fit(Xs, ys)
    np.testing.assert_allclose(got.predict_proba(Xt), want.predict_proba(Xt), atol=1e-6)


@pytest.mark.parametrize("covariance", ["pooled", "class"])
def test_statistics_alone_give_what_rows_give(covariance, tmp_path):
    Xs, ys, Xt, _ = domains(moved=(1.0, 1, 0))
    rows = fit(SourceFreeGaussian(covariance=covariance), Xs, ys, Xt)
    owner = SourceStatistics.of(Xs, ys, covariance=covariance)
    iofs.write_tensors(tmp_path / "source.safetensors", owner.to_arrays())
    sent = SourceStatistics.from_arrays(iofs.read_tensors(tmp_path / "source.safetensors"))
    alone = SourceFreeGaussian(sent).fit(
        Xt, np.full(len(Xt), "?"), sample_domain=np.full(len(Xt), -1)
    )
    np.testing.assert_array_equal(alone.predict_proba(Xt), rows.predict_proba(Xt))
    assert list(alone.classes_) == ["x", "y", "z"] and "given" in alone.info_["source"]


def test_finds_the_shift_and_the_shares():
    Xs, ys, Xt, yt = domains(2000, 2000, moved=(1.5, -1, 2), target=(1, 2, 5))
    got = fit(SourceFreeGaussian(), Xs, ys, Xt)
    np.testing.assert_allclose(got.shift_, [1.5, -1, 2], atol=0.15)
    np.testing.assert_allclose(got.prior_, [1 / 8, 1 / 4, 5 / 8], atol=0.03)
    source = LinearDiscriminantAnalysis().fit(Xs, ys).score(Xt, yt)
    best = LinearDiscriminantAnalysis().fit(Xt, yt).score(Xt, yt)
    assert source < best - 0.1 and got.score(Xt, yt) > best - 0.02


def test_class_means_of_their_own_are_followed_as_far_as_trust_lets_them():
    gains = []
    for seed in range(5):
        Xs, ys, Xt, yt = domains(m=3000, own=0.8, seed=seed)
        stiff, soft = (
            fit(SourceFreeGaussian(trust=t), Xs, ys, Xt).score(Xt, yt) for t in (np.inf, 0.1)
        )
        gains.append(soft - stiff)
    assert np.mean(gains) > 0.01


def test_fails_where_classes_change_places_and_labels_repair_it():
    Xs, ys, Xt, yt = domains()
    swapped = np.where(yt == "x", "y", np.where(yt == "y", "x", yt))
    assert fit(SourceFreeGaussian(), Xs, ys, Xt).score(Xt, swapped) < 0.5
    known = np.where(np.arange(len(Xt)) < 200, swapped, None)
    repaired = fit(SourceFreeGaussian(trust=0.01), Xs, ys, Xt, known)
    assert repaired.score(Xt[200:], swapped[200:]) > 0.8


@pytest.mark.parametrize("covariance", ["pooled", "class"])
@pytest.mark.parametrize("trust", [0.3, np.inf])
def test_every_step_raises_the_objective(covariance, trust):
    Xs, ys, Xt, _ = domains(own=0.8, moved=(1.0, 0, 0))
    options = {"trust": trust, "covariance": covariance, "tol": 0.0}
    ends = [
        fit(SourceFreeGaussian(max_iter=i, **options), Xs, ys, Xt).info_["log_likelihood"]
        for i in range(1, 15)
    ]
    assert (np.diff(ends) > -1e-10).all() and ends[-1] > ends[0]


def test_far_from_the_origin_and_more_features_than_rows():
    Xs, ys, Xt, _ = domains()
    far = fit(SourceFreeGaussian(), Xs + 1e4, ys, Xt + 1e4)
    near = fit(SourceFreeGaussian(), Xs, ys, Xt)
    np.testing.assert_allclose(far.predict_proba(Xt + 1e4), near.predict_proba(Xt), atol=1e-5)
    rng = np.random.default_rng(0)
    Xs, Xt = np.c_[Xs, rng.normal(size=(400, 60))][:40], np.c_[Xt, rng.normal(size=(500, 60))][:50]
    assert np.isfinite(fit(SourceFreeGaussian(), Xs, ys[:40], Xt).predict_proba(Xt)).all()
    assert fit(SourceFreeGaussian(trust=0), Xs, ys[:40], Xt).troubles_[0].code == "singular"


def test_fewer_target_rows_with_a_covariance_a_class_are_nearly_as_good():
    Xs, ys, Xt, yt = domains(m=4000, moved=(1.0, 1, 0))
    model = SourceFreeGaussian(covariance="class")
    every, part = (
        fit(model.set_params(max_rows=rows), Xs, ys, Xt).score(Xt, yt) for rows in (9999, 1500)
    )
    assert abs(every - part) <= 0.005


def test_the_owner_does_not_give_single_rows_away():
    Xs, ys, _, _ = domains()
    ys = np.where(np.arange(len(ys)) == 0, "lone", ys)
    with pytest.raises(DataError, match="gives them away"):
        SourceStatistics.of(Xs, ys)
    assert SourceStatistics.of(Xs, ys, least=1).counts.min() == 1


def test_damaged_statistics_and_wrong_parameters_are_refused():
    Xs, ys, Xt, _ = domains()
    good = SourceStatistics.of(Xs, ys).to_arrays()
    for name, value in (
        ("classes", np.frombuffer(b"[1", dtype=np.uint8)),
        ("means", good["means"][:2]),
        ("covariance", good["covariance"] * np.nan),
        ("counts", good["counts"] * 0),
    ):
        with pytest.raises(DataError, match="SourceStatistics"):
            SourceStatistics.from_arrays({**good, name: value})
    with pytest.raises(DataError, match="'means'"):
        SourceStatistics.from_arrays({k: v for k, v in good.items() if k != "means"})
    wide = np.c_[Xt, Xt]
    with pytest.raises(DataError, match="6 features"):
        SourceFreeGaussian(SourceStatistics.of(Xs, ys)).fit(
            wide, ys[:1].repeat(500), sample_domain=np.full(500, -1)
        )
    for wrong in ({"trust": -1}, {"prior": "flat"}, {"covariance": "none"}, {"shrinkage": 3.0}):
        with pytest.raises(UsageError):
            fit(SourceFreeGaussian(**wrong), Xs, ys, Xt)
    with pytest.raises(DataError, match="source rows"):
        SourceFreeGaussian().fit(Xt, ys[:1].repeat(500), sample_domain=np.full(500, -1))


@pytest.mark.parametrize("covariance", ["pooled", "class"])
def test_what_is_saved_gives_the_same_probabilities(covariance):
    Xs, ys, Xt, _ = domains()
    model = fit(SourceFreeGaussian(covariance=covariance), Xs, ys, Xt)
    again = from_state(*to_state(model.served()))
    np.testing.assert_array_equal(softmax(again(Xt)), model.predict_proba(Xt))
