"""Layer 8: which rows a report shows: a fair sample for the map, and the rows worth opening."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from isthmus.data.samples import Samples
from isthmus.fit.adapted import Space
from isthmus.run.case import Case
from isthmus.run.evidence.scored import Scored
from isthmus.run.extract import Extracted, Part
from isthmus.run.standings import Choice
from isthmus.types import Array

PARTS = ("source", "labelled target", "target", "test")
ON_MAP = {"source": 2000, "labelled target": 400, "target": 1600, "test": 1600}
ERRORS, RIGHT, RANKED = 500, 600, 50
LIGHT = 10  # times as many where a row is a name and a picture at most, no text and no cells
NEAREST = 4
EXPLAINED = 6


@dataclass
class Kept:
    """The rows of a report, as columns of equal length.

    Parameters
    ----------
    part : list of int
        Position in `PARTS`.
    row : list of int
        Position in that part.
    on_map : list of bool
        Drawn at random, so the map shows what is there and not what was looked for.
    truth, predicted : list
        Names (joined by ``|`` for multi-label) or numbers; None where unknown.
    confidence : list of float or None
    """

    test_is_target: bool
    ids: list[str] = field(default_factory=list)
    part: list[int] = field(default_factory=list)
    row: list[int] = field(default_factory=list)
    on_map: list[bool] = field(default_factory=list)
    truth: list[Any] = field(default_factory=list)
    predicted: list[Any] = field(default_factory=list)
    confidence: list[float | None] = field(default_factory=list)
    right: list[bool | None] = field(default_factory=list)
    scored: list[bool] = field(default_factory=list)
    place: dict[tuple[int, int], int] = field(default_factory=dict)
    totals: dict[str, int] = field(default_factory=dict)
    ranked: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.row)

    def add(self, part: str, rows: Array, samples: Samples, *, on_map: bool = False) -> None:
        """Rows that are there already are not added twice."""
        code = PARTS.index(part)
        for row in map(int, rows):
            if (code, row) in self.place:
                continue
            self.place[code, row] = len(self.row)
            self.ids.append(samples.ids[row])
            self.part.append(code)
            self.row.append(row)
            self.on_map.append(on_map)
            for column in (self.truth, self.predicted, self.confidence, self.right):
                column.append(None)
            self.scored.append(False)

    def of(self, part: str) -> list[int]:
        """Positions of the rows of one part."""
        code = PARTS.index(part)
        return [i for i, p in enumerate(self.part) if p == code]

    def counts(self) -> dict[str, dict[str, int]]:
        """Rows in all and rows kept, a part."""
        return {
            name: {"rows": total, "kept": len(self.of(name))} for name, total in self.totals.items()
        }

    def as_dict(self) -> dict[str, Any]:
        """JSON form: columns."""
        return {
            "parts": list(PARTS),
            "id": [i.encode("utf-8", "backslashreplace").decode() for i in self.ids],
            "part": self.part,
            "map": [int(m) for m in self.on_map],
            "truth": self.truth,
            "prediction": self.predicted,
            "confidence": self.confidence,
            "right": self.right,
            "scored": [int(s) for s in self.scored],
            "label_next": self.ranked,
        }


def part_of(features: Extracted, name: str) -> Part | None:
    """The part of that name."""
    return {
        "source": features.source,
        "labelled target": features.labelled,
        "target": features.target,
        "test": features.test,
    }[name]


def keep(
    case: Case,
    features: Extracted,
    choice: Choice,
    scored: Scored | None,
    *,
    seed: int,
    ranked: tuple[str, ...] = (),
) -> Kept:
    """Choose the rows; see `ON_MAP`, `ERRORS`, `RIGHT` for how many."""
    rng = np.random.default_rng(seed)
    target, test = features.target, features.test
    same = test is not None and test.samples.ids == target.samples.ids
    kept = Kept(same)
    for name in PARTS:
        part = part_of(features, name)
        if part is None or (name == "test" and same):
            continue
        kept.totals[name] = len(part.X)
        most = ON_MAP[name]
        rows = np.arange(len(part.X))
        if len(rows) > most:
            rows = np.sort(rng.choice(rows, most, replace=False))
        kept.add(name, rows, part.samples, on_map=True)
    role = None if scored is None else _role(scored.role, same)
    if scored is not None and role is not None:
        part = part_of(features, role)
        assert part is not None
        heavy = part.samples.modality in ("text", "table")
        chosen = _worth_opening(scored, rng, times=1 if heavy else LIGHT)
        kept.add(role, scored.rows[chosen], part.samples)
    place = {name: i for i, name in enumerate(target.samples.ids)}
    wanted = [place[name] for name in ranked[:RANKED] if name in place]
    kept.add("target", np.array(wanted, dtype=int), target.samples)
    code = PARTS.index("target")
    kept.ranked = [kept.place[code, row] for row in wanted]
    _answers(kept, case, features, choice)
    if scored is not None and role is not None:
        _truths(kept, scored, PARTS.index(role))
    return kept


def _role(role: str, same: bool) -> str:
    return "target" if role == "test" and same else role


def _worth_opening(scored: Scored, rng: np.random.Generator, *, times: int) -> Array:
    """Positions in the score: the worst answers, and right ones at random."""
    order = np.argsort(-scored.doubt, kind="stable")
    if scored.task == "regression":
        return order[: times * ERRORS]
    wrong = order[: min(times * ERRORS, int((~scored.right).sum()))]
    fine = np.flatnonzero(scored.right)
    if len(fine) > times * RIGHT:
        fine = rng.choice(fine, times * RIGHT, replace=False)
    return np.concatenate([wrong, np.sort(fine)])


def _answers(kept: Kept, case: Case, features: Extracted, choice: Choice) -> None:
    """What the model says of target rows; labels of rows that train are no secret."""
    model = choice.model
    for name in PARTS:
        part, at = part_of(features, name), kept.of(name)
        if part is None or not at:
            continue
        rows = np.array([kept.row[i] for i in at])
        if part.samples.labels is not None:
            for i, value in zip(at, part.samples.labels[rows], strict=True):
                kept.truth[i] = _plain(value, case)
        if name in ("target", "test"):
            X = np.asarray(part.X[rows])
            predicted = model.predict(X)
            sure = None
            if case.task == "classification":
                sure = model.predict_proba(X).max(axis=1)
            for k, i in enumerate(at):
                kept.predicted[i] = _plain(predicted[k], case)
                kept.confidence[i] = None if sure is None else round(float(sure[k]), 4)


def _truths(kept: Kept, scored: Scored, code: int) -> None:
    sure = scored.proba if scored.task == "classification" else None
    right = scored.right
    for k, row in enumerate(map(int, scored.rows)):
        i = kept.place.get((code, row))
        if i is None:
            continue
        kept.truth[i] = _name(scored.truth[k], scored)
        kept.predicted[i] = _name(scored.predicted[k], scored)
        kept.confidence[i] = None if sure is None else round(float(sure[k].max()), 4)
        kept.right[i] = None if scored.task == "regression" else bool(right[k])
        kept.scored[i] = True


def _plain(value: Any, case: Case) -> Any:
    if case.task == "regression":
        number = float(value)
        return number if np.isfinite(number) else None
    if case.task == "multilabel":
        return "|".join(n for n, on in zip(case.classes, value) if on)
    return None if value is None else str(value)


def _name(value: Any, scored: Scored) -> Any:
    if scored.task == "multilabel":
        return "|".join(n for n, on in zip(scored.classes, value) if on)
    return float(value) if scored.task == "regression" else str(value)


def chosen_to_explain(kept: Kept, count: int = EXPLAINED) -> list[int]:
    """Rows whose prediction is taken apart: sure mistakes, doubtful ones, right ones."""
    rows = [i for i in range(len(kept)) if kept.predicted[i] is not None and kept.part[i] >= 2]
    sure = [-1.0 if kept.confidence[i] is None else float(kept.confidence[i] or 0) for i in rows]
    order = [rows[k] for k in np.argsort(-np.array(sure), kind="stable")] if rows else []
    wrong = [i for i in order if kept.right[i] is False]
    fine = [i for i in order if kept.right[i] is not False]
    found = wrong[: count // 3]
    found += [i for i in reversed(order) if i not in found][: count // 3]
    seen: set[Any] = set()
    for i in fine:  # one a class, surest first
        if i not in found and kept.predicted[i] not in seen:
            seen.add(kept.predicted[i])
            found.append(i)
    return found[:count]


def neighbours(kept: Kept, features: Extracted, space: Space) -> dict[int, list[tuple[int, float]]]:
    """Nearest labelled rows, in the space of both domains, of rows that are explained or wrong.

    Returns
    -------
    dict
        Position -> [(position, distance), ...], nearest first; the neighbours are among the rows
        that were kept, so in large runs they are the nearest of a sample.
    """
    asked = chosen_to_explain(kept)
    wrong = [i for i in range(len(kept)) if kept.right[i] is False and kept.part[i] >= 2]
    wrong.sort(key=lambda i: -(kept.confidence[i] or 0.0))
    asked += [i for i in wrong[:24] if i not in asked]
    known = [i for i in range(len(kept)) if kept.part[i] < 2]
    if not asked or not known:
        return {}
    A, B = in_space(kept, asked, features, space), in_space(kept, known, features, space)
    D = ((A**2).sum(axis=1)[:, None] + (B**2).sum(axis=1) - 2 * A @ B.T).clip(0)
    order = np.argsort(D, axis=1, kind="stable")[:, :NEAREST]
    return {i: [(known[j], float(np.sqrt(D[k, j]))) for j in order[k]] for k, i in enumerate(asked)}


def in_space(kept: Kept, rows: list[int], features: Extracted, space: Space) -> Array:
    """(len(rows), k) features of kept rows in the common space."""
    raw: list[Array] = []
    for i in rows:
        part = part_of(features, PARTS[kept.part[i]])
        assert part is not None
        raw.append(np.asarray(part.X[kept.row[i]]))
    return np.asarray(space.rows(np.stack(raw)), dtype=np.float64)
