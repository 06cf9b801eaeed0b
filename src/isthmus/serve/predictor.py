"""Layer 7: a saved model at work: raw data in, names and probabilities out, nothing dropped."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus.data.samples import Problem, Samples
from isthmus.errors import BundleError, DataError
from isthmus.fit.open_set import UNKNOWN
from isthmus.serve.bundle import load_model
from isthmus.serve.contract import recheck
from isthmus.serve.intake import read_labelled, read_unlabelled
from isthmus.serve.outputs import outputs_of
from isthmus.serve.schema import fit_to_schema
from isthmus.serve.writers import PROBABILITY
from isthmus.types import Modality, Task

if TYPE_CHECKING:
    import pandas as pd

    from isthmus.backbone import Backbone, FrameBackbone, Store
    from isthmus.backbone.embed import Embedded
    from isthmus.fit.blend import Model

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Predictor:
    """A model with its backbone, ready for new raw rows.

    Made by `load` from a folder, or by `from_parts` from what a run has in memory.

    Parameters
    ----------
    model : Model
    backbone : Backbone or FrameBackbone
    task : str
    classes : tuple of str
        In the order of the probabilities.
    schema : dict
        What the input must look like (see `isthmus.serve.schema`).
    folder : Path or None
        Where it was loaded from.
    store : Store or None
        Where features are kept between calls; None: nowhere.
    contract : dict
        What the model remembers of its rows (see `isthmus.serve.contract`).
    """

    model: Model
    backbone: Backbone | FrameBackbone
    task: Task
    classes: tuple[str, ...]
    schema: dict[str, Any]
    folder: Path | None = None
    store: Store | None = field(default=None, repr=False)
    contract: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def from_parts(
        cls,
        *,
        model: Model,
        backbone: Backbone | FrameBackbone,
        task: Task,
        classes: tuple[str, ...],
        modality: Modality,
        schema: dict[str, Any] | None = None,
        store: Store | None = None,
        contract: dict[str, Any] | None = None,
    ) -> Predictor:
        """A predictor without a folder."""
        known = schema or {"modality": modality, "reading": {}}
        return cls(
            model, backbone, task, tuple(classes), known, store=store, contract=contract or {}
        )

    def predict(
        self,
        data: Any,
        *,
        max_bad: float = 1.0,
        workers: int | None = None,
        progress: Callable[[int, int], None] | None = None,
        **reading: Any,
    ) -> pd.DataFrame:
        """Predict raw data; labels in it are not looked at.

        Parameters
        ----------
        data : anything `isthmus.data.read` takes, or Samples
            A list of file names means those files.
        max_bad : float, default=1.0
            Share of bad rows above which `DataError` is raised. By default every bad row is
            a row of the answer, with its reason in ``error``.
        workers, progress
            Passed to `embed`.
        **reading
            Options of `isthmus.data.read`; they overrule what the model remembers.

        Returns
        -------
        DataFrame
            One row per input row: ``id``; ``prediction`` (class name; names joined by ``|`` for
            multi-label; a number for regression); with classes ``confidence`` (probability of
            the predicted class; multi-label: none), ``novelty`` of a model that abstains (above
            one half the prediction is ``unknown``) and one column ``p(NAME)`` a class; ``error``
            (None where there is a prediction). Rows that could not even be read as rows come last.
            ``frame.attrs["findings"]``: what the rows break of the model's contract, as JSON.

        Raises
        ------
        DataError
            If the data do not fit the model: another modality, missing columns, another width.
        """
        samples = read_unlabelled(data, self.schema, max_bad=max_bad, **reading)
        samples, notes = fit_to_schema(samples, self.schema)
        got = self._embed(samples, workers, progress)
        for note in (*notes, *got.notes):
            logger.warning("%s: %s", samples.origin, note)
        _check_bad(got.problems, samples, max_bad)
        frame = self._frame(samples, got)
        found = recheck(self.contract, samples, got.features)
        for finding in found:
            logger.warning("%s", finding)
        frame.attrs["findings"] = [finding.as_dict() for finding in found]
        return frame

    def evaluate(
        self,
        data: Any,
        *,
        max_bad: float = 0.01,
        n_boot: int = 1000,
        random_state: int = 0,
        workers: int | None = None,
        progress: Callable[[int, int], None] | None = None,
        **reading: Any,
    ) -> dict[str, Any]:
        """Score on labelled data, each figure with its interval.

        Parameters
        ----------
        data : anything `isthmus.data.read` takes, or Samples
            With labels; rows without one are counted and left out.
        max_bad : float, default=0.01
            Share of bad rows above which nothing is scored.
        n_boot, random_state
            Bootstrap resamples and their seed.
        workers, progress, **reading
            As in `predict`.

        Returns
        -------
        dict
            What `isthmus.evaluate.metrics.score` returns (classes that the model never saw are
            in ``unseen`` and count as errors), and ``rows``: seen, scored, unlabelled, bad, and
            ``problems``; and ``findings``: what the rows break of the model's contract.

        Raises
        ------
        DataError
            If the data do not fit the model, carry no labels, or hold too many bad rows.
        """
        from isthmus.evaluate.metrics import score

        samples = read_labelled(
            data, self.schema, task=self.task, classes=self.classes, max_bad=max_bad, **reading
        )
        samples, notes = fit_to_schema(samples, self.schema)
        unlabelled = int((~samples.labelled).sum())
        labelled = samples.take(samples.labelled)
        got = self._embed(labelled, workers, progress)
        _check_bad(got.problems, samples, max_bad)
        used = labelled.take(got.rows)
        if not len(used):
            raise DataError("no row could be scored", where=samples.origin)
        found = outputs_of(self.model, got.features)
        assert used.labels is not None
        result = score(
            used.labels,
            predicted=self.model.predict(got.features),
            proba=found.proba,
            classes=self.classes,
            task=self.task,
            groups=used.groups,
            n_boot=n_boot,
            random_state=random_state,
            unknown=None if found.novelty is None else UNKNOWN,
        )
        problems = [*samples.quarantine, *got.problems]
        result["rows"] = {
            "seen": len(samples) + len(samples.quarantine),
            "scored": len(used),
            "unlabelled": unlabelled,
            "bad": len(problems),
        }
        result["problems"] = [problem.as_dict() for problem in problems]
        broken = recheck(self.contract, used, got.features, scored=True)
        result["findings"] = [finding.as_dict() for finding in broken]
        result["notes"] = [
            *result.get("notes", ()),
            *notes,
            *got.notes,
            *(str(finding) for finding in broken),
        ]
        return result

    def verify(self) -> dict[str, Any]:
        """Check the folder again, byte by byte, and replay its examples (see `serve.verify`)."""
        from isthmus.serve.verify import verify

        if self.folder is None:
            raise BundleError(
                "this predictor was not loaded from a folder, so there is nothing to verify",
                remedy="Save the model first",
            )
        return verify(self.folder, backbone=self.backbone)

    def _embed(
        self,
        samples: Samples,
        workers: int | None,
        progress: Callable[[int, int], None] | None,
    ) -> Embedded:
        from isthmus.backbone import embed

        return embed(self.backbone, samples, store=self.store, workers=workers, progress=progress)

    def _frame(self, samples: Samples, got: Embedded) -> pd.DataFrame:
        import pandas as pd

        found = outputs_of(self.model, got.features)
        n, extra = len(samples), samples.quarantine
        reasons = {problem.where: problem for problem in got.problems}
        total = n + len(extra)
        error = np.full(total, None, dtype=object)
        good = np.zeros(n, dtype=bool)
        good[got.rows] = True
        for row in np.flatnonzero(~good):
            problem = reasons.get(samples.ids[row])
            error[row] = _reason(problem) if problem else "not reached"
        error[n:] = [_reason(problem) for problem in extra]
        # Object columns: pandas' own text type cannot hold file names that are not UTF-8.
        ids = [*samples.ids, *(problem.where for problem in extra)]
        columns: dict[str, Any] = {"id": pd.Series(ids, dtype=object)}
        last = {"error": pd.Series(error, dtype=object)}
        if found.values is not None:
            values = np.full(total, np.nan)
            values[got.rows] = found.values
            return pd.DataFrame(columns | {"prediction": values} | last)
        names = np.full(total, None, dtype=object)
        joined = self.task == "multilabel"
        names[got.rows] = ["|".join(v) for v in found.names] if joined else found.names
        columns["prediction"] = pd.Series(names, dtype=object)
        assert found.proba is not None
        proba = np.full((total, len(self.classes)), np.nan)
        proba[got.rows] = found.proba
        if not joined:
            chosen = np.full(total, np.nan)
            where = {name: k for k, name in enumerate(self.classes)}
            best = found.proba.argmax(axis=1)  # of a row that is answered "unknown"
            picked = [where.get(name, k) for name, k in zip(found.names, best, strict=True)]
            chosen[got.rows] = found.proba[np.arange(len(picked)), picked]
            columns["confidence"] = chosen
        if found.novelty is not None:
            columns["novelty"] = np.full(total, np.nan)
            columns["novelty"][got.rows] = found.novelty
        for k, name in enumerate(self.classes):
            columns[PROBABILITY.format(name)] = proba[:, k]
        return pd.DataFrame(columns | last)


def _reason(problem: Problem) -> str:
    return f"{problem.reason}. {problem.remedy}" if problem.remedy else problem.reason


def _check_bad(problems: Iterable[Problem], samples: Samples, max_bad: float) -> None:
    from isthmus.data.quarantine import check_bad_share

    every = [*samples.quarantine, *problems]
    check_bad_share(every, len(samples) + len(samples.quarantine), max_bad=max_bad)


def load(
    folder: str | Path,
    *,
    backbone: Backbone | FrameBackbone | None = None,
    store: Store | None = None,
) -> Predictor:
    """A predictor from the folder of a saved model.

    Parameters
    ----------
    folder : path
        What `isthmus transfer --out` wrote.
    backbone : Backbone or FrameBackbone, optional
        Needed where the model was made with a backbone without a name.
    store : Store, optional
        Where features are kept between calls.

    Returns
    -------
    Predictor

    Raises
    ------
    BundleError, BackboneError
        As `load_model`.

    Examples
    --------
    >>> isthmus.load("run").predict("new_photos/")  # doctest: +SKIP
    """
    found = load_model(folder, backbone=backbone)
    return Predictor(
        found.model,
        found.backbone,
        found.task,
        found.classes,
        found.manifest["input"],
        folder=found.folder,
        store=store,
        contract=_contract(found.manifest),
    )


def _contract(manifest: dict[str, Any]) -> dict[str, Any]:
    found = manifest["extra"].get("contract")
    return found if isinstance(found, dict) else {}
