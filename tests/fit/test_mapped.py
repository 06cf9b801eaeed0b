"""The front of an adapted model: processing, then a map whose parts must fit together."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.adapt.maps import Affine, Scaled
from isthmus.errors import BundleError, UsageError
from isthmus.fit.features import FeatureProcessor
from isthmus.fit.mapped import Mapped, front_from_state

RNG = np.random.default_rng(0)
X = (RNG.normal(size=(30, 4)) * [1, 5, 0.1, 2] + 3).astype("f4")


def test_rows_go_through_the_processor_and_then_the_map():
    processor = FeatureProcessor().fit(X)
    matrix = RNG.normal(size=(4, 2))
    front = Mapped.of(processor, Scaled(np.array([2.0]), Affine(np.zeros(4), matrix)), 4)
    assert (front.n_features_in_, front.n_features_out_, front.constant_) == (4, 2, 0)
    want = 2 * ((X - X.mean(axis=0)) / X.std(axis=0)) @ matrix
    np.testing.assert_allclose(front.transform(X), want, rtol=1e-4, atol=1e-4)


def test_values_of_a_regression_are_one_column():
    front = Mapped.of(None, Affine(np.zeros(4), np.ones(4)), 4)
    assert front.n_features_out_ == 1
    np.testing.assert_allclose(front.transform(X)[:, 0], X.sum(axis=1), rtol=1e-5)


def test_the_state_comes_back_bit_for_bit():
    front = Mapped.of(FeatureProcessor().fit(X), Affine(np.ones(4), RNG.normal(size=(4, 3))), 4)
    again = front_from_state(*front.to_state())
    np.testing.assert_array_equal(again.transform(X), front.transform(X))
    plain = FeatureProcessor().fit(X)
    assert isinstance(front_from_state(*plain.to_state()), FeatureProcessor)


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        (Affine(np.zeros(3)), "does not fit"),
        (Affine(np.zeros(4), np.ones((3, 2))), "does not fit"),
        (Affine("four"), "does not fit"),
        (Affine(np.zeros((2, 3, 4))), "shape"),
        (Affine(np.zeros(4), np.ones((4, 0))), "shape"),
    ],
)
def test_a_map_that_does_not_fit_is_refused(mapping, words):
    with pytest.raises(BundleError, match=words):
        Mapped.of(None, mapping, 4)


def test_a_map_that_cannot_be_saved_is_refused_at_once():
    with pytest.raises(UsageError, match="cannot be saved"):
        Mapped.of(None, lambda rows: rows, 4)
