"""Layer 8: who is who in a run: labelled source, few labelled target rows, target, sealed test."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.data import read
from isthmus.data.labels import natural_sorted
from isthmus.data.samples import Samples
from isthmus.errors import DataError, UsageError, did_you_mean
from isthmus.evaluate.sealed import SealedLabels
from isthmus.evaluate.shots import draw_shots
from isthmus.run.labelfile import attach_labels
from isthmus.types import Array, Task

logger = logging.getLogger(__name__)
Say = Callable[[str], None]
MAX_BAD = 0.01  # share of bad rows that a run takes, unless it is told otherwise


@dataclass(frozen=True)
class Case:
    """One run's data, with every test label sealed.

    Parameters
    ----------
    task : str
    classes : tuple of str
        Names that training rows carry (source and labelled target together).
    source, labelled : Samples or None
        Labelled source rows; labelled target rows.
    target : Samples
        The rows to predict, labels removed.
    test : Samples or None
        Rows of the final score, labels removed; may be the target rows themselves.
    sealed : SealedLabels or None
        Their labels, behind one counted call.
    notes : tuple of str
        What was decided about the data, in sentences; part of the result.
    unlabelled_source : int
        Source rows that were left out because they carry no label.
    """

    task: Task
    classes: tuple[str, ...]
    source: Samples | None
    labelled: Samples | None
    target: Samples
    test: Samples | None
    sealed: SealedLabels | None
    notes: tuple[str, ...]
    unlabelled_source: int = 0

    @property
    def source_domains(self) -> int:
        """Source domains that can be told apart; 1 where none are named."""
        names = None if self.source is None else self.source.domain
        return 1 if names is None else len(set(names.astype(str)))


def pose(
    source: Any = None,
    target: Any = None,
    *,
    target_labels: Any = None,
    shots: int | str | None = None,
    test: Any = None,
    source_domain: str | None = None,
    target_domain: str | None = None,
    seed: int = 0,
    options: dict[str, Any] | None = None,
    say: Say = logger.info,
) -> Case:
    """Read everything and decide which labels train, which are sealed and which do not exist.

    Parameters
    ----------
    source, target, test : anything `isthmus.data.read` takes
    target_labels : path or data set, optional
        Table of ids and labels for rows of the target, or a labelled data set of its own.
    shots : int or "all", optional
        Take this many labels a class from the target's own labels; the others are sealed.
    source_domain, target_domain : str, optional
        Names (comma-separated) of the domains to keep, when a data set holds several.
    options : dict
        Reading options, the same for all parts.

    Raises
    ------
    UsageError, DataError
        On contradictory arguments or data that cannot serve.
    """
    options = options or {}
    if target is None and target_domain is not None:
        target = source
    if target is None:
        raise UsageError(
            "no target was given",
            why="the target is what must be predicted",
            remedy="Give --target T (with --source S where you have labelled source rows)",
        )
    if shots is not None and target_labels is not None:
        raise UsageError(
            "--shots and --target-labels both name the labelled target rows",
            remedy="Give one of them",
        )
    notes: list[str] = []
    # a target to be predicted usually lacks the label column that the options name
    elsewhere = source is not None or target_labels is not None or test is not None
    absent_ok = ("label", "domain", "group", "split") if elsewhere else ()
    first = None if source is None else _read("source", source, source_domain, options, say)
    options = beside(first, options)
    rows = _read("target", target, target_domain, {**options, "optional": absent_ok}, say)
    check = None if test is None else _read("test set", test, None, options, say)
    if first is not None and not first.labelled.any():
        raise DataError(
            "the source has no labels",
            where=first.origin,
            why="a source teaches by its labels",
            remedy="Name the label column with --label, or put the files in one folder a class",
        )
    _same_modality(first, rows, check)

    rows, check = _layout_split(rows, check, notes)
    labelled, rows, sealed_rows = _target_roles(rows, target_labels, shots, first, seed, notes)
    if check is None and sealed_rows is not None:
        check = sealed_rows
    if check is not None:
        check = check.take(check.labelled)
        if not len(check):
            raise DataError(
                "the test set has no labels",
                where=check.origin,
                remedy="Name the label column with --label, or leave --test out",
            )
    mute = 0
    if first is not None:
        mute = int((~first.labelled).sum())
        if mute:
            notes.append(f"{mute} of {len(first)} source rows carry no label and are left out.")
        first = first.take(first.labelled)
    task = _task(first, labelled, check)
    classes = _classes(task, first, labelled)
    if task == "multilabel":
        first, labelled = _align(first, classes), _align(labelled, classes)
        check = _align(check, classes)
    if task == "classification" and len(classes) < 2:
        raise DataError(
            "the labelled rows hold "
            + (f"a single class, {classes[0]!r}" if classes else "no class"),
            why="there is nothing to tell apart",
            remedy="Give labelled rows of at least two classes; if another column holds the "
            "labels, name it with --label",
        )
    _note_classes(first, labelled, notes, task)
    sealed = None
    if check is not None:
        sealed = SealedLabels(check.labels, task=task, classes=classes, origin=check.origin)
        check = check.without_labels()
    for note in notes:
        say(note)
    target_rows = rows.without_labels()
    return Case(task, classes, first, labelled, target_rows, check, sealed, tuple(notes), mute)


PARTS = ("target_labels", "shots", "test", "source_domain", "target_domain", "seed")


def posed(call: Mapping[str, Any], *, say: Say = logger.info) -> Case:
    """`pose` with what a run was called with: its arguments by name, ``reading`` among them."""
    options = {name: value for name, value in call["reading"].items() if value is not None}
    options["max_bad"] = MAX_BAD if call["max_bad"] is None else call["max_bad"]
    parts = {name: call[name] for name in PARTS}
    return pose(call["source"], call["target"], options=options, say=say, **parts)


def _read(role: str, what: Any, domain: str | None, options: dict[str, Any], say: Say) -> Samples:
    from isthmus.data import describe

    samples = read(what, **options)
    if domain is not None:
        samples = _keep_domain(samples, domain, role)
    say(f"--- {role}\n{describe(samples)}")
    if not len(samples):
        raise DataError(
            f"the {role} is empty", where=samples.origin, remedy="Give at least one row or file"
        )
    return samples


def beside(first: Samples | None, options: dict[str, Any]) -> dict[str, Any]:
    """Reading options for what belongs to `first`: its features are features there as well.

    A column named like a label ("rating", "class") is one in a table by itself; where the source
    reads it as a feature it is none in the target, which lacks the column that the source is
    labelled by.
    """
    columns = getattr(getattr(first, "inputs", None), "columns", None)
    return options if columns is None else {**options, "inputs": tuple(map(str, columns))}


def _keep_domain(samples: Samples, domain: str, role: str) -> Samples:
    if samples.domain is None:
        raise UsageError(
            f"the {role} has no domains to choose from",
            where=samples.origin,
            remedy="Name the column with --domain, or leave the choice out",
        )
    wanted = {name.strip() for name in domain.split(",")}
    known = {str(name) for name in samples.domain}
    missing = sorted(wanted - known)
    if missing:
        raise UsageError(
            f"no domain {', '.join(map(repr, missing))}",
            where=samples.origin,
            remedy=did_you_mean(missing[0], sorted(known))
            + f"The domains are {', '.join(sorted(known))}",
        )
    return samples.take(np.array([str(name) in wanted for name in samples.domain]))


def _same_modality(*parts: Samples | None) -> None:
    kinds = {part.modality: part.origin for part in parts if part is not None}
    if len(kinds) > 1:
        found = ", ".join(f"{kind} ({origin})" for kind, origin in kinds.items())
        raise DataError(
            "source, target and test are of different kinds",
            why=found,
            remedy="Give data of one kind, or say --modality where a guess was wrong",
        )


def _layout_split(
    rows: Samples, check: Samples | None, notes: list[str]
) -> tuple[Samples, Samples | None]:
    """A target with train/val/test folders brings its own test set."""
    if check is not None or rows.split is None:
        return rows, check
    held = np.array([name == "test" for name in rows.split])
    if not held.any() or held.all() or not rows.labelled[held].any():
        return rows, check
    notes.append(
        f"The target has a test split of its own: its {int(held.sum())} rows are the test set."
    )
    return rows.take(~held), rows.take(held)


def _target_roles(
    rows: Samples,
    target_labels: Any,
    shots: int | str | None,
    source: Samples | None,
    seed: int,
    notes: list[str],
) -> tuple[Samples | None, Samples, Samples | None]:
    """(labelled target rows, rows to predict, rows whose labels are sealed for the test)."""
    own = rows.labelled
    if target_labels is not None:
        marked = attach_labels(rows, target_labels)
        if marked.extra is not None:  # a labelled data set of its own
            notes.append(f"{len(marked.extra)} labelled target rows from {marked.extra.origin}.")
            return marked.extra, rows, rows.take(own) if own.any() else None
        chosen = marked.chosen
        if not chosen.any():
            raise DataError(
                "the file of target labels labels no row",
                remedy="Give ids with their labels, or leave --target-labels out",
            )
        notes.append(f"{int(chosen.sum())} of {len(rows)} target rows are labelled by the file.")
        hidden = own & ~chosen
        sealed = rows.take(hidden) if hidden.any() else None
        left = rows.take(~chosen) if (~chosen).any() else rows
        return marked.samples.take(chosen), left, sealed
    if shots is not None:
        return _draw(rows, shots, seed, notes)
    if source is None:
        if not own.any():
            raise DataError(
                "there are no labels to learn from",
                where=rows.origin,
                why="neither a source nor labelled target rows were given",
                remedy="Give --source S, --target-labels FILE, or name the column with --label",
            )
        notes.append(f"No source: the {int(own.sum())} labelled target rows train the model.")
        rest = rows.take(~own) if (~own).any() else rows
        return rows.take(own), rest, None
    if own.any():
        notes.append(
            f"The target's {int(own.sum())} labels are sealed and used once, for the final score; "
            "to train on some of them give --shots K, on all of them --shots all."
        )
        return None, rows, rows.take(own)
    return None, rows, None


def _draw(
    rows: Samples, shots: int | str, seed: int, notes: list[str]
) -> tuple[Samples, Samples, Samples | None]:
    own = np.flatnonzero(rows.labelled)
    if not len(own):
        raise UsageError(
            "--shots needs a target that has labels",
            where=rows.origin,
            why="it draws the labelled rows from them",
            remedy="Name the label column with --label, or give --target-labels FILE",
        )
    if shots == "all":
        notes.append(f"All {len(own)} labels of the target train the model.")
        rest = rows.take(~rows.labelled) if len(own) < len(rows) else rows
        return rows.take(own), rest, None
    if not isinstance(shots, int) or shots < 1:
        raise UsageError(
            f"--shots {shots}: give a whole number from 1, or 'all'", why="it is a count per class"
        )
    assert rows.labels is not None and rows.task is not None
    part = rows.take(own)
    assert part.labels is not None
    drawn = draw_shots(part.labels, shots, groups=part.groups, random_state=seed, task=rows.task)
    picked = np.zeros(len(rows), dtype=bool)
    picked[own[drawn.rows]] = True
    if picked.all():
        raise UsageError(
            f"--shots {shots} takes all {len(rows)} rows of the target",
            where=rows.origin,
            why="none is left to predict, or to test on",
            remedy="Give fewer shots; or --shots all: every label trains, nothing is tested",
        )
    rest = rows.take(~picked)
    sealed = rest.take(rest.labelled) if rest.labelled.any() else None
    each = "" if rows.task == "regression" else f"{shots} a class, "
    notes.append(
        f"{int(picked.sum())} target rows were drawn as labelled ({each}seed {seed}); "
        f"the labels of the other {int(rest.labelled.sum())} are sealed for the final score."
    )
    notes.extend(drawn.notes)
    if len(drawn.crossing) and sealed is not None:
        sealed = _strangers(sealed, {rows.ids[own[r]] for r in drawn.crossing}, notes)
    return rows.take(picked), rest, sealed


def _strangers(sealed: Samples, crossing: set[str], notes: list[str]) -> Samples:
    """Test rows whose group holds no drawn row; all of them where there are no such rows."""
    strange = np.array([row_id not in crossing for row_id in sealed.ids])
    if strange.any():
        notes.append("Rows that share a group with a drawn row are left out of the final score.")
        return sealed.take(strange)
    notes.append("Every test row shares a group with a drawn row: the score is optimistic.")
    return sealed


def _task(*parts: Samples | None) -> Task:
    tasks = {part.task for part in parts if part is not None and part.task is not None}
    if len(tasks) != 1:
        raise DataError(
            f"source, target and test disagree on the task: {sorted(map(str, tasks))}",
            remedy="Say which it is with --task",
        )
    return tasks.pop()


def _classes(task: Task, *parts: Samples | None) -> tuple[str, ...]:
    """Union of the training names; the test set never adds one."""
    if task == "regression":
        return ()
    names: set[str] = set()
    for part in parts:
        if part is None or part.labels is None:
            continue
        names |= set(part.classes) if task == "multilabel" else {str(v) for v in part.labels}
    return tuple(natural_sorted(names))


def _align(part: Samples | None, classes: tuple[str, ...]) -> Samples | None:
    """Multi-label columns in the order of `classes`; a class that a part lacks is False there."""
    if part is None or part.labels is None or part.classes == classes:
        return part
    matrix: Array = np.zeros((len(part), len(classes)), dtype=bool)
    for column, name in enumerate(part.classes):
        if name in classes:
            matrix[:, classes.index(name)] = part.labels[:, column]
    return replace(part, labels=matrix, classes=classes)


def _note_classes(
    source: Samples | None, labelled: Samples | None, notes: list[str], task: Task
) -> None:
    if task != "classification" or source is None or labelled is None:
        return
    assert source.labels is not None and labelled.labels is not None
    here, there = set(source.labels), set(labelled.labels)
    for names, text in (
        (there - here, "Labelled target rows have classes that the source lacks"),
        (here - there, "No labelled target row has these source classes"),
    ):
        if names:
            listed = ", ".join(natural_sorted(names))
            notes.append(f"{text}: {listed}.")


def short_origin(samples: Samples | None) -> str | None:
    """Last part of where a data set came from: results must not depend on the folder above it."""
    return None if samples is None else Path(samples.origin).name
