"""Class-regularised transport against POT's own, and for what it is: one class per target row."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.adapt.class_regularized_transport import ClassRegularizedTransport
from isthmus.adapt.sinkhorn_transport import SinkhornTransport
from isthmus.errors import DataError, UsageError

ot = pytest.importorskip("ot")


@pytest.fixture
def domains():
    rng = np.random.default_rng(0)
    ys = np.arange(60) % 3
    yt = np.arange(45) % 3
    centres = np.array([[0.0, 0, 0], [3, 0, 0], [0, 3, 0]])
    Xs = rng.normal(size=(60, 3)) + centres[ys]
    return Xs, np.array(["a", "b", "c"])[ys], rng.normal(size=(45, 3)) + centres[yt] + 0.7


def test_the_convex_penalty_equals_the_transport_class_of_pot(domains):
    Xs, ys, Xt = domains
    model = ot.da.SinkhornL1l2Transport(reg_e=0.1, reg_cl=0.2, norm="median", max_inner_iter=1000)
    theirs = model.fit(Xs=Xs, ys=np.unique(ys, return_inverse=True)[1], Xt=Xt).transform(Xs=Xs)
    ours = ClassRegularizedTransport(0.1, 0.2, penalty="l1l2").adapt(Xs, ys, Xt)
    np.testing.assert_allclose(ours.Xs, theirs, rtol=1e-6, atol=1e-8)


def test_the_concave_penalty_equals_pot_with_masses_in_target_rows(domains):
    Xs, ys, Xt = domains
    cost = ot.dist(Xs, Xt)
    codes = np.unique(ys, return_inverse=True)[1]
    plan = ot.da.sinkhorn_lpl1_mm(
        np.full(60, 45 / 60),
        codes,
        np.ones(45),
        cost / np.median(cost),
        0.1,
        eta=0.1,
        numInnerItermax=5000,
    )
    want = plan @ Xt / plan.sum(1, keepdims=True)
    np.testing.assert_allclose(
        ClassRegularizedTransport(0.1, inner_iter=5000, tol=1e-9).adapt(Xs, ys, Xt).Xs,
        want,
        atol=1e-7,
    )


def test_no_penalty_is_sinkhorn(domains):
    a = ClassRegularizedTransport(0.1, 0.0, tol=1e-6).adapt(*domains).Xs
    np.testing.assert_allclose(a, SinkhornTransport(0.1, tol=1e-6).adapt(*domains).Xs, atol=1e-4)


@pytest.mark.parametrize(("penalty", "trade_off"), [("lpl1", 0.3), ("l1l2", 30.0)])
def test_the_images_of_the_classes_come_apart(domains, penalty, trade_off):
    """Between-class over within-class spread of the images grows with the penalty."""
    Xs, ys, Xt = domains

    def ratio(images):
        means = np.array([images[ys == c].mean(0) for c in np.unique(ys)])
        within = np.mean([images[ys == c].var(0).sum() for c in np.unique(ys)])
        return means.var(0).sum() / within

    plain = SinkhornTransport(0.1).adapt(Xs, ys, Xt).Xs
    ours = ClassRegularizedTransport(0.1, trade_off, penalty=penalty).adapt(Xs, ys, Xt).Xs
    assert ratio(ours) > 1.1 * ratio(plain)


def test_sinkhorn_cut_short_is_said(domains):
    (trouble,) = ClassRegularizedTransport(0.005, inner_iter=2).adapt(*domains).troubles
    assert trouble.code == "not-converged" and "inner_iter" in trouble.remedy


def test_many_classes_count_towards_the_size_and_blocks_may_lack_classes(domains):
    got = ClassRegularizedTransport(max_exact=60).adapt(*domains)  # 60 x 45 x 3 > 60^2
    assert got.info["solver"] == "mini-batch" and np.isfinite(got.Xs).all()
    Xs, _, Xt = domains
    rare = np.array(["a"] * 59 + ["b"])
    got = ClassRegularizedTransport(solver="approximate", batch=10).adapt(Xs, rare, Xt)
    assert np.isfinite(got.Xs).all()


def test_fractions_and_missing_labels_are_refused(domains):
    Xs, _, Xt = domains
    with pytest.raises(DataError, match="fractions"):
        ClassRegularizedTransport().adapt(Xs, Xs[:, 0], Xt)
    with pytest.raises(DataError, match="labels"):
        ClassRegularizedTransport().adapt(Xs, None, Xt)
    with pytest.raises(UsageError, match="lpl1"):
        ClassRegularizedTransport(penalty="l2").adapt(*domains)
