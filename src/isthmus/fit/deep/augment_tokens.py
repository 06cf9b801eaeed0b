"""Augmentation of texts as token ids: dropped tokens and masked spans."""

from __future__ import annotations

import torch
from torch import Tensor

from isthmus.errors import UsageError


class TokenDropout:
    """Each inner token is left out with a chance, but never all of them; the rest moves together.

    Parameters
    ----------
    share : float, default=0.1
    pad_id : int, default=0

    Raises
    ------
    UsageError
        If `share` is no share.
    """

    def __init__(self, share: float = 0.1, *, pad_id: int = 0) -> None:
        check_share(share, where="TokenDropout")
        self.share, self.pad_id = share, pad_id

    def __call__(self, tokens: Tensor) -> Tensor:
        """(2, L) ids and mask -> the same shape; the first and last token always stay."""
        ids, mask = tokens[0], tokens[1]
        places = mask.nonzero()[:, 0]
        if len(places) < 4:  # no inner token to spare
            return tokens
        stays = torch.rand(len(places)) >= self.share
        if not stays[1:-1].any():
            stays[int(torch.randint(1, len(places) - 1, ()))] = True
        stays[[0, -1]] = True
        kept = ids[places][stays]
        # to the side that they were on: some tokenizers pad in front
        places = places[: len(kept)] if mask[0] else places[-len(kept) :]
        out = torch.stack([torch.full_like(ids, self.pad_id), torch.zeros_like(mask)])
        out[0, places], out[1, places] = kept, 1
        return out


class SpanMask:
    """Spans of inner tokens become the mask token (Joshi et al. 2020, SpanBERT).

    Parameters
    ----------
    mask_id : int
        Of the tokenizer's mask token.
    share : float, default=0.15
        Of the inner tokens, rounded down, but never all of them; a text too short for one token
        stays as it is.
    mean_length : float, default=3.0
        Spans are geometric with this mean, 1 or more, and have at most 10 tokens.

    Raises
    ------
    UsageError
        If `share` is no share, or `mean_length` below 1.
    """

    def __init__(self, mask_id: int, *, share: float = 0.15, mean_length: float = 3.0) -> None:
        check_share(share, where="SpanMask")
        if not mean_length >= 1:
            raise UsageError(
                f"mean_length={mean_length}", where="SpanMask", remedy="Give 1 or more tokens"
            )
        self.mask_id, self.share, self.mean_length = mask_id, share, mean_length

    def __call__(self, tokens: Tensor) -> Tensor:
        """(2, L) ids and mask -> the same with spans masked."""
        places = tokens[1].nonzero()[1:-1, 0]
        inner = len(places)
        wanted = min(int(self.share * inner), inner - 1)
        if wanted < 1:
            return tokens
        hidden, left = torch.zeros(inner, dtype=torch.bool), wanted
        while left > 0:
            draw = torch.empty(()).geometric_(1 / self.mean_length)
            span = min(int(draw), 10, left)
            start = int(torch.randint(0, inner - span + 1, ()))
            hidden[start : start + span] = True
            left = wanted - int(hidden.sum())
        out = tokens.clone()
        out[0, places[hidden]] = self.mask_id
        return out


def check_share(share: float, *, where: str) -> None:
    """Refuse what is not between 0 and 1."""
    if not 0 <= share <= 1:
        raise UsageError(f"share={share}", where=where, remedy="Give a share of 0 to 1")


class Chain:
    """Several transforms, one after the other."""

    def __init__(self, *parts: object) -> None:
        self.parts = parts

    def __call__(self, item: Tensor) -> Tensor:
        for part in self.parts:
            item = part(item)  # type: ignore[operator]
        return item
