"""VGG16, ResNet and Inception-V3 with the recipes' heads: they build, train a step, and freeze."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

from isthmus.fit.deep.bodies import backbone_body  # noqa: E402
from isthmus.fit.deep.freeze import unfreeze  # noqa: E402
from isthmus.fit.deep.loop import train  # noqa: E402
from isthmus.fit.deep.network import Network  # noqa: E402
from isthmus.fit.deep.rows import Rows  # noqa: E402
from isthmus.fit.deep.settings import Settings  # noqa: E402
from isthmus.fit.deep.strategy import make_strategy  # noqa: E402
from isthmus.fit.deep.surgery import make_head, state_of  # noqa: E402
from isthmus.fit.deep.task_alignment import TaskAlignment  # noqa: E402

NETWORKS = [  # spec, options, side, width of what the dense layer reads
    ("torchvision:vgg16", {"layer": "features", "pooling": "flatten"}, 64, 512 * 2 * 2),
    ("torchvision:resnet18", {}, 64, 512),
    ("torchvision:inception_v3", {}, 299, 2048),
]


@pytest.mark.slow
@pytest.mark.parametrize(("spec", "options", "side", "width"), NETWORKS)
def test_a_step_and_a_frozen_body(spec, options, side, width):
    body, backbone = backbone_body(spec, weights="random", size=side, **options)
    assert backbone.num_features == width
    assert backbone.recipe["steps"][-1]["size"] == [side, side]
    names = [name for name, _ in body.named_parameters()]
    assert not any("classifier" in name or "Aux" in name or ".fc." in name for name in names)
    network = Network(body, 2, head=make_head(width, 2, hidden=(16,), dropout=0.5))
    X = torch.randint(0, 255, (2, side, side, 3), dtype=torch.uint8)
    rows = Rows(X, torch.tensor([0, 1]).numpy())
    settings = Settings(epochs=1, batch_size=2, optimizer="adam", lr=1e-4)

    before = state_of(network)
    train(network, TaskAlignment(), source=rows, settings=settings, plan=make_strategy("head-only"))
    after = state_of(network)
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    assert moved and all(name.startswith("head.") for name in moved)  # statistics included

    if side < 299:  # the whole network; 299 pixels would take half a minute
        unfreeze(network)
        train(network, TaskAlignment(), source=rows, settings=settings, plan=make_strategy("full"))
        last = state_of(network)
        assert any(not torch.equal(after[n], last[n]) for n in last if n.startswith("body."))
        assert all(torch.isfinite(value.float()).all() for value in last.values())


def test_vgg_is_cut_where_its_classifier_begins():
    whole, _ = backbone_body("torchvision:vgg11", weights="random", size=32, pooling="flatten")
    cut, _ = backbone_body(
        "torchvision:vgg11", weights="random", size=32, layer="features", pooling="flatten"
    )
    assert sum(p.numel() for p in cut.parameters()) == 9_220_480  # of 133 million
    pixels = torch.randint(0, 255, (1, 32, 32, 3), dtype=torch.uint8)
    with torch.no_grad():
        maps, spread = cut.eval()(pixels), whole.eval()(pixels).reshape(1, 512, 7, 7)
    # one value a map at 32 pixels: the adaptive average repeats it 7 x 7 times
    torch.testing.assert_close(spread, maps.reshape(1, 512, 1, 1).expand(1, 512, 7, 7))


def test_the_convolutions_are_drawn_as_torchvision_draws_them():
    from torchvision import models

    body, _ = backbone_body("torchvision:vgg11", weights="random", size=32)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        whole = models.vgg11(weights=None, init_weights=False)
    drawn = [p for p in body.parameters() if p.ndim == 4]
    wanted = [p for p in whole.features.parameters() if p.ndim == 4]
    assert len(drawn) == 8
    assert all(torch.equal(a, b) for a, b in zip(drawn, wanted, strict=True))
