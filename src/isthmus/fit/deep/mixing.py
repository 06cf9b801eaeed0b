"""Mixup and CutMix: batches whose rows are mixtures, with mixed labels."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch.nn import functional as F

from isthmus.errors import UsageError
from isthmus.fit.deep.rows import Batch


class Mixup:
    """``x = s x_i + (1 - s) x_j`` with s from Beta(alpha, alpha) (Zhang et al. 2018).

    Parameters
    ----------
    alpha : float, default=0.2
    """

    def __init__(self, alpha: float = 0.2) -> None:
        if not alpha > 0:
            raise UsageError(f"alpha={alpha}", remedy="Give a number above 0")
        self.alpha = alpha

    def __call__(self, batch: Batch, num_classes: int) -> Batch:
        """The batch with mixed inputs, and shares of the classes in ``soft``."""
        share, other = self._draw(len(batch))
        inputs = batch.inputs
        _check_classes(batch)
        if not isinstance(inputs, torch.Tensor):
            raise UsageError(
                f"inputs of type {type(inputs).__name__} cannot be mixed", remedy="Leave mix out"
            )
        if inputs.ndim == 3 and inputs.dtype == torch.int64:
            raise UsageError("token ids cannot be mixed", why="a mean of two words is no word")
        kind = inputs.dtype if inputs.is_floating_point() else torch.float32
        mixed = share * inputs.to(kind) + (1 - share) * inputs[other].to(kind)
        return self._labelled(replace(batch, inputs=mixed), share, other, num_classes)

    def _draw(self, count: int) -> tuple[float, torch.Tensor]:
        """Share of the own row, and the partner of each row, from torch's default generator."""
        gammas = torch._standard_gamma(torch.full((2,), self.alpha, dtype=torch.float64))
        share = float(gammas[0] / gammas.sum()) if float(gammas.sum()) > 0 else 1.0
        return share, torch.randperm(count)

    @staticmethod
    def _labelled(batch: Batch, share: float, other: torch.Tensor, num_classes: int) -> Batch:
        assert batch.labels is not None
        hot = F.one_hot(batch.labels, num_classes).float()
        soft = share * hot + (1 - share) * hot[other]
        # losses that read one class a row get the one with the larger share
        return replace(batch, soft=soft, labels=soft.argmax(1))


def _check_classes(batch: Batch) -> None:
    """Shares of classes are made of one class a row."""
    labels = batch.labels
    if labels is None or labels.ndim != 1 or labels.is_floating_point():
        raise UsageError("only rows of one class each can be mixed", remedy="Leave mix out")


class CutMix(Mixup):
    """A rectangle of each image comes from another one (Yun et al. 2019).

    Parameters
    ----------
    alpha : float, default=1.0
    pixels_last : bool, default=True
        Images are (n, h, w, c); False: (n, c, h, w).
    """

    def __init__(self, alpha: float = 1.0, *, pixels_last: bool = True) -> None:
        super().__init__(alpha)
        self.pixels_last = pixels_last

    def __call__(self, batch: Batch, num_classes: int) -> Batch:
        """The batch with cut inputs; labels by the area that is left."""
        inputs = batch.inputs
        _check_classes(batch)
        if not isinstance(inputs, torch.Tensor) or inputs.ndim != 4:
            raise UsageError(
                "CutMix needs images of shape (n, h, w, c) or (n, c, h, w)",
                remedy="Use Mixup, or leave mix out",
            )
        share, other = self._draw(len(batch))
        across = 1 if self.pixels_last else 2
        height, width = inputs.shape[across], inputs.shape[across + 1]
        side = (1 - share) ** 0.5
        y, x = int(torch.randint(height, ())), int(torch.randint(width, ()))
        top, bottom = (max(0, min(height, y + s * round(side * height) // 2)) for s in (-1, 1))
        left, right = (max(0, min(width, x + s * round(side * width) // 2)) for s in (-1, 1))
        mixed = inputs.clone()
        window = mixed.narrow(across, top, bottom - top).narrow(across + 1, left, right - left)
        donor = inputs[other].narrow(across, top, bottom - top)
        window.copy_(donor.narrow(across + 1, left, right - left))
        kept = 1 - (bottom - top) * (right - left) / (height * width)
        return self._labelled(replace(batch, inputs=mixed), kept, other, num_classes)
