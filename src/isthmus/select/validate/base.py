"""Layer 6: what a validator is: a score of a candidate that needs no target label.

**To add a validator: one file in this folder with one subclass of `Validator`, its test file, and
a row in docs/methods.md.** `discover` finds it; nothing is registered by hand.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from isthmus.errors import IsthmusError
from isthmus.select.members import members
from isthmus.types import Array

logger = logging.getLogger(__name__)
Predict = Callable[[Array], Array]  # target rows (m, d) -> probabilities (m, K)


@dataclass(frozen=True)
class Scene:
    """What all candidates of one choice have in common. No label of a target row is in it.

    Parameters
    ----------
    Xs : ndarray of shape (n_s, d)
        Source rows in the common space of both domains.
    ys : ndarray of shape (n_s,), int
        Codes 0 ... K - 1; a class may be absent.
    Xt : ndarray of shape (n_t, d)
    n_classes : int
        K.
    weights : ndarray of shape (n_s,)
        Density ratio target over source at the source rows, mean 1.
    neighbors : ndarray of shape (n_t, m), int
        The nearest other target rows of every target row, nearest first.
    consensus : ndarray of shape (n_t, K)
        Mean of the candidates' probabilities.
    groups : ndarray of shape (n_s,), optional
        Source rows that must not be torn apart.
    random_state : int, default=0
    """

    Xs: Array
    ys: Array
    Xt: Array
    n_classes: int
    weights: Array
    neighbors: Array
    consensus: Array
    groups: Array | None = None
    random_state: int = 0


@dataclass(frozen=True)
class Trial:
    """One candidate: what it says of the rows, and how to ask it more.

    Parameters
    ----------
    name : str
    target_proba : ndarray of shape (n_t, K)
    source_proba : ndarray of shape (n_s, K), optional
        Out of fold: no row's probabilities come from a model fitted on it. None where the
        candidate has no answer for source rows.
    predict : callable, optional
        Rows of the common space, of the target domain, to probabilities.
    refit : callable, optional
        ``refit(Xs, ys, Xt) -> predict``: the same candidate between other domains, same classes.
    """

    name: str
    target_proba: Array
    source_proba: Array | None = None
    predict: Predict | None = None
    refit: Callable[[Array, Array, Array], Predict] | None = None


@dataclass(frozen=True)
class Score:
    """A validator's answer for one candidate: a value, or why there is none.

    Parameters
    ----------
    value : float or None
        Higher is better, whatever the paper's sign.
    reason : str
        Empty when there is a value.
    """

    value: float | None
    reason: str = ""


class Validator(ABC):
    """A label-free score; higher is better.

    Attributes
    ----------
    name : str
        As printed: ``"bnm"``.
    needs : tuple of str
        Fields of `Trial` beyond `target_proba` that it reads.
    cost : {"cheap", "refit"}
        ``refit`` ones train the candidate again.
    """

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    cost: ClassVar[str] = "cheap"

    @abstractmethod
    def score(self, scene: Scene, trial: Trial) -> float:
        """The score of one candidate.

        Raises
        ------
        DataError
            If it cannot be computed here, with the reason.
        """


def validate(validator: Validator, scene: Scene, trials: Iterable[Trial]) -> dict[str, Score]:
    """Scores by candidate; a failure is a reason in the table and a warning, never a number."""
    found: dict[str, Score] = {}
    for trial in trials:
        missing = [name for name in validator.needs if getattr(trial, name) is None]
        if missing:
            found[trial.name] = Score(None, f"{trial.name} has no {' and no '.join(missing)}")
            continue
        try:
            value = float(validator.score(scene, trial))
        except (IsthmusError, np.linalg.LinAlgError) as error:
            logger.warning("validator %s failed on %s: %s", validator.name, trial.name, error)
            found[trial.name] = Score(None, str(error))
            continue
        if np.isfinite(value):
            found[trial.name] = Score(value)
        else:
            logger.warning("validator %s is not finite on %s", validator.name, trial.name)
            found[trial.name] = Score(None, "the score is not a finite number")
    return found


def discover() -> dict[str, Validator]:
    """One instance of every validator in this folder, by name."""
    return members("isthmus.select.validate", Validator)
