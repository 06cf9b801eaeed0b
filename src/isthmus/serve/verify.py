"""Layer 7: is a saved model whole, and does it still say here what it said where it was made?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus import iofs
from isthmus.errors import BundleError, IsthmusError
from isthmus.serve.bundle import OUTPUTS, LoadedModel, load_model
from isthmus.serve.examples import restore
from isthmus.serve.manifest import (
    MANIFEST,
    check_file,
    damaged,
    library_versions,
    read_manifest,
)
from isthmus.serve.outputs import Outputs, outputs_of
from isthmus.types import Array

if TYPE_CHECKING:
    from isthmus.backbone import Backbone, FrameBackbone

# Largest difference of (a probability, a feature in units of its row's largest). Networks run on
# other kernels elsewhere; tables and plain features are the same arithmetic everywhere.
NETWORK, EXACT = (1e-4, 1e-3), (1e-6, 1e-5)
# What was made on a GPU was made in half precision.
HALF = (2e-2, 5e-2)


def verify(
    folder: str | Path, *, backbone: Backbone | FrameBackbone | None = None
) -> dict[str, Any]:
    """Check every digest of a saved model and replay its examples. Changes nothing.

    Parameters
    ----------
    folder : path
    backbone : Backbone or FrameBackbone, optional
        As for `load_model`.

    Returns
    -------
    dict
        ``ok``; ``checks``: a list of {name, ok, detail, file}, each file of the model one;
        ``libraries``: {name: [then, now]} where versions differ (no failure in itself; empty
        where a file is damaged);
        ``replayed``: how many examples; ``largest_difference`` of their probabilities (for
        regression relative to the largest value).
    """
    folder = Path(folder)
    report: dict[str, Any] = {
        "folder": str(folder),
        "ok": False,
        "checks": [],
        "libraries": {},
        "replayed": 0,
        "largest_difference": None,
    }
    checks: list[dict[str, Any]] = report["checks"]

    def note(name: str, ok: bool, detail: str, file: str = "") -> None:
        checks.append({"name": name, "ok": ok, "detail": detail, "file": file})

    try:
        manifest = read_manifest(folder)
    except BundleError as error:
        note("manifest", False, _words(error), MANIFEST)
        return report
    note("manifest", True, f"schema {manifest['schema']}, isthmus {manifest['isthmus']}", MANIFEST)
    content: dict[str, bytes] = {}
    for name, entry in sorted(manifest["files"].items()):
        try:
            content[name] = check_file(folder, name, entry)
            note("digest", True, f"{entry['bytes']} bytes", name)
        except BundleError as error:
            note("digest", False, error.why, name)
    if all(check["ok"] for check in checks):
        now = library_versions(manifest["input"]["modality"])
        report["libraries"] = {
            name: [then, now.get(name)]
            for name, then in sorted(manifest["libraries"].items())
            if now.get(name) != then
        }
        try:
            loaded = load_model(folder, backbone=backbone)
            note("backbone", True, f"{loaded.backbone.name}, fingerprint as recorded")
            _replay(loaded, content, report, note)
        except IsthmusError as error:
            where = Path(error.where).name if error.where and Path(error.where) != folder else ""
            kind = "model" if isinstance(error, BundleError) else "backbone"
            note(kind, False, _words(error), where)
    report["ok"] = all(check["ok"] for check in checks)
    return report


def _words(error: IsthmusError) -> str:
    return f"{error.what} ({error.why})" if error.why else error.what


def _replay(
    loaded: LoadedModel, content: dict[str, bytes], report: dict[str, Any], note: Any
) -> None:
    described = loaded.manifest["examples"]
    if described is None:
        note("examples", True, "the model was saved without any: nothing could be replayed")
        return
    from isthmus.backbone import embed

    path = loaded.folder / OUTPUTS
    try:
        then = iofs.tensors_from_bytes(content[OUTPUTS], path)
        samples = restore(content.__getitem__, loaded.folder)
        rows, names = then["rows"], described["predictions"]
    except (KeyError, TypeError) as error:
        raise damaged(path, f"the outputs of the examples are incomplete: {error!r:.100}") from None
    got = embed(loaded.backbone, samples)
    report["replayed"] = len(got.rows)
    if not np.array_equal(got.rows, rows):
        lost = sorted(set(rows.tolist()) - set(got.rows.tolist()))
        why = got.problems[0].reason if got.problems else "other rows can be read than before"
        note("examples", False, f"examples {lost} cannot be read any more: {why}", OUTPUTS)
        return
    found = outputs_of(loaded.model, got.features)
    before, after = _numbers(then, found)
    if before is None or after is None or before.shape != after.shape:
        raise damaged(path, "the outputs of the examples are of another kind")
    scale = max(1.0, float(np.abs(before).max(initial=0.0))) if found.values is not None else 1.0
    gap = np.abs(before - after) / scale
    report["largest_difference"] = float(gap.max(initial=0.0))
    tolerance, feature_tolerance = _tolerances(loaded.manifest)
    moved = _moved(then["features"], got.features)
    off = (gap.reshape(len(gap), -1).max(axis=1, initial=0.0) > tolerance) | (
        moved > feature_tolerance
    )
    off[_renamed(names, found, before, tolerance)] = True
    wrong = np.flatnonzero(off)
    if not len(wrong):
        what = "value" if found.values is not None else "probability"
        note(
            "examples",
            True,
            f"{len(gap)} replayed, largest difference of a {what} {gap.max(initial=0.0):.1e}",
        )
        return
    first = samples.ids[int(got.rows[wrong[0]])]
    drift = ", ".join(f"{n} {a} -> {b}" for n, (a, b) in report["libraries"].items())
    note(
        "examples",
        False,
        f"{len(wrong)} of {len(gap)} examples give other outputs, first {first!r} (largest "
        f"difference {gap.max():.1e}, allowed {tolerance:g}; features differ by "
        f"{moved.max():.1e} of the largest, allowed {feature_tolerance:g}; "
        f"libraries: {drift or 'as recorded'})",
        OUTPUTS,
    )


def _tolerances(manifest: dict[str, Any]) -> tuple[float, float]:
    if manifest["backbone"].get("fingerprint_cpu"):
        return HALF
    return EXACT if manifest["input"]["modality"] in ("table", "features") else NETWORK


def _moved(then: Array, now: Array) -> Array:
    """(n,) largest change of a feature, in units of the largest feature of its row.

    A confident model hides a changed preprocessing behind probabilities of 0 and 1; its features
    do not.
    """
    if then.shape != now.shape:
        return np.full(len(now), np.inf)
    scale = np.abs(then).max(axis=1, initial=1e-12)
    moved: Array = np.abs(then - now).max(axis=1, initial=0.0) / scale
    return moved


def _numbers(then: dict[str, Array], found: Outputs) -> tuple[Array | None, Array | None]:
    if found.values is not None:
        return then.get("values"), found.values
    return then.get("proba"), found.proba


def _renamed(names: Any, found: Outputs, before: Array, tolerance: float) -> list[int]:
    """Rows with another predicted name; a tie within the tolerance may fall either way."""
    if found.values is not None:
        return []
    if not isinstance(names, list) or len(names) != len(found.names):
        return list(range(len(found.names)))
    wrong = []
    for row, (then, now) in enumerate(zip(names, found.names, strict=True)):
        if then == now:
            continue
        if isinstance(now, str):
            best = np.sort(before[row])[::-1]
            tie = len(best) > 1 and best[0] - best[1] <= 2 * tolerance
        else:
            tie = bool((np.abs(before[row] - 0.5) <= tolerance).any())
        if not tie:
            wrong.append(row)
    return wrong
