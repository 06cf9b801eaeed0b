"""Bodies: the small digit network of the papers, an MLP for cached features, pretrained models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from isthmus.fit.deep.network import Network
from isthmus.types import Modality


class SmallCNN(nn.Module):
    """The LeNet of the MNIST / USPS experiments of CDAN (2018) and SHOT (2020).

    Parameters
    ----------
    channels : int, default=1
        (n, channels, 28, 28) -> (n, 800); grey images may come as (n, 28, 28). Whole numbers
        0 ... 255 are divided by 255.
    dropout : float, default=0.5
        Of whole maps, after the second convolution.
    """

    num_features = 800

    def __init__(self, channels: int = 1, *, dropout: float = 0.5) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(channels, 20, kernel_size=5),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(20, 50, kernel_size=5),
            nn.Dropout2d(p=dropout),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Flatten(),
        )

    def forward(self, images: Tensor) -> Tensor:
        if not images.is_floating_point():  # bytes, as MNIST comes
            images = images.to(next(self.parameters()).dtype) / 255
        found: Tensor = self.conv(images[:, None] if images.ndim == 3 else images)
        return found


def digit_network(num_classes: int = 10, *, channels: int = 1) -> Network:
    """`SmallCNN` with the bottleneck (256, batch norm, dropout) of SHOT's digit network."""
    bottleneck = nn.Sequential(nn.Linear(800, 256), nn.BatchNorm1d(256), nn.Dropout(0.5))
    return Network(SmallCNN(channels), num_classes, bottleneck=bottleneck)


COORDINATES, ONE_UNIT = 20, 4.0  # most columns, and most their deviations differ by


class Standardised(nn.Module):
    """``(x - mean) / scale`` of each column, saved with the network.

    Parameters
    ----------
    mean, scale : tensor of shape (d,)
        Columns of no spread have scale 1.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.float())
        self.register_buffer("scale", scale.float())

    @classmethod
    def of(cls, X: Any) -> Standardised:
        """With the mean and deviation of the rows of a matrix.

        A few columns of about one spread are coordinates: all are divided by one number. Each by
        its own, a turn between the domains would be a turn no longer, and aligning them would
        twist the target: two moons turned by 35 degrees, 64 and 64 units, gain of DANN over
        source-only +9.1 with one number and +1.8 with two, of WDGRL +13.0 and -4.8 (docs/log.md).
        """
        X = torch.as_tensor(X).double()
        scale = X.std(dim=0, correction=0)
        fine = scale > 1e-8 * X.abs().mean(dim=0).clamp_min(1e-30)
        spread = scale[fine]
        if 1 < len(spread) <= COORDINATES and spread.max() <= ONE_UNIT * spread.min():
            scale = spread.square().mean().sqrt().expand_as(scale)
        return cls(X.mean(dim=0), torch.where(fine, scale, torch.ones_like(scale)))

    def forward(self, x: Tensor) -> Tensor:
        return (x.float() - self.mean) / self.scale


class MLP(nn.Module):
    """Dense layers for a feature matrix: (n, num_inputs) -> (n, hidden[-1]).

    Parameters
    ----------
    num_inputs : int
    hidden : sequence of int, default=(256,)
        Width of each hidden layer; () gives the inputs as they are.
    dropout : float, default=0.0
        After each hidden layer.
    norm : bool, default=False
        Batch norm before each ReLU.
    first : nn.Module, optional
        What the inputs pass beforehand, e.g. `Standardised`.
    """

    def __init__(
        self,
        num_inputs: int,
        hidden: Sequence[int] = (256,),
        *,
        dropout: float = 0.0,
        norm: bool = False,
        first: nn.Module | None = None,
    ) -> None:
        super().__init__()
        parts: list[nn.Module] = [] if first is None else [first]
        width = num_inputs
        for size in hidden:
            parts.append(nn.Linear(width, size))
            parts += [nn.BatchNorm1d(size)] if norm else []
            parts.append(nn.ReLU())
            parts += [nn.Dropout(dropout)] if dropout else []
            width = size
        self.num_features = width
        self.dense = nn.Sequential(*parts)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.dense(x)
        return found


class TextBody(nn.Module):
    """A text encoder: (n, 2, L) token ids and mask -> (n, d).

    Columns that no text of the batch reaches are cut off first, so a batch of short texts costs
    what short texts cost.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, tokens: Tensor) -> Tensor:
        longest = max(int(tokens[:, 1].sum(dim=1).max()), 1)
        found: Tensor = self.network(tokens[:, :, :longest].long())
        return found


class SoundBody(nn.Module):
    """A network of waveforms: (n, samples) -> (n, d)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, waves: Tensor) -> Tensor:
        found: Tensor = self.network(waves)
        return found


def body_of(backbone: Any) -> nn.Module:
    """A backbone's torch network as a body to train; the backbone itself does not change.

    Parameters
    ----------
    backbone : Backbone
        Of images (pixels 0 ... 255, (n, h, w, 3)), texts (n, 2, L) or recordings (n, samples);
        its ``preprocess`` makes such rows.

    Returns
    -------
    nn.Module
        Rows -> (n, num_features). ``body.network`` is what was pretrained.

    Raises
    ------
    BackboneError
        If the model is not a torch network.
    """
    from isthmus.backbone.networks import Normalised
    from isthmus.backbone.trained import untrained_module

    module = untrained_module(backbone)
    body: Any
    if backbone.modality == "image":
        body = Normalised(module, backbone.recipe)
    else:
        body = (TextBody if backbone.modality == "text" else SoundBody)(module)
    body.num_features = backbone.num_features
    made: nn.Module = body
    return made


def backbone_body(
    spec: Any = None,
    *,
    modality: Modality = "image",
    weights: str | None = None,
    layer: str | None = None,
    pooling: str | None = None,
    size: int | None = None,
    allow_license: bool = False,
) -> tuple[nn.Module, Any]:
    """A pretrained model by name as a body to train.

    Parameters
    ----------
    spec, modality, weights, layer, pooling, size, allow_license
        As for `isthmus.backbone.load_backbone` (``timm:NAME``, ``torchvision:NAME``, an
        ``nn.Module``, ...); ``weights="random"`` gives the bare architecture.

    Returns
    -------
    body : nn.Module
        See `body_of`.
    backbone : Backbone
        Whose ``preprocess`` makes its rows.

    Raises
    ------
    BackboneError
        If the model is not a torch network.
    """
    from isthmus.backbone import load_backbone

    options: dict[str, Any] = {"layer": layer, "pooling": pooling, "size": size}
    backbone = load_backbone(
        spec, modality=modality, weights=weights, allow_license=allow_license, **options
    )
    return body_of(backbone), backbone
