"""Layer 1: errors that the user overrides by their code, and that are shown as overridden."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from isthmus.data.checks.finding import CODES, Finding
from isthmus.errors import UsageError, did_you_mean


def allowed_codes(given: str | Iterable[str] | None) -> tuple[str, ...]:
    """The codes that a call allows, each once, in order.

    Parameters
    ----------
    given : str or iterable of str, optional
        ``"ISX012"``, ``"ISX012,ISX018"`` or a list of these; case does not matter.

    Raises
    ------
    UsageError
        If there is no such code; the nearest one is named, whether by its code or by its words.

    Examples
    --------
    >>> allowed_codes(["isx018", "ISX012,ISX018"])
    ('ISX012', 'ISX018')
    """
    texts = [given] if isinstance(given, str) else list(given or ())
    names = [part.strip() for text in texts for part in str(text).split(",")]
    found = set()
    for name in filter(None, names):
        if name.upper() not in CODES:
            words = {cause: code for code, cause in CODES.items()}
            near = did_you_mean(name, CODES)
            meant = did_you_mean(name, words)
            if meant:  # "dead features" is a better guess than any number
                cause = next(c for c in words if repr(c) in meant)
                near = f"Did you mean {words[cause]} ({cause})? "
            raise UsageError(
                f"there is no check {name!r} to allow",
                where="--allow",
                remedy=f"{near}Codes look like ISX012; `isthmus check S T` prints those it finds",
            )
        found.add(name.upper())
    return tuple(sorted(found))


def overruled(findings: Sequence[Finding], codes: Sequence[str]) -> list[Finding]:
    """The findings, with errors of these codes marked: they stop nothing, and stay errors."""
    return [
        replace(f, overridden=True) if f.severity == "error" and f.code in codes else f
        for f in findings
    ]
