"""Domain-specific batch normalisation: one set of statistics and scales a domain (Chang 2019)."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
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
        One for each source, and the target last.
    share_affine : bool, default=False
        One scale and shift for all domains, statistics alone apart.

    Attributes
    ----------
    domain : int or tensor of shape (n,)
        Whose layer is at work, or that of each row; at first the target's. The objectives of
        `isthmus.align` set it by themselves in training (`isthmus.fit.deep.task_alignment`).
    """

    domain: int | Tensor

    def __init__(
        self, layer: nn.Module, *, num_domains: int = 2, share_affine: bool = False
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(copy.deepcopy(layer) for _ in range(num_domains))
        self.domain = num_domains - 1
        if share_affine:
            for other in self.layers[1:]:
                other.weight, other.bias = self.layers[0].weight, self.layers[0].bias

    def forward(self, x: Tensor) -> Tensor:
        """Normalise by the layer of the domain that was set, row by row where there are several.

        Raises
        ------
        UsageError
            If domains are set for another number of rows.
        """
        if isinstance(self.domain, int):
            whole: Tensor = self.layers[self.domain](x)
            return whole
        if len(self.domain) != len(x):
            raise UsageError(
                f"a batch normalisation of {len(x)} rows has domains for {len(self.domain)}",
                why="what passes the layer must be one row a row of the batch",
                remedy="Leave domain-specific normalisation out of this network",
            )
        out = torch.empty_like(x)
        for domain in self.domain.unique().tolist():
            rows = self.domain == domain
            out[rows] = self.layers[domain](x[rows]).to(out)
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


def domains_of(model: nn.Module) -> int:
    """How many domains the BN layers of a network tell apart; 0 where it has no such layers."""
    return max(
        (len(m.layers) for m in model.modules() if isinstance(m, DomainBatchNorm)), default=0
    )


def source_domain(rows: Tensor | None, count: int) -> int | Tensor:
    """What `in_domain` takes for source rows (n,) that come from the sources `rows`.

    Labelled target rows come as the domain after the last source and have the target's layers.

    Raises
    ------
    UsageError
        If there are more sources than layers for them.
    """
    if rows is None or not len(rows):
        return 0
    last = int(rows.max())
    if last >= count:
        raise UsageError(
            f"{last + 1} domains, and batch normalisation for {count}",
            remedy=f"swap_batch_norm(network, num_domains={last + 1}), the target included",
        )
    return rows


@contextmanager
def in_domain(model: nn.Module, domain: int | Tensor) -> Iterator[None]:
    """Within the block the network normalises by the layers of `domain`.

    Parameters
    ----------
    model : nn.Module
    domain : int or tensor of shape (n,), int64
        Of all rows, or of each.
    """
    layers = [module for module in model.modules() if isinstance(module, DomainBatchNorm)]
    before = [layer.domain for layer in layers]
    for layer in layers:
        layer.domain = domain
    try:
        yield
    finally:
        for layer, old in zip(layers, before):
            layer.domain = old
