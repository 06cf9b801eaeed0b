"""Layer 6: what an estimator is: the accuracy of a candidate on the target, without its labels.

**To add an estimator: one file in this folder with one or more subclasses of `Estimator`, its test
file, and a row in docs/methods.md.** `discover` finds it; nothing is registered by hand.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from isthmus.errors import DataError, IsthmusError
from isthmus.select.members import members
from isthmus.select.validate.base import Scene, Trial
from isthmus.types import Array

logger = logging.getLogger(__name__)
TINY = 1e-12  # smallest probability whose logarithm is taken


@dataclass(frozen=True)
class Estimate:
    """An estimator's answer for one candidate: an accuracy, or why there is none.

    Parameters
    ----------
    value : float or None
        Accuracy on the target rows, 0 ... 1.
    reason : str
        Empty when there is a value.
    info : dict
        Figures worth printing (effective sample size, threshold), plain numbers.
    """

    value: float | None
    reason: str = ""
    info: dict[str, float] = field(default_factory=dict)


class Estimator(ABC):
    """An estimate of accuracy from unlabelled target rows.

    Attributes
    ----------
    name : str
        As printed: ``"atc-mc"``.
    needs : tuple of str
        Fields of `Trial` beyond `target_proba` that it reads.
    """

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def estimate(self, scene: Scene, trial: Trial, *, others: Sequence[Trial] = ()) -> Estimate:
        """The estimated accuracy of one candidate.

        Parameters
        ----------
        others : sequence of Trial
            The other candidates of the choice, for estimates by agreement.

        Raises
        ------
        DataError
            If it cannot be computed here, with the reason.
        """


def ask(
    estimator: Estimator, scene: Scene, trial: Trial, *, others: Sequence[Trial] = ()
) -> Estimate:
    """One estimate; a failure is a reason and a warning, never a number."""
    missing = [name for name in estimator.needs if getattr(trial, name) is None]
    if missing:
        return Estimate(None, f"{trial.name} has no {' and no '.join(missing)}")
    try:
        found = estimator.estimate(scene, trial, others=others)
    except (IsthmusError, np.linalg.LinAlgError) as error:
        logger.info("estimator %s has no answer for %s: %s", estimator.name, trial.name, error)
        return Estimate(None, str(error))
    if found.value is None:
        return found
    if not np.isfinite(found.value):
        logger.warning("estimator %s is not finite on %s", estimator.name, trial.name)
        return Estimate(None, "the estimate is not a finite number", found.info)
    return Estimate(float(np.clip(found.value, 0.0, 1.0)), "", found.info)


def estimates(
    scene: Scene, trials: Iterable[Trial], estimators: Mapping[str, Estimator] | None = None
) -> dict[str, dict[str, Estimate]]:
    """All estimates of all candidates: candidate -> estimator -> estimate."""
    known = discover() if estimators is None else estimators
    all_ = list(trials)
    return {
        trial.name: {
            name: ask(one, scene, trial, others=[t for t in all_ if t is not trial])
            for name, one in known.items()
        }
        for trial in all_
    }


def held_out(scene: Scene, trial: Trial) -> tuple[Array, Array, Array]:
    """Source probabilities (m, K), labels (m,) and row positions where the candidate has them.

    Rows without a finite probability (a candidate may leave some out) are left out.

    Raises
    ------
    DataError
        Fewer than 10 such rows.
    """
    assert trial.source_proba is not None
    P = np.asarray(trial.source_proba, dtype=np.float64)
    if P.shape != (len(scene.ys), scene.n_classes):
        raise DataError(f"source probabilities of shape {P.shape} for {len(scene.ys)} rows")
    rows = np.flatnonzero(np.isfinite(P).all(axis=1))
    if len(rows) < 10:
        raise DataError(f"{len(rows)} held-out source rows", why="at least 10 are needed")
    return P[rows], np.asarray(scene.ys)[rows], rows


def discover() -> dict[str, Estimator]:
    """One instance of every estimator in this folder, by name."""
    return members("isthmus.select.estimate", Estimator)
