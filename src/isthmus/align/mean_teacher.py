"""Mean Teacher: agree with the average of one's own past weights (Tarvainen, Valpola 2017)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from isthmus.align.base import MakeOptimizer, Minimise, Procedure
from isthmus.align.views import full_precision, need_classes, need_share


class MeanTeacher(Procedure):
    """The network learns the source, and on target rows what a slower copy of it predicts.

    ``CE(source) + trade_off r(p) mean |softmax(student) - softmax(teacher)|^2`` with the squared
    distance summed over classes, ``r(p) = exp(-5 (1 - p / ramp)^2)`` until p = ramp and 1 after
    it. After each update ``teacher = decay teacher + (1 - decay) student`` (Tarvainen and
    Valpola, *Mean teachers are better role models*, NeurIPS 2017; for domains French, Mackiewicz
    and Fisher, *Self-ensembling for visual domain adaptation*, ICLR 2018).

    Parameters
    ----------
    trade_off : float, default=3.0
    decay : float, default=0.99
        The authors' in the first epochs, 0.999 after; runs here are short.
    ramp : float, default=0.3
        Share of the training until the full weight.

    Notes
    -----
    Student and teacher see the views ``strong`` and ``weak`` of target rows where
    `isthmus.fit.deep.rows.Rows` has them, else the rows as they are: then dropout alone tells the
    two apart, and without it there is next to nothing to learn. The student is what is trained
    and returned; `Settings.ema` returns an average instead.
    """

    views: ClassVar[tuple[str, ...]] = ("strong", "weak")

    def __init__(self, *, trade_off: float = 3.0, decay: float = 0.99, ramp: float = 0.3) -> None:
        need_share(decay, "decay", who="MeanTeacher")
        self.trade_off, self.decay, self.ramp = trade_off, decay, ramp

    def build(
        self,
        network: Any,
        num_classes: int,
        optimizer: MakeOptimizer,
    ) -> None:
        need_classes(num_classes, who="MeanTeacher")
        self.network = network
        # parameters are averaged; statistics of normalisation are the teacher's own
        self.teacher: Any = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(self.decay))
        self.teacher.requires_grad_(False)
        self.teacher.n_averaged.fill_(1)  # the copy is the first term of the average
        self.optimizer = optimizer(network.parameters())

    def modules(self) -> Mapping[str, nn.Module]:
        return {"network": self.network, "teacher": self.teacher}

    def step(
        self, source: Any, target: Any, progress: float, minimise: Minimise
    ) -> Mapping[str, float | Tensor]:
        logits = full_precision(self.network(source.inputs))
        task = F.cross_entropy(logits, source.labels, label_smoothing=self.label_smoothing)
        student = full_precision(self.network(target.views.get("strong", target.inputs)))
        with torch.no_grad():
            teacher = full_precision(self.teacher(target.views.get("weak", target.inputs)))
        apart = disagreement(student, teacher)
        loss = task + self.trade_off * rise(progress, self.ramp) * apart
        if minimise(loss, (self.optimizer,)):
            self.teacher.update_parameters(self.network)
        return {"task": task.detach(), "consistency": apart.detach()}


def disagreement(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over rows of the squared distance of two predictions, given as logits (n, k)."""
    return (student.softmax(1) - teacher.softmax(1)).square().sum(1).mean()


def rise(progress: float, ramp: float) -> float:
    """``exp(-5 (1 - p / ramp)^2)`` up to p = ramp, then 1."""
    return 1.0 if progress >= ramp else math.exp(-5 * (1 - progress / ramp) ** 2)
