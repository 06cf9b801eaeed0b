"""A source model as a value: what is taken over, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.tree import DecisionTreeClassifier

from isthmus.adapt.linear_source import LinearSource, is_given
from isthmus.errors import UsageError


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    return rng.normal(size=(60, 3)), np.arange(60)


@pytest.mark.parametrize("classes", [2, 3])
def test_scores_are_the_models_own(rows, classes):
    X, n = rows
    model = LogisticRegression().fit(X, n % classes)
    source = LinearSource.of(model)
    want = model.decision_function(X).reshape(60, -1)
    np.testing.assert_allclose(source.scores(X), want)
    assert LinearSource.of(source).coef is not source.coef  # a copy: nobody else can change it


def test_two_rows_for_two_classes_become_their_difference():
    source = LinearSource.of(LinearSource([[1.0, 0], [0, 2]], [0.5, 1.0], np.arange(2)))
    np.testing.assert_array_equal(source.coef, [[-1, 2]])
    np.testing.assert_array_equal(source.intercept, [0.5])


def test_a_regressor_and_a_model_without_intercept(rows):
    X, _ = rows
    source = LinearSource.of(Ridge(fit_intercept=False).fit(X, X[:, 0] * 2))
    assert source.classes is None and source.coef.shape == (1, 3)
    np.testing.assert_array_equal(source.intercept, [0.0])


def test_what_is_given_and_what_is_to_be_fitted(rows):
    X, n = rows
    assert is_given(LogisticRegression().fit(X, n % 2)) and not is_given(LogisticRegression())
    assert is_given(LinearSource(np.ones((1, 3)), np.ones(1))) and not is_given(None)


def test_what_fits_no_linear_model_is_refused(rows):
    X, n = rows
    for wrong, match in (
        (DecisionTreeClassifier().fit(X, n % 2), "coef_"),
        (LinearSource(np.ones((2, 3)), np.ones(2), np.arange(3)), "3 classes"),
        (LinearSource(np.full((1, 3), np.nan), np.ones(1), np.arange(2)), "NaN"),
    ):
        with pytest.raises(UsageError, match=match):
            LinearSource.of(wrong)
