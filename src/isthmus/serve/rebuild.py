"""Layer 7: the backbone of a saved model, from its name, and the proof that it is the same one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isthmus.errors import BackboneError, IsthmusError
from isthmus.serve.manifest import MANIFEST, check_file, damaged
from isthmus.types import Array

if TYPE_CHECKING:
    from isthmus.backbone.base import Backbone, FrameBackbone

NETWORK = "network"  # folder of a trained network's configuration and tokenizer
_ARGUMENTS = {"spec", "modality", "weights", "layer", "pooling", "size", "allow_license", "device"}


def describe_backbone(backbone: Backbone | FrameBackbone) -> dict[str, Any]:
    """What the manifest says of a backbone.

    A GPU computes with other arithmetic, which is a part of the fingerprint. ``fingerprint_cpu``
    is that of the same backbone on a CPU where the model was made on a GPU, else None.
    """
    reference = dict(backbone.reference)
    on_cpu = None
    if not reference.get("custom") and _gpu():
        twin = _fingerprint_on_cpu(backbone, reference)
        on_cpu = twin if twin != backbone.fingerprint else None
    return {
        "name": backbone.name,
        "reference": reference,
        "recipe": backbone.recipe,
        "fingerprint": backbone.fingerprint,
        "fingerprint_cpu": on_cpu,
        "num_features": int(backbone.num_features),
    }


def _fingerprint_on_cpu(backbone: Any, reference: dict[str, Any]) -> str:
    from isthmus.backbone import load_backbone

    if hasattr(backbone, "on_cpu"):
        return str(backbone.on_cpu())
    if hasattr(backbone, "state"):  # a table's encoder, which no device changes
        return str(backbone.fingerprint)
    return load_backbone(**reference | {"device": "cpu"}).fingerprint


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
        Taken instead of rebuilding one; it must be the same one. Of a trained network it is the
        one that the training began with.

    Raises
    ------
    BackboneError
        If it cannot be rebuilt, or has another fingerprint.
    BundleError
        If the manifest's reference is not one.
    """
    recorded = manifest["backbone"]
    found = _taken(given, folder, manifest, tensors)
    if _same(found, recorded, manifest):
        return found
    if given is None and _gpu():  # made on a CPU: here, too, it must be computed there
        found = _rebuilt(folder, manifest, tensors, device="cpu")
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


def _taken(
    given: Any, folder: Path, manifest: dict[str, Any], tensors: dict[str, Array]
) -> Backbone | FrameBackbone:
    if given is None:
        return _rebuilt(folder, manifest, tensors)
    if not is_trained(manifest["backbone"]) or hasattr(given, "state"):
        found: Backbone | FrameBackbone = given
        return found
    return _trained(folder, manifest, tensors, untrained=given)


def is_trained(recorded: dict[str, Any]) -> bool:
    """Whether the backbone's weights lie in the model's own folder."""
    state = recorded.get("state")
    return isinstance(state, dict) and state.get("kind") == "trained"


def _trained(
    folder: Path, manifest: dict[str, Any], tensors: dict[str, Array], **more: Any
) -> Backbone:
    """A backbone with weights of its own; the files that it needs lie in the folder, checked."""
    from isthmus.backbone.trained import TrainedBackbone

    recorded = manifest["backbone"]
    listed = [name for name in manifest["files"] if name.startswith(f"{NETWORK}/")]
    if [f"{NETWORK}/{name}" for name in recorded["state"].get("files") or ()] != sorted(listed):
        raise damaged(folder / MANIFEST, "the files of its network are not the recorded ones")
    for name in listed:
        check_file(folder, name, manifest["files"][name])
    if listed:
        more["place"] = (folder / NETWORK).resolve()
    with _refused(folder):
        return TrainedBackbone.from_state(
            tensors, recorded["state"], reference=recorded["reference"], **more
        )


def _same(found: Any, recorded: dict[str, Any], manifest: dict[str, Any]) -> bool:
    fingerprints = {recorded["fingerprint"], recorded.get("fingerprint_cpu") or ""}
    return found.fingerprint in fingerprints and found.modality == manifest["input"]["modality"]


def _rebuilt(
    folder: Path, manifest: dict[str, Any], tensors: dict[str, Array], device: str | None = None
) -> Backbone | FrameBackbone:
    from isthmus.backbone import load_backbone

    recorded = manifest["backbone"]
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
    if is_trained(recorded):
        return _trained(folder, manifest, tensors, device=device)
    if device is not None:
        reference["device"] = device
    with _refused(folder):
        found: Any = load_backbone(**reference)
        if recorded.get("state") is not None:
            found = type(found).from_state(tensors, recorded["state"])
    return found


@contextmanager
def _refused(folder: Path) -> Iterator[None]:
    """Whatever a hostile reference or state provokes is told as damage."""
    try:
        yield
    except IsthmusError:
        raise
    except Exception as error:
        raise damaged(
            folder / MANIFEST, f"its backbone cannot be rebuilt: {error!r:.200}"
        ) from error


def _gpu() -> bool:
    from isthmus.backbone.runtime import resolve_device

    return resolve_device() != "cpu"
