"""A head that learns nothing: its columns are the scores."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from isthmus.errors import BundleError, DataError
from isthmus.fit.heads import head_from_state
from isthmus.fit.scores import ScoreHead

Z = np.array([[0.0, 2.0, 1.0], [3.0, -1.0, 0.5]])


def test_columns_are_logits_of_the_classes():
    head = ScoreHead.of(3, [0, 2, 5])
    assert head.predict(Z).tolist() == [2, 0]
    np.testing.assert_allclose(head.predict_proba(Z), softmax(Z, axis=1))
    again = head_from_state(*head.to_state())
    np.testing.assert_array_equal(again.predict(Z), head.predict(Z))


def test_one_column_without_classes_is_the_value():
    head = ScoreHead.of(1)
    assert head.predict(Z[:, :1]).tolist() == [0.0, 3.0]
    assert head_from_state(*head.to_state()).predict(Z[:, :1]).tolist() == [0.0, 3.0]


def test_widths_must_agree():
    with pytest.raises(BundleError, match="2 columns of scores for 3 answers"):
        ScoreHead.of(2, [0, 1, 2])
    with pytest.raises(DataError):
        ScoreHead.of(2, [0, 1]).predict(Z)


def test_fit_learns_the_classes_alone():
    assert ScoreHead().fit(Z, np.array([4, 1])).classes_.tolist() == [1, 4]
