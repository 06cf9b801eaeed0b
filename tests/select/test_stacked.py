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
from isthmus.select.routes.base import Domains, Labelled
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
    got = tempered(np.array([-10.0, -12.0, -40.0]))
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
    assert [line.name for line in found.lines] == [c.name for c in candidates(labelled=True)]
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


def test_what_a_route_was_in_every_fold_is_not_fitted_again():
    domains, parts, _ = pair()
    parts, fitted = parts[:2], []
    scored = cross_validate(
        TargetOnly(), domains, new_model, parts, task="classification", models=fitted
    )
    assert scored.status == "scored" and len(fitted) == len(parts)
    plain = stack(domains, new_model, parts)
    lent = stack(domains, new_model, parts, fitted={"target-only": fitted})
    assert lent.as_dict() == plain.as_dict()
    other = stack(domains, new_model, parts, fitted={"target-only": fitted[::-1]})
    assert other.as_dict() != plain.as_dict()  # so they are listened to
