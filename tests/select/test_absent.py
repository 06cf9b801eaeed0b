"""Absent classes by hand: what is called absent, what stays, and how few rows are left."""

import numpy as np

from isthmus.select.absent import ABSENT, HALVED, absent_classes, thinned


def proba(shares, n=200):
    return np.tile(np.asarray(shares, dtype=float), (n, 1))


CODES = np.repeat(np.arange(4), 25)


def test_equal_shares_call_nothing_absent():
    found = absent_classes(proba([0.25] * 4), CODES)
    assert found.absent == () and found.share == 0
    np.testing.assert_array_equal(found.weights, 1)


def test_half_of_the_classes_gone():
    found = absent_classes(proba([0.48, 0.46, 0.04, 0.02]), CODES)
    assert found.absent == (2, 3) and found.share == 0.5
    np.testing.assert_array_equal(found.weights[:2], 1)
    ratio = np.array([0.04, 0.02]) / np.quantile([0.48, 0.46, 0.04, 0.02], 0.75)
    np.testing.assert_allclose(found.weights[2:], HALVED * ratio)


def test_uneven_shares_that_follow_the_source_are_no_absence():
    codes = np.repeat([0, 1, 2, 3], [70, 20, 5, 5])
    assert absent_classes(proba([0.7, 0.2, 0.05, 0.05]), codes).absent == ()
    tilted = absent_classes(proba([0.5, 0.3, 0.1, 0.1]), codes)
    assert tilted.absent == () and tilted.ratio.min() > ABSENT


def test_a_class_that_labelled_target_rows_show_is_there():
    found = absent_classes(proba([0.48, 0.46, 0.04, 0.02]), CODES, present={3})
    assert found.absent == (2,) and found.weights[3] == 1


def test_a_class_without_source_rows_is_left_alone():
    found = absent_classes(proba([0.5, 0.5, 0.0]), np.repeat([0, 1], 10))
    assert found.absent == () and found.weights[2] == 1


def test_thinning_keeps_its_share_and_never_the_last_rows():
    kept = thinned(CODES, np.array([1.0, 0.4, 0.0, 1.0]), random_state=3)
    np.testing.assert_array_equal(np.bincount(CODES[kept]), [25, 10, 2, 25])
    assert (np.diff(kept) > 0).all()
    np.testing.assert_array_equal(
        kept, thinned(CODES, np.array([1.0, 0.4, 0.0, 1.0]), random_state=3)
    )
    assert len(thinned(np.array([0, 1, 1]), np.array([0.0, 0.0]))) == 3
