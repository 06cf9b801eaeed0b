"""Layer 6: what the label-free validators say of the candidates of a choice.

The choice does not follow them one by one (docs/log.md has what that costs); they are shown beside
it, each with what its picks were worth where the labels were known.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.select.bench import Bench, some
from isthmus.select.descriptors import NEIGHBORS, neighbors
from isthmus.select.validate.base import Scene, Score, Trial, discover, validate
from isthmus.select.validate.report import Table, table
from isthmus.types import Array

MOST = 1000  # target rows: some validators cluster them, or compare them all with all
FILE = Path(__file__).parent / "validate" / "reliability.json"


@cache
def reliability() -> dict[str, Any]:
    """Validator -> what its picks were worth on the benchmark (``make bench-validators``)."""
    found: dict[str, Any] = json.loads(FILE.read_text("utf-8"))["validators"]
    return found


def heard(bench: Bench, proba: Mapping[str, Array], *, random_state: int = 0) -> Table:
    """Every validator that needs the candidates' target probabilities alone.

    Parameters
    ----------
    bench : Bench
    proba : mapping of str to ndarray of shape (n_t, K)
        Of all target rows, by candidate.
    random_state : int, default=0
        Seed of the draw where there are more than `MOST` target rows.
    """
    Xt = bench.space.Xt
    rows = some(len(Xt), MOST, np.random.default_rng(random_state))
    seen = {name: p[rows] for name, p in proba.items()}
    scene = Scene(
        Xs=bench.space.Xs,
        ys=bench.codes,
        Xt=Xt[rows],
        n_classes=len(bench.classes),
        weights=np.ones(len(bench.codes)),
        neighbors=neighbors(Xt[rows], NEIGHBORS),
        consensus=np.mean(list(seen.values()), axis=0),
    )
    trials = [Trial(name, p) for name, p in seen.items()]
    found: dict[str, dict[str, Score]] = {}
    for name, validator in discover().items():
        if not validator.needs and validator.cost == "cheap":
            found[name] = validate(validator, scene, trials)
    return table(found, reliability={n: r["rank"] for n, r in reliability().items() if n in found})


def statements(said: Table) -> list[dict[str, Any]]:
    """JSON form: each validator's pick, and what picks of it were worth; or why it has no say."""
    out = []
    for column in said.columns:
        entry: dict[str, Any] = {"validator": column.name, "left_out": column.left_out}
        values = column.values()
        if column.used and values:
            entry["picks"] = max(values, key=lambda name: values[name])
            entry["scores"] = {name: round(float(v), 5) for name, v in values.items()}
        entry["measured"] = reliability().get(column.name)
        out.append(entry)
    asked = {column.name for column in said.columns}
    for name in discover():
        if name not in asked:
            why = "not asked: it would fit every candidate again"
            out.append({"validator": name, "left_out": why, "measured": reliability().get(name)})
    return out
