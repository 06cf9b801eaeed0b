"""A network as a value: known numbers, its state, and layers that do not fit."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from isthmus.adapt.dense import Dense
from isthmus.adapt.state import from_state, to_state
from isthmus.errors import UsageError


def network(widths=(4, 5, 3), seed=0):
    rng = np.random.default_rng(seed)
    pairs = list(pairwise(widths))
    return Dense(
        rng.normal(size=widths[0]),
        tuple(rng.normal(size=pair).astype("f4") for pair in pairs),
        tuple(rng.normal(size=pair[1]).astype("f4") for pair in pairs),
    )


def test_known_numbers():
    net = Dense(
        np.array([1.0, 2.0]),
        (np.array([[1.0, -1.0], [0.0, 1.0]]), np.array([[2.0], [3.0]])),
        (np.array([0.0, 0.5]), np.array([-1.0])),
    )
    # (3, 2) - centre = (2, 0) -> (2, -2 + 0.5) -> relu (2, 0) -> 4 - 1
    np.testing.assert_allclose(net(np.array([[3.0, 2.0]])), [[3.0]])


def test_one_layer_is_linear_and_rows_are_left_alone():
    net, rows = network((4, 3)), np.random.default_rng(1).normal(size=(6, 4))
    kept = rows.copy()
    np.testing.assert_allclose(net(rows), (rows - net.centre) @ net.matrices[0] + net.offsets[0])
    np.testing.assert_array_equal(rows, kept)


def test_the_state_keeps_every_bit():
    net, rows = network(), np.random.default_rng(1).normal(size=(6, 4))
    tensors, meta = to_state(net)
    assert {name: value.dtype.str for name, value in tensors.items()}["matrices.0"] == "<f4"
    np.testing.assert_array_equal(from_state(tensors, meta)(rows), net(rows))


@pytest.mark.parametrize(
    "change",
    [
        {"centre": np.zeros(3)},
        {"centre": None},
        {"matrices": ()},
        {"offsets": (np.zeros(5),)},
        {"offsets": (np.zeros(5), np.zeros(4))},
        {"matrices": (np.zeros((4, 5)), np.zeros((4, 3)))},
        {"matrices": (np.zeros((4, 5)), 1.0)},
    ],
)
def test_layers_that_do_not_follow_one_another(change):
    net = network()
    parts = {"centre": net.centre, "matrices": net.matrices, "offsets": net.offsets} | change
    with pytest.raises(UsageError, match="do not follow"):
        Dense(**parts)
