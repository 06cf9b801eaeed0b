"""What all heads share: blocks, weights, class codes, JSON forms of parameters."""

import json

import numpy as np
import pytest
import scipy.sparse

from isthmus.errors import DataError, UsageError
from isthmus.fit import LogisticHead, RidgeHead
from isthmus.fit.base import (
    BLOCK_BYTES,
    check_weights,
    class_factors,
    encode_classes,
    row_blocks,
    softmax,
)


@pytest.mark.parametrize(("n", "width"), [(1, 5), (100_000, 1280), (50, 10**9), (0, 3)])
def test_blocks_cover_every_row_once_within_the_budget(n, width):
    parts = list(row_blocks(n, width))
    assert [i for p in parts for i in range(p.start, p.stop)] == list(range(n))
    for p in parts:
        assert (p.stop - p.start) * width * 8 <= max(BLOCK_BYTES, 16 * width * 8)


def test_weights_default_to_one_and_are_never_the_callers():
    X, given = np.zeros((3, 1)), np.array([1.0, 0.0, 2.0])
    assert check_weights(None, X).tolist() == [1, 1, 1]
    got = check_weights(given, X)
    got *= 5
    assert given.tolist() == [1, 0, 2]
    for bad in ([0, 0, 0], [1, -1, 1], [1, np.nan, 1], [1, 1]):
        with pytest.raises(DataError):
            check_weights(bad, X)


def test_a_class_without_weight_does_not_exist():
    classes, codes = encode_classes(["b", "a", "z", "b"], 4, np.array([1.0, 1, 0, 1]))
    assert classes.tolist() == ["a", "b"] and codes.tolist() == [1, 0, 0, 1]
    with pytest.raises(DataError, match="one class"):
        encode_classes(["a", "b"], 2, np.array([1.0, 0]))


def test_class_factors():
    classes, codes = np.array(["a", "b"]), np.array([0, 0, 0, 1])
    assert class_factors(None, classes, codes, np.ones(4)).tolist() == [1, 1]
    assert np.allclose(class_factors("balanced", classes, codes, np.ones(4)), [4 / 6, 2])
    weighted = class_factors("balanced", classes, codes, np.array([1.0, 0, 0, 1]))
    assert weighted.tolist() == [1, 1]
    assert class_factors({"b": 3}, classes, codes, np.ones(4)).tolist() == [1, 3]
    with pytest.raises(UsageError):
        class_factors("auto", classes, codes, np.ones(4))


def test_softmax_survives_large_logits():
    p = softmax(np.array([[1e4, 0.0], [-1e4, -1e4]]))
    assert p.tolist() == [[1, 0], [0.5, 0.5]]


def test_every_parameter_has_a_json_form():
    X, y = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 2
    pairs = [(np.arange(0, 40, 2), np.arange(1, 40, 2)), (np.arange(20), np.arange(20, 40))]
    head = LogisticHead(C=np.array([0.1, 1.0]), cv=pairs, class_weight={0: 2.0, 1: 1.0}).fit(X, y)
    tensors, meta = head.to_state()
    again = LogisticHead.from_state(tensors, json.loads(json.dumps(meta, allow_nan=False)))
    assert again.C == [0.1, 1.0] and again.C_ == head.C_


def test_sparse_text_and_wrong_width_are_refused():
    X, y = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 2
    with pytest.raises(DataError, match="sparse"):
        RidgeHead().fit(scipy.sparse.csr_matrix(X), y)
    with pytest.raises(DataError):
        RidgeHead().fit([["a", "b"], ["c", "d"]], [0, 1])
    with pytest.raises(DataError, match="features"):
        RidgeHead().fit(X, y).predict(X[:, :2])
