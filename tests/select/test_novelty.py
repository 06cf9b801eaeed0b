"""Where a model abstains: novel rows first, at the price that the rule states."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.errors import DataError, UsageError
from isthmus.fit.calibrate import Temperature
from isthmus.fit.features import FeatureProcessor
from isthmus.fit.logistic import LogisticHead
from isthmus.fit.model import FeatureModel
from isthmus.select.novelty import LOST, abstaining, prototypes
from isthmus.select.routes.base import Domains, Labelled

K, D = 8, 12
NAMES = np.array([f"kind {c}" for c in range(K)], dtype=object)
CENTRES = 1.5 * np.random.default_rng(9).normal(size=(K, D))


def rows(n, classes, *, shift=0.0, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.choice(classes, size=n)
    return (CENTRES[y] + rng.normal(size=(n, D)) + shift).astype("f4"), y


def maker(names):
    return lambda: FeatureModel(
        FeatureProcessor(), LogisticHead(C=0.1), Temperature(), "classification", tuple(names)
    )


@pytest.fixture(scope="module")
def opened():
    Xs, ys = rows(250, range(5))
    Xt, yt = rows(300, range(K), shift=0.3, seed=1)
    make = maker(NAMES[:5])
    model = make().fit(Xs, NAMES[ys])
    domains = Domains(Labelled(Xs, NAMES[ys]), None, Xt)
    return abstaining(model, domains, make), model, domains, yt


def test_what_is_refused_is_novel_and_costs_what_the_rule_allows(opened):
    made, model, domains, yt = opened
    said = made.model.predict(domains.Xt)
    refused, novel = said == "unknown", yt >= 5
    assert novel[refused].mean() > 0.9 and refused[novel].mean() > 0.25
    sure = model.predict_proba(domains.Xt).max(axis=1)
    assert made.refused == pytest.approx(refused.mean())
    assert made.lost == pytest.approx(sure[refused].sum() / sure.sum())
    assert 0.5 * LOST < made.lost <= LOST
    assert 0 <= made.false_refusal < 0.1
    assert f"{100 * LOST:g} %" in made.rule


def test_where_nothing_is_novel_the_price_is_the_stated_one():
    Xs, ys = rows(250, range(5))
    Xt, yt = rows(300, range(5), shift=0.3, seed=2)
    make = maker(NAMES[:5])
    model = make().fit(Xs, NAMES[ys])
    made = abstaining(model, Domains(Labelled(Xs, NAMES[ys]), None, Xt), make)
    lost = (model.predict(Xt) == NAMES[yt]).mean() - (made.model.predict(Xt) == NAMES[yt]).mean()
    assert 0 <= lost <= LOST + 0.02


def test_classes_of_labelled_target_rows_are_known(opened):
    made, _, domains, yt = opened
    make = maker(NAMES[:6])
    known = np.flatnonzero(yt == 5)[:15]
    Xs, ys = rows(250, range(5))
    both = np.concatenate([Xs, domains.Xt[known]])
    model = make().fit(both, np.concatenate([NAMES[ys], NAMES[yt[known]]]))
    target = Labelled(domains.Xt[known], NAMES[yt[known]])
    again = abstaining(model, Domains(domains.source, target, domains.Xt), make)
    five = yt == 5
    before = made.model.strangeness.distance(domains.Xt[five]).mean()
    assert again.model.strangeness.distance(domains.Xt[five]).mean() < 0.7 * before


def test_prototypes_are_few_and_of_length_one():
    Z, y = rows(120, range(3))
    found = prototypes(Z, y, 0)
    assert found.shape == (15, D)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    one = prototypes(Z[:1], y[:1], 0)
    np.testing.assert_allclose(one[0], Z[0] / np.linalg.norm(Z[0]), rtol=1e-5)


def test_refusals(opened):
    _, model, domains, _ = opened
    few = Domains(domains.source, None, domains.Xt[:19])
    with pytest.raises(DataError, match="too few"):
        abstaining(model, few, maker(NAMES[:5]))
    names = np.array(["a", "unknown"], dtype=object)
    Xs, ys = rows(40, range(2))
    other = maker(names)().fit(Xs, names[ys])
    with pytest.raises(UsageError, match="'unknown'"):
        abstaining(other, Domains(Labelled(Xs, names[ys]), None, domains.Xt), maker(names))
