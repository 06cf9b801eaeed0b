"""Leave-one-source-out: figures by hand, labels unseen, shifts that adapting mends or makes."""

from __future__ import annotations

import json
from typing import ClassVar

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression, Ridge

from isthmus.adapt.coral import CORAL
from isthmus.errors import DataError, UsageError
from isthmus.evaluate.leave_one_source_out import leave_one_source_out


def sources(count=4, n=120, moved=3.0, seed=0):
    """Two classes; each source lies somewhere else along the classes' own direction."""
    rng = np.random.default_rng(seed)
    X, y, ids = [], [], []
    for j in range(count):
        code = np.arange(n) % 2
        X.append(rng.normal(size=(n, 3)) + 2 * code[:, None] + moved * rng.normal())
        y.append(np.array(["no", "yes"])[code])
        ids.append(np.full(n, j))
    return np.concatenate(X), np.concatenate(y), np.concatenate(ids)


def test_source_only_is_a_classifier_of_the_other_sources():
    X, y, ids = sources()
    got = leave_one_source_out(X, y, ids, n_boot=50)
    for line in got.table:
        if line.method == "source-only":
            rest = ids != line.source
            want = LogisticRegression(max_iter=1000).fit(X[rest], y[rest])
            assert line.score.value == want.score(X[~rest], y[~rest])
            assert line.score.low <= line.score.value <= line.score.high
            assert line.rows == 120 and np.isnan(line.gain.value)


def test_adapting_mends_a_move_and_the_mean_gain_says_so_over_the_sources():
    X, y, ids = sources(6)
    got = leave_one_source_out(X, y, ids, adapter=CORAL(), n_boot=200)
    assert [line.method for line in got.table[:3]] == ["source-only", "adapted", "combined"]
    each = [line.gain.value for line in got.table if line.method == "combined"]
    gain = got.gains["combined"]
    assert gain.value == pytest.approx(np.mean(each)) and gain.low > 0
    assert "6 held-out sources" in gain.how


def test_adapting_harms_where_only_the_class_shares_differ():
    rng = np.random.default_rng(0)
    ids = np.repeat(np.arange(4), 300)
    code = (rng.random(1200) < np.array([0.1, 0.9, 0.15, 0.85])[ids]).astype(int)
    X = rng.normal(size=(1200, 2)) + 2.5 * code[:, None]
    got = leave_one_source_out(X, code, ids, adapter=CORAL(), n_boot=200)
    assert got.gains["adapted"].high < 0
    assert all(line.gain.high < 0 for line in got.table if line.method == "adapted")


class Spy(BaseEstimator):
    """Notes what it is given and says "no"."""

    seen: ClassVar[list] = []

    def fit(self, X, y, *, sample_domain=None, target_labeled=None):
        self.seen.append((y.copy(), sample_domain.copy()))
        return self

    def predict(self, X):
        return np.full(len(X), "no")


def test_held_out_labels_and_real_target_rows_are_never_shown():
    X, y, ids = sources(3)
    Spy.seen.clear()
    domain = np.where(np.arange(len(ids)) % 7 == 0, -1, ids)
    leave_one_source_out(X, y, domain, methods={"spy": Spy()}, n_boot=10)
    assert len(Spy.seen) == 3
    for held, (shown, where) in enumerate(Spy.seen):
        assert len(shown) == (domain >= 0).sum()
        assert set(where) == {-1, 0, 1, 2} - {held}
        # both classes are there; what is shown is one and the same placeholder
        assert len(set(shown[where < 0])) == 1 and len(set(y[domain == held])) == 2


def test_a_method_that_refuses_a_split_is_a_line_with_its_reason():
    X, y, ids = sources(2)
    y = np.where(ids == 1, "no", y)  # without source 0 there is one class left
    got = leave_one_source_out(X, y, ids, methods={"spy": Spy()}, adapter=CORAL(), n_boot=10)
    text = got.text()
    assert len(got.table) == 6 and "held-out source" in text.splitlines()[0]
    refused = [line for line in got.table if line.score.how.startswith("undefined: refused")]
    assert {(line.source, line.method) for line in refused} == {
        (0, "source-only"),
        (0, "adapted"),
    }
    assert "one class" in text and set(got.gains) == {"adapted", "spy"}
    json.dumps(got.as_rows(), allow_nan=False)


def test_regression_has_errors_and_groups_are_drawn_whole():
    rng = np.random.default_rng(0)
    X, ids = rng.normal(size=(90, 2)), np.repeat(np.arange(3), 30)
    y = X @ [1.0, 2.0] + ids
    groups = np.arange(90) // 10
    got = leave_one_source_out(X, y, ids, task="regression", groups=groups, n_boot=50)
    assert got.metric == "mae" and [line.source for line in got.table] == [0, 1, 2]
    want = np.abs(Ridge().fit(X[30:], y[30:]).predict(X[:30]) - y[:30]).mean()
    assert got.table[0].score.value == pytest.approx(want)
    assert "groups" in got.table[0].score.how and "mae" in got.text()


def test_what_cannot_be_diagnosed_is_refused():
    X, y, ids = sources(2)
    with pytest.raises(DataError, match="source domain"):
        leave_one_source_out(X, y, np.zeros(len(X), dtype=int))
    with pytest.raises(UsageError, match="task"):
        leave_one_source_out(X, y, ids, task="ranking")
    with pytest.raises(UsageError, match="source-only"):
        leave_one_source_out(X, y, ids, methods={"source-only": Spy()})
