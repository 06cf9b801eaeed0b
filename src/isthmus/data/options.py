"""Layer 1: the options of `read`, checked once; each overrules the guess of the same name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args

from isthmus.errors import UsageError, did_you_mean
from isthmus.types import Modality, Task

MODALITIES: tuple[str, ...] = get_args(Modality)
TASKS: tuple[str, ...] = get_args(Task)
LISTED = 20
CONTEXT = ("optional", "inputs")  # what other data said of these; no choice of the user


@dataclass(frozen=True)
class Options:
    """See `isthmus.data.read` for the meaning of each."""

    modality: str | None = None
    task: str | None = None
    label: Any = None
    domain: Any = None
    group: Any = None
    text: str | None = None
    file: str | None = None
    split: str | None = None
    features: Any = None
    id: Any = None
    encoding: str | None = None
    delimiter: str | None = None
    header: bool | None = None
    root: str | Path | None = None
    max_bad: float = 0.01
    optional: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        one_of(self.modality, MODALITIES, "modality")
        one_of(self.task, TASKS, "task")
        if self.header is not None and not isinstance(self.header, bool):
            raise UsageError(f"header must be true or false, not {self.header!r}", where="--header")
        chosen = [n for n in ("text", "file", "features") if self.wanted(n) is not None]
        if len(chosen) > 1:
            raise UsageError(
                f"{' and '.join('--' + n for n in chosen)} exclude each other",
                why="a model reads one kind of input",
                remedy="Keep one of them",
            )

    def wanted(self, name: str) -> Any:
        """The option's value; None where it was not given or says that there is none."""
        value = getattr(self, name)
        return None if value is None or self.refused(name) else value

    def refused(self, name: str) -> bool:
        """Whether the caller said that there is no such column (``False`` or ``"none"``)."""
        value = getattr(self, name)
        return value is False or (isinstance(value, str) and value.strip().lower() == "none")

    def given(self) -> dict[str, Any]:
        """The options that differ from their defaults."""
        return {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if getattr(self, f.name) is not f.default and f.name not in CONTEXT
        }


def one_of(value: Any, choices: Iterable[str], option: str) -> None:
    """Refuse a value that is not among the choices, with the nearest one named."""
    choices = list(choices)
    if value is None or value in choices:
        return
    raise UsageError(
        f"no {option} {value!r}",
        where=f"--{option}",
        remedy=did_you_mean(str(value), choices) + f"Choose from {', '.join(choices)}",
    )


def no_such_column(value: str, columns: Iterable[str], option: str, where: str) -> UsageError:
    """The refusal (to be raised) of a column name that does not exist."""
    known = list(columns)
    listed = ", ".join(map(repr, known[:LISTED])) + (", ..." if len(known) > LISTED else "")
    return UsageError(
        f"no column {value!r} for --{option}",
        where=where,
        remedy=did_you_mean(value, known) + f"The columns are {listed}",
    )
