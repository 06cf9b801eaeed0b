"""Layer 6: what the validators said, as a table: values, reasons where there is none, reliability.

A validator that fails is left out of the choice and named with its reason; how far each can be
trusted is a measured number that comes with the table of priors, not its reputation.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from isthmus.errors import DataError, UsageError
from isthmus.select.validate.base import Score

logger = logging.getLogger(__name__)
SAME = 1e-12  # values that differ by less are the same, relative to the largest


@dataclass(frozen=True)
class Reliability:
    """How well a validator ranked candidates where the labels were known.

    Parameters
    ----------
    value : float
        What `what` says; larger is better.
    low, high : float, optional
        Its interval.
    tasks : int, optional
        Number of tasks it was measured on.
    what : str
        In words.
    """

    value: float
    low: float | None = None
    high: float | None = None
    tasks: int | None = None
    what: str = "rank correlation with the true accuracy"

    def __str__(self) -> str:
        text = f"{self.value:+z.2f}"
        if self.low is not None and self.high is not None:
            text += f" [{self.low:+z.2f}, {self.high:+z.2f}]"
        return text if self.tasks is None else f"{text} on {self.tasks} tasks"


@dataclass(frozen=True)
class Column:
    """One validator: its scores, or why it has no say.

    Parameters
    ----------
    name : str
    scores : dict of str to Score
        By candidate, in the table's order.
    reliability : Reliability or None
        None: not measured.
    left_out : str
        Why the choice does not read it; empty where it does.
    """

    name: str
    scores: dict[str, Score]
    reliability: Reliability | None = None
    left_out: str = ""

    @property
    def used(self) -> bool:
        return not self.left_out

    def values(self) -> dict[str, float]:
        """Candidates that have a value."""
        return {name: s.value for name, s in self.scores.items() if s.value is not None}


@dataclass(frozen=True)
class Table:
    """Candidates by validators.

    Parameters
    ----------
    candidates : tuple of str
    columns : tuple of Column
        Used ones first, the most reliable first among them.
    """

    candidates: tuple[str, ...]
    columns: tuple[Column, ...]

    @property
    def used(self) -> tuple[Column, ...]:
        return tuple(column for column in self.columns if column.used)

    @property
    def left_out(self) -> dict[str, str]:
        """Validator to reason."""
        return {column.name: column.left_out for column in self.columns if not column.used}

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON form."""
        return {
            "candidates": list(self.candidates),
            "validators": [
                {
                    "name": column.name,
                    "used": column.used,
                    "left_out": column.left_out,
                    "reliability": None if column.reliability is None else vars(column.reliability),
                    "scores": {
                        name: {"value": score.value, "reason": score.reason}
                        for name, score in column.scores.items()
                    },
                }
                for column in self.columns
            ],
        }

    def text(self) -> str:
        """Lines for people: used validators, reasons of empty cells, and who is left out."""
        lines: list[str] = []
        if self.used:
            head = ["candidate", *(column.name for column in self.used)]
            body = [
                [name, *(_cell(column.scores[name]) for column in self.used)]
                for name in self.candidates
            ]
            measured = ["reliability", *(_trust(column.reliability) for column in self.used)]
            widths = [max(map(len, column)) for column in zip(head, *body, measured, strict=True)]
            for row in (head, *body, measured):
                first, *rest = (cell.rjust(w) for cell, w in zip(row, widths, strict=True))
                lines.append("  ".join([first.strip().ljust(widths[0]), *rest]).rstrip())
        else:
            lines.append("No validator has a say.")
        for column in self.used:
            for name, score in column.scores.items():
                if score.value is None:
                    lines.append(f"no {column.name} for {name}: {score.reason}")
        lines += [f"left out: {name}: {reason}" for name, reason in self.left_out.items()]
        return "\n".join(lines)


def table(
    found: Mapping[str, Mapping[str, Score]],
    *,
    reliability: Mapping[str, Any] | None = None,
    at_least: float = 0.5,
) -> Table:
    """Put together what the validators said.

    A validator is left out, with a warning, where it has a value for fewer than `at_least` of the
    candidates, or the same value for all of two and more.

    Parameters
    ----------
    found : mapping of str to mapping of str to Score
        Validator to candidate to score, as `validate` gives them.
    reliability : mapping, optional
        Validator to a number, or to ``{"value", "low", "high", "tasks", "what"}`` (all but the
        first may be absent): read from JSON.
    at_least : float, default=0.5
        Share of candidates.

    Raises
    ------
    UsageError
        If `at_least` is no share.
    DataError
        If validators speak of different candidates, or a reliability cannot be read.
    """
    if not 0 < at_least <= 1:
        raise UsageError(f"at_least={at_least!r}", why="a share above 0 and up to 1")
    candidates: tuple[str, ...] = ()
    columns = []
    for name, scores in found.items():
        candidates = candidates or tuple(scores)
        if set(scores) != set(candidates):
            odd = sorted(set(scores) ^ set(candidates))
            raise DataError(f"not every validator scored {', '.join(odd)}", where=name)
        ordered = {candidate: scores[candidate] for candidate in candidates}
        trust = _reliability(name, (reliability or {}).get(name))
        columns.append(Column(name, ordered, trust, _why_left_out(ordered, at_least)))
    for column in columns:
        if column.left_out:
            logger.warning("validator %s is left out: %s", column.name, column.left_out)
    columns.sort(key=_rank)
    return Table(candidates, tuple(columns))


def _why_left_out(scores: Mapping[str, Score], at_least: float) -> str:
    values = [s.value for s in scores.values() if s.value is not None]
    if not scores:
        return "there are no candidates"
    if len(values) < at_least * len(scores):
        reason, count = Counter(s.reason for s in scores.values() if s.value is None).most_common(
            1
        )[0]
        often = "" if count == len(scores) - len(values) else f" ({count} times)"
        if not values:
            return f"no value for any candidate: {reason}{often}"
        return f"a value for {len(values)} of {len(scores)} candidates only: {reason}{often}"
    if len(values) > 1 and max(values) - min(values) <= SAME * max(map(abs, values)):
        return f"it says {values[0]:.4g} of every candidate"
    return ""


def _reliability(name: str, given: Any) -> Reliability | None:
    if given is None:
        return None
    fields = dict(given) if isinstance(given, Mapping) else {"value": given}
    try:
        numbers = {
            key: None if fields.get(key) is None else float(fields[key]) for key in ("low", "high")
        }
        tasks = None if fields.get("tasks") is None else int(fields["tasks"])
        what = str(fields.get("what", Reliability.what))
        return Reliability(float(fields["value"]), **numbers, tasks=tasks, what=what)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"the reliability {given!r} cannot be read",
            where=name,
            why="a number, or an object with a value",
        ) from error


def _rank(column: Column) -> tuple[bool, bool, float, str]:
    trust = column.reliability
    return not column.used, trust is None, 0.0 if trust is None else -trust.value, column.name


def _cell(score: Score) -> str:
    return "-" if score.value is None else f"{score.value:.4f}"


def _trust(reliability: Reliability | None) -> str:
    return "not measured" if reliability is None else f"{reliability.value:+z.2f}"
