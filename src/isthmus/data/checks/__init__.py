"""Layer 1: what can be found in raw data before any model: one file an idea.

A module of this folder is a check if it has ``find(view: RawView) -> Iterable[Finding]``; the
folder is the registry. `isthmus.run.checks` holds those that need features or the network.
"""

from isthmus.data.checks.allowed import allowed_codes, overruled
from isthmus.data.checks.finding import Finding, FindingError, stop_on_errors
from isthmus.data.checks.view import RawView

__all__ = ["Finding", "FindingError", "RawView", "allowed_codes", "overruled", "stop_on_errors"]
