"""Layer 5: several fitted models as one: the weighted mean of their probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, Union

import numpy as np
from scipy.special import expit, softmax

from isthmus.errors import BundleError
from isthmus.fit.base import State, under
from isthmus.fit.model import FeatureModel
from isthmus.types import Array, Task

if TYPE_CHECKING:
    from isthmus.fit.open_set import OpenSetModel

FORMAT = 3  # older versions know models of one part only, and must not misread this one
LEAST = 1e-12  # smallest probability whose logarithm stands for a logit


class BlendModel:
    """Weighted mean of the probabilities of models with the same classes.

    It answers like a `FeatureModel`: features in, names and probabilities out.

    Parameters
    ----------
    members : sequence of FeatureModel
        Fitted, of one classification task.
    weights : sequence of float
        Not negative; they are scaled to sum 1.
    names : sequence of str
        What each member is called in reports.

    Raises
    ------
    ValueError
        If numbers differ, the weights cannot be used, or the members disagree about classes.
    """

    task: Task = "classification"

    def __init__(
        self,
        members: Sequence[FeatureModel],
        weights: Sequence[float] | Array,
        names: Sequence[str],
    ) -> None:
        shares = np.asarray(weights, dtype=np.float64)
        if not len(members) or len(members) != len(shares) or len(members) != len(names):
            raise ValueError(f"{len(members)} members, {len(shares)} weights, {len(names)} names")
        if not np.isfinite(shares).all() or (shares < 0).any() or shares.sum() <= 0:
            raise ValueError("weights must be finite, not negative, and not all zero")
        first = members[0]
        if any(
            m.classes != first.classes or m.n_features_in_ != first.n_features_in_ for m in members
        ):
            raise ValueError("the members disagree about classes or features")
        self.members, self.names = tuple(members), tuple(map(str, names))
        self.weights = shares / shares.sum()
        self.classes, self.n_features_in_ = first.classes, first.n_features_in_
        self.unseen_ = tuple(c for c in self.classes if all(c in m.unseen_ for m in members))
        self.calibration_ = "weighted mean of calibrated probabilities"
        self.temperature_ = None

    def predict_proba(self, X: Any) -> Array:
        """(n, len(classes)) probabilities, columns in the order of `classes`."""
        total: Array | None = None
        for weight, member in zip(self.weights, self.members, strict=True):
            part = weight * member.predict_proba(X)
            total = part if total is None else total + part
        assert total is not None
        return total

    def predict(self, X: Any) -> Array:
        """(n,) object array of names."""
        names = np.empty(len(self.classes), dtype=object)
        names[:] = self.classes
        return np.asarray(names[self.predict_proba(X).argmax(axis=1)])

    def logits(self, X: Any) -> Array:
        """(n, len(classes)) logarithms of the probabilities."""
        return np.log(np.maximum(self.predict_proba(X), LEAST))

    def facts(self) -> dict[str, Any]:
        """JSON-ready account for reports."""
        return {
            "head": "BlendModel",
            "chosen": {
                name: round(float(w), 4) for name, w in zip(self.names, self.weights, strict=True)
            },
            "temperature": None,
            "calibration": self.calibration_,
            "unseen_classes": list(self.unseen_),
            "constant_features": None,
        }

    def to_state(self) -> State:
        """Tensors under ``member.I.``, and one JSON dict."""
        tensors: dict[str, Array] = {"weights": self.weights}
        parts = []
        for i, member in enumerate(self.members):
            own, meta = member.to_state()
            tensors |= {f"member.{i}.{name}": value for name, value in own.items()}
            parts.append(meta)
        return tensors, {
            "kind": "BlendModel",
            "format": FORMAT,
            "task": self.task,
            "classes": list(self.classes),
            "n_features": self.n_features_in_,
            "unseen": list(self.unseen_),
            "calibration": self.calibration_,
            "names": list(self.names),
            "members": parts,
        }

    @classmethod
    def from_state(cls, tensors: Mapping[str, Array], meta: Mapping[str, Any]) -> BlendModel:
        """Read `to_state` back; predictions are bit-identical.

        Raises
        ------
        BundleError
            Another format, or parts that are missing or do not fit together.
        """
        try:
            if meta["kind"] != "BlendModel" or meta["format"] != FORMAT:
                raise BundleError(f"format {meta['format']!r} of a {meta['kind']!r} is unknown")
            members = [
                FeatureModel.from_state(under(tensors, f"member.{i}."), part)
                for i, part in enumerate(meta["members"])
            ]
            out = cls(members, list(tensors["weights"]), list(meta["names"]))
            if list(out.classes) != list(meta["classes"]):
                raise BundleError("the members name other classes than the whole")
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError("the model's state is incomplete", why=repr(error)) from None
        return out


Model: TypeAlias = Union[FeatureModel, BlendModel, "OpenSetModel"]


def model_from_state(tensors: Mapping[str, Array], meta: Mapping[str, Any]) -> Model:
    """A saved model of any kind.

    Raises
    ------
    BundleError
        If it is of none, or incomplete.
    """
    kind = meta.get("kind") if isinstance(meta, Mapping) else None
    if kind == "OpenSetModel":
        from isthmus.fit.open_set import OpenSetModel

        return OpenSetModel.from_state(tensors, meta)
    if kind == "BlendModel":
        return BlendModel.from_state(tensors, meta)
    return FeatureModel.from_state(tensors, meta)


def uncalibrated(model: Model, X: Array) -> Array | None:
    """Probabilities without the temperature; None for regression and models without one."""
    if model.task == "regression":
        return None
    inner = getattr(model, "inner", None)
    if inner is not None:  # what abstains: the probabilities are those of the model inside
        return uncalibrated(inner, X)
    if isinstance(model, BlendModel):
        parts = [uncalibrated(member, X) for member in model.members]
        if any(part is None for part in parts):
            return None
        return np.asarray(sum(w * p for w, p in zip(model.weights, parts) if p is not None))
    assert isinstance(model, FeatureModel)
    z = model.logits(X)
    if model.log_ratio_ is not None:
        z = z + model.log_ratio_
    if model.task == "multilabel":
        return np.asarray(expit(z))
    out = np.zeros((len(z), len(model.classes)))
    out[:, model.head_.classes_] = softmax(z, axis=1)
    return out
