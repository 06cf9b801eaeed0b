"""Layer 8: ISX004, ISX005, ISX006, ISX007, ISX020: is the preprocessing that of the weights?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from isthmus.backbone import load_backbone
from isthmus.data.checks.finding import Finding
from isthmus.errors import IsthmusError
from isthmus.run.checks.view import ModelView

_CODES = {
    "mean": "ISX004",
    "std": "ISX004",
    "scale": "ISX005",
    "channels": "ISX006",
    "steps": "ISX007",
    "pooling": "ISX020",
}


def find(view: ModelView) -> Iterable[Finding]:
    """Compare with the recipe that belongs to the weights by name or by the network's own note."""
    if not view.by_items or view.modality not in ("image", "text"):
        return
    found = dict(view.backbone.recipe)
    expected, whose = _expected(view)
    if expected is None:
        return
    for name, code in _CODES.items():
        then, now = expected.get(name), found.get(name)
        if then is None or name not in found or _same(then, now):
            continue
        if name == "steps" and view.backbone.reference.get("size"):
            continue  # asked for by name
        yield Finding(
            code,
            "warning",
            f"{name} is {_short(now)}, {whose} say {_short(then)}",
            "a network that is fed otherwise than it was trained loses accuracy without a word",
            where=str(view.backbone.name),
            remedy="Use the preprocessing of the weights, or train the network with this one",
            figures={"used": _plain(now), "expected": _plain(then)},
        )


def _expected(view: ModelView) -> tuple[dict[str, Any] | None, str]:
    reference = dict(view.backbone.reference)
    if reference.get("spec") and not reference.get("custom"):
        chosen = {k: v for k, v in reference.items() if k not in ("pooling", "size")}
        try:
            made = load_backbone(modality=view.raw.modality, **chosen)
        except (IsthmusError, TypeError):
            return None, ""
        return dict(made.recipe), "the weights"
    for module in view.modules():
        for part in module.modules():
            config = getattr(part, "pretrained_cfg", None)
            if isinstance(config, dict) and config.get("input_size"):
                from isthmus.backbone.timm import recipe_of

                return dict(recipe_of(config)), "the notes of the network (pretrained_cfg)"
    return None, ""


def _same(then: Any, now: Any) -> bool:
    try:
        return bool(np.allclose(then, now, atol=1e-3, rtol=1e-3))
    except (TypeError, ValueError):
        return bool(then == now)


def _short(value: Any) -> str:
    return str(_plain(value))[:80]


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return round(float(value), 4) if isinstance(value, float) else value
