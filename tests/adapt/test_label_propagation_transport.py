"""Label propagation by transport: POT's JCPOT, known class shares, labels, help and harm."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from isthmus.adapt.label_propagation_transport import LabelPropagationTransport
from isthmus.errors import DataError, UsageError

ot = pytest.importorskip("ot")
NAMES = np.array(["a", "b", "c"])
CENTRES = np.array([[0.0, 0], [4, 0], [0, 4]])


def one(n, shares, moved=(0.0, 0.0), seed=0, spread=0.7):
    """Three Gaussian classes with given shares."""
    rng = np.random.default_rng(seed)
    codes = rng.choice(3, n, p=np.array(shares) / np.sum(shares))
    return CENTRES[codes] + spread * rng.normal(size=(n, 2)) + moved, NAMES[codes]


def fit(model, parts, Xt, known=None):
    X = np.concatenate([p[0] for p in parts] + [Xt])
    fill = np.repeat(parts[0][1][:1], len(Xt)).astype(object)
    labeled = np.zeros(len(Xt), dtype=bool)
    if known is not None:
        labeled = np.array([v is not None for v in known])
        fill[labeled] = known[labeled]
    y = np.concatenate([p[1] for p in parts] + [fill])
    domain = np.repeat([*range(len(parts)), -1], [*(len(p[0]) for p in parts), len(Xt)])
    shown = np.concatenate([np.zeros(len(X) - len(Xt), dtype=bool), labeled])
    return model.fit(X, y, sample_domain=domain, target_labeled=shown)


@pytest.mark.parametrize("moved", [(0.5, 0.5), (2.0, 0.0)])
def test_class_shares_of_one_source_are_those_of_pots_jcpot(moved):
    X, y = one(50, (3, 1, 1))
    Xt, _ = one(70, (1, 2, 4), moved=moved, seed=2)
    got = fit(LabelPropagationTransport(reg=0.1, tol=1e-12, max_iter=5000), [(X, y)], Xt)
    codes = np.searchsorted(NAMES, y)
    h = ot.bregman.jcpot_barycenter(  # POT wants two sources: the same one twice
        [X, X.copy()],
        [codes, codes.copy()],
        Xt,
        0.1 * np.median(ot.dist(X, Xt)),
        numItermax=5000,
        stopThr=1e-12,
    )
    np.testing.assert_allclose(got.proportions_, h, atol=1e-6)


def test_two_sources_in_one_unit_are_pots_jcpot():
    """Mirrored sources have the same median cost, so POT's single regularisation is ours."""
    X, y = one(60, (1, 1, 1))
    Xt, _ = one(70, (1, 2, 4), moved=(0.5, 0.5), seed=2)
    Xt = np.concatenate([Xt, Xt[:, ::-1]])
    parts = [(X, y), (X[:, ::-1].copy(), y)]
    got = fit(LabelPropagationTransport(reg=0.1, tol=1e-12, max_iter=5000), parts, Xt)
    unit = np.median(ot.dist(X, Xt))
    h, log = ot.bregman.jcpot_barycenter(
        [p[0] for p in parts],
        [np.searchsorted(NAMES, y) for _ in parts],
        Xt,
        0.1 * unit,
        numItermax=5000,
        stopThr=1e-12,
        log=True,
    )
    np.testing.assert_allclose(got.proportions_, h, atol=1e-6)
    hot = (y[:, None] == NAMES) * 1.0
    want = sum(plan.T @ hot for plan in log["gamma"])
    np.testing.assert_allclose(got.shares_, want / want.sum(1, keepdims=True), atol=1e-5)


def test_source_proportions_are_plain_sinkhorn():
    X, y = one(60, (1, 1, 1))
    Xt, _ = one(70, (1, 1, 1), seed=2)
    got = fit(LabelPropagationTransport(reg=0.1, proportions="source", tol=1e-9), [(X, y)], Xt)
    cost = ot.dist(X, Xt)
    cost /= np.median(cost)
    plan = ot.sinkhorn(np.full(60, 1 / 60), np.full(70, 1 / 70), cost, 0.1, stopThr=1e-12)
    want = 70 * plan.T @ (y[:, None] == NAMES)
    np.testing.assert_allclose(got.shares_, want, atol=1e-4)


