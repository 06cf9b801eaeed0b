"""Trainings made of several: source, then adaptation; source, then target; as one call.

Each stage has a folder of its own below the run's, so that an interrupted run goes on in the
stage it was in; a finished stage is read back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.align.after_training import AfterTraining
from isthmus.align.base import Objective, Procedure
from isthmus.align.domain_batch_norm import domains_of
from isthmus.errors import UsageError
from isthmus.fit.deep.loop import Watch, train
from isthmus.fit.deep.network import Network
from isthmus.fit.deep.rows import Rows
from isthmus.fit.deep.seeds import stream
from isthmus.fit.deep.settings import Settings
from isthmus.fit.deep.state import Trained
from isthmus.fit.deep.strategy import Plan
from isthmus.fit.deep.task_alignment import TaskAlignment

AFTER = 103  # tag of the seed


@dataclass
class Staged:
    """What came of each stage.

    Parameters
    ----------
    network : Network
        After the last stage.
    stages : dict of str to Trained
        In order; their networks are one and the same.
    """

    network: Network
    stages: dict[str, Trained] = field(default_factory=dict)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The metric logs one after the other, each entry with its ``stage``."""
        return [
            {"stage": name, **line} for name, done in self.stages.items() for line in done.lines
        ]


def labelled_rows(source: Rows | None, labelled: Rows | None) -> Rows | None:
    """Source rows and labelled target rows as one set; the latter are one domain more.

    Source rows without domains are domain 0. Draw them evenly with ``balance=("domain",)``:
    otherwise a few labelled target rows are hardly ever seen.
    """
    if source is None or labelled is None:
        return source if labelled is None else labelled
    if not (source.in_memory and labelled.in_memory):
        inputs: Any = _Joined(source.inputs, labelled.inputs)
    else:
        from isthmus.fit.deep.network import joined_inputs

        inputs = joined_inputs(source.inputs, labelled.inputs)
    first = np.zeros(len(source), dtype=np.int64) if source.domains is None else source.domains
    own = np.full(len(labelled), int(first.max()) + 1, dtype=np.int64)
    assert source.labels is not None and labelled.labels is not None
    return replace(
        source,
        inputs=inputs,
        labels=np.concatenate([source.labels, labelled.labels]),
        domains=np.concatenate([first, own]),
        ids=np.concatenate([_named(source), _named(labelled, "labelled ")]),
    )


def _named(rows: Rows, prefix: str = "") -> Any:
    """Names of rows; positions, with a prefix, where they have none."""
    if rows.ids is not None:
        return rows.ids.astype(object)
    return np.array([f"{prefix}{row}" for row in range(len(rows))], dtype=object)


def adapt(
    network: Network,
    method: Procedure | AfterTraining | list[Objective] | None,
    *,
    source: Rows | None,
    target: Rows | None = None,
    labelled: Rows | None = None,
    settings: Settings,
    plan: Plan | None = None,
    watch: Watch | None = None,
    target_watch: Watch | None = None,
    folder: str | Path | None = None,
    on_step: Callable[[int, int], None] | None = None,
    **ordinary: Any,
) -> Staged:
    """Train with a method; a source-free one gets a network that the source has trained first.

    Parameters
    ----------
    method : Procedure, AfterTraining, list of Objective, or None
        None or []: labelled rows alone.
    labelled : Rows, optional
        Labelled target rows; they join the source as a domain of their own.
    target_watch : callable, optional
        In the place of `watch` while a source-free method adapts: no source row may be seen there,
        and `Settings.patience` holds only with it.
    **ordinary
        Options of `TaskAlignment`: task, label_smoothing, penalties, mix, joint. Of a procedure
        that reads the source itself: label_smoothing.

    Raises
    ------
    UsageError
        If a method lacks the rows that it needs, or cannot do what `ordinary` asks for.
    """
    rows = labelled_rows(source, labelled)
    if source is not None and labelled is not None and "domain" not in settings.balance:
        settings = replace(settings, balance=(*settings.balance, "domain"))
    common: dict[str, Any] = {"plan": plan, "watch": watch, "on_step": on_step}
    done = Staged(network)
    if method and target is None:
        raise UsageError(
            "an adaptation method needs target rows",
            remedy="Give the target rows, or train without a method",
        )
    _check_domains(network, source)
    if isinstance(method, AfterTraining):
        assert target is not None
        method.check(network)
        done = adapt(
            network, None, source=source, labelled=labelled, settings=settings, folder=folder,
            **common, **ordinary,
        )  # fmt: skip
        method.adapt(network, _mixed(target, settings))
        return done
    if isinstance(method, Procedure) and not method.uses_source:
        if rows is not None:
            done.stages["source"] = train(
                network,
                TaskAlignment(**ordinary),
                source=rows,
                settings=settings,
                folder=_sub(folder, "source"),
                **common,
            )
        # what follows sees no source row: they are not even passed
        done.stages["target"] = train(
            network,
            method,
            target=target,
            settings=replace(
                settings, balance=(), patience=settings.patience if target_watch else None
            ),
            folder=_sub(folder, "target"),
            **{**common, "plan": None, "watch": target_watch},
        )
        return done
    procedure = (
        with_smoothing(method, **ordinary)
        if isinstance(method, Procedure)
        else TaskAlignment(method or (), **ordinary)
    )
    name = "adapted" if method else "labelled"
    done.stages[name] = train(
        network,
        procedure,
        source=rows,
        target=target if method else None,
        settings=settings,
        folder=_sub(folder, name),
        **common,
    )
    return done


