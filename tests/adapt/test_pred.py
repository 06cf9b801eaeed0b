"""PRED: written out by hand, every kind of score, help and failure."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import is_classifier, is_regressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neighbors import NearestCentroid
from sklearn.tree import DecisionTreeClassifier

from isthmus.adapt.pred import PRED, scores
from isthmus.data.domains import stack_domains
from isthmus.errors import DataError, UsageError


def domains(n=300, m=20, new=500, d=8, seed=0, offset=1.5):
    """The target has the source's direction and another threshold on it."""
    rng = np.random.default_rng(seed)
    Xs, Xt = rng.normal(size=(n, d)), rng.normal(size=(m + new, d))
    w = np.ones(d)
    ys = (Xs @ w + 0.5 * rng.normal(size=n) > 0).astype(int)
    yt = (Xt @ w + 0.5 * rng.normal(size=m + new) > offset).astype(int)
    return Xs, ys, Xt, yt, np.where(np.arange(m + new) < m, yt, np.nan)


def fitted(model, Xs, ys, Xt, shown):
    X, y, domain, labeled = stack_domains(Xs, ys, Xt, shown)
    return model.fit(X, y, sample_domain=domain, target_labeled=labeled)


@pytest.mark.parametrize("passthrough", [True, False])
def test_it_is_two_fits_one_after_the_other(passthrough):
    Xs, ys, Xt, yt, shown = domains()
    got = fitted(PRED(passthrough=passthrough), Xs, ys, Xt, shown)
    first = LogisticRegression(max_iter=1000).fit(Xs, ys)
    columns = first.decision_function(Xt)[:, None]
    if passthrough:
        columns = np.c_[Xt, columns]
    second = LogisticRegression(max_iter=1000).fit(columns[:20], yt[:20])
    np.testing.assert_allclose(got.predict_proba(Xt), second.predict_proba(columns))
    np.testing.assert_array_equal(got.predict(Xt), second.predict(columns))


def test_values_are_refined_by_a_line_over_the_sources_prediction():
    """The target is an affine function of the source's values: two numbers, two rows."""
    Xs, _, Xt, _, _ = domains()
    w = np.linspace(-1, 1, 8)
    shown = np.where(np.arange(520) < 2, 3 * (Xt @ w) - 7, np.nan)
    model = fitted(PRED(LinearRegression(), passthrough=False), Xs, Xs @ w, Xt, shown)
    np.testing.assert_allclose(model.predict(Xt), 3 * (Xt @ w) - 7)
    assert is_regressor(model) and not hasattr(model, "predict_proba")


def test_scores_take_the_finest_form():
    Xs, ys, Xt, _, _ = domains()
    three = np.digitize(Xs[:, 0], [-0.5, 0.5])
    assert scores(LogisticRegression().fit(Xs, ys), Xt).shape == (520, 1)
    assert scores(LogisticRegression().fit(Xs, three), Xt).shape == (520, 3)
    tree = DecisionTreeClassifier(max_depth=2).fit(Xs, three)
    np.testing.assert_array_equal(scores(tree, Xt), tree.predict_proba(Xt))
    plain = NearestCentroid().fit(Xs, three)
    if not hasattr(plain, "decision_function"):
        assert set(np.unique(scores(plain, Xt))) == {0.0, 1.0}
    np.testing.assert_array_equal(
        scores(Ridge().fit(Xs, ys), Xt)[:, 0], Ridge().fit(Xs, ys).predict(Xt)
    )


def accuracies(**shift):
    """Source-only, target-only and PRED; mean of five draws."""
    out = []
    for seed in range(5):
        Xs, ys, Xt, yt, shown = domains(seed=seed, **shift)
        alone = [LogisticRegression().fit(*rows) for rows in ((Xs, ys), (Xt[:20], yt[:20]))]
        models = [*alone, fitted(PRED(), Xs, ys, Xt, shown)]
        out.append([model.score(Xt[20:], yt[20:]) for model in models])
    return np.mean(out, axis=0)


def test_helps_where_the_target_reads_the_sources_score_in_another_way():
    source, target, both = accuracies(offset=3.0)
    assert both > source + 0.05 and both > target + 0.02


def test_fails_where_the_source_was_right_already():
    """Twenty rows and eight features beside the score cost what the source had for nothing."""
    source, _, both = accuracies(offset=0.0)
    assert both < source - 0.01


def test_sparse_rows_and_single_precision():
    Xs, ys, Xt, _, shown = domains()
    X, y, domain, labeled = stack_domains(Xs, ys, Xt, shown)
    known = {"sample_domain": domain, "target_labeled": labeled}
    dense = PRED().fit(X, y, **known)
    thin = PRED().fit(sparse.csr_matrix(X), y, **known)
    np.testing.assert_allclose(
        thin.predict_proba(sparse.csr_matrix(Xt)), dense.predict_proba(Xt), atol=1e-3
    )
    assert PRED().fit(np.float32(X), y, **known).estimator_.coef_.dtype == np.float32


def test_source_and_target_may_differ_in_their_estimator_but_not_in_its_kind():
    Xs, ys, Xt, yt, shown = domains()
    model = PRED(source_estimator=DecisionTreeClassifier(max_depth=5))
    fitted(model, Xs, ys, Xt, shown)
    assert model.estimator_.n_features_in_ == 10 and is_classifier(model)
    with pytest.raises(UsageError, match="both"):
        fitted(PRED(source_estimator=Ridge()), Xs, ys, Xt, shown)
    with pytest.raises(DataError, match="labelled target rows have the one class"):
        fitted(PRED(), Xs, ys, Xt, np.where(yt == 1, 1.0, np.nan))
    with pytest.raises(DataError, match=r"source rows have the one class 0 \("):
        fitted(PRED(), Xs, np.zeros(300, dtype=int), Xt, shown)
