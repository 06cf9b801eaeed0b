"""Information maximisation: gradient, closed limits, clusters that move, and where it must fail."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import check_grad
from sklearn.linear_model import LogisticRegression

from isthmus.adapt import information_maximization as module
from isthmus.adapt.information_maximization import InformationMaximization, information
from isthmus.data.domains import stack_domains
from isthmus.errors import UsageError


def blobs(rng, n, centres, shares=None, spread=0.5):
    code = rng.choice(len(centres), n, p=shares)
    return centres[code] + spread * rng.normal(size=(n, centres.shape[1])), code


def moved(seed=0, shift=(2.1, 0.0), shares=None, n=400, spread=0.5):
    """Three clear clusters, all moved the same way in the target."""
    rng = np.random.default_rng(seed)
    centres = np.array([[0.0, 0.0], [4.0, 0.0], [2.0, 3.5]])
    Xs, ys = blobs(rng, n, centres, spread=spread)
    Xt, yt = blobs(rng, n, centres + np.array(shift), shares, spread)
    return Xs, ys, Xt, yt


def fitted(Xs, ys, Xt, **params):
    X, y, domain, _ = stack_domains(Xs, ys, Xt)
    return InformationMaximization(**params).fit(X, y, sample_domain=domain)


def test_clusters_that_moved_keep_their_class():
    Xs, ys, Xt, yt = moved()
    source = LogisticRegression().fit(Xs, ys).score(Xt, yt)
    found = fitted(Xs, ys, Xt)
    assert source < 0.9 and found.score(Xt, yt) > source + 0.07
    assert found.score(Xs, ys) > 0.85  # the source keeps its say


def test_it_must_fail_where_the_clusters_are_not_the_classes():
    """Classes split each cluster: between the clusters there is no class, and it goes there."""
    rng = np.random.default_rng(0)
    side = rng.integers(0, 2, 800)
    X = np.column_stack([3.0 * side, np.zeros(800)]) + 0.4 * rng.normal(size=(800, 2))
    y = (X[:, 1] + 0.1 * (X[:, 0] - 1.5) > 0).astype(int)
    Xs, ys, Xt, yt = X[:400], y[:400], X[400:], y[400:]
    assert LogisticRegression().fit(Xs, ys).score(Xt, yt) > 0.95
    assert fitted(Xs, ys, Xt, trade_off=0.05).score(Xt, yt) < 0.7


def test_equal_shares_are_assumed():
    """With nine of ten target rows in one class the balance term gives rows away; 0 does not."""
    Xs, ys, Xt, yt = moved(shift=(0.5, 0.0), shares=[0.94, 0.03, 0.03])
    assert fitted(Xs, ys, Xt, trade_off=0.1, balance=4.0).score(Xt, yt) < 0.8
    assert fitted(Xs, ys, Xt, trade_off=0.1, balance=0.0).score(Xt, yt) > 0.9


def test_the_gradient_is_that_of_the_loss(monkeypatch):
    rng = np.random.default_rng(1)
    Xs, ys, Xt, _ = moved(n=30)
    seen = {}

    def catch(loss, start, **_):
        seen["loss"], seen["start"] = loss, start
        raise RuntimeError

    monkeypatch.setattr(module, "minimize", catch)
    with pytest.raises(RuntimeError):
        fitted(Xs, ys, Xt, trade_off=0.7, balance=1.3)
    at = seen["start"] + 0.3 * rng.normal(size=seen["start"].shape)
    wrong = check_grad(lambda v: seen["loss"](v)[0], lambda v: seen["loss"](v)[1], at)
    assert wrong < 1e-5 * (1 + abs(seen["loss"](at)[0]))


def test_with_a_heavy_source_it_is_the_source_classifier():
    Xs, ys, Xt, _ = moved(spread=2.0)  # overlapping classes: the source's loss stays large
    plain = LogisticRegression(C=1e4, max_iter=5000, tol=1e-9).fit(Xs, ys)
    found = fitted(Xs, ys, Xt, trade_off=1e4, C=1.0, draws=1, max_iter=5000)
    np.testing.assert_allclose(found.predict_proba(Xt), plain.predict_proba(Xt), atol=5e-3)


def test_information_of_known_tables():
    assert information(np.eye(4)) == pytest.approx(np.log(4))
    assert information(np.full((5, 3), 1 / 3)) == pytest.approx(0)
    assert information(np.tile([1.0, 0.0], (6, 1))) == pytest.approx(0)


def test_it_raises_the_information_and_says_how_far():
    Xs, ys, Xt, _ = moved()
    found = fitted(Xs, ys, Xt)
    assert found.info_["information"] > found.info_["information_before"]
    assert found.info_["information"] == pytest.approx(information(found.predict_proba(Xt)))


def test_labelled_target_rows_take_part():
    Xs, ys, Xt, yt = moved(shift=(4.0, 0.0))  # so far that clusters stand for their neighbour
    X, y, domain, _ = stack_domains(Xs, ys, Xt)
    labeled = np.zeros(len(X), dtype=bool)
    labeled[len(Xs) : len(Xs) + 30] = True
    y[len(Xs) : len(Xs) + 30] = yt[:30]
    blind = fitted(Xs, ys, Xt).score(Xt, yt)
    helped = InformationMaximization().fit(X, y, sample_domain=domain, target_labeled=labeled)
    assert helped.score(Xt, yt) > blind + 0.2


def test_an_empty_class_is_reported():
    Xs, ys, Xt, yt = moved(shift=(0.0, 0.0))
    found = fitted(Xs, ys, Xt[yt != 2], balance=0.0)
    assert [t.code for t in found.troubles_] == ["empty-class"]


@pytest.mark.parametrize("params", [{}, {"max_rows": 300}, {"max_rows": 300, "draws": 1}])
def test_the_order_of_rows_does_not_matter(params):
    Xs, ys, Xt, yt = moved(n=900)
    found = fitted(Xs, ys, Xt, **params)
    order = np.random.default_rng(2).permutation(900)
    again = fitted(Xs[order], ys[order], Xt[order[::-1]], **params)
    np.testing.assert_allclose(again.coef_, found.coef_, rtol=1e-4, atol=1e-5)
    assert found.score(Xt, yt) > 0.85


def test_draws_steady_what_one_search_leaves_to_chance():
    """Answers for the same new rows, fitted on ten halves of both domains."""
    rng = np.random.default_rng(5)
    centres = rng.normal(size=(6, 40))
    (Xs, ys), (Xt, _) = (blobs(rng, 400, centres + move, spread=2.5) for move in (0.0, 0.4))
    new = blobs(rng, 300, centres + 0.4, spread=2.5)[0]

    def unrest(draws):
        said = []
        for seed in range(10):
            half = np.random.default_rng(seed).permutation(400)[:200]
            params = {"trade_off": 0.1, "draws": draws, "max_iter": 40}
            found = fitted(Xs[half], ys[half], Xt[half], **params)
            said.append(found.predict(new))
        said = np.array(said)
        return np.mean([(one != other).mean() for one in said for other in said])

    assert unrest(7) < 0.95 * unrest(1)


def test_a_class_of_one_row_is_in_every_draw():
    Xs, ys, Xt, _ = moved()
    few = np.r_[np.flatnonzero(ys != 2), np.flatnonzero(ys == 2)[:1]]
    X, y, domain, _ = stack_domains(Xs[few], ys[few], Xt)
    model = InformationMaximization()
    parts = model._drawn(Xs[few], ys[few].astype(int), Xt)
    assert [len(set(ys[few][s])) for s, _ in parts] == [3] * 7
    assert model.fit(X, y, sample_domain=domain).classes_.size == 3


@pytest.mark.parametrize(
    "params",
    [{"trade_off": 0}, {"balance": -1}, {"C": 0}, {"max_iter": 0}, {"max_rows": 0}, {"draws": 0}],
)
def test_parameters_out_of_range_are_refused(params):
    Xs, ys, Xt, _ = moved(n=30)
    with pytest.raises(UsageError):
        fitted(Xs, ys, Xt, **params)
