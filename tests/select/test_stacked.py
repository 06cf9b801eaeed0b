"""The choice with a few labels: weights by hand, a source that lies, folds that stay apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isthmus.errors import DataError
from isthmus.fit.calibrate import Temperature
from isthmus.fit.features import FeatureProcessor
from isthmus.fit.folds import folds as make_folds
from isthmus.fit.logistic import LogisticHead
from isthmus.fit.model import FeatureModel
from isthmus.select import candidates as table
from isthmus.select import stacked
from isthmus.select.candidates import CANDIDATES, candidates
from isthmus.select.evidence import cross_validate
from isthmus.select.prior import choice_prior
from isthmus.select.routes.base import Domains, Labelled
from isthmus.select.routes.pooled import Pooled
from isthmus.select.routes.target_only import TargetOnly
from isthmus.select.stacked import TRUST, stack, tempered

CLASSES = ("ant", "bee", "cat")
NAMES = np.array(CLASSES, dtype=object)


def new_model():
    return FeatureModel(
        FeatureProcessor(), LogisticHead(), Temperature(), "classification", CLASSES
    )


def pair(shots=8, *, turned=0, seed=0, noise=1.0):
    rng = np.random.default_rng(seed)
    ys, yt = np.arange(120) % 3, np.arange(150) % 3
    Xs, Xt = (noise * rng.normal(size=(len(y), 5)) + 3 * np.eye(5)[y] for y in (ys, yt))
    Xt = (Xt + 0.5).astype("f4")
    at = np.arange(3 * shots)
    domains = Domains(
        Labelled(Xs.astype("f4"), NAMES[(ys + turned) % 3]),
        Labelled(Xt[at], NAMES[yt[at]], at=at),
        Xt,
    )
    parts = make_folds(
        domains.target.y, task="classification", n_splits=3, n_repeats=2, random_state=0
    )
    return domains, parts, NAMES[yt]


def test_weights_are_a_tempered_likelihood():
    got = tempered(np.array([-10.0, -12.0, -40.0]), np.array([1.0, 1.0, 5.0]))
    assert got.sum() == pytest.approx(1)
    assert np.log(got[0] / got[1]) == pytest.approx(2 * TRUST)


def test_it_helps_where_labels_are_few():
    domains, parts, yt = pair(shots=3, noise=1.6)
    found = stack(domains, new_model, parts)
    alone = new_model().fit(domains.target.X, domains.target.y)
    rest = slice(len(domains.target), None)
    right = (found.model.predict(domains.Xt)[rest] == yt[rest]).mean()
    assert right > (alone.predict(domains.Xt)[rest] == yt[rest]).mean()
    assert found.evidence.status == "scored" and len(found.evidence.fold_scores) == 6
    names = [c.name for c in candidates(labelled=True)]
    assert [line.name for line in found.lines] == [*names, "label-free"]
    assert sum(line.weight for line in found.lines) == pytest.approx(1)


def test_a_source_that_lies_is_not_listened_to():
    domains, parts, yt = pair(shots=12, turned=1)
    found = stack(domains, new_model, parts)
    weights = {line.name: line.weight for line in found.lines}
    assert weights["target-only"] > 0.8 and weights["source-only"] == 0
    assert (found.model.predict(domains.Xt) == yt).mean() > 0.9


def test_a_candidate_that_fails_is_named(monkeypatch):
    def broken(bench, rows):
        raise DataError("nothing works")

    spoilt = tuple(replace(c, build=broken) if c.name == "tca" else c for c in CANDIDATES)
    monkeypatch.setattr(table, "CANDIDATES", spoilt)
    domains, parts, _ = pair()
    found = stack(domains, new_model, parts)
    assert "nothing works" in next(x.reason for x in found.lines if x.name == "tca")
    monkeypatch.setattr(table, "CANDIDATES", tuple(replace(c, build=broken) for c in CANDIDATES))
    with pytest.raises(DataError, match="nothing works"):
        stack(domains, new_model, parts)


def test_many_source_rows_are_drawn_and_said(monkeypatch):
    monkeypatch.setattr(stacked, "MOST", 60)
    domains, parts, _ = pair()
    found = stack(domains, new_model, parts)
    assert "60 source rows" in found.notes[0]


def test_what_a_route_was_is_not_fitted_again():
    domains, parts, _ = pair()
    parts, fitted = parts[:2], []
    scored = cross_validate(
        TargetOnly(), domains, new_model, parts, task="classification", models=fitted
    )
    assert scored.status == "scored" and len(fitted) == len(parts)
    whole = TargetOnly().fit(domains, new_model)
    plain = stack(domains, new_model, parts)
    lent = stack(domains, new_model, parts, fitted={"target-only": [*fitted, whole]})
    assert lent.as_dict() == plain.as_dict()
    other = stack(domains, new_model, parts, fitted={"target-only": [*fitted[::-1], whole]})
    assert other.as_dict() != plain.as_dict()  # so they are listened to
    Xt = domains.Xt
    np.testing.assert_array_equal(lent.model.predict_proba(Xt), plain.model.predict_proba(Xt))
    place = lent.model.names.index("target-only")
    np.testing.assert_array_equal(lent.model.members[place].head_.coef_, whole.head_.coef_)


def test_a_lent_model_serves_though_the_other_candidates_see_drawn_rows(monkeypatch):
    monkeypatch.setattr(stacked, "MOST", 60)
    domains, parts, _ = pair(shots=8, noise=1.6)
    parts, fitted = parts[:2], []
    cross_validate(Pooled(), domains, new_model, parts, task="classification", models=fitted)
    whole = Pooled().fit(domains, new_model)
    found = stack(domains, new_model, parts, fitted={"pooled": [*fitted, whole]})
    served = found.model.members[found.model.names.index("pooled")]
    np.testing.assert_array_equal(served.head_.coef_, whole.head_.coef_)


def test_the_choice_without_labels_is_a_candidate_that_no_label_moves():
    domains = pair(shots=3, noise=1.6)[0]
    free, found = stacked.label_free(domains, new_model, seed=0, prior=choice_prior())
    assert set(free.names) <= set(found.order)
    wrong = replace(domains.target, y=NAMES[(np.arange(len(domains.target)) + 1) % 3])
    turned = replace(domains, target=wrong)
    other, _ = stacked.label_free(turned, new_model, seed=0, prior=choice_prior())
    np.testing.assert_array_equal(free.predict_proba(domains.Xt), other.predict_proba(domains.Xt))
    # its members stand in the blend, each with its part of the weight
    flat, weights = stacked.expanded(
        {"a": free, "pooled": free.members[0]}, {"a": 0.6, "pooled": 0.4}, {"a": 1.0, "pooled": 1.0}
    )
    assert set(flat) == {"pooled", *(f"a: {name}" for name in free.names)}
    assert sum(weights.values()) == pytest.approx(1)
    mixed = sum(w * flat[name].predict_proba(domains.Xt) for name, w in weights.items())
    wanted = 0.6 * free.predict_proba(domains.Xt) + 0.4 * free.members[0].predict_proba(domains.Xt)
    np.testing.assert_allclose(mixed, wanted)


def label_free_of(domains):
    return stacked.label_free(domains, new_model, seed=0, prior=choice_prior())[1]


def test_what_the_table_fears_starts_with_a_smaller_share():
    prior = choice_prior()
    found = label_free_of(pair()[0])
    gain = np.array([{"information-tight": -0.1, "coral": 0.05}.get(n, 0.0) for n in found.order])
    found = replace(found, gain=gain, downside=np.zeros(len(gain)))
    names = ["pooled", "coral", "information-tight", "information-firm"]
    factor = np.exp(-0.1 / prior.temperature)
    assert stacked.hoped(names, found, prior) == pytest.approx([1, 1, factor, factor])
    assert stacked.hoped([stacked.LABEL_FREE], replace(found, gain=gain - 1), prior)[0] < 1e-6


def test_without_folds_the_shares_stand():
    domains, _, _ = pair(shots=1)
    found = stack(domains, new_model, [])
    assert found.evidence.status == "unscored" and found.held == ()
    weight = {line.name: line.weight for line in found.lines}
    feared = stacked.hoped(["coral"], label_free_of(domains), choice_prior())[0]
    assert weight["pooled"] * feared == pytest.approx(5 * weight["coral"]) and feared <= 1
    assert 0 < weight["label-free"] <= 2 * weight["pooled"] + 1e-12
    assert weight["target-only"] == pytest.approx(weight["pooled"] / 5)  # a row a class is no model


def test_what_serves_is_what_was_weighed():
    domains, parts, _ = pair(shots=8, noise=1.6)
    found = stack(domains, new_model, parts)
    line = {line.name: line for line in found.lines}
    assert any(x.evidence["temperature"] != 1 for x in found.lines if x.weight)
    bench = stacked.Bench(domains, new_model)
    (one,) = next(c for c in CANDIDATES if c.name == "pooled").build(
        bench, [np.arange(len(domains.target))]
    )
    hot = line["pooled"].evidence["temperature"]
    served = found.model.members[found.model.names.index("pooled")]
    want = one.predict_proba(domains.Xt) ** (1 / hot)
    want /= want.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(served.predict_proba(domains.Xt), want, atol=5e-4)
