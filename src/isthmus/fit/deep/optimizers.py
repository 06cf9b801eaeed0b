"""Optimizers of a run: one way to make them, so that the loop can set every learning rate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from isthmus.fit.deep.schedule import Schedule
from isthmus.fit.deep.settings import Settings

SCALE = "lr_scale"


class OptimizerFactory:
    """``factory(parameters)`` makes an optimizer by the settings.

    Parameters
    ----------
    settings : Settings
    scales : mapping of id(parameter) to float
        Factors of the learning rate by parameter (layer-wise decay); 1 where absent.

    Notes
    -----
    A call takes parameters or torch's group dictionaries; a group may hold ``lr_scale``, a factor
    on top, and any option of the optimizer. Biases and norm scales (one-dimensional) have no
    weight decay. The loop sets ``lr = settings.lr * lr_scale * schedule(progress)`` before every
    step.
    """

    def __init__(self, settings: Settings, scales: Mapping[int, float] | None = None) -> None:
        self.settings, self.scales = settings, dict(scales or {})

    def __call__(
        self, parameters: Iterable[nn.Parameter | Mapping[str, Any]]
    ) -> torch.optim.Optimizer:
        groups: dict[tuple[Any, ...], dict[str, Any]] = {}
        for k, given in enumerate(parameters):
            single = isinstance(given, nn.Parameter)
            group_given: Mapping[str, Any] = {"params": [given]} if single else dict(given)
            options = {name: v for name, v in group_given.items() if name != "params"}
            members = group_given["params"]
            for parameter in members:
                scale = options.get(SCALE, 1.0) * self.scales.get(id(parameter), 1.0)
                decays = parameter.ndim > 1
                group = groups.setdefault(
                    (-1 if single else k, scale, decays), {**options, "params": [], SCALE: scale}
                )
                if not decays:
                    group.setdefault("weight_decay", 0.0)
                group["params"].append(parameter)
        return self._make(list(groups.values()))

    def _make(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        s = self.settings
        if s.optimizer == "sgd":
            return torch.optim.SGD(
                groups,
                lr=s.lr,
                momentum=s.momentum,
                nesterov=s.momentum > 0,
                weight_decay=s.weight_decay,
                foreach=True,
            )
        kind = torch.optim.AdamW if s.optimizer == "adamw" else torch.optim.Adam
        return kind(groups, lr=s.lr, weight_decay=s.weight_decay, fused=True)


def set_rates(
    optimizers: Iterable[torch.optim.Optimizer], base: float, schedule: Schedule, progress: float
) -> float:
    """Set every group's learning rate for this progress; return the unscaled one."""
    rate = base * schedule(progress)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate * group.get(SCALE, 1.0)
    return rate
