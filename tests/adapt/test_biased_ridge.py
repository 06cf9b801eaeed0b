"""Biased ridge regression: scikit-learn's ridge, leave-one-out by hand, help and harm."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge

from isthmus.adapt.biased_ridge import BiasedRidge
from isthmus.adapt.linear_source import LinearSource
from isthmus.data.domains import stack_domains
from isthmus.errors import DataError, UsageError


def domains(n=200, m=300, shown=15, d=10, change=0.4, seed=0, noise=0.5):
    """Linear values; the target's weights differ from the source's by `change`."""
    rng = np.random.default_rng(seed)
    w, step = rng.normal(size=(2, d))
    Xs, Xt = rng.normal(size=(n, d)), rng.normal(size=(m, d)) + 1
    ys = Xs @ w + 2 + noise * rng.normal(size=n)
    yt = Xt @ (w + change * step) + 3 + noise * rng.normal(size=m)
    known = np.where(np.arange(m) < shown, yt, np.nan)
    X, y, domain, labeled = stack_domains(Xs, ys, Xt, known)
    return (X, y), {"sample_domain": domain, "target_labeled": labeled}, Xt, yt


@pytest.mark.parametrize("shown", [6, 40])
def test_without_source_weights_it_is_scikit_learns_ridge(shown):
    args, kept, Xt, yt = domains(shown=shown)
    zero = LinearSource(np.zeros((1, 10)), np.zeros(1))
    got = BiasedRidge(2.0, source=zero, shrink_intercept=False).fit(*args, **kept)
    want = Ridge(alpha=2.0).fit(Xt[:shown], yt[:shown])
    np.testing.assert_allclose(got.coef_, want.coef_)
    assert got.intercept_ == pytest.approx(want.intercept_)


def test_it_is_a_ridge_of_what_the_source_leaves_over():
    args, kept, Xt, yt = domains()
    source = Ridge().fit(args[0][:200], args[1][:200])
    got = BiasedRidge(3.0, source=source, shrink_intercept=False).fit(*args, **kept)
    rest = Ridge(alpha=3.0).fit(Xt[:15], yt[:15] - source.predict(Xt[:15]))
    np.testing.assert_allclose(got.predict(Xt), source.predict(Xt) + rest.predict(Xt))


def test_the_ends_are_the_source_and_least_squares_on_the_target():
    args, kept, Xt, yt = domains(shown=40)
    source = Ridge().fit(args[0][:200], args[1][:200])
    for strength, tol in ((np.inf, 1e-12), (1e12, 1e-6)):
        got = BiasedRidge(strength, source=source).fit(*args, **kept)
        np.testing.assert_allclose(got.predict(Xt), source.predict(Xt), atol=tol)
    got = BiasedRidge(0.0, source=source).fit(*args, **kept)
    want = LinearRegression().fit(Xt[:40], yt[:40])
    np.testing.assert_allclose(got.predict(Xt), want.predict(Xt), atol=1e-8)


@pytest.mark.parametrize("shrink", [True, False])
def test_leave_one_out_in_closed_form_is_leave_one_out(shrink):
    args, kept, Xt, yt = domains(shown=9)
    source = LinearSource(np.ones((1, 10)), np.ones(1))
    got = BiasedRidge(source=source, shrink_intercept=shrink).fit(*args, **kept)
    assert set(got.cv_losses_) >= {np.inf, got.strength_}
    m, unit = Xt.mean(0), (Xt.var(0).sum() / 10) ** 0.5
    rest = yt[:9] - source.scores(Xt[:9])[:, 0]
    for strength, loss in list(got.cv_losses_.items())[1::4]:
        errors = []
        for i in range(9):
            keep = np.delete(np.arange(9), i)
            if shrink:
                A = np.c_[Xt[:9] - m, np.full(9, unit)]
                model = Ridge(alpha=strength, fit_intercept=False)
            else:
                A, model = Xt[:9], Ridge(alpha=strength)
            errors.append(rest[i] - model.fit(A[keep], rest[keep]).predict(A[i : i + 1])[0])
        assert loss == pytest.approx(np.mean(np.square(errors)), rel=1e-6)
    if shrink:
        assert got.cv_losses_[np.inf] == pytest.approx(np.mean(rest**2))


def test_helps_where_the_weights_changed_a_little_and_labels_are_few():
    errors = []
    for seed in range(5):
        args, kept, Xt, yt = domains(seed=seed, d=20)
        models = [
            BiasedRidge().fit(*args, **kept),
            Ridge().fit(args[0][:200], args[1][:200]),
            Ridge().fit(Xt[:15], yt[:15]),
        ]
        errors.append([np.mean((model.predict(Xt) - yt) ** 2) for model in models])
    got, source, alone = np.mean(errors, axis=0)
    assert got < 0.8 * source and got < 0.5 * alone


def test_fails_under_an_opposite_rule():
    rng = np.random.default_rng(0)
    Xs, Xt = rng.normal(size=(200, 20)), rng.normal(size=(300, 20))
    w = rng.normal(size=20)
    yt = -Xt @ w + rng.normal(size=300)
    X, y, domain, labeled = stack_domains(Xs, Xs @ w, Xt, np.where(np.arange(300) < 15, yt, np.nan))
    kept = {"sample_domain": domain, "target_labeled": labeled}
    zero = LinearSource(np.zeros((1, 20)), np.zeros(1))
    error = [
        np.mean((model.fit(X, y, **kept).predict(Xt) - yt) ** 2)
        for model in (BiasedRidge(), BiasedRidge(source=zero))
    ]
    assert error[0] > 1.3 * error[1]


def test_one_row_all_equal_rows_and_no_rows():
    args, kept, Xt, yt = domains(shown=1)
    got = BiasedRidge().fit(*args, **kept)
    assert "held out" in got.strength_how_
    assert abs(got.predict(Xt[:1]) - yt[0]) < abs(got.source_.scores(Xt[:1])[0, 0] - yt[0])
    X, y, domain, labeled = stack_domains(Xt, yt, np.ones((3, 10)), [1.0, 1.0, np.nan])
    same = BiasedRidge().fit(X, y, sample_domain=domain, target_labeled=labeled)
    assert np.isfinite(same.predict(Xt)).all()
    with pytest.raises(DataError, match="labelled"):
        BiasedRidge().fit(*args, sample_domain=kept["sample_domain"])


def test_a_classifier_and_names_are_refused():
    args, kept, Xt, _ = domains()
    wrong = LogisticRegression().fit(Xt, Xt[:, 0] > 0)
    with pytest.raises(UsageError, match="regressor"):
        BiasedRidge(source=wrong).fit(*args, **kept)
    with pytest.raises(DataError, match="no numbers"):
        BiasedRidge().fit(args[0], np.where(args[1] > 0, "a", "b"), **kept)
