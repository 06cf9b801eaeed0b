"""The automatic choice: candidates that fail, time that ends, labels it cannot see, help."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isthmus.errors import DataError
from isthmus.fit.calibrate import Temperature
from isthmus.fit.features import FeatureProcessor
from isthmus.fit.logistic import LogisticHead
from isthmus.fit.model import FeatureModel
from isthmus.select import blended
from isthmus.select import candidates as cast
from isthmus.select.bench import Bench
from isthmus.select.blended import Blended, blend, why_not
from isthmus.select.candidates import CANDIDATES, candidates
from isthmus.select.descriptors import Surroundings, columns, neighbors, table
from isthmus.select.routes.base import Domains, Labelled

CLASSES = ("ant", "bee", "cat")
NAMES = tuple(c.name for c in candidates(labelled=False))


def new_model():
    return FeatureModel(
        FeatureProcessor(), LogisticHead(), Temperature(), "classification", CLASSES
    )


def pair(n=150, m=120, *, shift=1.5, seed=0, shares=None, d=6):
    rng = np.random.default_rng(seed)
    ys, yt = np.arange(n) % 3, rng.choice(3, m, p=shares)
    Xs, Xt = (rng.normal(size=(len(y), d)) + 3 * np.eye(d)[y] for y in (ys, yt))
    Xt[:, :3] += shift * np.array([1.0, -0.5, 0.0])
    names = np.array(CLASSES, dtype=object)
    return Domains(Labelled(Xs.astype("f4"), names[ys]), None, Xt.astype("f4")), names[yt]


@pytest.fixture(scope="module")
def found():
    domains, yt = pair()
    return blend(domains, new_model), domains, yt


def test_every_candidate_has_its_line_and_the_weights_sum_to_one(found):
    result, domains, _ = found
    assert [line.name for line in result.lines] == list(NAMES)
    assert not any(line.reason for line in result.lines)
    assert sum(line.weight for line in result.lines) == pytest.approx(1)
    kept = {line.name: line.weight for line in result.lines if line.weight > 0}
    assert set(result.model.names) == set(kept)
    proba = result.model.predict_proba(domains.Xt)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert result.gain.low < result.gain.value < result.gain.high
    assert 0 <= result.accuracy.low <= result.accuracy.value <= result.accuracy.high <= 1


def test_it_helps_where_clusters_moved(found):
    result, domains, yt = found
    source = new_model().fit(domains.source.X, domains.source.y).predict(domains.Xt)
    assert (result.model.predict(domains.Xt) == yt).mean() > (source == yt).mean()


def test_it_repeats_and_the_order_of_the_target_does_not_matter(found):
    result, domains, _ = found
    again = blend(domains, new_model)
    np.testing.assert_array_equal(
        again.model.predict_proba(domains.Xt), result.model.predict_proba(domains.Xt)
    )
    assert again.as_dict() == result.as_dict()
    order = np.random.default_rng(1).permutation(len(domains.Xt))
    turned = blend(replace(domains, Xt=domains.Xt[order]), new_model)
    np.testing.assert_allclose(
        turned.model.predict_proba(domains.Xt), result.model.predict_proba(domains.Xt), atol=0.05
    )


def test_no_target_label_is_read(found):
    """Labels in the domains are dropped before any candidate sees them."""
    result, domains, yt = found
    rng = np.random.default_rng(2)
    for labels in (yt[:30], rng.permutation(yt[:30])):
        known = Labelled(domains.Xt[:30], labels, at=np.arange(30))
        other = blend(replace(domains, target=known), new_model)
        np.testing.assert_array_equal(
            other.model.predict_proba(domains.Xt), result.model.predict_proba(domains.Xt)
        )


def test_a_candidate_that_fails_is_named_and_the_others_go_on(monkeypatch):
    def broken(bench, known):
        raise DataError("nothing works", where="here")

    spoilt = tuple(replace(c, build=broken) if c.name == "tca" else c for c in CANDIDATES)
    monkeypatch.setattr(cast, "CANDIDATES", spoilt)
    domains, _ = pair()
    result = blend(domains, new_model)
    line = next(line for line in result.lines if line.name == "tca")
    assert line.weight == 0 and "nothing works" in line.reason
    assert sum(one.weight for one in result.lines) == pytest.approx(1)


def test_without_source_only_there_is_no_choice(monkeypatch):
    domains, _ = pair()
    one = replace(domains.source, y=np.full(150, "ant", dtype=object))
    with pytest.raises(DataError):
        blend(replace(domains, source=one), new_model)


def test_time_that_ends_leaves_the_dear_candidates_out():
    ticks = iter(range(1000))
    domains, _ = pair()
    result = blend(domains, new_model, deadline=5, clock=lambda: next(ticks))
    missed = [line for line in result.lines if "not reached" in line.reason]
    assert missed and all(line.weight == 0 for line in missed)
    assert result.lines[0].reason == ""


def test_a_class_that_the_source_lacks_and_two_rows_of_another():
    domains, _ = pair()
    keep = np.flatnonzero(domains.source.y != "cat")
    keep = np.concatenate([keep, np.flatnonzero(domains.source.y == "cat")[:2]])
    result = blend(replace(domains, source=domains.source.take(keep)), new_model)
    assert np.isfinite(result.model.predict_proba(domains.Xt)).all()
    none = domains.source.take(np.flatnonzero(domains.source.y != "cat"))
    result = blend(replace(domains, source=none), new_model)
    assert (result.model.predict_proba(domains.Xt)[:, 2] == 0).all()


def test_wide_features_and_few_rows():
    rng = np.random.default_rng(3)
    names = np.array(CLASSES, dtype=object)
    y = np.arange(24) % 3
    X = rng.normal(size=(24, 500)) + 2 * np.eye(500)[y]
    domains = Domains(Labelled(X.astype("f4"), names[y]), None, X.astype("f4")[::2] + 0.1)
    result = blend(domains, new_model)
    assert (result.model.predict(domains.Xt) == names[y[::2]]).mean() > 0.9


def test_identical_rows_and_constant_columns():
    domains, _ = pair()
    X = domains.Xt.copy()
    X[:] = X[0]
    assert np.isfinite(blend(replace(domains, Xt=X), new_model).gain.value)


def test_many_rows_are_drawn_and_said(monkeypatch):
    monkeypatch.setattr(blended, "MOST", 60)
    domains, _ = pair()
    result = blend(domains, new_model)
    assert len(result.notes) == 2 and "60" in result.notes[0]
    assert len(result.model.predict(domains.Xt)) == 120


@pytest.mark.parametrize(
    ("case", "word"),
    [
        ({"task": "regression", "source": True, "target_rows": 99}, "regression"),
        ({"task": "classification", "source": False, "target_rows": 99}, "source"),
        ({"task": "classification", "source": True, "target_rows": 9}, "9"),
    ],
)
def test_where_there_is_no_choice_it_says_why(case, word):
    assert word in why_not(**case)


def test_the_route_serves_what_was_found():
    domains, _ = pair()
    route = Blended()
    model = route.fit(domains, new_model)
    assert route.found is not None and route.found.model is model


def test_descriptors_of_known_answers():
    domains, _ = pair()
    bench = Bench(domains, new_model)
    around = Surroundings(bench)
    n = len(domains.Xt)
    sure = np.eye(3)[np.arange(n) % 3]
    flat = np.full((n, 3), 1 / 3)
    rows, order = table(around, {"source-only": sure, "pca": flat}, NAMES)
    got = [dict(zip(columns(NAMES), row, strict=True)) for row in rows]
    assert order == ["source-only", "pca"] and rows.shape == (2, len(columns(NAMES)))
    assert got[0]["confidence"] == 1 and got[0]["entropy"] == pytest.approx(0, abs=1e-9)
    assert got[0]["marginal_entropy"] == pytest.approx(1)
    assert got[0]["nuclear_norm"] == pytest.approx(1)
    assert got[1]["entropy"] == pytest.approx(1) and got[1]["information"] == pytest.approx(0)
    assert got[1]["neighbor_agreement"] == 1 and got[1]["neighbor_kappa"] == pytest.approx(
        0, abs=1e-3
    )
    assert got[1]["confidence_over_source"] == pytest.approx(1 / 3 - 1)
    assert got[0]["is:source-only"] == 1 and got[0]["is:pca"] == 0
    assert got[0]["classes"] == 3 and got[0]["domain_auc"] > 0.6


def test_neighbors_are_the_nearest_by_brute_force():
    X = np.random.default_rng(0).normal(size=(40, 5))
    Z = X - X.mean(axis=0)
    Z /= np.linalg.norm(Z, axis=1, keepdims=True)
    alike = Z @ Z.T
    np.fill_diagonal(alike, -2)
    want = np.argsort(-alike, axis=1)[:, :4]
    assert (np.sort(neighbors(X, 4), axis=1) == np.sort(want, axis=1)).all()
    assert neighbors(X[:2], 4).tolist() == [[1], [0]]


def test_smoothed_shares_move_towards_the_targets():
    domains, _ = pair(m=300, shift=0.0, shares=[0.8, 0.1, 0.1])
    model = cast.smoothed_prior(Bench(domains, new_model), None)
    ratio = np.exp(model.log_ratio_)
    assert ratio[0] > 1.2 and (ratio[1:] < 1).all()
