"""The batches of every step: what step 17 sees does not hang on how step 16 was made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from isthmus.fit.deep.parallel import World
from isthmus.fit.deep.rows import Batch, Rows
from isthmus.fit.deep.samplers import Order, make_order
from isthmus.fit.deep.seeds import counter_seed

SOURCE, TARGET = 1, 2  # tags of the two streams
Pair = tuple[Batch | None, Batch | None]


@dataclass(frozen=True)
class _Side:
    rows: Rows
    order: Order
    size: int
    tag: int


class StepBatches(Dataset[Pair]):
    """(source batch, target batch) of any step, for this process's share of them.

    Parameters
    ----------
    source, target : Rows or None
    batch_size : int
        Rows of each domain in a step, over all processes together.
    target_batch_size : int, optional
        Default: `batch_size`.
    seed : int
    balance : tuple of str
        ``"class"`` and ``"domain"``, for the source; see `isthmus.fit.deep.samplers`.
    world : World
        Process r of w takes the r-th of w parts of each batch.
    """

    def __init__(
        self,
        source: Rows | None,
        target: Rows | None,
        *,
        batch_size: int,
        target_batch_size: int | None = None,
        seed: int = 0,
        balance: tuple[str, ...] = (),
        world: World | None = None,
    ) -> None:
        self.seed, self.world = seed, world or World()
        self._sides: list[_Side | None] = []
        for rows, size, tag in (
            (source, batch_size, SOURCE),
            (target, target_batch_size or batch_size, TARGET),
        ):
            if rows is None:
                self._sides.append(None)
                continue
            order = make_order(
                len(rows),
                seed=seed,
                tag=tag,
                labels=rows.labels,
                domains=rows.domains,
                balance=balance if tag == SOURCE else (),
            )
            self._sides.append(_Side(rows, order, size, tag))

    def __getitem__(self, step: int) -> Pair:
        source, target = (self._batch(side, step) for side in self._sides)
        return source, target

    def _batch(self, side: _Side | None, step: int) -> Batch | None:
        if side is None:
            return None
        start, stop = self.world.share(side.size)
        first = step * side.size + start
        rows = side.order.rows(first, stop - start)
        seeds: list[int] = []
        if side.rows.transform is not None or side.rows.views:
            seeds = [counter_seed(self.seed, side.tag + 8, first + k) for k in range(len(rows))]
        return side.rows.batch(rows, seeds)

    def steps(
        self, start: int, stop: int, *, workers: int = 0, pin: bool = False
    ) -> Iterator[tuple[int, Pair]]:
        """Steps start, ..., stop - 1 in order; with workers they are made ahead of time."""
        if workers == 0 or start >= stop:
            for step in range(start, stop):
                yield step, self[step]
            return
        loader: DataLoader[Pair] = DataLoader(
            self,
            batch_size=None,
            sampler=range(start, stop),
            num_workers=workers,
            pin_memory=pin,
            collate_fn=_as_is,
            worker_init_fn=_one_thread,
        )
        yield from zip(range(start, stop), loader, strict=True)


def _as_is(pair: Any) -> Any:
    return pair


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)
