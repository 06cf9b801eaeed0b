"""Layer 8: the run as the checks see it: raw parts, the backbone, features once there are some."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus.backbone import Store
from isthmus.data.checks.finding import Finding, Severity
from isthmus.data.checks.view import RawView
from isthmus.data.samples import FrameItems, Samples
from isthmus.errors import IsthmusError
from isthmus.run.extract import Extracted, Part
from isthmus.types import Array

if TYPE_CHECKING:
    from torch import nn


@dataclass
class ModelView:
    """A run with its backbone.

    Parameters
    ----------
    raw : RawView
    backbone : Backbone or FrameBackbone
    features : Extracted, optional
        None before the extraction: checks that need it find nothing then.
    store : Store, optional
    """

    raw: RawView
    backbone: Any
    features: Extracted | None = None
    store: Store | None = None
    _memo: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def custom(self) -> bool:
        """Whether the backbone is an object of the user's, which nobody tested before."""
        return bool(getattr(self.backbone, "reference", {}).get("custom"))

    @property
    def by_items(self) -> bool:
        """Whether the backbone works item by item."""
        return hasattr(self.backbone, "preprocess")

    @property
    def modality(self) -> str:
        return self.raw.modality

    def probe(self, count: int = 4) -> tuple[Samples, Array, Array] | None:
        """(part, positions, preprocessed) of a few items of one shape; None where there are none.

        They come from the rows that are scored, where trouble would show in the figures.
        """
        key = f"probe {count}"
        if key not in self._memo:
            role, part = self.raw.scored
            shapes: dict[Any, list[tuple[int, Array]]] = {}
            for row, raw in self.raw.items(role, part):
                try:
                    made = np.asarray(self.backbone.preprocess(raw))
                except IsthmusError:
                    continue
                shapes.setdefault((made.shape, made.dtype.str), []).append((row, made))
                if max(map(len, shapes.values())) == count:
                    break
            best = max(shapes.values(), key=len, default=[])
            self._memo[key] = (
                None
                if len(best) < 2
                else (part, np.array([r for r, _ in best]), np.stack([m for _, m in best]))
            )
        found: tuple[Samples, Array, Array] | None = self._memo[key]
        return found

    def filled(self, items: Array) -> Array:
        """Items repeated to the batch that the engine always uses."""
        size = int(self.backbone.batch_size)
        return items[np.arange(max(size, len(items))) % len(items)]

    def modules(self) -> list[nn.Module]:
        """Torch networks inside a custom backbone; nothing is imported for it."""
        torch = sys.modules.get("torch")
        if torch is None or not self.by_items:
            return []
        if "modules" not in self._memo:
            found = [v for v in vars(self.backbone).values() if isinstance(v, torch.nn.Module)]
            if not found and hasattr(self.backbone, "build"):
                found = [self.backbone.build()]
            self._memo["modules"] = found
        return list(self._memo["modules"])

    def found(
        self,
        code: str,
        severity: Severity,
        title: str,
        evidence: str,
        remedy: str,
        **figures: Any,
    ) -> Finding:
        """A finding about the backbone itself."""
        where = str(getattr(self.backbone, "name", ""))
        return Finding(code, severity, title, evidence, where, remedy, figures=figures)

    def parts(self) -> list[tuple[str, Part]]:
        """Extracted parts by role; a test set that is the target itself once."""
        if self.features is None:
            return []
        f = self.features
        named = [("source", f.source), ("labelled target", f.labelled), ("target", f.target)]
        if f.test is not None and f.test.samples.ids != f.target.samples.ids:
            named.append(("test", f.test))
        return [(role, part) for role, part in named if part is not None]

    def training(self) -> list[tuple[str, Part]]:
        """Extracted parts with labels."""
        return [(r, p) for r, p in self.parts() if r in ("source", "labelled target")]

    def scored(self) -> tuple[str, Part] | None:
        """The extracted rows that a score is computed for."""
        if self.features is None:
            return None
        if self.features.test is not None:
            return "test", self.features.test
        return "target", self.features.target

    def truth(self) -> Array | None:
        """Labels of `scored` where looking is no secret."""
        found = self.scored()
        if found is None or self.raw.truth is None:
            return None
        return np.asarray(self.raw.truth[found[1].rows])

    @property
    def columns(self) -> bool:
        """Whether features are columns with meanings and units of their own."""
        return self.modality in ("table", "features")

    @property
    def frame(self) -> Any:
        """The scored rows of a table, or None."""
        items = self.raw.scored[1].items
        return items.frame if isinstance(items, FrameItems) else None
