"""Layer 2: pretrained model -> features. One leaf file per library, imported only when used."""

from isthmus.backbone.base import Backbone, FrameBackbone
from isthmus.backbone.embed import Embedded, embed
from isthmus.backbone.load import load_backbone
from isthmus.backbone.store import Store, cache_root

__all__ = [
    "Backbone",
    "Embedded",
    "FrameBackbone",
    "Store",
    "cache_root",
    "embed",
    "load_backbone",
]
