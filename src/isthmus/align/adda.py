"""ADDA: a target encoder that a discriminator takes for the source's (Tzeng et al. 2017)."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.align.base import MakeOptimizer, Minimise, Procedure
from isthmus.align.discriminator import (
    Discriminator,
    domain_accuracy,
    domain_loss,
    signed_shares,
)
from isthmus.align.encoders import encoder_parameters
from isthmus.align.views import full_precision, need_share


class ADDA(Procedure):
    """Adversarial discriminative domain adaptation: two encoders, the source's at rest.

    First the network learns the source. Then its encoder is copied and fixed, and the network's
    own encoder, which starts as the copy, is trained on target rows so that a discriminator takes
    them for source rows (inverted labels, as in a GAN); the head stays (Tzeng, Hoffman, Saenko
    and Darrell, *Adversarial discriminative domain adaptation*, CVPR 2017, eq. 7-9).

    Parameters
    ----------
    pretrain : float, default=0.5
        Share of the training in which the source is learned. 0: the network comes trained.
    rate : float, default=0.1
        Learning rate of the second part in units of the first's (the authors go from 1e-3 to
        2e-4).
    hidden : tuple of int, default=(500, 500)
        Hidden layers of the discriminator; the authors'.

    Notes
    -----
    Nothing in the second part knows of classes: a target encoder may wander from them. Keep
    `rate` low and the second part short.
    """

    family: ClassVar[str] = "adversarial"

    def __init__(
        self,
        *,
        pretrain: float = 0.5,
        rate: float = 0.1,
        hidden: tuple[int, ...] = (500, 500),
    ) -> None:
        need_share(pretrain, "pretrain", who="ADDA")
        self.pretrain, self.rate, self.hidden = pretrain, rate, hidden

    def build(
        self,
        network: Any,
        num_classes: int,
        optimizer: MakeOptimizer,
    ) -> None:
        self.network = network
        self.classes = num_classes
        self.fixed: Any = copy.deepcopy(network).requires_grad_(False)
        self.discriminator = Discriminator(self.network.num_features, tuple(self.hidden))
        self.discriminator.to(next(network.parameters()))
        self.state = _State()

        def slow(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
            return optimizer([{"params": list(parameters), "lr_scale": self.rate}])

        self.task = optimizer(network.parameters())
        self.target = slow(encoder_parameters(network))
        self.domain = slow(self.discriminator.parameters())

    def modules(self) -> Mapping[str, nn.Module]:
        return {
            "network": self.network,
            "fixed": self.fixed,
            "discriminator": self.discriminator,
            "state": self.state,
        }

    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        return {"task": self.task, "target": self.target, "domain": self.domain}

    def step(
        self, source: Any, target: Any, progress: float, minimise: Minimise
    ) -> Mapping[str, float | Tensor]:
        if progress < self.pretrain:
            logits = self.network.outputs(source.inputs).logits
            if self.classes > 1:
                loss = F.cross_entropy(
                    full_precision(logits), source.labels, label_smoothing=self.label_smoothing
                )
            else:
                loss = F.mse_loss(full_precision(logits).squeeze(1), source.labels)
            minimise(loss, (self.task,))
            return {"task": loss.detach()}
        if not self.state.copied:
            self.fixed.load_state_dict(self.network.state_dict())
            self.state.copied.fill_(True)
        # both in training mode: dropout on one side only would give the domain away
        with torch.no_grad():
            s = full_precision(self.fixed.features(source.inputs))
        t = full_precision(self.network.features(target.inputs))
        with torch.autocast(t.device.type, enabled=False):
            odds = self.discriminator(torch.cat([s, t.detach()]))
            shares = signed_shares(odds, len(s))
            domain = domain_loss(odds, shares)
            minimise(domain, (self.domain,))
            fooled = F.softplus(-self.discriminator(t)).mean()
            minimise(fooled, (self.target,))
            told = domain_accuracy(odds, shares)
        return {
            "domain": domain.detach(),
            "fooled": fooled.detach(),
            "domain_accuracy": told,
        }


class _State(nn.Module):
    """Whether the source's encoder has been copied, saved with the run."""

    copied: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("copied", torch.zeros((), dtype=torch.bool))
