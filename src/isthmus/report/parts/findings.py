"""Layer 7: what the checks before and after the run found."""

from __future__ import annotations

from typing import Any

from isthmus.report.folder import Run

ORDER = {"error": 0, "warning": 1, "info": 2}


def findings(run: Run) -> list[dict[str, Any]]:
    """Findings, the worst first; the same one once."""
    found: list[dict[str, Any]] = []
    for entry in sorted(run.results.get("findings", []), key=lambda f: ORDER[f["severity"]]):
        if entry not in found:
            found.append({"overridden": False, **entry})
    return found