def test_helps_where_the_class_shares_changed_and_classes_overlap():
    parts = [one(300, (4, 1, 1), spread=1.6), one(300, (1, 4, 1), seed=1, spread=1.6)]
    Xt, yt = one(400, (1, 1, 10), seed=2, spread=1.6)
    got = fit(LabelPropagationTransport(), parts, Xt)
    fixed = fit(LabelPropagationTransport(proportions="source"), parts, Xt)
    Xs, ys = (np.concatenate([p[i] for p in parts]) for i in (0, 1))
    source = LogisticRegression().fit(Xs, ys).score(Xt, yt)
    np.testing.assert_allclose(got.proportions_, [1 / 12, 1 / 12, 10 / 12], atol=0.05)
    assert got.score(Xt, yt) > source + 0.08 and fixed.score(Xt, yt) < 0.4
    assert got.info_["sources"] == 2 and got.troubles_ == ()


def test_fails_where_the_features_moved_and_the_shares_did_not():
    """It takes the move for other class shares; the sources' own shares are right there."""
    part = one(400, (1, 1, 1))
    Xt, yt = one(400, (1, 1, 1), moved=(2.5, 0), seed=2)
    got, fixed = (
        fit(LabelPropagationTransport(proportions=p), [part], Xt) for p in ("estimate", "source")
    )
    assert got.score(Xt, yt) < 0.7 and fixed.score(Xt, yt) > 0.9


def test_fails_where_the_move_brings_a_class_to_the_place_of_another():
    part = one(200, (1, 1, 1))
    Xt, yt = one(200, (1, 1, 1), moved=(4.0, 0), seed=1)  # a to the place of b
    assert fit(LabelPropagationTransport(), [part], Xt).score(Xt, yt) < 0.7
    known = np.where(np.arange(200) < 60, yt.astype(object), None)
    mended = fit(LabelPropagationTransport(), [part], Xt, known)
    np.testing.assert_array_equal(mended.labels_[:60], yt[:60])
    assert mended.score(Xt[60:], yt[60:]) < 0.7  # labels settle their own rows only


def test_a_draw_of_rows_is_nearly_as_good_and_holds_labelled_rows_and_every_class():
    parts = [one(2000, (4, 1, 1)), one(1500, (1, 4, 1), seed=1)]
    Xt, yt = one(3000, (1, 1, 6), seed=2)
    known = np.where(np.arange(3000) > 2980, yt.astype(object), None)
    whole = fit(LabelPropagationTransport(max_exact=4000), parts, Xt, known)
    part = fit(LabelPropagationTransport(max_exact=400), parts, Xt, known)
    assert part.info_["solver"] == "subset" and len(part.shares_) == 400
    assert set(range(2981, 3000)) <= set(part.target_rows_)
    assert abs(whole.score(Xt, yt) - part.score(Xt, yt)) <= 0.005


def test_a_source_without_a_class_is_refused_or_taken_at_its_own_shares():
    X, y = one(60, (1, 1, 1))
    Xt, _ = one(70, (1, 1, 1), seed=2)
    parts = [(X, y), (X[y != "c"], y[y != "c"])]
    with pytest.raises(DataError, match="no row of 'c'"):
        fit(LabelPropagationTransport(), parts, Xt)
    got = fit(LabelPropagationTransport(proportions="source"), parts, Xt)
    assert np.isfinite(got.shares_).all()


def test_trouble_is_said_and_wrong_parameters_are_refused():
    part = one(60, (1, 1, 1))
    Xt, _ = one(70, (1, 1, 1), moved=(2.0, 0), seed=2)
    short = fit(LabelPropagationTransport(max_iter=2), [part], Xt)
    assert [t.code for t in short.troubles_] == ["not-converged"]
    for wrong in ({"reg": 0}, {"proportions": "equal"}, {"max_exact": 0}):
        with pytest.raises(UsageError):
            fit(LabelPropagationTransport(**wrong), [part], Xt)
    with pytest.raises(UsageError, match="sample_weight"):
        fit(LabelPropagationTransport(KNeighborsClassifier()), [part], Xt)
    tiny = fit(LabelPropagationTransport(reg=0.005), [part], Xt)
    assert np.isfinite(tiny.shares_).all()
    assert isinstance(tiny.served(), LogisticRegression)
