"""How many features a module puts out, as far as its layers tell; no batch is run for it."""

from __future__ import annotations

from torch import nn

from isthmus.backbone.networks import Called, Captured, Pooled, find_layer
from isthmus.errors import UsageError

_ROWS = ("activation", "dropout", "normalization")  # files of torch.nn: widths stay
_MAPS = (*_ROWS, "pooling", "padding", "upsampling")  # channels stay
_NORMS = nn.modules.batchnorm._NormBase  # their num_features are channels
_OTHERS = (nn.GLU, nn.MultiheadAttention)  # of those files, and yet they do not


def width_of(module: nn.Module) -> int:
    """Width of what a module puts out: its ``num_features``, or its last linear layer's.

    Of a network cut at a layer (`isthmus.fit.deep.surgery.cut`) what follows that layer says
    nothing: the layer itself must tell.

    Raises
    ------
    UsageError
        If neither tells.
    """
    found = _width(module)
    if found is None:
        raise UsageError(
            f"how many features a {type(module).__name__} gives is not known",
            remedy="Give num_features=",
        )
    return found


def _width(module: nn.Module, *, maps: bool = False, told: bool = True) -> int | None:
    """None where it is not known.

    Parameters
    ----------
    maps : bool
        Whether maps are pooled behind it, so that channels are what counts.
    told : bool
        Whether a module's own attribute is believed, and a guess allowed at modules that are not
        torch's: not inside a network that was made for another purpose.
    """
    own = getattr(module, "num_features", None)
    if told and isinstance(own, int) and not isinstance(module, _NORMS):
        return own
    if isinstance(module, Pooled):
        return _width(module.network, maps=module.pooling != "flatten", told=told)
    if isinstance(module, Captured):
        return _width(find_layer(module.network, module.layer), maps=maps, told=False)
    if isinstance(module, nn.Sequential):
        for part in reversed(module):
            if not _keeps(part, maps=maps, told=told):
                return _width(part, maps=maps, told=told)
        return None
    if isinstance(module, (nn.Linear, nn.Bilinear)):
        return int(module.out_features)
    if isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
        return int(module.embedding_dim)
    if isinstance(module, nn.modules.conv._ConvNd):
        return module.out_channels if maps else None
    if isinstance(module, _NORMS):
        return module.num_features if maps or isinstance(module, nn.BatchNorm1d) else None
    if isinstance(module, Called):  # any method of it
        return None
    parts = list(module.modules())
    if not told or any(isinstance(part, (Captured, Called)) for part in parts):
        inner = getattr(module, "network", None)  # a wrapper passes on what its network gives
        return _width(inner, maps=maps) if told and isinstance(inner, nn.Module) else None
    linear = [part for part in parts if isinstance(part, nn.Linear)]
    return linear[-1].out_features if linear else None


def _keeps(part: nn.Module, *, maps: bool, told: bool) -> bool:
    """Whether it puts out as many features as it gets."""
    if isinstance(part, nn.Sequential):
        return all(_keeps(inner, maps=maps, told=told) for inner in part)
    if isinstance(part, nn.Identity):
        return True
    if isinstance(part, _OTHERS):
        return False
    kind = type(part).__module__
    if kind.startswith("torch.nn.modules."):
        return kind.rpartition(".")[2] in (_MAPS if maps else _ROWS)
    # a function as a layer; torch's own that change shapes are known
    return told and not any(True for _ in part.parameters()) and not hasattr(part, "num_features")
