"""FEDA: the kernel of its copies, ridge in dual form, EA++, sparse rows, help and failure."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import is_classifier, is_regressor
from sklearn.ensemble import RandomForestClassifier
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.svm import SVC

from isthmus.adapt.feda import FEDA, augmented_kernel, copies
from isthmus.data.domains import stack_domains
from isthmus.errors import DataError, UsageError


def domains(n=200, m=20, new=500, d=6, seed=0, turned=2, offset=0.0):
    """Linear classes; the target turns the sign of the first `turned` weights."""
    rng = np.random.default_rng(seed)
    w = np.ones(d)
    v = np.where(np.arange(d) < turned, -1.0, 1.0)
    Xs, Xt = rng.normal(size=(n, d)), rng.normal(size=(m + new, d))
    ys = (Xs @ w + 0.5 * rng.normal(size=n) > 0).astype(int)
    yt = (Xt @ v + 0.5 * rng.normal(size=m + new) > offset).astype(int)
    return Xs, ys, Xt, yt, np.where(np.arange(m + new) < m, yt, np.nan)


def fitted(model, Xs, ys, Xt, shown):
    X, y, domain, labeled = stack_domains(Xs, ys, Xt, shown)
    return model.fit(X, y, sample_domain=domain, target_labeled=labeled)


def test_a_machine_on_the_copies_is_a_machine_with_the_augmented_kernel():
    Xs, ys, Xt, _, shown = domains()
    X, y = np.r_[Xs, Xt[:20]], np.r_[ys, shown[:20]].astype(int)
    source = np.arange(220) < 200
    new, target = Xt[20:], np.zeros(500, dtype=bool)
    for kernel, K, Kn in (
        (None, X @ X.T, new @ X.T),
        ("rbf", rbf_kernel(X, gamma=0.1), rbf_kernel(new, X, gamma=0.1)),
    ):
        model = FEDA(SVC(kernel="linear", tol=1e-8), kernel=kernel, gamma=0.1)
        got = fitted(model, Xs, ys, Xt, shown).estimator_
        want = SVC(kernel="precomputed", tol=1e-8).fit(augmented_kernel(K, source, source), y)
        np.testing.assert_allclose(
            got.decision_function(model._columns(new)),
            want.decision_function(augmented_kernel(Kn, target, source)),
            atol=1e-5,
        )


def test_ridge_equals_its_dual():
    Xs, _, Xt, _, _ = domains()
    ys, yt = Xs.sum(axis=1) + 3, Xt[:, 2:].sum(axis=1)
    shown = np.where(np.arange(520) < 20, yt, np.nan)
    model = fitted(FEDA(Ridge(alpha=0.7, fit_intercept=False)), Xs, ys, Xt, shown)
    X, source = np.r_[Xs, Xt[:20]], np.arange(220) < 200
    dual = KernelRidge(alpha=0.7, kernel="precomputed")
    dual.fit(augmented_kernel(X @ X.T, source, source), np.r_[ys, yt[:20]])
    new = augmented_kernel(Xt[20:] @ X.T, np.zeros(500, dtype=bool), source)
    np.testing.assert_allclose(model.predict(Xt[20:]), dual.predict(new), atol=1e-9)
    assert is_regressor(model) and model.score(Xt[20:], yt[20:]) > 0.9


def accuracies(**shift):
    """Source-only, target-only, pooled and FEDA; mean of five draws."""
    out = []
    for seed in range(5):
        Xs, ys, Xt, yt, shown = domains(seed=seed, **shift)
        pooled = np.r_[Xs, Xt[:20]], np.r_[ys, yt[:20]]
        models = [
            LogisticRegression().fit(*rows) for rows in ((Xs, ys), (Xt[:20], yt[:20]), pooled)
        ]
        models.append(fitted(FEDA(), Xs, ys, Xt, shown))
        out.append([model.score(Xt[20:], yt[20:]) for model in models])
    return np.mean(out, axis=0)


def test_helps_where_the_domains_share_most_of_their_weights():
    source, target, pooled, both = accuracies(d=20, turned=5)
    assert both > max(source, target, pooled) + 0.05


def test_fails_where_they_share_none_and_costs_where_they_share_all():
    _, target, _, both = accuracies(turned=6)
    assert both < target - 0.02  # the source drags the shared weights along
    _, _, pooled, both = accuracies(turned=0)
    assert both < pooled


def test_a_shift_of_the_class_shares_goes_into_the_intercept():
    Xs, ys, Xt, yt, shown = domains(n=1000, m=60, turned=0, offset=3.0)
    model = fitted(FEDA(), Xs, ys, Xt, shown)
    weights = model.estimator_.coef_[0]
    assert weights[-1] < -1 < weights[12]  # the constants of target and source
    assert model.score(Xt, yt) > LogisticRegression().fit(Xs, ys).score(Xt, yt) + 0.05


def test_agreement_brings_the_two_sides_together_on_unlabelled_rows():
    Xs, ys, Xt, _, shown = domains()
    gaps = []
    for agreement in (0.0, 1.0, 100.0):
        model = fitted(FEDA(agreement=agreement), Xs, ys, Xt, shown)
        own = model.estimator_.coef_[0]
        gaps.append(np.abs(Xt[20:] @ (own[6:12] - own[13:19]) + own[12] - own[19]).max())
    assert gaps[0] > 1 > gaps[1] > gaps[2] and gaps[2] < 0.1
    # with no difference left it is one model of both domains, each row seen twice
    pooled = LogisticRegression().fit(np.r_[Xs, Xt[:20]], np.r_[ys, shown[:20]])
    assert (model.predict(Xt) == pooled.predict(Xt)).mean() > 0.97
    drawn = fitted(FEDA(agreement=1.0, max_unlabeled=10), Xs, ys, Xt, shown)
    assert np.isfinite(drawn.estimator_.coef_).all()
    for base in (Ridge(), RandomForestClassifier()):
        with pytest.raises(UsageError, match="agreement"):
            fitted(FEDA(base, agreement=1.0), Xs, ys, Xt, shown)


@pytest.mark.parametrize("agreement", [0.0, 0.5])
def test_sparse_rows_stay_sparse_and_single_precision_stays_single(agreement):
    Xs, ys, Xt, _, shown = domains()
    X, y, domain, labeled = stack_domains(Xs, ys, Xt, shown)
    known = {"sample_domain": domain, "target_labeled": labeled}
    dense = FEDA(agreement=agreement).fit(X, y, **known)
    thin = FEDA(agreement=agreement).fit(sparse.csr_matrix(X), y, **known)
    np.testing.assert_allclose(
        thin.predict_proba(sparse.csr_matrix(Xt)), dense.predict_proba(Xt), atol=1e-3
    )
    for X in (np.ones((3, 2), "f4"), sparse.csr_matrix(np.ones((3, 2), "f4"))):
        for side in ("source", "target", "unlabelled"):
            out = copies(X, side)
            assert out.dtype == np.float32 and out.shape == (3, 8)
            assert sparse.issparse(out) == sparse.issparse(X)
    assert copies(sparse.csr_matrix(np.ones((3, 2))), "target").nnz == 15
    single = FEDA(agreement=agreement).fit(X_32 := np.float32(np.r_[Xs, Xt]), y, **known)
    assert X_32.dtype == single.estimator_.coef_.dtype == np.float32


def test_the_kind_is_the_estimators_and_probabilities_are_offered_where_there_are_any():
    assert is_classifier(FEDA()) and is_regressor(FEDA(Ridge()))
    assert hasattr(FEDA(), "predict_proba") and not hasattr(FEDA(Ridge()), "predict_proba")


def test_what_it_cannot_use_is_refused():
    Xs, ys, Xt, _, shown = domains()
    with pytest.raises(UsageError, match="n_components=0"):
        fitted(FEDA(n_components=0), Xs, ys, Xt, shown)
    with pytest.raises(DataError, match="labelled"):
        fitted(FEDA(), Xs, ys, Xt, None)
    model = fitted(FEDA(), Xs, ys, Xt, shown)
    with pytest.raises(DataError, match="5 features, fitted on 6"):
        model.predict(Xt[:, :5])
