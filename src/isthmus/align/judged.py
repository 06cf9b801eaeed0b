"""Layer 4: what a discriminator says of rows and how steep it is there, with closed gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from isthmus.align.views import refuse_second_derivative


def judged(features: Tensor, parameters: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Log odds of every row, and the squared length of their slope along its features.

    Dense layers with ReLU between have both, and the gradients of both, in closed form. With
    h_0 = z, h_l = relu(a_l), a_l = W_l h_{l-1} + b_l, u_l = d odds / d a_l and the slope
    S = u_1 W_1, the gradients g of the odds and q of the squares give, layer by layer,

        v_0 = 2 q S,  v_l = (v_{l-1} W_l') where h_l > 0,  d W_l = u_l' (g h_{l-1} + v_{l-1}),

    ``d b_l = u_l' g`` and ``d z = g S``. That is two products a layer on the way back, where
    autograd has four, and a quarter of its small operations.

    Parameters
    ----------
    features : tensor of shape (n, d)
    parameters : list of tensors
        Weights (h, d) and biases (h,) of all layers in turn, the last with one output.

    Returns
    -------
    odds : tensor of shape (n,)
    squares : tensor of shape (n,)
        ``|d odds / d z|^2``. Their gradient reaches the parameters and not the features: which
        units are on has none.

    Raises
    ------
    UsageError
        On the way back, if the gradient itself is to be differentiated.
    """
    return _Judged.apply(features, *parameters)  # type: ignore[no-any-return,no-untyped-call]


class _Judged(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        weights, biases = parameters[::2], parameters[1::2]
        x = torch.addmm(biases[0], z, weights[0].T)
        units = []
        for weight, bias in zip(weights[1:], biases[1:], strict=True):
            units.append(x.relu_())
            x = torch.addmm(bias, units[-1], weight.T)
        slopes = [x.new_ones(len(z), 1)]  # last layer first
        for weight, unit in zip(weights[:0:-1], units[::-1], strict=True):
            slopes.append(_where_on(unit, slopes[-1] @ weight))
        slope = slopes[-1] @ weights[0]
        ctx.depth = len(weights)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(z, slope, *units, *slopes[::-1], *weights)
        return x.squeeze(1), slope.square().sum(1)

    @staticmethod
    def backward(ctx: Any, of_odds: Any, of_squares: Any) -> Any:
        refuse_second_derivative("`Discriminator.judged`")
        z, slope, *saved = ctx.saved_tensors
        depth = ctx.depth
        units, slopes, weights = saved[: depth - 1], saved[depth - 1 : -depth], saved[-depth:]
        if of_odds is None:
            of_odds = torch.zeros_like(of_squares)
        each = of_odds[:, None]
        along = None if of_squares is None else slope * (2 * of_squares)[:, None]
        gradients: list[Tensor] = []
        for k, (below, above, weight) in enumerate(zip([z, *units], slopes, weights, strict=True)):
            told = below * each
            if along is not None:
                told += along  # not addcmul: with a factor a row it is slower than both
            gradients += [above.T @ told, of_odds @ above]
            if along is not None and k < depth - 1:
                along = _where_on(units[k], along @ weight.T)
        of_z = slope * each if ctx.needs_input_grad[0] else None
        return of_z, *gradients


def _where_on(unit: Tensor, values: Tensor) -> Tensor:
    """`values` of the units that are on, 0 for the others; `torch.where` takes twice as long."""
    return values * unit.sign()
