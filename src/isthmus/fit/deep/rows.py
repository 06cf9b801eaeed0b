"""Rows in, batches out: in-memory arrays are indexed directly, other data are read by workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.errors import DataError
from isthmus.fit.deep.seeds import counter_seed, set_seed
from isthmus.types import Array

Inputs = Any  # a tensor (n, ...), or a dict of tensors of n rows each (token ids and their mask)
Transform = Callable[[Any], Any]  # one row's input, under a seed of its own -> its input


@dataclass(frozen=True)
class Batch:
    """A raw batch of one domain.

    Parameters
    ----------
    inputs : tensor of shape (n, ...), or dict of them
    labels : tensor of shape (n,), optional
        Class positions (int64), values (float32), or (n, k) float32 for several labels.
    rows : tensor of shape (n,), int64
        Positions in the data set.
    domains : tensor of shape (n,), int64, optional
        Which source domain each row is of, where there are several.
    views : dict
        Further versions of the same rows by name, e.g. ``strong`` of FixMatch; `Rows.views` says
        how each is made.
    soft : tensor of shape (n, k), optional
        Label shares after mixup or CutMix; the task loss prefers them to `labels`.
    """

    inputs: Inputs
    labels: Tensor | None
    rows: Tensor
    domains: Tensor | None = None
    views: dict[str, Inputs] = field(default_factory=dict)
    soft: Tensor | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def apply(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """Every tensor changed by `change` (moved, cut, ...)."""

        def each(value: Any) -> Any:
            if isinstance(value, Mapping):
                return {name: each(item) for name, item in value.items()}
            return None if value is None else change(value)

        return Batch(*(each(getattr(self, name)) for name in self.__dataclass_fields__))

    def part(self, index: int, parts: int) -> Batch:
        """Part `index` of `parts` parts of nearly equal size."""
        start, stop = index * len(self) // parts, (index + 1) * len(self) // parts
        return self if parts == 1 else self.apply(lambda t: t[start:stop])

    def to(self, device: torch.device) -> Batch:
        """On a device; pinned memory is copied without waiting."""
        return self.apply(lambda t: t.to(device, non_blocking=True))


@dataclass(frozen=True)
class Rows:
    """A data set to train on.

    Parameters
    ----------
    inputs : array or tensor of shape (n, ...), dict of them, or object with `__len__` and
        `__getitem__`. Arrays are indexed a batch at a time and never pass a loader; of another
        object ``inputs[row]`` is asked row by row, in workers where there are any.
    labels : array of shape (n,), optional
        Class positions, values, or (n, k).
    domains : array of shape (n,), int, optional
    transform : callable, optional
        ``transform(input) -> tensor`` of one row, random or not. It draws from torch's default
        generator, which is seeded for each row and position: the result is the same in every
        worker. Left out where rows are read for evaluation.
    views : dict of callables
        Further transforms of the same row by name.
    evaluate : callable, optional
        The transform of evaluation (decoding, resizing); default none.
    ids : array of shape (n,), optional
        What messages call the rows; default their positions.
    """

    inputs: Any
    labels: Array | None = None
    domains: Array | None = None
    transform: Transform | None = None
    views: Mapping[str, Transform] = field(default_factory=dict)
    evaluate: Transform | None = None
    ids: Array | None = None

    def __post_init__(self) -> None:
        def tensor(value: Any) -> Any:
            if isinstance(value, np.ndarray) and value.dtype != object:
                return torch.from_numpy(np.ascontiguousarray(value))
            if isinstance(value, Mapping):
                return {name: tensor(item) for name, item in value.items()}
            return value

        object.__setattr__(self, "inputs", tensor(self.inputs))
        for name, value in (
            ("labels", self.labels),
            ("domains", self.domains),
            ("ids", self.ids),
        ):
            if value is not None and len(value) != len(self):
                raise DataError(f"{len(value)} {name} for {len(self)} rows")

    def __len__(self) -> int:
        if isinstance(self.inputs, Mapping):
            return len(next(iter(self.inputs.values())))
        return len(self.inputs)

    @property
    def in_memory(self) -> bool:
        """Whether a batch is one indexing operation."""
        return isinstance(self.inputs, (Tensor, Mapping))

    def take(self, rows: Array) -> Rows:
        """The rows at these positions, in this order, as a data set of its own."""
        rows = np.asarray(rows)
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows

        def cut(value: Array | None) -> Array | None:
            return None if value is None else value[rows]

        inputs = self._index(rows) if self.in_memory else _Part(self.inputs, rows)
        return replace(
            self,
            inputs=inputs,
            labels=cut(self.labels),
            domains=cut(self.domains),
            ids=self.named(rows),  # a part keeps the names
        )

    def named(self, rows: Array) -> Array:
        """What messages call the rows at these positions."""
        return np.asarray(rows) if self.ids is None else self.ids[rows]

    def without_labels(self) -> Rows:
        """The same rows; their labels cannot be read by mistake."""
        return replace(self, labels=None)

    def batch(self, rows: Array, seeds: list[int] | None = None) -> Batch:
        """The rows at these positions.

        Parameters
        ----------
        rows : array of int
        seeds : list of int, optional
            One for each row, for training transforms and views; None: evaluation.
        """
        training = seeds is not None
        transform = self.transform if training else self.evaluate
        views: dict[str, Inputs] = {}
        if transform is None and self.in_memory and not (training and self.views):
            inputs = self._index(rows)
        else:
            raw = [self._one(int(row)) for row in rows]
            inputs = self._made(raw, transform, seeds, 0)
            if training:
                for k, (name, view) in enumerate(self.views.items()):
                    views[name] = self._made(raw, view, seeds, k + 1)
        labels = domains = None
        if self.labels is not None:
            labels = torch.from_numpy(np.asarray(self.labels[rows]))
            if not labels.is_floating_point() and labels.dtype != torch.bool:
                labels = labels.long()
            else:
                labels = labels.float()
        if self.domains is not None:
            domains = torch.from_numpy(np.asarray(self.domains[rows], dtype=np.int64))
        places = torch.from_numpy(np.asarray(rows, dtype=np.int64))
        return Batch(inputs, labels, places, domains, views)

    def in_order(self, size: int = 256) -> Iterator[Batch]:
        """All rows in their order, as for evaluation."""
        for start in range(0, len(self), size):
            yield self.batch(np.arange(start, min(start + size, len(self))))

    def _index(self, rows: Array) -> Inputs:
        where = torch.from_numpy(np.asarray(rows, dtype=np.int64))

        def picked(value: Tensor) -> Tensor:  # whole rows are copied, in half the time of [where]
            return value.index_select(0, where.to(value.device))

        if isinstance(self.inputs, Mapping):
            return {name: picked(value) for name, value in self.inputs.items()}
        return picked(self.inputs)

    def _one(self, row: int) -> Any:
        if isinstance(self.inputs, Mapping):
            return {name: value[row] for name, value in self.inputs.items()}
        return self.inputs[row]

    @staticmethod
    def _made(raw: list[Any], transform: Transform | None, seeds: Any, salt: int) -> Inputs:
        made: list[Any] = []
        for k, item in enumerate(raw):
            if transform is not None:
                if seeds is not None:
                    set_seed(seeds[k] if salt == 0 else counter_seed(seeds[k], salt))
                item = transform(item)
            made.append(item if isinstance(item, (Tensor, Mapping)) else torch.as_tensor(item))
        if isinstance(made[0], Mapping):
            return {name: torch.stack([item[name] for item in made]) for name in made[0]}
        return torch.stack(made)


@dataclass(frozen=True)
class _Part:
    """Some rows of an object that is read row by row."""

    inputs: Any
    rows: Array

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> Any:
        return self.inputs[int(self.rows[row])]
