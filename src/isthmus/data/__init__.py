"""Layer 1: data in: anything -> `Samples`, with every guess named and nothing dropped silently."""

from __future__ import annotations

from isthmus.data.describe import describe, summary
from isthmus.data.reader import read
from isthmus.data.samples import Problem, Samples

__all__ = ["Problem", "Samples", "describe", "read", "summary"]
