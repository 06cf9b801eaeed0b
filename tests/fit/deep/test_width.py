"""Widths: what the layers tell is right; where they do not tell, it is asked for."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from isthmus.backbone.networks import Called, Normalised, Pooled  # noqa: E402
from isthmus.errors import UsageError  # noqa: E402
from isthmus.fit.deep.bodies import MLP, SoundBody  # noqa: E402
from isthmus.fit.deep.network import Network  # noqa: E402
from isthmus.fit.deep.surgery import cut  # noqa: E402
from isthmus.fit.deep.width import width_of  # noqa: E402

RECIPE = {"scale": 1 / 255, "mean": [0.5] * 3, "std": [0.5] * 3}


def resnet():
    torchvision = pytest.importorskip("torchvision")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return torchvision.models.resnet18(weights=None).eval()


def test_a_cut_network_has_the_width_of_its_layer_not_of_the_head_that_nothing_reads():
    net = resnet()
    x = torch.randn(2, 3, 64, 64)
    for layer in ("layer2", "layer1.0", "avgpool"):
        with pytest.raises(UsageError, match=r"Pooled gives is not known\. Give num_features="):
            Network(cut(net, layer), 3)
    assert Network(cut(net, "layer2"), 3, num_features=128).eval()(x).shape == (2, 3)
    for layer in ("fc", "bn1", "layer1.0.conv2", "layer2.0.downsample", "layer2.1.bn2"):
        body = cut(net, layer)
        assert width_of(body) == body(x).shape[1], layer
        assert Network(body, 3).eval()(x).shape == (2, 3)
    flat = cut(net, "layer4.1.bn2", pooling="flatten")
    for wrapped in (
        flat,
        Normalised(flat, RECIPE),
        SoundBody(cut(net, "layer2")),
        nn.Sequential(cut(net, "layer2"), nn.ReLU()),
        Called(net, "forward"),
    ):
        with pytest.raises(UsageError, match="Give num_features="):
            Network(wrapped, 3)
    wrapped = Normalised(cut(net, "layer2.1.bn2"), RECIPE)
    pixels = torch.zeros(2, 64, 64, 3, dtype=torch.uint8)
    assert width_of(wrapped) == wrapped(pixels).shape[1] == 128


class Twice(nn.Module):
    def forward(self, x):
        return 2 * x


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        (nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout()), (2, 4)),
        (nn.Sequential(nn.Linear(4, 6), Twice(), nn.Sequential(nn.Tanh())), (2, 4)),
        (nn.Sequential(nn.Sequential(nn.Linear(4, 6)), nn.LayerNorm(6), nn.Identity()), (2, 4)),
        (Pooled(nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU())), (2, 3, 8, 8)),
        (MLP(4, (6,)), (2, 4)),
        (nn.TransformerEncoderLayer(6, 2, 12, batch_first=True), (2, 6)),
    ],
)  # fmt: skip
def test_what_the_layers_tell(body, shape):
    assert width_of(body) == body.eval()(torch.randn(shape)).shape[1] == 6


@pytest.mark.parametrize(
    "body",
    [
        nn.Sequential(nn.Linear(49, 64), nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 3, 3)),
        nn.Sequential(nn.Linear(4, 6), nn.GLU()),
        nn.Sequential(nn.Linear(4, 6), nn.Flatten()),
        nn.Sequential(nn.Conv2d(3, 6, 3), nn.Flatten()),
        nn.Sequential(),
        Twice(),
    ],
)
def test_what_they_do_not_tell_is_asked_for(body):
    with pytest.raises(UsageError, match="Give num_features="):
        Network(body, 3)


def test_what_a_body_says_of_itself_counts():
    class Odd(nn.Module):
        def forward(self, x):
            return torch.cat([x, x], dim=1)

    chain = nn.Sequential(nn.Linear(4, 3), Odd(), nn.Flatten())
    with pytest.raises(UsageError, match="Give num_features="):
        width_of(chain)
    chain.num_features = 6
    assert width_of(chain) == 6
    assert Network(nn.Sequential(chain, nn.ReLU()), 2)(torch.randn(5, 4)).shape == (5, 2)