def _mixed(rows: Rows, settings: Settings) -> Iterator[Any]:
    """All rows in batches of nearly one size, drawn without order."""
    order = stream(settings.seed, AFTER).permutation(len(rows))
    for part in np.array_split(order, -(-len(rows) // settings.batch_size)):
        yield rows.batch(part).to(settings.place).inputs


def with_smoothing(method: Procedure, *, label_smoothing: float = 0.0, **others: Any) -> Procedure:
    """A procedure has its own losses: of the ordinary options it takes the smoothing of labels."""
    asked = [name for name, value in others.items() if value and value != "classification"]
    if asked:
        raise UsageError(
            f"{type(method).__name__} does not take {' or '.join(asked)}",
            why="it has steps of its own",
            remedy="Leave it out, or use a method that is one loss (dann, mcc, ...)",
        )
    method.label_smoothing = label_smoothing
    return method


def _check_domains(network: Network, source: Rows | None) -> None:
    """BN layers of each domain must be as many as there are domains."""
    count = domains_of(network)
    if not count:
        return
    sources = 1 if source is None or source.domains is None else len(np.unique(source.domains))
    if count != sources + 1:
        raise UsageError(
            f"batch normalisation for {count} domains, and there are {sources + 1}",
            why="each source has its own, and the target",
            remedy=f"swap_batch_norm(network, num_domains={sources + 1})",
        )


def three_steps(
    network: Network,
    *,
    source: Rows,
    labelled: Rows,
    settings: Settings,
    target_settings: Settings | None = None,
    plan: Plan | None = None,
    watch: Watch | None = None,
    score: Callable[[Network], Mapping[str, float]] | None = None,
    folder: str | Path | None = None,
    on_step: Callable[[int, int], None] | None = None,
    **ordinary: Any,
) -> tuple[Staged, Mapping[str, float]]:
    """Train on the source, apply to the target, fine-tune on the target: the usual recipe.

    Parameters
    ----------
    labelled : Rows
        Labelled target rows to fine-tune on.
    target_settings : Settings, optional
        Of the third step; default: those of the first at a tenth of the learning rate.
    plan : Plan, optional
        Strategy of the third step.
    score : callable, optional
        The second step: what the source's network is worth on the target.

    Returns
    -------
    Staged, dict
        The two trainings, and what `score` said between them.
    """
    done = Staged(network)
    done.stages["source"] = train(
        network,
        TaskAlignment(**ordinary),
        source=source,
        settings=settings,
        watch=watch,
        folder=_sub(folder, "source"),
        on_step=on_step,
    )
    between = {} if score is None else dict(score(network))
    second = target_settings or replace(settings, lr=settings.lr / 10)
    done.stages["target"] = train(
        network,
        TaskAlignment(**ordinary),
        source=labelled,
        settings=second,
        plan=plan,
        watch=watch,
        folder=_sub(folder, "target"),
        on_step=on_step,
    )
    return done, between


def _sub(folder: str | Path | None, name: str) -> Path | None:
    return None if folder is None else Path(folder) / name


@dataclass(frozen=True)
class _Joined:
    """Two objects that are read row by row, as one."""

    first: Any
    second: Any

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def __getitem__(self, row: int) -> Any:
        n = len(self.first)
        return self.first[row] if row < n else self.second[row - n]
