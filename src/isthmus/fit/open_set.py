"""Layer 5: a classifier that abstains on rows of classes that it was not trained on.

A row is strange in two ways: the model's own probabilities do not settle on a class, or nothing
like it was among the rows of the known classes. A linear head is sure of itself far away from
everything, so the first alone misses what the second finds, and the other way round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from isthmus.errors import BundleError, UsageError
from isthmus.fit.base import State, under
from isthmus.fit.blend import BlendModel, Model, model_from_state
from isthmus.fit.features import FeatureProcessor
from isthmus.fit.mapped import Mapped, front_from_state
from isthmus.fit.model import FeatureModel
from isthmus.types import Array, Task

UNKNOWN = "unknown"  # the answer for a row of no known class
FORMAT = 4  # older versions know models that always answer, and must not misread this one


@dataclass(frozen=True)
class Strangeness:
    """How unlike the rows of the known classes a row is: a function of features alone.

    Parameters
    ----------
    front : FeatureProcessor or Mapped
        Features (n, d) to the space (n, k) that the prototypes lie in.
    centre : ndarray of shape (k,)
        Mean of the target rows there.
    prototypes : ndarray of shape (m, k)
        Centres of the known classes' clusters, each of length 1.
    scale : ndarray of shape (2, 2)
        Mean and deviation over the target rows: of the doubt, and of the distance.
    """

    front: FeatureProcessor | Mapped
    centre: Array
    prototypes: Array
    scale: Array

    def distance(self, X: Any) -> Array:
        """(n,) one minus the cosine to the nearest prototype."""
        return far(self.front.transform(X) - self.centre, self.prototypes)

    def __call__(self, X: Any, proba: Array) -> Array:
        """(n,) doubt plus distance, each in deviations of the target rows."""
        parts = np.stack([doubt(proba), self.distance(X)])
        return np.asarray(((parts - self.scale[:, :1]) / self.scale[:, 1:]).sum(axis=0))


def doubt(proba: Array) -> Array:
    """(n,) entropy of the probabilities over its maximum."""
    inner = -(proba * np.log(np.maximum(proba, 1e-12))).sum(axis=1)
    return np.asarray(inner / np.log(max(proba.shape[1], 2)))


def far(rows: Array, prototypes: Array) -> Array:
    """(n,) one minus the largest cosine of centred rows with prototypes of length 1."""
    length = np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return np.asarray(1 - (rows / length @ prototypes.T).max(axis=1))


class OpenSetModel:
    """A model, and the strangeness beyond which its answer is `UNKNOWN`.

    It answers like the model inside: names and probabilities of the known classes, and `UNKNOWN`
    for a name where `novelty` is above one half.

    Parameters
    ----------
    inner : Model
        Fitted, of a classification task.
    strangeness : Strangeness
    threshold : float
        In units of `strangeness`.

    Raises
    ------
    UsageError
        If a class is called `UNKNOWN`, or the task has no classes to tell apart.
    """

    task: ClassVar[Task] = "classification"

    def __init__(
        self, inner: FeatureModel | BlendModel, strangeness: Strangeness, threshold: float
    ) -> None:
        check_names(inner.classes)
        if inner.task != "classification":
            raise UsageError(f"a model of {inner.task} cannot abstain on novel classes")
        self.inner, self.strangeness, self.threshold = inner, strangeness, float(threshold)
        self.classes, self.n_features_in_ = inner.classes, inner.n_features_in_
        self.unseen_, self.calibration_ = inner.unseen_, inner.calibration_
        self.temperature_ = inner.temperature_

    def predict_proba(self, X: Any) -> Array:
        """(n, len(classes)) probabilities of the known classes, as if the row were of one."""
        return self.inner.predict_proba(X)

    def novelty(self, X: Any) -> Array:
        """(n,) 0 ... 1, higher is stranger; above one half the row is answered `UNKNOWN`."""
        above = self.strangeness(X, self.predict_proba(X)) - self.threshold
        return np.asarray(1 / (1 + np.exp(-np.clip(above, -30, 30))))

    def predict(self, X: Any) -> Array:
        """(n,) object array of names, `UNKNOWN` among them."""
        return np.where(self.novelty(X) > 0.5, UNKNOWN, self.inner.predict(X)).astype(object)

    def logits(self, X: Any) -> Array:
        """Those of the model inside."""
        return self.inner.logits(X)

    def facts(self) -> dict[str, Any]:
        """JSON-ready account for reports."""
        return self.inner.facts() | {"abstains_above": round(self.threshold, 6)}

    def to_state(self) -> State:
        """Tensors under ``inner.`` and ``front.``, and one JSON dict."""
        tensors, inner = self.inner.to_state()
        out = {f"inner.{name}": value for name, value in tensors.items()}
        tensors, front = self.strangeness.front.to_state()
        out |= {f"front.{name}": value for name, value in tensors.items()}
        for name in ("centre", "prototypes", "scale"):
            out[name] = getattr(self.strangeness, name)
        return out, {
            "kind": "OpenSetModel",
            "format": FORMAT,
            "inner": inner,
            "front": front,
            "threshold": self.threshold,
        }

    @classmethod
    def from_state(cls, tensors: Mapping[str, Array], meta: Mapping[str, Any]) -> OpenSetModel:
        """Read `to_state` back; predictions are bit-identical.

        Raises
        ------
        BundleError
            Another format, or parts that are missing or do not fit together.
        """
        try:
            if meta["format"] != FORMAT or meta["inner"]["kind"] == "OpenSetModel":
                raise BundleError(f"format {meta['format']!r} of a {meta['kind']!r} is unknown")
            inner = model_from_state(under(tensors, "inner."), meta["inner"])
            front = front_from_state(under(tensors, "front."), meta["front"])
            centre, prototypes, scale = (tensors[n] for n in ("centre", "prototypes", "scale"))
            threshold = float(meta["threshold"])
            width = front.n_features_out_
            fits = (
                front.n_features_in_ == inner.n_features_in_
                and centre.shape == (width,)
                and prototypes.ndim == 2
                and prototypes.shape[1] == width
                and len(prototypes) > 0
                and scale.shape == (2, 2)
            )
            if not fits or not np.isfinite(threshold) or not (scale[:, 1] > 0).all():
                raise BundleError("the parts of what abstains do not fit together")
            assert not isinstance(inner, OpenSetModel)
            return cls(inner, Strangeness(front, centre, prototypes, scale), threshold)
        except (AttributeError, KeyError, TypeError, ValueError, UsageError) as error:
            raise BundleError("the model's state is incomplete", why=repr(error)) from None


def check_names(classes: Sequence[str]) -> None:
    """Refuse classes that the answer for none of them would be taken for."""
    if UNKNOWN in classes:
        raise UsageError(
            f"a class is called {UNKNOWN!r}",
            why="that is what a model that abstains answers for a row of no known class",
            remedy="Rename the class, or use --classes closed",
        )


def novelty_of(model: Model, X: Any) -> Array | None:
    """(n,) of a model that abstains; None of one that always answers."""
    return model.novelty(X) if isinstance(model, OpenSetModel) else None
