"""Layer 2: what a pretrained backbone is: raw item in, feature row out, and an honest name.

Two kinds exist. A `Backbone` works item by item (images, texts, recordings). A `FrameBackbone`
works on whole tables and must be fitted first, because a table has no universal encoder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from isthmus.types import Array, Modality

if TYPE_CHECKING:
    import pandas as pd


@runtime_checkable
class Backbone(Protocol):
    """Pretrained model -> features (timm's words).

    Attributes
    ----------
    name : str
        What the user types: ``timm:tf_efficientnet_lite0``.
    modality : str
        Kind of raw item that it takes.
    num_features : int
        Width of a feature row.
    batch_size : int
        The fixed internal batch: the engine always calls with exactly this many items (it pads),
        so a feature cannot depend on its batch-mates.
    recipe : dict
        Preprocessing, JSON-ready; it belongs to the weights.
    fingerprint : str
        SHA-256 over weights digest + recipe + layer + pooling + code version. Computing it must
        not import a deep-learning library where the weights are a plain file.
    reference : dict
        JSON-ready arguments that rebuild it with `isthmus.backbone.load`, or
        ``{"custom": True}`` where it cannot be rebuilt by name.
    """

    name: str
    modality: Modality
    num_features: int
    batch_size: int
    recipe: dict[str, Any]
    fingerprint: str
    reference: dict[str, Any]

    def preprocess(self, raw: Any) -> Array:
        """Decode one raw item (bytes, str or ndarray) and apply the recipe.

        Called from several threads at once. The shape may differ between items (text length
        buckets); the engine batches equal shapes together.

        Raises
        ------
        DataError
            If the item cannot be decoded; the engine quarantines it.
        """
        ...

    def __call__(self, batch: Array) -> Array:
        """(batch_size, ...) preprocessed items -> (batch_size, num_features) float32."""
        ...


@runtime_checkable
class FrameBackbone(Protocol):
    """Table -> features: fitted on the training rows, then applied to any frame of that schema."""

    name: str
    modality: Modality
    num_features: int
    recipe: dict[str, Any]
    fingerprint: str
    reference: dict[str, Any]

    def fit(self, frame: pd.DataFrame) -> FrameBackbone:
        """A fitted copy (labels are never seen)."""
        ...

    def __call__(self, frame: pd.DataFrame) -> Array:
        """(n, num_features) float32, finite."""
        ...

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Fitted state as (tensors, JSON); `from_state` of the class reads it back."""
        ...
