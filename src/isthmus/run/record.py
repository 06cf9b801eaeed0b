"""Layer 8: what a run leaves behind: the result as a value, as text, and as a folder.

``results.json`` holds nothing that differs between two runs of the same command (no times, no
absolute paths); those go into ``run.json``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus import __version__, iofs
from isthmus.data.checks.finding import Finding
from isthmus.errors import IsthmusError, UsageError
from isthmus.fit.blend import Model
from isthmus.fit.open_set import novelty_of
from isthmus.run.case import Case, short_origin
from isthmus.run.extract import Extracted, Part
from isthmus.run.postcheck import from_results
from isthmus.run.proof import Proof
from isthmus.run.standings import UNITS, Choice
from isthmus.select.guard import Standing
from isthmus.types import Array, Verdict

if TYPE_CHECKING:
    import pandas as pd

    from isthmus.serve.predictor import Predictor

RESULTS, RUN, PREDICTIONS, QUARANTINE = (
    "results.json",
    "run.json",
    "predictions.csv",
    "quarantine.csv",
)


@dataclass(frozen=True)
class Result:
    """What a run found.

    Parameters
    ----------
    results : dict
        Everything in ``results.json``: data, routes, verdict, scores with intervals, baselines.
    verdict : Verdict
    model : Model
        Works on features of `backbone`.
    predictions : DataFrame
        One row per target row: id, prediction, confidence.
    run : dict
        Times and counts that differ from run to run.
    """

    results: dict[str, Any]
    verdict: Verdict
    model: Model
    predictions: pd.DataFrame
    run: dict[str, Any]
    _case: Case = field(repr=False)
    _features: Extracted = field(repr=False)

    @classmethod
    def build(
        cls,
        case: Case,
        features: Extracted,
        choice: Choice,
        proof: Proof,
        *,
        settings: dict[str, Any],
        call: str,
        seconds: float,
        notes: Sequence[str] = (),
        findings: Sequence[Finding] = (),
        label_set: dict[str, Any] | None = None,
        network: dict[str, Any] | None = None,
    ) -> Result:
        """Put together what the steps returned; nothing is computed here but the predictions."""
        results: dict[str, Any] = {
            "schema": 1,
            "isthmus": __version__,
            "task": case.task,
            "classes": list(case.classes),
            "modality": case.target.modality,
            "data": _data(case, features),
            "notes": [*case.notes, *features.notes, *notes],
            "backbone": {
                "name": features.backbone.name,
                "fingerprint": features.backbone.fingerprint,
                "num_features": features.backbone.num_features,
                "reference": features.backbone.reference,
            },
            "settings": {k: v for k, v in settings.items() if isinstance(v, (int, float, str))},
            "evidence": choice.folds,
            "routes": [_route(s, UNITS[case.task], choice) for s in choice.standings],
            "choice": None if choice.blend is None else choice.blend.as_dict(),
            "label_set": label_set or {"setting": "auto"},
            "network": network,
            "chosen": choice.verdict.decision,
            "verdict": {
                "decision": choice.verdict.decision,
                "sentence": choice.verdict.sentence,
                "reason": choice.verdict.reason,
                "evidence": choice.verdict.evidence,
            },
            "proof": proof.as_dict(),
            "findings": [_finding(finding) for finding in findings],
            "quarantine": {
                "seen": features.seen,
                "bad": len(features.problems),
                "rows": [p.as_dict() for p in features.problems],
            },
        }
        results["findings"] += [_finding(finding) for finding in from_results(results)]
        run = {
            "status": "finished",
            "call": call,
            "seconds": round(seconds, 3),
            "routes": {name: round(spent, 3) for name, spent in choice.seconds.items()},
            "features": {role: _counts(part) for role, part in _parts(features)},
        }
        predictions = predict_target(features.target, choice.model)
        return cls(results, choice.verdict, choice.model, predictions, run, case, features)

    def save(self, folder: str | Path) -> Path:
        """Write the saved model, then the results; the folder is a model for `isthmus.load`."""
        from isthmus.serve.bundle import save_model
        from isthmus.serve.writers import frame_to_csv

        folder = Path(folder)
        like = self._case.source or self._case.labelled
        assert like is not None
        trained = self._features.source or self._features.labelled
        assert trained is not None
        save_model(
            folder,
            model=self.model,
            backbone=self._features.backbone,
            samples_like=like,
            task=self._case.task,
            classes=self._case.classes,
            examples=trained.samples,
            contract=self._contract(),
            extra={
                "chosen": self.results["chosen"],
                "verdict": self.results["verdict"]["sentence"],
                "outcome": self.results["proof"]["outcome"],
            },
        )
        iofs.write_text(folder / PREDICTIONS, frame_to_csv(self.predictions))
        if self._features.problems:
            import pandas as pd

            frame = pd.DataFrame([p.as_dict() for p in self._features.problems])
            iofs.write_text(folder / QUARANTINE, frame_to_csv(frame))
        iofs.write_json(folder / RUN, self.run)
        iofs.write_json(folder / RESULTS, self.results)  # last: its presence says "complete"
        return folder

    def predictor(self) -> Predictor:
        """A predictor for new raw rows, without going through a folder."""
        from isthmus.serve.predictor import Predictor
        from isthmus.serve.schema import schema_of

        like = self._case.source or self._case.labelled
        assert like is not None
        return Predictor.from_parts(
            schema=schema_of(like),
            model=self.model,
            backbone=self._features.backbone,
            task=self._case.task,
            classes=self._case.classes,
            modality=self._case.target.modality,
            contract=self._contract(),
        )

    def _contract(self) -> dict[str, Any]:
        """What the model remembers of its rows, for a check of new ones."""
        from isthmus.serve.contract import contract_of

        trained = self._features.source or self._features.labelled
        assert trained is not None
        parts = [part for _, part in _parts(self._features)]
        return contract_of(
            trained.samples, [part.X for part in parts], [part.samples for part in parts]
        )

    def text(self) -> str:
        """The leaderboard, the verdict and the proof, as the command line prints them."""
        from isthmus.run.text import render

        return render(self.results, self.run)

    def __str__(self) -> str:
        return self.text()


def claim_folder(
    out: str | Path | None, call: dict[str, Any], *, overwrite: bool = False
) -> Path | None:
    """Check that this call may use the output folder, before any work; nothing is written.

    The same call may go on where it was interrupted, or repeat itself; another call must not
    overwrite what it did not make.

    Parameters
    ----------
    call : dict
        The arguments; only their text enters, so arrays in memory never match another run.

    Raises
    ------
    UsageError
        If `out` is a file, holds foreign files, or another run's results and not `overwrite`.
    """
    if out is None:
        return None
    folder = Path(out)
    mark = call_digest(call)
    if folder.exists() and not folder.is_dir():
        raise UsageError("--out names a file", where=str(folder), remedy="Name a folder")
    if folder.exists() and any(folder.iterdir()):
        if not (folder / RUN).exists():
            raise UsageError(
                "the output folder holds files that are not a run of isthmus",
                where=str(folder),
                remedy="Name an empty or a new folder",
            )
        if not overwrite and _call_of(folder) != mark and not _only_begun(folder):
            raise UsageError(
                "the output folder holds the results of another call",
                where=str(folder),
                remedy="Add --overwrite to replace them, or name another folder",
            )
    return folder


def clear_other(folder: Path | None, call: dict[str, Any], name: str) -> None:
    """Remove what another call left in the subfolder `name`: a start, not a resume."""
    if folder is not None and (folder / name).is_dir() and _call_of(folder) != call_digest(call):
        iofs.remove([folder / name])


def _only_begun(folder: Path) -> bool:
    """Whether a call left nothing but its mark: one that was refused before it worked."""
    if [path.name for path in folder.iterdir()] != [RUN]:
        return False
    found = iofs.read_json(folder / RUN)
    return isinstance(found, dict) and found.get("status") == "running"


def _call_of(folder: Path) -> Any:
    """The digest of the call whose results lie in the folder."""
    try:
        found = iofs.read_json(folder / RUN)
    except IsthmusError as error:
        raise UsageError(
            "the output folder holds a damaged run",
            where=str(folder / RUN),
            why=error.why or error.what,
            remedy="Add --overwrite to replace it, or name another folder",
        ) from None
    return found.get("call") if isinstance(found, dict) else None


def mark_running(folder: Path | None, call: dict[str, Any]) -> None:
    """Leave a note that this call works in the folder: what an interrupted run is known by."""
    if folder is not None:
        iofs.write_json(folder / RUN, {"status": "running", "call": call_digest(call)})


def call_digest(call: dict[str, Any]) -> str:
    """SHA-256 of the arguments of a call, by their text."""
    plain = {k: str(v) for k, v in call.items() if v is not None and not callable(v)}
    return iofs.sha256_bytes(iofs.canonical_json(plain))


def predict_target(part: Part, model: Model) -> pd.DataFrame:
    """id, prediction and, where there are classes, the confidence of every target row.

    A model that abstains adds its novelty; the confidence is that of the best known class.
    """
    import pandas as pd

    # object: pandas' own text type refuses file names that are not UTF-8
    frame = pd.DataFrame({"id": pd.Series(part.samples.ids, dtype=object)})
    predicted = model.predict(part.X)
    if model.task == "multilabel":
        names = np.array(model.classes, dtype=object)
        frame["prediction"] = ["|".join(names[np.asarray(row, dtype=bool)]) for row in predicted]
    else:
        frame["prediction"] = predicted
    if model.task == "classification":
        frame["confidence"] = confidence(model.predict_proba(part.X))
        strange = novelty_of(model, part.X)
        if strange is not None:
            frame["novelty"] = np.round(strange, 6)
    return frame


def confidence(proba: Array) -> Array:
    """Probability of the predicted class, rounded so that CSV files do not carry noise."""
    return np.round(proba.max(axis=1).astype(float), 6)


def _parts(features: Extracted) -> list[tuple[str, Part]]:
    named = (
        ("source", features.source),
        ("labelled target", features.labelled),
        ("target", features.target),
        ("test", features.test),
    )
    return [(role, part) for role, part in named if part is not None]


def _finding(finding: Finding) -> dict[str, Any]:
    """JSON form without the folders above the data: results must not depend on them."""
    entry = finding.as_dict()
    return entry | {"where": Path(entry["where"]).name, "figures": plain(entry["figures"])}


def _counts(part: Part) -> dict[str, int]:
    return {"cached": part.hits, "computed": part.computed, "not_reached": part.unreached}


def _data(case: Case, features: Extracted) -> dict[str, Any]:
    found = {}
    for role, part in _parts(features):
        entry: dict[str, Any] = {"rows": len(part.X), "origin": short_origin(part.samples)}
        if part.samples.labels is not None and case.task == "classification":
            names, counts = np.unique(part.samples.labels.astype(str), return_counts=True)
            entry["classes"] = {str(n): int(c) for n, c in zip(names, counts, strict=True)}
        found[role] = entry
    return found


def _route(standing: Standing, unit: str, choice: Choice) -> dict[str, Any]:
    def interval(value: Any) -> dict[str, Any] | None:
        return None if value is None else value.as_dict()

    entry = {
        "route": standing.route,
        "status": standing.status,
        "reason": standing.reason,
        "metric": unit,
        "score": interval(standing.score),
        "over_target_only": interval(standing.over_reference),
    }
    if standing.expected is not None:
        entry["expected_gain"] = interval(standing.expected)
        entry["estimated_accuracy"] = interval(standing.estimate)
    if not standing.by_hand:
        return entry
    route = next(r for r in choice.routes if r.name == standing.route)
    model = choice.models.get(standing.route)
    return entry | {
        "by_hand": True,
        "method": str(getattr(route, "method", "")),
        "over_chosen": interval(standing.over_chosen),
        "troubles": [asdict(trouble) for trouble in getattr(model, "troubles_", ())],
        "info": plain(getattr(model, "info_", {})),
    }


def plain(value: Any) -> Any:
    """JSON form of figures: NumPy numbers become Python's, what is not finite None."""
    if isinstance(value, dict):
        return {str(name): plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)
