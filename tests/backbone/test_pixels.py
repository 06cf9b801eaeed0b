"""Grey pixels as features: known values, refusals, and the name builds it again."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.backbone import load_backbone
from isthmus.errors import UsageError


def test_grey_values_in_the_order_of_reading():
    backbone = load_backbone("pixels:2", modality="image")
    assert backbone.num_features == 4
    grey = np.array([[0, 51], [102, 255]], dtype=np.uint8)
    made = backbone(backbone.preprocess(grey)[None])
    assert made.dtype == np.float32
    np.testing.assert_allclose(made[0], [0, 0.2, 0.4, 1.0], atol=1e-6)


def test_colours_weigh_as_the_eye_sees_them():
    backbone = load_backbone("pixels:1")
    rgb = np.eye(3, dtype=np.uint8)[:, None, None, :] * 255
    np.testing.assert_allclose(backbone(rgb)[:, 0], [0.299, 0.587, 0.114], atol=1e-6)


def test_its_name_builds_it_again_and_its_size_is_its_identity():
    one = load_backbone("pixels:28")
    again = load_backbone(**one.reference)
    assert again.fingerprint == one.fingerprint != load_backbone("pixels:16").fingerprint


@pytest.mark.parametrize("spec", ["pixels:", "pixels:x", "pixels:0", "pixels:99999"])
def test_a_size_is_needed(spec):
    with pytest.raises(UsageError):
        load_backbone(spec)


def test_it_has_no_weights():
    with pytest.raises(UsageError, match="weights does not apply"):
        load_backbone("pixels:28", weights="random")
