"""Layer 5: heads by name, and heads from their saved state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isthmus.errors import BundleError, UsageError, did_you_mean
from isthmus.fit.centroid import NearestMeanHead
from isthmus.fit.logistic import LogisticHead
from isthmus.fit.multilabel import MultiLabelHead
from isthmus.fit.neighbors import KNNHead
from isthmus.fit.ridge import RidgeHead, RidgeRegressorHead
from isthmus.fit.scores import ScoreHead
from isthmus.types import Array, Task

_CLASSIFIERS: dict[str, type[Any]] = {
    "logistic": LogisticHead,
    "ridge": RidgeHead,
    "nearest-mean": NearestMeanHead,
    "knn": KNNHead,
}
HEADS: dict[str, dict[str, type[Any]]] = {
    "classification": _CLASSIFIERS,
    "multilabel": _CLASSIFIERS,
    "regression": {"ridge": RidgeRegressorHead},
}
_KINDS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (*_CLASSIFIERS.values(), RidgeRegressorHead, MultiLabelHead, ScoreHead)
}


def make_head(name: str, task: Task = "classification", **params: Any) -> Any:
    """An unfitted head.

    Parameters
    ----------
    name : {"logistic", "ridge", "nearest-mean", "knn"}
        Regression knows "ridge".
    task : {"classification", "multilabel", "regression"}
        Multi-label wraps the head in `MultiLabelHead`.
    **params
        Parameters of the head's class.

    Raises
    ------
    UsageError
        Unknown task, head or parameter, with the nearest known name.
    """
    if task not in HEADS:
        raise _unknown("task", task, list(HEADS))
    if name not in HEADS[task]:
        raise _unknown(f"head for {task}", name, list(HEADS[task]))
    kind = HEADS[task][name]
    known = kind._get_param_names()
    for param in params:
        if param not in known:
            raise _unknown(f"parameter of the head {name!r}", param, known)
    head = kind(**params)
    return MultiLabelHead(head) if task == "multilabel" else head


def head_from_state(tensors: Mapping[str, Array], meta: Mapping[str, Any]) -> Any:
    """A fitted head from what its `to_state` gave.

    Raises
    ------
    BundleError
        Unknown kind, missing or misshapen tensors.
    """
    kind = meta.get("kind") if isinstance(meta, Mapping) else None
    if kind not in _KINDS:
        raise BundleError(
            f"the model's head {kind!r} is unknown",
            why="known: " + ", ".join(_KINDS),
            remedy="It may come from a newer version",
        )
    return _KINDS[kind].from_state(tensors, meta)


def _unknown(what: str, name: str, known: list[str]) -> UsageError:
    return UsageError(
        f"unknown {what}: {name!r}",
        remedy=did_you_mean(name, known) + "Choose from " + ", ".join(known),
    )
