"""Augmentation of images with torchvision v2: one row at a time, under that row's own seed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from isthmus.errors import UsageError, need

BRIGHTEST = 4.0  # floats above it are bytes: standardised images seldom reach it
POLICIES = ("none", "light", "standard", "strong", "digits")


class ImageAugment:
    """A random version of one image, of the same shape and type; grey ones may be (h, w).

    Parameters
    ----------
    policy : {"light", "standard", "strong", "digits", "none"}
        ``light``: flip and a shift of up to a tenth. ``standard``: random resized crop (60 % of
        the area and more), flip, some brightness, contrast and saturation. ``strong``: RandAugment
        with two operations (Cubuk et al. 2020), as the strong view of FixMatch has it, and a
        crop. ``digits``: rotation up to 10 degrees and a shift of a tenth; never a flip.
    flip : bool, default=True
        False where left and right differ (signs, writing).
    pixels_last : bool, default=True
        Images are (h, w, c), as a pretrained body takes them; False: (c, h, w).

    Raises
    ------
    UsageError
        On an unknown policy; when called, on what is no image, and on colours (``standard``,
        ``strong``) of an image that is neither grey nor of three channels.
    """

    def __init__(
        self, policy: str = "standard", *, flip: bool = True, pixels_last: bool = True
    ) -> None:
        if policy not in POLICIES:
            raise UsageError(
                f"unknown augmentation {policy!r}", remedy=f"Use {', '.join(POLICIES)}"
            )
        self.policy, self.flip, self.pixels_last = policy, flip, pixels_last
        self._made: tuple[tuple[int, int], Any] | None = None

    def __call__(self, image: Any) -> Tensor:
        given = torch.as_tensor(image)
        if self.policy == "none":
            return given
        if given.ndim not in (2, 3) or not given.numel() or given.dtype == torch.bool:
            kind = str(given.dtype).removeprefix("torch.")
            raise UsageError(
                f"an array of shape {tuple(given.shape)} and type {kind} is no image",
                where=f"augmentation {self.policy!r}",
                remedy="Give images of shape (h, w, c) or (h, w), as bytes or numbers, or leave "
                "the augmentation out",
            )
        if given.ndim == 2:  # a grey image
            return ImageAugment(self.policy, flip=self.flip, pixels_last=False)(given[None])[0]
        if given.is_floating_point() and float(given.max()) > BRIGHTEST:
            # 0 ... 255 as numbers: torchvision takes floats for 0 ... 1
            return self(given.round().clamp(0, 255).to(torch.uint8)).to(given.dtype)
        planes = given.permute(2, 0, 1) if self.pixels_last else given
        if self.policy in ("standard", "strong") and len(planes) not in (1, 3):
            raise UsageError(
                f"an image of {len(planes)} channels has no colours to change",
                where=f"augmentation {self.policy!r}",
                why=f"its shape is {tuple(given.shape)}",
                remedy="Use 'light', or say where the channels are: pixels_last="
                f"{not self.pixels_last}",
            )
        height, width = int(planes.shape[1]), int(planes.shape[2])
        if self._made is None or self._made[0] != (height, width):
            self._made = ((height, width), self._transform(height, width))
        out = self._made[1](planes.contiguous())
        return out.permute(1, 2, 0) if self.pixels_last else out  # type: ignore[no-any-return]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_made": None}  # workers make the transform themselves

    def _transform(self, height: int, width: int) -> Any:
        need("torchvision", extra="image")
        from torchvision.transforms import v2

        flip = [v2.RandomHorizontalFlip()] if self.flip else []
        shift = (0.1, 0.1)
        if self.policy == "light":
            return v2.Compose([*flip, v2.RandomAffine(0, translate=shift)])
        if self.policy == "digits":
            return v2.RandomAffine(10, translate=shift)
        crop = v2.RandomResizedCrop((height, width), scale=(0.6, 1.0), antialias=True)
        if self.policy == "standard":
            return v2.Compose([crop, *flip, v2.ColorJitter(0.3, 0.3, 0.2)])
        return v2.Compose([crop, *flip, v2.RandAugment(num_ops=2, magnitude=10)])
