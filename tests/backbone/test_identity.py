"""Plain features: passed through as float32, or refused with the position of what is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.backbone import Backbone, load_backbone
from isthmus.backbone.identity import IdentityBackbone
from isthmus.errors import BackboneError, DataError, UsageError


def test_values_come_through_unchanged():
    backbone = IdentityBackbone().fixed(4)
    assert isinstance(backbone, Backbone)
    rows = np.random.default_rng(0).normal(size=(7, 4))
    made = backbone(np.stack([backbone.preprocess(row) for row in rows]))
    assert made.dtype == np.float32
    np.testing.assert_array_equal(made, rows.astype(np.float32))


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int64, np.uint8, bool])
def test_every_kind_of_number(dtype):
    row = np.array([0, 1, 1, 0]).astype(dtype)
    assert IdentityBackbone(4).preprocess(row).tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
def test_what_is_not_finite_in_float32_is_refused_with_its_place(value):
    row = np.array([0.0, value, 2.0])
    with pytest.raises(DataError, match="feature 1"):
        IdentityBackbone(3).preprocess(row)


@pytest.mark.parametrize("row", [np.zeros(2), np.zeros((3, 1)), np.zeros(0), ["a", "b", "c"]])
def test_other_shapes_and_texts_are_refused(row):
    with pytest.raises(DataError):
        IdentityBackbone(3).preprocess(row)


def test_the_width_is_fixed_before_use_and_part_of_the_fingerprint():
    loose = load_backbone(modality="features")
    with pytest.raises(UsageError, match="fixed"):
        loose.preprocess(np.zeros(5))
    five = loose.fixed(5)
    assert five.fingerprint == IdentityBackbone(5).fingerprint != IdentityBackbone(6).fingerprint
    assert load_backbone(**five.reference).fingerprint == five.fingerprint
    with pytest.raises(BackboneError, match="5"):
        five.fixed(6)


def test_options_of_networks_do_not_apply():
    with pytest.raises(UsageError, match="pooling"):
        load_backbone("identity", pooling="mean")
    with pytest.raises(UsageError, match="width"):
        load_backbone("identity:wide")
