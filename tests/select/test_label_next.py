"""Picks of `label_next`: known answers on made clusters, and no worse than chance on real texts."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from isthmus.errors import DataError, UsageError
from isthmus.select import label_next as module
from isthmus.select.label_next import label_next, uncertainty

FLAT = np.array([0.5, 0.5])


def rows_of(found) -> list[int]:
    return [item.row for item in found]


def clusters(sizes: list[int], seed: int = 0, spread: float = 0.1):
    """Rows around corners of a simplex, and which corner."""
    rng = np.random.default_rng(seed)
    where = np.repeat(np.arange(len(sizes)), sizes)
    return np.eye(len(sizes))[where] * 3 + spread * rng.normal(size=(len(where), len(sizes))), where


def test_every_cluster_is_met_before_one_is_met_twice():
    X, where = clusters([60, 50, 40, 30, 20])
    P = np.tile(FLAT, (len(X), 1))
    assert set(where[rows_of(label_next(P, X, count=5))]) == {0, 1, 2, 3, 4}


def test_regions_with_labels_are_left_alone():
    X, where = clusters([50, 50, 50])
    P = np.tile(FLAT, (len(X), 1))
    known = np.flatnonzero(where == 0)[:5]
    found = label_next(P, X, known=known, count=2)
    assert set(where[rows_of(found)]) == {1, 2}
    as_mask = np.isin(np.arange(len(X)), known)
    assert rows_of(label_next(P, X, known=as_mask, count=2)) == rows_of(found)


def test_doubt_draws_picks():
    X, where = clusters([100, 100])
    P = np.where((where == 0)[:, None], FLAT, [0.99, 0.01])
    picked = where[rows_of(label_next(P, X, count=20))]
    assert (picked == 0).sum() > 1.5 * (picked == 1).sum() > 0


def test_outliers_are_no_first_picks():
    X, _ = clusters([150])
    X = np.concatenate([X, np.array([[40.0], [-40.0], [80.0]])])
    P = np.tile(FLAT, (len(X), 1))
    found = label_next(P, X, count=3)
    assert max(rows_of(found)) < 150
    assert min(item.typicality for item in found) > 0.3


def test_copies_are_chosen_once():
    rng = np.random.default_rng(0)
    X = np.repeat(rng.normal(size=(6, 4)), 20, axis=0)
    P = np.tile(FLAT, (len(X), 1))
    found = label_next(P, X, count=50)
    assert len(found) == 6 and len({X[r].tobytes() for r in rows_of(found)}) == 6
    assert len(label_next(P, X, known=[0], count=50)) == 5, "a copy of a labelled row is known"


def test_near_copies_do_not_fill_the_batch():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(200, 8))
    X[:140] = X[0] + 1e-4 * rng.normal(size=(140, 8))
    P = np.tile(FLAT, (len(X), 1))
    picked = rows_of(label_next(P, X, count=30))
    assert sum(row < 140 for row in picked) == 1
    assert len(label_next(P, X, count=100)) == 100, "they fill up where nothing else is left"


def test_groups_share_the_batch():
    X, _ = clusters([300], seed=2)
    X = np.column_stack([X, np.random.default_rng(3).normal(size=(300, 3))])
    P = np.tile(FLAT, (300, 1))
    groups = np.array(["big"] * 280 + ["a"] * 15 + ["b"] * 5)
    picked = groups[rows_of(label_next(P, X, count=12, groups=groups))]
    assert {name: int((picked == name).sum()) for name in set(picked)} == {"big": 4, "a": 4, "b": 4}
    picked = groups[rows_of(label_next(P, X, count=24, groups=groups))]
    assert (picked == "b").sum() == 5, "what a small group lacks the others give"


def test_figures_are_what_they_say():
    X, where = clusters([80, 20])
    P = np.where((where == 0)[:, None], [0.7, 0.3], [0.5, 0.5])
    found = label_next(P, X, count=10)
    assert found[0].coverage == 1.0 and found[0].score == pytest.approx(1.0)
    for item in found:
        assert item.uncertainty == pytest.approx(0.6 if where[item.row] == 0 else 1.0)
        for value in (item.score, item.coverage, item.typicality):
            assert 0 <= value <= 1
        assert f"gap {1 - item.uncertainty:.2f}" in item.reason
    assert found[-1].coverage < 0.6


def test_picks_are_those_of_the_rule_written_plainly():
    """An independent herding on the whole kernel matrix."""
    rng = np.random.default_rng(5)
    X = rng.normal(size=(120, 5))
    P = rng.dirichlet([1.0, 1.0, 1.0], size=120)
    apart = ((X[:, None] - X[None]) ** 2).sum(axis=2)[np.triu_indices(120, 1)]
    Z = np.hstack([X / np.sqrt(np.median(apart)), P / np.sqrt(2 * P.var(axis=0).sum())])
    D = ((Z[:, None] - Z[None]) ** 2).sum(axis=2)
    K = np.exp(-D / max(np.median(np.sort(D, axis=1)[:, 12]), 0.2))
    w = np.sqrt(0.05 + uncertainty(P))
    picks: list[int] = []
    for step in range(10):
        gain = K @ (w / w.sum()) - K[:, picks].sum(axis=1) / (step + 1)
        gain[picks] = -np.inf
        picks.append(int(gain.argmax()))
    assert rows_of(label_next(P, X, count=10)) == picks


def test_a_large_target_is_judged_by_a_part_and_says_so(monkeypatch):
    monkeypatch.setattr(module, "REFERENCE", 200)
    monkeypatch.setattr(module, "BLOCK", 64)
    X, where = clusters([400, 300, 200, 100])
    P = np.tile(FLAT, (len(X), 1))
    found = label_next(P, X, count=8, random_state=3)
    assert set(where[rows_of(found)]) == {0, 1, 2, 3}
    assert all("200 of 1,000 rows" in item.reason for item in found)
    assert rows_of(label_next(P, X, count=8, random_state=3)) == rows_of(found)


def test_order_of_the_rows_does_not_matter():
    rng = np.random.default_rng(7)
    X, P = rng.normal(size=(150, 6)), rng.dirichlet([1, 1], size=150)
    order = rng.permutation(150)
    first = rows_of(label_next(P, X, count=10))
    assert [int(order[r]) for r in rows_of(label_next(P[order], X[order], count=10))] == first


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"count": 0}, UsageError),
        ({"known": [200]}, DataError),
        ({"known": np.ones(3, bool)}, DataError),
        ({"groups": ["a"]}, DataError),
    ],
)
def test_senseless_calls_are_refused(change, error):
    X, _ = clusters([20])
    with pytest.raises(error):
        label_next(np.tile(FLAT, (20, 1)), X, **change)


def test_numbers_that_are_none_are_refused():
    with pytest.raises(DataError, match="finite"):
        label_next([[0.5, 0.5], [np.nan, 1.0]], [[0.0], [1.0]])
    with pytest.raises(DataError, match="shape"):
        label_next([[0.5, 0.5]], [[0.0], [1.0]])


def test_all_labelled_leaves_nothing():
    assert label_next([FLAT, FLAT], [[0.0], [1.0]], known=[0, 1]) == []


@pytest.mark.data
def test_words_of_real_reviews_learn_no_worse_than_by_chance(real_data):
    """Labels of 30 chosen rows against 30 random ones, mean over pairs of sites and draws."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    with (real_data / "reviews" / "sentences.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    X = TfidfVectorizer(min_df=5).fit_transform([r["text"] for r in rows]).toarray()
    y = np.array([r["label"] for r in rows])
    site = np.array([r["domain"] for r in rows])
    gains = []
    for a, b in [("imdb", "amazon"), ("amazon", "yelp"), ("yelp", "imdb")]:
        s = np.flatnonzero(site == a)[:400]
        for seed in range(3):
            t = np.random.default_rng(seed).permutation(np.flatnonzero(site == b))
            pool, test = t[:500], t[500:]
            model = LogisticRegression(C=5).fit(X[s], y[s])
            chosen = rows_of(label_next(model.predict_proba(X[pool]), X[pool], count=30))
            scores = []
            draws = [np.random.default_rng(k).permutation(500)[:30] for k in range(4)]
            for picked in [chosen, *draws]:
                at = np.concatenate([s, pool[picked]])
                weight = np.r_[np.ones(400), np.full(30, 10.0)]
                fitted = LogisticRegression(C=5).fit(X[at], y[at], sample_weight=weight)
                scores.append(fitted.score(X[test], y[test]))
            gains.append(scores[0] - np.mean(scores[1:]))
    assert np.mean(gains) > -0.005, gains
