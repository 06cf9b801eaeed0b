"""Domain-specific batch normalisation: one set of statistics and scales a domain (Chang 2019)."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from isthmus.errors import UsageError


class DomainBatchNorm(nn.Module):
    """As many copies of a BN layer as there are domains; one of them is at work at a time.

    ``y = gamma_d (x - m_d) / sqrt(v_d + eps) + beta_d`` for domain d (Chang, You, Seo, Kwak and
    Han, *Domain-specific batch normalization for unsupervised domain adaptation*, CVPR 2019,
    eq. 4-7). Before training all copies are equal.

    Parameters
    ----------
    layer : nn.BatchNorm1d, 2d or 3d
        The layer that is copied.
    num_domains : int, default=2
        Source 0, target 1, or one for each source and the target last.
    share_affine : bool, default=False
        One scale and shift for all domains, statistics alone apart.
    """

    def __init__(
        self, layer: nn.Module, *, num_domains: int = 2, share_affine: bool = False
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(copy.deepcopy(layer) for _ in range(num_domains))
        self.domain = 0
        if share_affine:
            for other in self.layers[1:]:
                other.weight, other.bias = self.layers[0].weight, self.layers[0].bias

    def forward(self, x: Tensor) -> Tensor:
        """Normalise by the layer of the domain that was set."""
        out: Tensor = self.layers[self.domain](x)
        return out


def swap_batch_norm(
    model: nn.Module, *, num_domains: int = 2, share_affine: bool = False
) -> nn.Module:
    """Every BN layer of `model` becomes a `DomainBatchNorm`, in place; the model is returned.

    Raises
    ------
    UsageError
        If there is no BN layer.
    """
    if isinstance(model, _BatchNorm):
        return DomainBatchNorm(model, num_domains=num_domains, share_affine=share_affine)
    names = [name for name, module in model.named_modules() if isinstance(module, _BatchNorm)]
    if not names:
        raise UsageError("the network has no batch normalisation", where="swap_batch_norm")
    for name in names:
        parent, _, last = name.rpartition(".")
        swapped = DomainBatchNorm(
            model.get_submodule(name), num_domains=num_domains, share_affine=share_affine
        )
        setattr(model.get_submodule(parent), last, swapped)
    return model


def merge_batch_norm(model: nn.Module, domain: int) -> nn.Module:
    """Keep one domain's BN layers only: a plain network again, in place, for serving."""
    if isinstance(model, DomainBatchNorm):
        return model.layers[domain]
    layers = [(name, m) for name, m in model.named_modules() if isinstance(m, DomainBatchNorm)]
    for name, module in layers:
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, module.layers[domain])
    return model


@contextmanager
def in_domain(model: nn.Module, domain: int) -> Iterator[None]:
    """Within the block the network normalises by the layers of `domain`."""
    layers = [module for module in model.modules() if isinstance(module, DomainBatchNorm)]
    before = [layer.domain for layer in layers]
    for layer in layers:
        layer.domain = domain
    try:
        yield
    finally:
        for layer, old in zip(layers, before):
            layer.domain = old
