"""Layer 0: the few values that every layer speaks of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.floating[Any]]

Modality = Literal["image", "text", "audio", "table", "features"]
Task = Literal["classification", "multilabel", "regression"]
Decision = Literal["target-only", "source-only", "pooled", "declined"]


@dataclass(frozen=True)
class Interval:
    """A number with its interval; `how` says in words where the interval comes from.

    Parameters
    ----------
    value, low, high : float
        Point value and the two ends, in the unit of the metric (shares, not per cent).
    level : float, default=0.95
        Nominal coverage.
    how : str, default="bootstrap"
        Origin in words, e.g. ``"bootstrap over 12 groups"``; printed beside the figure.
    """

    value: float
    low: float
    high: float
    level: float = 0.95
    how: str = "bootstrap"

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON form; non-finite numbers become None."""

        def number(x: float) -> float | None:
            return float(x) if np.isfinite(x) else None

        return {
            "value": number(self.value),
            "low": number(self.low),
            "high": number(self.high),
            "level": self.level,
            "how": self.how,
        }

    def percent(self) -> str:
        """``87.4 % [85.0, 89.6]``: the way shares are printed everywhere."""
        return f"{100 * self.value:.1f} % [{100 * self.low:.1f}, {100 * self.high:.1f}]"


@dataclass(frozen=True)
class Verdict:
    """What the run decided and why, in one sentence a user can quote.

    Parameters
    ----------
    decision : str
        Name of the chosen route, or ``"declined"``.
    sentence : str
        The verdict as printed.
    reason : str
        The evidence or the rule behind it.
    evidence : dict
        The figures that the reason rests on, JSON-ready.
    """

    decision: str
    sentence: str
    reason: str
    evidence: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Trouble:
    """A numerical outcome that a user must know of: returned, not raised and not hidden.

    Parameters
    ----------
    code : str
        Stable short name: ``"not-converged"``, ``"singular"``, ``"low-overlap"``, ...
    reason : str
        What happened, with the figure.
    remedy : str
        What to change.
    """

    code: str
    reason: str
    remedy: str


@dataclass(frozen=True)
class Prior:
    """Class priors of both domains, for the correction of probabilities at predict time.

    Parameters
    ----------
    classes : ndarray of shape (k,)
    source, target : ndarray of shape (k,)
        Shares that sum to 1.
    """

    classes: Array
    source: Array
    target: Array


def identity(rows: Any) -> Any:
    """Target rows as they are (a function with a name, so that it can be pickled)."""
    return rows


@dataclass(frozen=True)
class Adaptation:
    """What an adapter returns: a value, never a mutated self.

    Parameters
    ----------
    Xs : array of shape (n_s, k)
        Source rows as the final estimator should see them.
    weights : array of shape (n_s,), optional
        Importance weights of the source rows, mean 1.
    map_target : callable
        Maps **new** target rows (n, d) -> (n, k). Picklable: a small dataclass, never a lambda.
    labels : array of shape (n_t,), optional
        Only where a method propagates labels to the target rows.
    prior : Prior, optional
        Only where a method corrects probabilities at predict time.
    troubles : tuple of Trouble
        Numerical trouble with its reason and remedy; empty when all went well.
    info : dict
        Figures worth printing (effective sample size, iterations, solver), plain numbers and text.
    """

    Xs: Any
    weights: Any = None
    map_target: Callable[[Any], Any] = identity
    labels: Any = None
    prior: Prior | None = None
    troubles: tuple[Trouble, ...] = ()
    info: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DomainBatch:
    """What a network made of one batch of one domain, as an alignment objective sees it.

    Parameters
    ----------
    features : tensor of shape (n, d)
        What the head reads.
    logits : tensor of shape (n, k)
        The head's output, before softmax; (n, 1) for regression.
    labels : tensor of shape (n,), optional
        Class positions (int64) or values (float). None on unlabelled target rows; -1 on the
        unlabelled rows of a batch that has some labelled ones.
    inputs : tensor, optional
        What the network was given.
    rows : tensor of shape (n,), optional
        Positions of the rows in their data set.
    layers : dict of tensors, optional
        Features of further layers by name, for objectives that align several.
    """

    features: Any
    logits: Any
    labels: Any = None
    inputs: Any = None
    rows: Any = None
    layers: dict[str, Any] = field(default_factory=dict)
