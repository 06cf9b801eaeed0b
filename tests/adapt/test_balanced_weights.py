"""Balanced weighting against its loss written out, and its two ends."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import is_classifier, is_regressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier

from isthmus.adapt.balanced_weights import BalancedWeights
from isthmus.data.domains import stack_domains
from isthmus.errors import DataError, UsageError


@pytest.fixture
def stacked():
    """1,000 source rows of which the labels follow column 0, a target that follows column 1."""
    rng = np.random.default_rng(0)
    Xs, Xt = rng.normal(size=(1000, 2)), rng.normal(size=(300, 2))
    yt = (Xt[:, 1] > 0).astype(float)
    shown = np.where(np.arange(300) < 20, yt, np.nan)
    X, y, domain, labeled = stack_domains(Xs, (Xs[:, 0] > 0).astype(int), Xt, shown)
    return X, y, domain, labeled, Xt[20:], yt[20:]


def test_equals_the_weighted_ridge_in_closed_form():
    rng = np.random.default_rng(1)
    Xs, Xt = rng.normal(size=(40, 3)), rng.normal(size=(6, 3))
    ys, yt = Xs.sum(1), Xt[:, 0]
    X, y, domain, labeled = stack_domains(Xs, ys, Xt, yt)
    got = BalancedWeights(Ridge(alpha=1.0, fit_intercept=False), trade_off=0.8)
    got.fit(X, y, sample_domain=domain, target_labeled=labeled)
    a, b = 46 * 0.2 / 40, 46 * 0.8 / 6
    want = np.linalg.solve(a * Xs.T @ Xs + b * Xt.T @ Xt + np.eye(3), a * Xs.T @ ys + b * Xt.T @ yt)
    np.testing.assert_allclose(got.estimator_.coef_, want)
    assert got.effective_sample_size_ == pytest.approx(46**2 / (40 * a**2 + 6 * b**2))


def test_the_target_is_heard_although_it_has_few_rows(stacked):
    X, y, domain, labeled, new, truth = stacked
    scores = [
        (
            BalancedWeights(trade_off=t)
            .fit(X, y, sample_domain=domain, target_labeled=labeled)
            .predict(new)
            == truth
        ).mean()
        for t in (0.0, 0.5, 1.0)
    ]
    assert scores[0] < 0.6 and scores[1] > 0.7 and scores[2] > 0.85


def test_the_ends_are_source_only_and_target_only(stacked):
    X, y, domain, labeled, new, _ = stacked
    for end, rows in ((0.0, domain >= 0), (1.0, labeled)):
        got = BalancedWeights(LogisticRegression(C=1e6), trade_off=end).fit(
            X, y, sample_domain=domain, target_labeled=labeled
        )
        want = LogisticRegression(C=1e6).fit(X[rows], y[rows])
        np.testing.assert_array_equal(got.predict(new), want.predict(new))
        assert got.predict_proba(new).shape == (len(new), 2)


def test_the_kind_is_the_estimators():
    assert is_classifier(BalancedWeights()) and is_regressor(BalancedWeights(Ridge()))


def test_what_cannot_be_fitted_is_refused(stacked):
    X, y, domain, labeled, _, _ = stacked
    with pytest.raises(DataError, match="labelled"):
        BalancedWeights().fit(X, y, sample_domain=domain)
    with pytest.raises(UsageError, match="trade_off"):
        BalancedWeights(trade_off=2).fit(X, y, sample_domain=domain, target_labeled=labeled)
    with pytest.raises(UsageError, match="sample_weight"):
        BalancedWeights(KNeighborsClassifier()).fit(
            X, y, sample_domain=domain, target_labeled=labeled
        )
