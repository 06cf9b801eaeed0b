"""Own networks: named by weights and structure, never changed behind the caller's back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from isthmus.backbone import Backbone, load_backbone, recipes
from isthmus.backbone.module import function
from isthmus.errors import BackboneError, UsageError


class Small(nn.Module):
    def __init__(self, seed=0, width=6):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.conv = nn.Conv2d(3, width, 5, stride=4)
            self.norm = nn.BatchNorm2d(width)
            self.drop = nn.Dropout(0.5)

    def forward(self, x):
        return self.drop(self.norm(self.conv(x)).relu())


def picture(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (60, 80, 3), dtype=np.uint8)


def test_a_module_gives_its_pooled_features_and_is_left_as_it_was():
    net = Small().train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    backbone = load_backbone(net, size=32)
    batch = np.stack([backbone.preprocess(picture(s)) for s in range(3)])
    found = backbone(batch)
    values = torch.from_numpy(recipes.normalise(batch, backbone.recipe))
    with torch.no_grad():
        expected = Small().eval()(values).mean((2, 3)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert net.training and all(p.requires_grad for p in net.parameters())
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert backbone.reference == {"custom": True}
    assert isinstance(backbone, Backbone)


def test_the_fingerprint_follows_weights_structure_and_options():
    def mark(net, **options):
        return load_backbone(net, size=32, **options).fingerprint

    base = mark(Small())
    assert mark(Small()) == base
    changed = Small()
    changed.norm.running_mean[0] += 1e-3
    strided = Small()
    strided.conv.stride = (2, 2)
    others = [mark(Small(seed=1)), mark(changed), mark(strided), mark(Small(), layer="conv")]
    others += [mark(Small(), pooling="max"), mark(nn.Sequential(Small()))]
    assert len({base, *others}) == 7


def test_a_recipe_can_travel_with_the_module():
    net = Small()
    net.isthmus_recipe = recipes.eval_recipe(48, mean=(0, 0, 0), std=(1, 1, 1))
    assert load_backbone(net).preprocess(picture()).shape == (48, 48, 3)
    assert load_backbone(net, size=24).preprocess(picture()).shape == (24, 24, 3)
    net.isthmus_recipe = {"kind": "image"}
    with pytest.raises((BackboneError, KeyError)):
        load_backbone(net)


def test_refusals():
    broken = Small()
    with torch.no_grad():
        broken.conv.weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(BackboneError, match=r"'conv\.weight' hold NaN"):
        load_backbone(broken, size=32)
    with pytest.raises(UsageError, match="is a class"):
        load_backbone(Small)
    with pytest.raises(UsageError, match="not for text"):
        load_backbone(Small(), modality="text")


def mean_colour(batch):
    return batch.reshape(len(batch), -1, 3).mean(1)


def test_a_callable_needs_a_name_and_a_version():
    with pytest.raises(UsageError, match="name and a version"):
        load_backbone(mean_colour)
    one = function(mean_colour, name="mean colour", version=1, size=16)
    two = function(mean_colour, name="mean colour", version=2, size=16)
    assert one.fingerprint != two.fingerprint
    assert (
        one.fingerprint
        == function(mean_colour, name="mean colour", version="1", size=16).fingerprint
    )
    batch = np.stack([one.preprocess(picture())] * 2)
    np.testing.assert_allclose(one(batch), mean_colour(batch), rtol=1e-6)
    assert one.num_features == 3 and isinstance(one, Backbone)


def test_a_callable_object_carries_its_name():
    class Colour:
        name, version = "colour", "3"

        def __call__(self, batch):
            return mean_colour(batch)

    assert load_backbone(Colour(), size=16).name == "callable:colour"


def test_a_callable_whose_rows_depend_on_each_other_is_refused():
    def centred(batch):
        return mean_colour(batch) - mean_colour(batch).mean(0)

    with pytest.raises(BackboneError, match="other images"):
        function(centred, name="centred", version=1, size=16)
    with pytest.raises(BackboneError, match="one row for each image"):
        function(lambda batch: batch.mean(), name="x", version=1, size=16)
