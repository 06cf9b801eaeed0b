"""Layer 7: what a run found: one page for people, a model card, matplotlib displays."""

from __future__ import annotations

from isthmus.report.card import write_card
from isthmus.report.write import Written, write_report

__all__ = ["Written", "write_card", "write_report"]
