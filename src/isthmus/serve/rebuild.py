"""Layer 7: the backbone of a saved model, from its name, and the proof that it is the same one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from isthmus.errors import BackboneError, IsthmusError
from isthmus.serve.manifest import MANIFEST, damaged
from isthmus.types import Array

if TYPE_CHECKING:
    from isthmus.backbone.base import Backbone, FrameBackbone

_ARGUMENTS = {"spec", "modality", "weights", "layer", "pooling", "size", "allow_license", "device"}


def describe_backbone(backbone: Backbone | FrameBackbone) -> dict[str, Any]:
    """What the manifest says of a backbone.

    A GPU computes with other arithmetic, which is a part of the fingerprint. ``fingerprint_cpu``
    is that of the same backbone on a CPU where the model was made on a GPU, else None.
    """
    reference = dict(backbone.reference)
    on_cpu = None
    if not reference.get("custom") and _gpu():
        from isthmus.backbone import load_backbone

        twin = load_backbone(**reference | {"device": "cpu"}).fingerprint
        on_cpu = twin if twin != backbone.fingerprint and not hasattr(backbone, "state") else None
    return {
        "name": backbone.name,
        "reference": reference,
        "recipe": backbone.recipe,
        "fingerprint": backbone.fingerprint,
        "fingerprint_cpu": on_cpu,
        "num_features": int(backbone.num_features),
    }


def rebuild_backbone(
    folder: Path,
    manifest: dict[str, Any],
    tensors: dict[str, Array],
    given: Backbone | FrameBackbone | None,
) -> Backbone | FrameBackbone:
    """The backbone that the model was trained with.

    Parameters
    ----------
    tensors : dict
        Saved state of a table encoder.
    given : Backbone or FrameBackbone, optional
        Taken instead of rebuilding one; it must be the same one.

    Raises
    ------
    BackboneError
        If it cannot be rebuilt, or has another fingerprint.
    BundleError
        If the manifest's reference is not one.
    """
    recorded = manifest["backbone"]
    found = given if given is not None else _rebuilt(folder, recorded, tensors)
    if _same(found, recorded, manifest):
        return found
    if given is None and _gpu():  # made on a CPU: here, too, it must be computed there
        found = _rebuilt(folder, recorded, tensors, device="cpu")
        if _same(found, recorded, manifest):
            return found
    recipe, then = dict(found.recipe), dict(recorded.get("recipe") or {})
    odd = sorted(k for k in {*recipe, *then} if recipe.get(k) != then.get(k))
    why = f"its preprocessing differs in {', '.join(odd)}" if odd else "its weights or code differ"
    raise BackboneError(
        f"the backbone {found.name} is not the one that the model was trained with",
        where=str(folder),
        why=f"{why}; fingerprint {found.fingerprint[:12]}..., "
        f"recorded {recorded['fingerprint'][:12]}...",
        remedy="Install the versions listed in its manifest.json, or train the model anew",
    )


def _same(found: Any, recorded: dict[str, Any], manifest: dict[str, Any]) -> bool:
    fingerprints = {recorded["fingerprint"], recorded.get("fingerprint_cpu") or ""}
    return found.fingerprint in fingerprints and found.modality == manifest["input"]["modality"]


def _rebuilt(
    folder: Path, recorded: dict[str, Any], tensors: dict[str, Array], device: str | None = None
) -> Backbone | FrameBackbone:
    from isthmus.backbone import load_backbone

    reference = dict(recorded["reference"])
    if reference.get("custom"):
        raise BackboneError(
            "the model was made with a backbone that has no name",
            where=str(folder),
            why=f"it was given as an object ({recorded.get('name')!s:.100})",
            remedy="Hand it over again: isthmus.load(folder, backbone=...)",
        )
    fine = all(isinstance(v, (str, int, float, bool, type(None))) for v in reference.values())
    if not set(reference) <= _ARGUMENTS or not fine or not isinstance(reference.get("spec"), str):
        raise damaged(folder / MANIFEST, "the reference to its backbone is not one")
    reference.pop("device", None)  # that of the other machine
    if device is not None:
        reference["device"] = device
    try:
        found: Any = load_backbone(**reference)
        if recorded.get("state") is not None:
            found = type(found).from_state(tensors, recorded["state"])
    except IsthmusError:
        raise
    except Exception as error:  # whatever a hostile reference or state provokes
        raise damaged(
            folder / MANIFEST, f"its backbone cannot be rebuilt: {error!r:.200}"
        ) from error
    return found


def _gpu() -> bool:
    from isthmus.backbone.runtime import resolve_device

    return resolve_device() != "cpu"
