"""Layer 6: what depends on the scene alone is made once for all candidates of a choice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from isthmus.select.validate.base import Scene
from isthmus.types import Array

T = TypeVar("T")


def once(scene: Scene, key: str, make: Callable[[Scene], T]) -> T:
    """``make(scene)``, kept in the scene's ``__dict__`` as `functools.cached_property` does.

    The fields stay as they are, and `dataclasses.replace` starts with nothing kept.

    Parameters
    ----------
    key : str
        Name of the value, with every parameter that it depends on.
    """
    kept: dict[str, Any] = vars(scene).setdefault("_once", {})
    if key not in kept:
        kept[key] = make(scene)
    found: T = kept[key]
    return found


def drawn(X: Array, seed: int, most: int | None = None) -> Array:
    """Positions of at most `most` rows in random order: a function of the values and the seed.

    Rows are sorted along a random direction before they are shuffled, so that the order they
    came in does not matter.
    """
    rng = np.random.default_rng(seed)
    direction = rng.standard_normal(X.shape[1])
    along = np.asarray(X, dtype=np.float64) @ direction
    return np.argsort(along, kind="stable")[rng.permutation(len(X))[:most]]


def shuffled_target(scene: Scene) -> Array:
    """(n_t,) positions of the target rows in the scene's random order."""
    return once(scene, "shuffled target", lambda s: drawn(s.Xt, s.random_state))
