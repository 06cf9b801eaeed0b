"""Evidence: paired folds, refusals and failures reported, sealed rows never touched."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.errors import DataError
from isthmus.select.evidence import can_fold, cross_validate, row_scores
from isthmus.select.routes.base import Domains, Labelled, Route


class Centroid:
    """A tiny stand-in for a fitted model: nearest class mean."""

    def fit(self, X, y, **_):
        self.names = sorted(set(y))
        self.means = np.stack([X[y == n].mean(axis=0) for n in self.names])
        return self

    def predict(self, X):
        distance = ((X[:, None] - self.means[None]) ** 2).sum(axis=2)
        return np.array(self.names, dtype=object)[distance.argmin(axis=1)]


class Counting(Route):
    """Target-only, and counts its fits."""

    name = "counting"
    uses = frozenset({"target"})

    def __init__(self):
        self.fits = 0

    def fit(self, domains, new_model):
        self.fits += 1
        return new_model().fit(domains.target.X, domains.target.y)


class SourceCounting(Counting):
    uses = frozenset({"source"})

    def fit(self, domains, new_model):
        self.fits += 1
        return new_model().fit(domains.source.X, domains.source.y)


class Broken(Counting):
    def fit(self, domains, new_model):
        raise DataError("singular covariance", where="class a")


@pytest.fixture
def domains():
    rng = np.random.default_rng(3)
    y = np.array(list("ab") * 20, dtype=object)
    X = rng.normal(size=(40, 2)) + 4 * (y == "a")[:, None]
    flipped = Labelled(X, np.where(y == "a", "b", "a").astype(object))
    return Domains(flipped, Labelled(X, y), X)


FOLDS = [(np.arange(20, 40), np.arange(20)), (np.arange(20), np.arange(20, 40))]


def test_scores_equal_a_hand_made_cross_validation(domains):
    got = cross_validate(Counting(), domains, Centroid, FOLDS, task="classification")
    for (train, test), mean in zip(FOLDS, got.fold_scores, strict=True):
        model = Centroid().fit(domains.target.X[train], domains.target.y[train])
        assert mean == (model.predict(domains.target.X[test]) == domains.target.y[test]).mean()
    assert got.status == "scored" and got.row_scores.mean() > 0.9


def test_a_source_with_swapped_labels_scores_near_zero_and_is_fitted_once(domains):
    route = SourceCounting()
    got = cross_validate(route, domains, Centroid, FOLDS, task="classification")
    assert got.row_scores.mean() < 0.1
    assert route.fits == 1


def test_a_failure_is_a_status_with_its_reason(domains):
    got = cross_validate(Broken(), domains, Centroid, FOLDS, task="classification")
    assert got.status == "failed" and "singular covariance" in got.reason


def test_the_deadline_leaves_a_route_unscored(domains):
    got = cross_validate(Counting(), domains, Centroid, FOLDS, task="classification", deadline=0.0)
    assert got.status == "not reached" and got.row_scores is None


def test_no_folds_is_unscored_not_scored_zero(domains):
    got = cross_validate(Counting(), domains, Centroid, [], task="classification")
    assert got.status == "unscored" and got.row_scores is None


def test_row_scores_by_task():
    names = np.array(["a", "b"], dtype=object)
    assert row_scores(names, np.array(["a", "a"]), "classification").tolist() == [1, 0]
    assert row_scores(np.array([1.0]), np.array([3.0]), "regression").tolist() == [-2]
    both = row_scores(np.array([[1, 0, 1]]), np.array([[1, 1, 1]]), "multilabel")
    assert both == pytest.approx([2 / 3])


@pytest.mark.parametrize(
    ("y", "groups", "possible"),
    [
        (list("aabb"), None, True),
        (list("aaab"), None, False),
        (list("ab"), None, False),
        (list("aabb"), ["g"] * 4, False),
        (list("aaaa"), None, False),
        (list("aaabbbc"), None, True),  # one rare class is no reason to know nothing
        (list("aabbcdef"), None, False),
    ],
)
def test_when_cross_validation_says_anything(y, groups, possible):
    rows = Labelled(
        np.zeros((len(y), 1)),
        np.array(y, dtype=object),
        None if groups is None else np.array(groups, dtype=object),
    )
    assert can_fold(rows, task="classification") is possible
