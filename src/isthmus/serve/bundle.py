"""Layer 7: a model as a folder: JSON manifest + safetensors + examples, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus import __version__, iofs
from isthmus.errors import BundleError, IsthmusError
from isthmus.serve import examples as ex
from isthmus.serve.manifest import (
    KIND,
    MANIFEST,
    SCHEMA,
    TENSORS,
    check_file,
    damaged,
    library_versions,
    read_manifest,
    seal,
)
from isthmus.serve.outputs import outputs_of
from isthmus.serve.rebuild import NETWORK, describe_backbone, rebuild_backbone
from isthmus.serve.schema import is_schema, schema_of
from isthmus.types import Array, Task

if TYPE_CHECKING:
    from isthmus.backbone.base import Backbone, FrameBackbone
    from isthmus.data.samples import Samples
    from isthmus.fit.blend import Model

N_EXAMPLES = 8
OUTPUTS = f"{ex.FOLDER}/outputs.safetensors"


@dataclass(frozen=True)
class LoadedModel:
    """A saved model after every check.

    Parameters
    ----------
    folder : Path
    manifest : dict
    model : Model
    backbone : Backbone or FrameBackbone
    """

    folder: Path
    manifest: dict[str, Any]
    model: Model
    backbone: Backbone | FrameBackbone

    @property
    def task(self) -> Task:
        """``classification``, ``multilabel`` or ``regression``."""
        task: Task = self.manifest["task"]
        return task

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the probabilities."""
        return tuple(self.manifest["classes"])


