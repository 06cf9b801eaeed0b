"""Layer 3: how well do features suit labels? One score a file, and ranks with uncertainty.

A score's function carries the name of its file: ``from isthmus.transferability.logme import
logme``. Only the ranking is re-exported here.
"""

from __future__ import annotations

from isthmus.transferability.rank import Ranked, Ranking, rank_backbones, rank_sources

__all__ = ["Ranked", "Ranking", "rank_backbones", "rank_sources"]
