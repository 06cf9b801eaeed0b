"""Layer 1: one thing that would make the numbers silently wrong, under a code that stays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from isthmus.errors import DataError

Severity = Literal["error", "warning", "info"]
ORDER: dict[str, int] = {"error": 0, "warning": 1, "info": 2}
SHOWN_ROWS = 20

# One line a silent failure. A code is never given another meaning; new ones go at the end.
CODES: dict[str, str] = {
    "ISX001": "the same rows in training and test",
    "ISX002": "groups cross the split",
    "ISX003": "preprocessing fitted on the test rows as well",
    "ISX004": "wrong mean or deviation for these weights",
    "ISX005": "values scaled twice, or not at all",
    "ISX006": "colour channels or axes swapped",
    "ISX007": "another preprocessing than in training",
    "ISX008": "orientation of the photos",
    "ISX009": "brightness steps collapsed",
    "ISX010": "damaged files",
    "ISX011": "the frozen network changes while it is used",
    "ISX012": "features depend on the other rows of a batch",
    "ISX013": "features are random",
    "ISX014": "labels in another order",
    "ISX015": "classes missing from the test set",
    "ISX016": "one class under several names",
    "ISX017": "weights only partly loaded",
    "ISX018": "dead features",
    "ISX019": "the tokenizer does not fit the texts",
    "ISX020": "padding changes the features",
    "ISX021": "wrong sample rate",
    "ISX022": "the test set takes part in training or choice",
    "ISX023": "transfer hurts",
    "ISX024": "accuracy hides an imbalance",
    "ISX025": "stored features are stale",
    "ISX026": "rows skipped or used twice",
    "ISX027": "numbers that are none",
    "ISX028": "a shortcut predicts the label",
    "ISX029": "labels without a counterpart",
    "ISX030": "too few rows: luck decides",
    "ISX031": "likely label errors",
    "ISX032": "duplicates within a part",
    "ISX033": "outliers",
    "ISX034": "rare slices",
    "ISX099": "a check could not be made",
}


@dataclass(frozen=True)
class Finding:
    """One finding of the preflight.

    Parameters
    ----------
    code : str
        Stable: a key of `CODES`.
    severity : {"error", "warning", "info"}
        Errors stop a run, warnings travel into its result, infos are facts that were handled.
    title : str
        What was found, short and with its figure.
    evidence : str
        Why this is believed: the figures.
    where : str
        File, part or column.
    remedy : str
        What to do about it.
    rows : tuple of str
        Ids of the rows concerned, worst first; cut at 20 when printed.
    figures : dict
        The same evidence as JSON-ready numbers.
    overridden : bool
        An error that the user allows: it stops nothing and is shown as what it is.
    """

    code: str
    severity: Severity
    title: str
    evidence: str = ""
    where: str = ""
    remedy: str = ""
    rows: tuple[str, ...] = ()
    figures: dict[str, Any] = field(default_factory=dict)
    overridden: bool = False

    def __post_init__(self) -> None:
        if self.code not in CODES or self.severity not in ORDER:
            raise ValueError(f"no finding {self.code!r} of severity {self.severity!r}")

    @property
    def cause(self) -> str:
        """What the code stands for."""
        return CODES[self.code]

    def as_dict(self) -> dict[str, Any]:
        """JSON form; all keys are always there."""
        return {
            "code": self.code,
            "severity": self.severity,
            "cause": self.cause,
            "title": self.title,
            "evidence": self.evidence,
            "where": self.where,
            "remedy": self.remedy,
            "rows": list(self.rows[:SHOWN_ROWS]),
            "count": len(self.rows),
            "figures": self.figures,
            "overridden": self.overridden,
        }

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        text = f"{self.code} {self.severity}: {place}{self.title}"
        if self.evidence:
            text += f" ({self.evidence})"
        return f"{text}. {self.remedy}" if self.remedy else text


_OVERRIDE = "to go on all the same, and have the report say so, add --allow "


class FindingError(DataError):
    """A run that a finding of severity ``error`` stops.

    Parameters
    ----------
    finding : Finding
    others : int
        How many further errors there are.
    """

    def __init__(self, finding: Finding, others: int = 0) -> None:
        self.finding, self.others = finding, others
        more = f" (and {others} more; see isthmus check)" if others else ""
        super().__init__(
            f"{finding.code}: {finding.title}",
            where=finding.where,
            why=finding.evidence + more,
            remedy=f"{finding.remedy}{'; ' if finding.remedy else ''}{_OVERRIDE}{finding.code}",
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return FindingError, (self.finding, self.others)

    def as_dict(self) -> dict[str, Any]:
        """The refusal's JSON form, with the code."""
        return super().as_dict() | {"code": self.finding.code}


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """Errors first, then by code; the same finding once."""
    unique: dict[tuple[str, str, str], Finding] = {}
    for found in findings:
        unique.setdefault((found.code, found.where, found.title), found)
    return sorted(unique.values(), key=lambda f: (ORDER[f.severity], f.code, f.where, f.title))


def stop_on_errors(findings: Sequence[Finding]) -> None:
    """Raise the first finding of severity ``error`` that nobody has overridden.

    Raises
    ------
    FindingError
    """
    errors = [f for f in findings if f.severity == "error" and not f.overridden]
    if errors:
        raise FindingError(errors[0], len(errors) - 1)


def render(findings: Sequence[Finding]) -> str:
    """The findings as a person reads them."""
    if not findings:
        return "Nothing was found."
    lines = []
    for f in findings:
        place = f"{f.where}: " if f.where else ""
        lines.append(f"{f.severity.upper():<7} {f.code}  {place}{f.title}")
        if f.evidence:
            lines.append(f"                {f.evidence}")
        if f.remedy:
            lines.append(f"                -> {f.remedy}")
        if f.rows:
            more = f", ... {len(f.rows) - 5} more" if len(f.rows) > 5 else ""
            lines.append(f"                rows: {', '.join(f.rows[:5])}{more}")
    counts = {kind: sum(f.severity == kind for f in findings) for kind in ORDER}
    lines.append(", ".join(f"{n} {kind}{'' if n == 1 else 's'}" for kind, n in counts.items()))
    return "\n".join(lines)
