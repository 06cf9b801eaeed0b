"""Layer 1: the checks of a folder, and one way to run them all."""

from __future__ import annotations

import importlib
import logging
import pkgutil
import time
from collections.abc import Callable, Iterable
from typing import Any

from isthmus.data.checks.finding import Finding

logger = logging.getLogger(__name__)
Check = Callable[[Any], Iterable[Finding]]


def discover(package: str, *, late: bool | None = None) -> dict[str, Check]:
    """Every module of a package that has a function ``find``, by name.

    Parameters
    ----------
    late : bool, optional
        Only those with this value of ``LATE`` (they need features); None: all.
    """
    folder = importlib.import_module(package)
    found = {}
    for info in sorted(pkgutil.iter_modules(folder.__path__), key=lambda i: i.name):
        module = importlib.import_module(f"{package}.{info.name}")
        find = getattr(module, "find", None)
        if callable(find) and late in (None, getattr(module, "LATE", False)):
            found[info.name] = find
    return found


def run_all(
    package: str,
    view: Any,
    *,
    late: bool | None = None,
    seconds: dict[str, float] | None = None,
) -> list[Finding]:
    """What all checks of a package find.

    A check that fails must not end a run that would have been fine without it: its failure is a
    finding of its own (ISX099).

    Parameters
    ----------
    late : bool, optional
        As for `discover`.
    seconds : dict, optional
        Receives the time of each check.
    """
    findings: list[Finding] = []
    for name, find in discover(package, late=late).items():
        start = time.monotonic()
        try:
            findings.extend(find(view))
        except Exception as error:  # whatever a check trips over, the run goes on
            logger.debug("check %s failed", name, exc_info=True)
            findings.append(
                Finding(
                    "ISX099",
                    "info",
                    f"the check {name!r} could not be made",
                    f"{type(error).__name__}: {error}"[:300],
                )
            )
        if seconds is not None:
            seconds[name] = time.monotonic() - start
    return findings
