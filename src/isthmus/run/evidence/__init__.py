"""Layer 8: what a report must show and the model does not hold, kept beside it: rows, map, media.

Two files: ``report_data.json`` and ``report_data.safetensors``. They hold excerpts of the data
(small pictures, text snippets, short clips), as the examples of the saved model do.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import numpy as np

from isthmus import iofs
from isthmus.data.describe import summary
from isthmus.errors import IsthmusError
from isthmus.fit.adapted import common_space
from isthmus.report import write_card
from isthmus.run.case import Case, short_origin
from isthmus.run.evidence.attribute import explain, permutation
from isthmus.run.evidence.gap import components, gaps, reliability_pair
from isthmus.run.evidence.media import media, texts
from isthmus.run.evidence.rows import Kept, keep, neighbours
from isthmus.run.evidence.scored import Scored, scored_rows
from isthmus.run.extract import Extracted
from isthmus.run.proof import Proof
from isthmus.run.record import plain
from isthmus.run.standings import Choice
from isthmus.select.routes.base import ModelFactory

logger = logging.getLogger(__name__)

FACTS, TENSORS = "report_data.json", "report_data.safetensors"
_REPEATED = ("method", "allow")  # options that may be given several times
# Seconds for attributions: a share of what the run took, within these; all else is bounded by rows
LEAST, MOST, SHARE = 1.5, 8.0, 0.25


def write_evidence(
    folder: str | Path,
    case: Case,
    features: Extracted,
    choice: Choice,
    proof: Proof,
    new_model: ModelFactory,
    *,
    call: dict[str, Any] | None = None,
    seed: int = 0,
    spent: float = MOST / SHARE,
) -> None:
    """Gather what `isthmus report` shows, and store it in the folder of a saved run.

    Labels of the test are those that the score has opened: they are not opened again.

    Parameters
    ----------
    folder : path
        Of the saved run.
    call : dict, optional
        Arguments of `isthmus.transfer`, for the command that repeats the run.
    spent : float, default=32
        Seconds that the run took: attributions may take a quarter of it, 1.5 to 8 seconds. What
        they do not reach is left out, and the facts say so.
    """
    notes: list[str] = []
    scored = scored_rows(case, proof)
    lead = features.source or features.labelled
    assert lead is not None
    space = common_space(new_model().processor, lead.X, features.target.X)
    kept = keep(case, features, choice, scored, seed=seed, ranked=_ranked(folder))
    near = neighbours(kept, features, space)
    seconds, start = min(max(SHARE * spent, LEAST), MOST), time.monotonic()
    half = start + seconds / (2 if case.target.modality == "table" else 1)
    shown, explained = explain(kept, features, choice.model, near=near, deadline=half, notes=notes)
    importance = permutation(
        features, choice.model, scored, deadline=start + seconds, seed=seed, notes=notes
    )
    found, blob = media(
        kept, features, first=[*shown, *(r for i in shown for r, _ in near.get(i, ()))]
    )
    coordinates, shares = components(kept, space, features)
    parts = {
        "source": case.source,
        "labelled target": case.labelled,
        "target": case.target,
        "test": None if features.test is None or kept.test_is_target else case.test,
    }
    facts = {
        "schema": 1,
        "task": case.task,
        "classes": list(case.classes),
        "call": _call(call or {}),
        "understood": {
            role: summary(part) | {"origin": short_origin(part)}
            for role, part in parts.items()
            if part is not None
        },
        "rows": kept.as_dict() | texts(kept, features),
        "counts": kept.counts(),
        "scored": None if scored is None else scored.as_dict(),
        "neighbours": {str(i): [[r, round(d, 4)] for r, d in found] for i, found in near.items()},
        "explained": explained,
        "importance": importance,
        "calibration": None if scored is None else reliability_pair(scored),
        "gap": _gap(case, features, scored, new_model, seed, notes),
        "map": {"explained_variance": shares},
        "media": found,
        "licence": getattr(features.backbone, "licence", None),
        "notes": notes,
    }
    tensors = {"components": coordinates.astype(np.float16), "media": blob}
    iofs.write_tensors(Path(folder) / TENSORS, tensors)
    iofs.write_json(Path(folder) / FACTS, plain(facts))
    write_card(folder)


def _gap(
    case: Case,
    features: Extracted,
    scored: Scored | None,
    new_model: ModelFactory,
    seed: int,
    notes: list[str],
) -> dict[str, Any] | None:
    """The gap's figures; too few or degenerate rows are a note, since the run itself is done."""
    try:
        return gaps(case, features, scored, new_model, seed=seed)
    except (IsthmusError, ValueError, np.linalg.LinAlgError) as error:
        logger.info("no figures of the gap: %s", error)
        notes.append(f"The gap could not be measured: {error}")
        return None


def _call(call: dict[str, Any]) -> dict[str, str | list[str]]:
    """Arguments that were given, flat and as text; lists are options that are repeated."""
    flat = {**call, **(call.get("reading") or {})}
    flat.pop("reading", None)
    header = {"header": str(flat.pop("header"))} if flat.get("header") is not None else {}
    given = {k: v for k, v in flat.items() if v is not None and v is not False}
    return {
        k: list(map(str, v)) if isinstance(v, list | tuple) and k in _REPEATED else str(v)
        for k, v in given.items()
    } | header


def _ranked(folder: str | Path) -> tuple[str, ...]:
    """Ids of the rows to label next, best first."""
    from isthmus.run.label_next_csv import LABEL_NEXT

    path = Path(folder) / LABEL_NEXT
    if not path.exists():
        return ()
    import pandas as pd

    return tuple(pd.read_csv(path, dtype={"id": str}, usecols=["id"])["id"])


__all__ = ["FACTS", "TENSORS", "Kept", "write_evidence"]
