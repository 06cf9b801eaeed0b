"""Isthmus: transfer learning that finds the route that helps, proves it, and can decline."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# name -> module; imported on first use, so that `import isthmus` costs nothing
_LAZY = {
    "read": "isthmus.data",
    "load_backbone": "isthmus.backbone",
    "embed": "isthmus.backbone",
    "transfer": "isthmus.transfer",
    "diagnose": "isthmus.run.diagnosis",
    "TransferClassifier": "isthmus.run.classifier",
    "DomainAdaptedClassifier": "isthmus.fit.estimator",
    "DomainAdaptedRegressor": "isthmus.fit.estimator",
    "FineTunedClassifier": "isthmus.fit.finetune",
    "load": "isthmus.serve",
    "IsthmusError": "isthmus.errors",
}
__all__ = ["__version__", *_LAZY]

if TYPE_CHECKING:
    from isthmus.backbone import embed as embed  # type: ignore[no-redef]
    from isthmus.backbone import load_backbone as load_backbone
    from isthmus.data import read as read
    from isthmus.errors import IsthmusError as IsthmusError
    from isthmus.fit.estimator import DomainAdaptedClassifier as DomainAdaptedClassifier
    from isthmus.fit.estimator import DomainAdaptedRegressor as DomainAdaptedRegressor
    from isthmus.fit.finetune import FineTunedClassifier as FineTunedClassifier
    from isthmus.run.classifier import TransferClassifier as TransferClassifier
    from isthmus.run.diagnosis import diagnose as diagnose
    from isthmus.serve import load as load
    from isthmus.transfer import transfer as transfer


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'isthmus' has no attribute {name!r}")
    value = getattr(importlib.import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
