"""Layer 8: ISX004, ISX005, ISX006: what the first BatchNorm sees against what it saw in training.

BatchNorm remembers the mean and deviation of every channel in front of it. Pictures that are
scaled or coloured as in training come near them; the candidate preprocessing that comes nearest
names the fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from isthmus.data.checks.finding import Finding
from isthmus.errors import IsthmusError
from isthmus.run.checks.view import ModelView
from isthmus.types import Array

ITEMS = 16
AGREED = 0.8
SWAPPED = "blue and red swapped"
FAR, BETTER = 0.25, 0.75  # least distance worth a word; how much nearer another input must come
_MEAN = np.array([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1)
_STD = np.array([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1)
_UNIT = np.ones((1, 3, 1, 1))


def candidates() -> dict[str, tuple[Array, Array]]:
    """Preprocessing in use elsewhere: name -> (mean, deviation) for pixels in 0..1."""
    return {
        "ImageNet mean and deviation": (_MEAN, _STD),
        "mean and deviation 0.5": (_UNIT * 0.5, _UNIT * 0.5),
        "0..1, nothing more": (_UNIT * 0, _UNIT),
        "0..255, not scaled": (_UNIT * 0, _UNIT / 255),
        "ImageNet mean in 0..255 (Caffe)": (_MEAN, _UNIT / 255),
    }


def find(view: ModelView) -> Iterable[Finding]:
    """Distances of the first BatchNorm for the input as it is, and for others."""
    if view.modality != "image" or not view.custom:
        return
    modules = view.modules()
    probe = view.probe(ITEMS)
    if not modules or probe is None:
        return
    module = modules[0]
    seen = _input(view, module, probe[2])
    if seen is None:
        return
    tensor, pixels = seen
    judge = distance_of(module)
    here = judge(tensor)
    if not np.isfinite(here) or here < FAR:
        return
    others: dict[str, tuple[str, float]] = {}
    for name, (mean, std) in candidates().items():
        code = "ISX005" if "255" in name else "ISX004"
        others[name] = code, judge((pixels - mean) / std)
    others[SWAPPED] = "ISX006", judge(tensor[:, ::-1])
    scale = float(np.abs(tensor).max())
    if scale < 0.2:  # nothing but numbers near zero reaches the network: divided by 255 twice?
        others = {n: ("ISX005", d) for n, (_, d) in others.items()}
    elif scale > 20:
        others = {n: ("ISX005" if c == "ISX004" else c, d) for n, (c, d) in others.items()}
    best = min(others, key=lambda name: others[name][1])
    if others[best][1] > BETTER * here:
        best = SWAPPED  # red and blue differ little, so this shows in a smaller gain
        if others[best][1] >= here or not _all_agree(judge, tensor):
            return
    code, there = others[best]
    yield Finding(
        code,
        "warning",
        f"the network was trained on another input: {best} fits its first BatchNorm better",
        f"distance {here:.2f} with the input as it is, {there:.2f} with: {best}",
        where=str(view.backbone.name),
        remedy="Set the recipe of the weights (attribute isthmus_recipe of the network)",
        figures={"distance": here, **{name: value for name, (_, value) in others.items()}},
    )


def _all_agree(judge: Callable[[Array], float], tensor: Array) -> bool:
    """Whether nearly every picture comes nearer once its red and blue are swapped."""
    votes = [judge(one[None, ::-1]) < judge(one[None]) for one in tensor]
    return float(np.mean(votes)) >= AGREED


def distance_of(module: Any) -> Callable[[Array], float]:
    """A function of a batch (n, 3, h, w): how far the first BatchNorm is from its memory.

    Mean over the channels of (difference of the means / remembered deviation)^2 / 2 plus the
    excess of the logarithm of the deviations, as in the divergence of two normal distributions.
    """
    import torch

    layers = [m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    usable = [m for m in layers if m.running_mean is not None]

    def judge(batch: Array) -> float:
        caught: list[Any] = []

        def keep(layer: Any, inputs: Any) -> None:
            if not caught:
                caught.extend((layer, inputs[0].detach()))

        hooks = [m.register_forward_pre_hook(keep) for m in usable]
        modes = [(part, part.training) for part in module.modules()]
        try:
            with torch.no_grad():
                module.eval()
                module(torch.from_numpy(np.ascontiguousarray(batch, dtype=np.float32)))
        except (RuntimeError, TypeError, ValueError):
            return float("nan")
        finally:
            for part, mode in modes:  # one by one: a frozen part of a network must stay frozen
                part.training = mode
            for hook in hooks:
                hook.remove()
        if not caught:
            return float("nan")
        layer, seen = caught
        mean, var = seen.mean(dim=(0, 2, 3)), seen.var(dim=(0, 2, 3)) + layer.eps
        kept = layer.running_var + layer.eps
        ratio = var / kept
        each = ((mean - layer.running_mean) ** 2 / kept + ratio - 1 - torch.log(ratio)) / 2
        return float(each.clamp(max=50).mean())

    return judge if usable else (lambda batch: float("nan"))


def _input(view: ModelView, module: Any, items: Array) -> tuple[Array, Array] | None:
    """(what the network gets, the same pixels in 0..1), both (n, 3, h, w)."""
    if hasattr(view.backbone, "build"):
        from isthmus.backbone import recipes

        return recipes.normalise(items, view.backbone.recipe), np.moveaxis(items, -1, 1) / 255
    caught: list[Array] = []

    def keep(layer: Any, inputs: Any) -> None:
        if not caught and inputs[0].ndim == 4:
            caught.append(inputs[0].detach().cpu().numpy()[: len(items)])

    hook = module.register_forward_pre_hook(keep)
    try:
        view.backbone(view.filled(items))
    finally:
        hook.remove()
    if not caught or caught[0].shape[1] != 3:
        return None
    pixels = _pixels(view, caught[0].shape[2:])
    return None if pixels is None else (caught[0], pixels)


def _pixels(view: ModelView, size: tuple[int, ...]) -> Array | None:
    """The same pictures, squeezed to the size that the network gets."""
    from PIL import Image

    from isthmus.data.images import decode

    probe = view.probe(ITEMS)
    assert probe is not None
    part, rows, _ = probe
    made = []
    for row in rows:
        try:
            picture = Image.fromarray(decode(part.items[int(row)]))
        except IsthmusError:
            return None
        resized = picture.resize((size[1], size[0]), Image.Resampling.BICUBIC)
        made.append(np.moveaxis(np.asarray(resized), -1, 0) / 255)
    return np.stack(made)
