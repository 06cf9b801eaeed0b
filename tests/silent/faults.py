"""The registry of injected faults: one function a row of the table and modality."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Fault:
    """One injected fault.

    Parameters
    ----------
    row : int
        Row of the table of silent failures, 1 to 30; its code is ``ISX0<row>``.
    modality, words : str
    make : callable
        ``make(data)`` returns the arguments of `check`, or findings where the fault lies in a
        step that `check` does not take (serving, resuming, the final score).
    plain : bool
        Whether a plain script can be given the same arguments.
    """

    row: int
    modality: str
    words: str
    make: Callable[[Any], Any]

    @property
    def code(self) -> str:
        return f"ISX{self.row:03d}"

    @property
    def name(self) -> str:
        return f"{self.row:02d} {self.modality}: {self.words}"


FAULTS: list[Fault] = []


def fault(row: int, modality: str, words: str):
    """Register a function as the injector of a fault."""

    def keep(make):
        FAULTS.append(Fault(row, modality, words, make))
        return make

    return keep
