"""Layer 1: ISX016: one class under several spellings."""

from __future__ import annotations

from collections.abc import Iterable

from isthmus.data.checks.finding import Finding
from isthmus.data.checks.view import RawView
from isthmus.data.labels import name_notes

_MERGED, _APART = "is written in several ways", "differ only in case"


def find(view: RawView) -> Iterable[Finding]:
    """Names that differ in case, spaces or leading zeros (apart), or were read as one (merged)."""
    if view.task != "classification":
        return
    every: list[str] = []
    for role, part in view.parts():
        labels = part.labels
        if labels is None and role == view.scored[0]:
            labels = view.truth
        every.extend(str(v) for v in labels if v is not None) if labels is not None else None
        for note in part.understood.get("notes") or []:
            if _MERGED in note:
                yield Finding(
                    "ISX016",
                    "info",
                    note,
                    "spellings that differ in white space or number format only are one class",
                    where=part.origin,
                    remedy="Nothing to do if they are one class",
                )
    if view.test is not None and view.truth is not None and view.test.ids == view.target.ids:
        every.extend(str(v) for v in view.truth if v is not None)
    for note in name_notes(every):
        if _APART in note:
            yield Finding(
                "ISX016",
                "warning",
                "names of classes nearly agree",
                note,
                where=view.target.origin,
                remedy="Give them one spelling, or ignore this if they are different classes",
            )
