"""Layer 4: gradient reversal, which turns a min-max game into one loss, and its schedule."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, coefficient: float) -> Tensor:
        ctx.coefficient = coefficient
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return -ctx.coefficient * gradients[0], None


def gradient_reversal(x: Tensor, coefficient: float = 1.0) -> Tensor:
    """`x` as it is; its gradient is multiplied by ``-coefficient`` on the way back.

    What reads the result is trained to lower the loss, what made `x` to raise it: one backward
    pass takes the gradient step of both players of ``min_D max_G loss`` (Ganin and Lempitsky,
    *Unsupervised domain adaptation by backpropagation*, ICML 2015, eq. 4-6).

    Parameters
    ----------
    x : tensor of any shape
    coefficient : float, default=1.0
        How much of the gradient comes through; 0 stops it.

    Examples
    --------
    >>> x = torch.ones(2, requires_grad=True)
    >>> gradient_reversal(x, 0.5).sum().backward()
    >>> x.grad.tolist()
    [-0.5, -0.5]
    """
    return _Reverse.apply(x, coefficient)  # type: ignore[no-any-return,no-untyped-call]


def ramp(progress: float, gamma: float | None = 10.0) -> float:
    """``2 / (1 + exp(-gamma p)) - 1``: from 0 to about 1 as the training goes on.

    The features are left alone while the discriminator still knows nothing (Ganin et al. 2016,
    section 5.2.2, gamma = 10).

    Parameters
    ----------
    progress : float
        Share of the training that lies behind, in [0, 1].
    gamma : float or None, default=10.0
        Steepness: with 10 the half is reached after 11 % of the training. None: 1 throughout.

    Examples
    --------
    >>> ramp(0.0), round(ramp(0.5), 3), ramp(0.0, None)
    (0.0, 0.987, 1.0)
    """
    return 1.0 if gamma is None else math.tanh(gamma * progress / 2)
