"""Augmentation of texts as token ids: dropped tokens and masked spans."""

from __future__ import annotations

import torch
from torch import Tensor


class TokenDropout:
    """Each inner token is left out with a chance; the rest moves together.

    Parameters
    ----------
    share : float, default=0.1
    pad_id : int, default=0
    """

    def __init__(self, share: float = 0.1, *, pad_id: int = 0) -> None:
        self.share, self.pad_id = share, pad_id

    def __call__(self, tokens: Tensor) -> Tensor:
        """(2, L) ids and mask -> the same shape; the first and last token always stay."""
        ids, mask = tokens[0], tokens[1]
        length = int(mask.sum())
        stays = torch.rand(length) >= self.share
        stays[[0, -1]] = True
        kept = ids[:length][stays]
        out = torch.stack([torch.full_like(ids, self.pad_id), torch.zeros_like(mask)])
        out[0, : len(kept)] = kept
        out[1, : len(kept)] = 1
        return out


class SpanMask:
    """Spans of inner tokens become the mask token (Joshi et al. 2020, SpanBERT).

    Parameters
    ----------
    mask_id : int
        Of the tokenizer's mask token.
    share : float, default=0.15
        Of the inner tokens, rounded down; a text too short for one token stays as it is.
    mean_length : float, default=3.0
        Spans are geometric with this mean, at most 10 tokens.
    """

    def __init__(self, mask_id: int, *, share: float = 0.15, mean_length: float = 3.0) -> None:
        self.mask_id, self.share, self.mean_length = mask_id, share, mean_length

    def __call__(self, tokens: Tensor) -> Tensor:
        """(2, L) ids and mask -> the same with spans masked."""
        length = int(tokens[1].sum())
        inner, left = length - 2, int(self.share * (length - 2))
        hidden = torch.zeros(max(inner, 0), dtype=torch.bool)
        while left > 0:
            draw = torch.empty(()).geometric_(1 / self.mean_length)
            span = min(int(draw), 10, left)
            start = int(torch.randint(0, inner - span + 1, ()))
            hidden[start : start + span] = True
            left = int(self.share * inner) - int(hidden.sum())
        out = tokens.clone()
        out[0, 1 : 1 + max(inner, 0)][hidden] = self.mask_id
        return out


class Chain:
    """Several transforms, one after the other."""

    def __init__(self, *parts: object) -> None:
        self.parts = parts

    def __call__(self, item: Tensor) -> Tensor:
        for part in self.parts:
            item = part(item)  # type: ignore[operator]
        return item