def save_model(
    folder: str | Path,
    *,
    model: Model,
    backbone: Backbone | FrameBackbone,
    samples_like: Samples,
    task: Task,
    classes: tuple[str, ...],
    examples: Samples | None = None,
    n_examples: int = N_EXAMPLES,
    extra: Mapping[str, Any] | None = None,
    contract: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write a model that `load_model` reads back, on this machine or another.

    Parameters
    ----------
    folder : path
        New, empty, or with other files, which stay; a model in it is replaced as a whole.
    model : Model
        What works on features.
    backbone : Backbone or FrameBackbone
        What makes them; a fitted table encoder is saved with its state. One that cannot be
        rebuilt by name (``{"custom": True}``) must be handed to `load_model` again.
    samples_like : Samples
        Where the input schema is taken from.
    task : str
    classes : tuple of str
        Names in the order of the model's probabilities.
    examples : Samples, optional
        Raw inputs to choose the replayed examples from. They are copied into the folder: give
        None where the data are private (`verify` can then not replay anything).
    n_examples : int, default=8
        How many; 0 for none.
    extra : mapping, optional
        JSON-ready facts for the reader (verdict, figures).
    contract : mapping, optional
        What `isthmus.serve.contract.contract_of` says of the rows; checked at predict time. It
        lies in `extra` under the same name.

    Returns
    -------
    dict
        The manifest.

    Raises
    ------
    BundleError
        If the model holds NaN or infinite numbers, or the folder cannot be written.
    """
    tensors, meta = _state("model", model.to_state())
    state_meta = None
    if hasattr(backbone, "state"):
        more, state_meta = _state("backbone", backbone.state())
        tensors |= more
    kept = ex.keep(examples, n_examples) if examples is not None and n_examples > 0 else None
    described: dict[str, Any] | None = None
    files: dict[str, bytes] = {}
    if kept is not None:
        described, files = _replayed(kept, model, backbone)
    more_files: Mapping[str, bytes] = getattr(backbone, "files", {})
    files |= {f"{NETWORK}/{name}": content for name, content in more_files.items()}
    manifest: dict[str, Any] = {
        "schema": SCHEMA,
        "kind": KIND,
        "isthmus": __version__,
        "libraries": library_versions(backbone.modality),
        "task": task,
        "classes": [str(name) for name in classes],
        "backbone": describe_backbone(backbone) | {"state": state_meta},
        "model": meta,
        "input": schema_of(samples_like),
        "examples": described,
        "extra": dict(extra or {}) | ({"contract": dict(contract)} if contract else {}),
    }
    try:
        with iofs.staging(folder, last=MANIFEST) as temporary:
            digests = {TENSORS: iofs.write_tensors(temporary / TENSORS, tensors)}
            for name, content in files.items():
                digests[name] = iofs.write_bytes(temporary / name, content)
            manifest["files"] = {
                name: {"sha256": digest, "bytes": (temporary / name).stat().st_size}
                for name, digest in digests.items()
            }
            sealed = seal(manifest)
            iofs.write_bytes(temporary / MANIFEST, sealed)
    except OSError as error:
        raise BundleError(
            "the model cannot be written",
            where=str(folder),
            why=error.strerror or str(error),
            remedy="Choose another folder or free some space",
        ) from None
    except (TypeError, ValueError) as error:
        if isinstance(error, IsthmusError):
            raise
        raise BundleError(
            "the model cannot be described in JSON", where=str(folder), why=str(error)
        ) from error
    found: dict[str, Any] = json.loads(sealed)
    return found


def _state(
    prefix: str, state: tuple[dict[str, Array], dict[str, Any]]
) -> tuple[dict[str, Array], dict[str, Any]]:
    tensors, meta = state
    for name, value in tensors.items():
        _finite(f"{prefix}.{name}", value, "")
    return {f"{prefix}.{name}": np.asarray(value) for name, value in tensors.items()}, meta


def _finite(name: str, value: Array, where: str) -> None:
    if value.dtype.kind in "fc" and not np.isfinite(value).all():
        raise BundleError(
            f"the tensor {name!r} holds NaN or infinite numbers",
            where=where,
            remedy="Train the model anew and look at its features",
        )


def _replayed(
    kept: ex.Kept, model: Model, backbone: Backbone | FrameBackbone
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Outputs of the examples as they were written, so that a replay starts from the same bytes."""
    from safetensors.numpy import save

    from isthmus.backbone import embed

    got = embed(backbone, kept.samples)
    found = outputs_of(model, got.features)
    tensors = {"features": got.features, "rows": got.rows.astype(np.int64)}
    if found.proba is not None:
        tensors["proba"] = found.proba
    if found.values is not None:
        tensors["values"] = found.values
    files = dict(kept.files)
    files[OUTPUTS] = save({name: np.array(value, order="C") for name, value in tensors.items()})
    described = {
        "count": len(got.rows),
        "predictions": found.names,
        "files": sorted(files),
        "left_out": [*kept.left_out, *(f"{p.where}: {p.reason}" for p in got.problems)],
    }
    return described, files


def load_model(
    folder: str | Path, *, backbone: Backbone | FrameBackbone | None = None
) -> LoadedModel:
    """Read a saved model; every byte is compared with its digest before it is used.

    Parameters
    ----------
    folder : path
    backbone : Backbone or FrameBackbone, optional
        Needed where the model was made with one that has no name; otherwise it is rebuilt from
        its name. Its fingerprint must be the recorded one.

    Raises
    ------
    BundleError
        If the folder is damaged, altered, hostile or of another version.
    BackboneError
        If the backbone cannot be rebuilt, or is another one than the model was trained with.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    if not is_schema(manifest["input"]):
        raise damaged(folder / MANIFEST, "its input schema is none")
    tensors = _tensors(folder, manifest)
    rebuilt = rebuild_backbone(folder, manifest, _part(tensors, "backbone"), backbone)
    model = _model(folder, manifest, tensors)
    _probe(folder, manifest, model)
    return LoadedModel(folder, manifest, model, rebuilt)


def _tensors(folder: Path, manifest: dict[str, Any]) -> dict[str, Array]:
    path = folder / TENSORS
    raw = check_file(folder, TENSORS, manifest["files"][TENSORS])
    try:
        tensors = iofs.tensors_from_bytes(raw, path)
    except IsthmusError as error:
        raise BundleError(error.what, where=error.where, why=error.why) from None
    for name, value in tensors.items():
        _finite(name, value, str(path))
    return tensors


def _part(tensors: dict[str, Array], prefix: str) -> dict[str, Array]:
    start = f"{prefix}."
    return {n.removeprefix(start): v for n, v in tensors.items() if n.startswith(start)}


def _model(folder: Path, manifest: dict[str, Any], tensors: dict[str, Array]) -> Model:
    from isthmus.fit.blend import model_from_state

    try:
        model = model_from_state(_part(tensors, "model"), manifest["model"])
        same = model.task == manifest["task"] and tuple(model.classes) == tuple(manifest["classes"])
    except BundleError as error:
        raise damaged(folder / TENSORS, f"{error.what} {error.why}".strip()) from None
    except Exception as error:  # whatever a hostile state provokes, it is one refusal
        raise damaged(folder / MANIFEST, f"its model cannot be rebuilt: {error!r:.200}") from error
    if not same:
        raise damaged(folder / MANIFEST, "the model has another task or other classes")
    return model


def _probe(folder: Path, manifest: dict[str, Any], model: Model) -> None:
    """One made-up row through the head: widths and classes fit, or the model is refused here."""
    width, classes = manifest["backbone"]["num_features"], manifest["classes"]
    row = np.sin(np.arange(width, dtype=np.float32))[None] + 1.5
    try:
        found = outputs_of(model, row)
        fine = found.values is not None if not classes else found.proba is not None
        if classes and found.proba is not None:
            fine = found.proba.shape == (1, len(classes)) and bool(np.isfinite(found.proba).all())
    except Exception as error:
        raise damaged(
            folder / TENSORS, f"its head does not fit {width} features: {error!r:.200}"
        ) from error
    if not fine:
        raise damaged(folder / TENSORS, f"its head does not fit the {len(classes)} classes")
