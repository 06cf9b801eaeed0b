"""Layer 1: readers and backbones refuse much on their own; here each refusal gets its code."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

from isthmus.data.checks.finding import Finding, Severity
from isthmus.data.checks.view import RawView
from isthmus.data.samples import Problem
from isthmus.errors import IsthmusError

# The first pattern that fits names the cause; special causes stand before general ones.
_RULES: tuple[tuple[str, str], ...] = (
    ("ISX006", r"channels first|axes? swapped"),
    ("ISX005", r"floating-point pixels .* ambiguous|pixels from .* ambiguous|not scaled to \[-1"),
    ("ISX009", r"brightness (range|steps)|CMYK JPEG|12-bit data"),
    ("ISX021", r"no sample rate|cannot be audio|sample rate (of|is a)|channels cancel each other"),
    ("ISX017", r"weights do not fit the network|tensors of .* do not line up"),
    ("ISX027", r"NaN or infinit|not finite|infinite (numbers|values|samples)"),
    ("ISX025", r"stored features of .* are not the ones"),
    ("ISX012", r"depend on the other images of a batch"),
    ("ISX011", r"frozen network changed its buffer"),
    ("ISX007", r"is not the one that the model was trained with"),
    ("ISX019", r"tokenizer|half?s? of characters|not UTF-8|lone surrogates"),
    ("ISX029", r"source has no labels|carry no label"),
    ("ISX010", r"truncated|damaged|cut off|cannot be used|unknown kind|is empty|holds no samples"),
)
_COMPILED = tuple((code, re.compile(pattern, re.IGNORECASE)) for code, pattern in _RULES)


def code_of(text: str) -> str | None:
    """The code that a refusal's words stand for, or None.

    >>> code_of("the image is truncated"), code_of("no such file or folder")
    ('ISX010', None)
    """
    for code, pattern in _COMPILED:
        if pattern.search(text):
            return code
    return None


def named(error: IsthmusError) -> Finding | None:
    """A refusal as a finding of severity ``error``; None where it is no silent failure."""
    finding = getattr(error, "finding", None)
    if isinstance(finding, Finding):
        return finding
    code = code_of(f"{error.what} {error.why}")
    if code is None:
        return None
    return Finding(
        code, "error", error.what.split("\n")[0].rstrip(":"), error.why, error.where, error.remedy
    )


def cause_of(problem: Problem) -> str:
    """The code of a row that was set aside; without a better one its item is a damaged one."""
    return code_of(problem.reason) or "ISX010"


def from_problems(
    problems: Iterable[Problem], seen: int, *, severity: Severity = "warning"
) -> list[Finding]:
    """One finding per cause for rows that were set aside."""
    groups: dict[str, list[Problem]] = defaultdict(list)
    for problem in problems:
        groups[cause_of(problem)].append(problem)
    findings = []
    for code, found in sorted(groups.items()):
        first = found[0]
        labels = {p.label for p in found}
        alone = len(labels) == 1 and None not in labels and len(found) > 2
        of = f", all of class {found[0].label!r}" if alone else ""
        findings.append(
            Finding(
                code,
                severity,
                f"{len(found)} of {seen} rows set aside{of}: {first.reason}",
                f"first: {first.where}",
                remedy=first.remedy,
                rows=tuple(p.where for p in found),
                figures={"bad": len(found), "seen": seen},
            )
        )
    return findings


def find(view: RawView) -> Iterable[Finding]:
    """Rows that reading set aside, by cause."""
    return from_problems(view.account.problems, view.account.seen)
