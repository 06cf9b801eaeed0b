"""The small modules around a network, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from isthmus.backbone import recipes
from isthmus.backbone.networks import Captured, Normalised, Pooled, seeded, width
from isthmus.errors import BackboneError, UsageError

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("channels", ["RGB", "BGR"])
def test_scaling_inside_the_network_is_normalise(channels):
    recipe = recipes.eval_recipe(8, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7)) | {
        "channels": channels
    }
    pixels = RNG.integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    found = Normalised(nn.Identity(), recipe)(torch.from_numpy(pixels)).numpy()
    np.testing.assert_allclose(found, recipes.normalise(pixels, recipe), atol=2e-7 * 10)


def test_pooling_of_maps_and_tokens():
    maps = torch.from_numpy(RNG.normal(size=(2, 5, 3, 4)).astype(np.float32))
    a = maps.numpy()
    same = nn.Identity()
    np.testing.assert_allclose(Pooled(same)(maps), a.mean((2, 3)), atol=1e-6)
    np.testing.assert_allclose(Pooled(same, "max")(maps), a.max((2, 3)))
    last = maps.permute(0, 2, 3, 1)
    np.testing.assert_allclose(Pooled(same, "avgmax", channels_last=True)(last),
                               (a.mean((2, 3)) + a.max((2, 3))) / 2, atol=1e-6)  # fmt: skip
    tokens = torch.from_numpy(RNG.normal(size=(2, 7, 5)).astype(np.float32))
    t = tokens.numpy()
    np.testing.assert_allclose(Pooled(same, prefix=2)(tokens), t[:, 0])
    np.testing.assert_allclose(Pooled(same, "avg", prefix=2)(tokens), t[:, 2:].mean(1), atol=1e-6)
    np.testing.assert_allclose(Pooled(same)(tokens), t.mean(1), atol=1e-6)
    np.testing.assert_allclose(Pooled(same, "flatten")(tokens), t.reshape(2, -1))
    rows = torch.zeros(2, 5)
    assert Pooled(same)(rows).shape == (2, 5)
    with pytest.raises(UsageError, match="nothing to pool"):
        Pooled(same, "max")(rows)


def test_captured_layers():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Flatten())
    x = torch.randn(1, 3, 2, 2)
    assert torch.equal(Captured(net, "0")(x), net[0](x))
    with pytest.raises(UsageError, match="no layer '9'"):
        Captured(net, "9")
    in_place = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True))
    assert torch.equal(Captured(in_place, "0")(x), in_place[0](x))

    class Unused(nn.Module):
        def __init__(self):
            super().__init__()
            self.spare = nn.Linear(2, 2)

        def forward(self, x):
            return x

    with pytest.raises(BackboneError, match="not used"):
        Captured(Unused(), "spare")(x)


def test_width_and_seed():
    assert width(nn.Flatten(), (2, 3)) == 18
    with pytest.raises(UsageError, match="one row an image"):
        width(nn.Identity(), (2, 3))
    one, two = seeded(lambda: torch.rand(3)), seeded(lambda: torch.rand(3))
    assert torch.equal(one, two)
