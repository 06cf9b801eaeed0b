"""Augmentation by one word for every kind of row: what ``--augment light`` means for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from isthmus.errors import UsageError
from isthmus.fit.deep.augment_audio import FrequencyMask, Noise, OnSpectrogram, Speed, TimeMask
from isthmus.fit.deep.augment_images import ImageAugment
from isthmus.fit.deep.augment_tokens import Chain, SpanMask, TokenDropout

STRENGTHS = ("light", "standard", "strong")
# share of tokens dropped, share of tokens masked in spans
TOKENS = {"light": (0.05, 0.0), "standard": (0.1, 0.15), "strong": (0.2, 0.3)}
# factor of the speed, quietest and loudest noise in dB below the signal, share and count of masks
SOUND = {
    "light": (0.05, (20.0, 40.0), 0.0, 0),
    "standard": (0.1, (10.0, 40.0), 0.1, 1),
    "strong": (0.15, (5.0, 30.0), 0.15, 2),
}


def make_augment(policy: str, backbone: Any) -> Callable[[Any], Any] | None:
    """The random version of one row that a policy stands for.

    Parameters
    ----------
    policy : {"none", "light", "standard", "strong", "digits"}
        Images: see `ImageAugment`. Texts: tokens left out, and from ``standard`` on spans masked,
        where the tokenizer has a mask token. Recordings: speed and noise, and from ``standard``
        on a stretch of time and a band of frequencies silenced. ``digits`` is for images.
    backbone : Backbone
        Whose rows they are.

    Raises
    ------
    UsageError
        On a policy that this kind of row does not have.
    """
    if policy == "none":
        return None
    if backbone.modality == "image":
        return ImageAugment(policy)
    if policy not in STRENGTHS:
        raise UsageError(
            f"no augmentation {policy!r} for {backbone.modality} rows",
            remedy=f"Use none, {', '.join(STRENGTHS)}",
        )
    if backbone.modality == "text":
        dropped, masked = TOKENS[policy]
        mask = backbone.tokenizer.mask_id
        parts: list[Any] = [TokenDropout(dropped, pad_id=int(backbone.recipe["pad_id"]))]
        if masked and mask is not None:
            parts.append(SpanMask(mask, share=masked))
        return Chain(*parts)
    pace, (quiet, loud), share, count = SOUND[policy]
    parts = [Speed(1 - pace, 1 + pace), Noise(quiet, loud)]
    if count:
        masks = (TimeMask(share, count=count), FrequencyMask(share, count=count))
        parts.append(OnSpectrogram(*masks))
    return Chain(*parts)
