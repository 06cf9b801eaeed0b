"""Layer 8: a saved dense network as the start of a run on features or on grey pixels."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from isthmus.errors import DataError, UsageError, near_path, need


def read(path: str | Path, backbone: Any, modality: str, on: str) -> tuple[Any, Any]:
    """The file's dense layers, and the backbone whose features they take.

    Raises
    ------
    UsageError, BackboneError
        If it cannot be the start of this run.
    """
    need("torch", extra="deep")
    from isthmus.fit.deep.saved_dense import read_dense

    if on != "features":
        raise UsageError(
            "a saved dense network starts a network of features", remedy="Use --on features"
        )
    if not Path(path).is_file():
        raise UsageError(
            "a folder is no saved network" if Path(path).is_dir() else "the file does not exist",
            where=str(path),
            why="--start-from names the file of a dense network",
            remedy=near_path(path) or "Check the path",
        )
    saved = read_dense(path)
    kinds = sorted(set(saved.activations) - {"none"})
    if len(kinds) > 1:
        raise UsageError(
            "a network with several kinds of activation cannot be served",
            where=str(path),
            why=", ".join(kinds),
            remedy="Use a dense network with one",
        )
    if modality == "image" and backbone is None:
        side = math.isqrt(saved.num_inputs)
        if side**2 != saved.num_inputs:
            raise UsageError(
                f"the saved network takes {saved.num_inputs} numbers, no square of grey pixels",
                where=str(path),
                remedy="Name what it was trained on: --backbone B, or give a table of features",
            )
        backbone = f"pixels:{side}"
    return saved, backbone


def builder(
    saved: Any, width: int, *, dropout: float, seed: int, say: Callable[[str], None]
) -> Callable[[int], Any]:
    """Builds the network once the number of classes is known, and says what was copied.

    Raises
    ------
    DataError
        If the rows are not as wide as the network's input.
    """
    if width != saved.num_inputs:
        raise DataError(
            f"the rows have {width} features, the saved network takes {saved.num_inputs}",
            where=saved.where,
            remedy="Give the features that it was trained on",
        )

    def build(classes: int) -> Any:
        network, report = saved.network(classes, dropout=dropout, seed=seed)
        say(f"--- start\n{saved.where}: {report}")
        return network

    return build
