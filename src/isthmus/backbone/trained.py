"""Layer 2: a pretrained network after further training: the same preprocessing, other weights.

The weights travel with the saved model as tensors; the architecture is built again by its name.
Preprocessing, the compiled network and its cache are those of the untrained backbone.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from isthmus import iofs
from isthmus.backbone import minilm
from isthmus.backbone.base import Backbone
from isthmus.backbone.hf_folder import TOKENIZER_FILES, find
from isthmus.backbone.image import ImageBackbone
from isthmus.backbone.load import load_backbone
from isthmus.backbone.runtime import precision, resolve_device
from isthmus.backbone.weights import RANDOM
from isthmus.errors import BackboneError, BundleError, need
from isthmus.types import Array, Modality

if TYPE_CHECKING:
    from torch import nn

CODE, KIND = 1, "trained"  # raise CODE whenever the same weights would give other features


class TrainedBackbone:
    """A `Backbone` with weights of its own; made by `trained` or `TrainedBackbone.from_state`.

    Parameters
    ----------
    inner : Backbone
        With the trained weights; it does the work.
    tensors : dict of str to ndarray
        The weights, by the names of the network that `untrained_module` builds.
    length : int, optional
        Samples that every recording was cut or filled up to in training; it is here as well.
    files : dict of str to bytes
        Configuration and tokenizer of a model folder, which a saved model takes along.
    """

    def __init__(
        self,
        inner: Any,
        tensors: Mapping[str, Array],
        *,
        length: int | None = None,
        files: Mapping[str, bytes] | None = None,
    ) -> None:
        self.inner, self.tensors, self.length = inner, dict(tensors), length
        self.files = dict(files or {})
        self.name: str = inner.name
        self.modality: Modality = inner.modality
        self.num_features: int = inner.num_features
        self.batch_size: int = inner.batch_size
        self.recipe: dict[str, Any] = inner.recipe
        self.fingerprint: str = inner.fingerprint
        self.reference: dict[str, Any] = inner.reference
        self.licence: str | None = getattr(inner, "licence", None)

    @property
    def one_by_one(self) -> bool:
        """Whether each item is computed alone, on one core."""
        return bool(getattr(self.inner, "one_by_one", False))

    def preprocess(self, raw: Any) -> Array:
        """As the untrained backbone does; recordings get the length of the training."""
        made: Array = self.inner.preprocess(raw)
        return made if self.length is None else to_length(made, self.length)

    def __call__(self, batch: Array) -> Array:
        """(n, ...) preprocessed items -> (n, num_features) float32."""
        features: Array = self.inner(batch)
        return features

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Weights, and what builds the rest again together with `reference`."""
        return dict(self.tensors), {
            "kind": KIND,
            "name": self.name,
            "recipe": self.recipe,
            "num_features": self.num_features,
            "length": self.length,
            "files": sorted(self.files),
        }

    def twin(self) -> TrainedBackbone:
        """The same backbone where it is computed on a CPU; builds nothing."""
        tensors, meta = self.state()
        return TrainedBackbone.from_state(tensors, meta, reference=self.reference, device="cpu")

    def on_cpu(self) -> str:
        """Fingerprint of `twin`."""
        return self.twin().fingerprint

    @classmethod
    def from_state(
        cls,
        tensors: Mapping[str, Array],
        meta: Mapping[str, Any],
        *,
        reference: Mapping[str, Any],
        untrained: Any = None,
        place: Path | None = None,
        device: str | None = None,
    ) -> TrainedBackbone:
        """Read `state` back. Nothing is built here: the network is, when it is first needed.

        Parameters
        ----------
        reference : dict
            Of the untrained backbone.
        untrained : Backbone, optional
            Needed where it has no name.
        place : Path, optional
            Folder with `files`, which stands for the one that the reference names.
        device : str, optional
            See `isthmus.backbone.runtime.resolve_device`.

        Raises
        ------
        BundleError
            If the state is incomplete.
        BackboneError
            If the untrained backbone cannot be had, or prepares its input in another way now.
        """
        try:
            recipe, width, name = dict(meta["recipe"]), int(meta["num_features"]), str(meta["name"])
            modality, length = str(recipe["kind"]), meta.get("length")
            length = None if length is None else int(length)
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError("the state of the backbone is incomplete", why=repr(error)) from None
        at = resolve_device(device)
        files = _files(reference) if place is None else _read(place)
        if untrained is None:
            bare = {k: v for k, v in reference.items() if k != "device"} | {"weights": RANDOM}
            bare |= {} if place is None else {"spec": f"hf:{place}"}
            untrained = _untrained(bare, recipe, width, name, modality, at)
        if untrained.recipe != recipe:
            odd = sorted(
                k for k in {*recipe, *untrained.recipe} if recipe.get(k) != untrained.recipe.get(k)
            )
            raise BackboneError(
                f"{name} prepares its input in another way than when it was trained",
                why=f"different: {', '.join(odd)}",
                remedy="Put the files of the model back that it was trained from",
            )
        known = _known_by(reference, untrained, modality)
        parts = {
            "kind": KIND,
            "code": CODE,
            "reference": {k: v for k, v in reference.items() if k not in ("weights", "device")},
            "recipe": recipe,
            "length": length,
            "weights": digest(tensors),
            "known by": known,
            "arithmetic": precision(at),
        }
        mark = iofs.sha256_bytes(iofs.canonical_json(parts))
        common: dict[str, Any] = {
            "name": name,
            "num_features": width,
            "fingerprint": mark,
            "reference": dict(reference),
        }
        inner = _with_weights(untrained, tensors, length, common)
        return cls(inner, tensors, length=length, files=files)


def trained(
    backbone: Any, tensors: Mapping[str, Array], *, length: int | None = None
) -> TrainedBackbone:
    """A backbone whose network has these weights now.

    Parameters
    ----------
    backbone : Backbone
        The untrained one.
    tensors : dict of str to ndarray
        State of the module that `untrained_module` gives.
    length : int, optional
        See `TrainedBackbone`.
    """
    meta = {
        "length": length,
        "recipe": backbone.recipe,
        "num_features": backbone.num_features,
        "name": f"{backbone.name} (fine-tuned)",
    }
    custom = bool(backbone.reference.get("custom"))
    return TrainedBackbone.from_state(
        tensors,
        meta,
        reference=backbone.reference,
        untrained=backbone if custom else None,
    )


def untrained_module(backbone: Any) -> nn.Module:
    """A copy of the torch network behind a backbone, to be trained.

    Raises
    ------
    BackboneError
        If it has none: nothing can be trained in an ONNX file.
    MissingExtraError
        Without torch.
    """
    need("torch", extra="deep")
    build = _builder(backbone)
    if build is None:
        raise BackboneError(
            f"{getattr(backbone, 'name', backbone)} cannot be trained",
            why="it is not a torch network",
            remedy=_OTHERS.get(getattr(backbone, "modality", ""), "Use an nn.Module"),
        )
    module: nn.Module = copy.deepcopy(build())  # the caller's own module must not change
    return module.train().requires_grad_(True)


def is_network(backbone: Any) -> bool:
    """Whether a torch network is behind a backbone; it is not opened."""
    return _builder(backbone) is not None


def _builder(backbone: Any) -> Any:
    name = "build" if isinstance(backbone, ImageBackbone) else "open_module"
    return getattr(backbone, name, None)


_OTHERS = {
    "image": "Use a timm:, torchvision: or hf: model, or an nn.Module",
    "text": "Use hf:FOLDER or leave --backbone out: the default text encoder can be trained",
    "audio": "Use hf:FOLDER (wav2vec 2.0 and its kin) or logmel:cnn, a small network that is "
    "trained from scratch; or train on features (--on features)",
}


def to_length(wave: Array, length: int) -> Array:
    """(n,) samples cut at the end, or filled up with silence there.

    >>> to_length(np.array([1.0, 2.0]), 3), to_length(np.array([1.0, 2.0]), 1)
    (array([1., 2., 0.]), array([1.]))
    """
    missing = length - len(wave)
    return np.pad(wave, (0, missing)) if missing > 0 else wave[:length]


def digest(tensors: Mapping[str, Array]) -> str:
    """SHA-256 of tensors with their names, shapes and dtypes."""
    parts = {
        name: [
            value.dtype.str,
            list(value.shape),
            iofs.sha256_bytes(np.ascontiguousarray(value).data),
        ]
        for name, value in tensors.items()
    }
    return iofs.sha256_bytes(iofs.canonical_json(parts))


def _files(reference: Mapping[str, Any]) -> dict[str, bytes]:
    """What decides architecture and input of a Hugging Face model, beside its weights.

    Nothing for the models of packages, and none for folders of sentence-transformers, whose steps
    lie in folders of their own: these are found by their name again.
    """
    spec = str(reference.get("spec", ""))
    if not spec.startswith("hf:") or spec == f"hf:{minilm.NAME}":
        return {}
    folder = find(spec.removeprefix("hf:")).path
    return {} if (folder / "modules.json").is_file() else _read(folder)


def _read(folder: Path) -> dict[str, bytes]:
    names = (*TOKENIZER_FILES, "config.json", "preprocessor_config.json", "processor_config.json")
    return {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}


def _untrained(
    bare: Mapping[str, Any],
    recipe: dict[str, Any],
    width: int,
    name: str,
    modality: str,
    device: str,
) -> Any:
    """The backbone without weights: for images nothing but its recipe is needed beforehand."""
    if modality != "image":
        return load_backbone(**bare, device=device)

    def build() -> nn.Module:
        made = load_backbone(**bare, device="cpu")
        return cast(ImageBackbone, made).build()

    return ImageBackbone(
        name=name,
        num_features=width,
        recipe=recipe,
        fingerprint="",
        reference={},
        build=build,
        device=device,
        plain=str(bare.get("spec", "")).startswith(("timm:", "torchvision:")),
    )


def _known_by(reference: Mapping[str, Any], untrained: Any, modality: str) -> str:
    """What else decides the answers: a tokenizer, or the structure of a network without a name."""
    if reference.get("custom"):
        return iofs.sha256_bytes(repr(untrained_module(untrained)).encode())
    return "" if modality == "image" else str(untrained.fingerprint)


def _with_weights(
    untrained: Any, tensors: Mapping[str, Array], length: int | None, common: dict[str, Any]
) -> Backbone:
    """The same backbone around a network that takes the trained weights when it is built."""

    def build() -> nn.Module:
        module = untrained_module(untrained)
        _fill(module, tensors, common["name"])
        return module

    if isinstance(untrained, ImageBackbone):
        return replace(untrained, build=build, prebuilt=None, weights_digest="", **common)
    compiled, more = untrained.compiled, {} if length is None else {"length": length}
    made: Backbone = replace(
        untrained,
        open_module=build,
        open_network=lambda: compiled(build, common["fingerprint"], **more),
        **common,
    )
    return made


def _fill(module: nn.Module, tensors: Mapping[str, Array], where: str) -> None:
    """Every tensor of both sides has its place, or the model is refused."""
    import torch

    own = module.state_dict()
    odd = sorted({*own} ^ {*tensors}) or sorted(
        n for n in own if tuple(own[n].shape) != tensors[n].shape
    )
    if odd:
        raise BackboneError(
            "the trained weights do not fit the network",
            where=where,
            why=f"{len(odd)} tensors are missing, left over or of another shape: "
            f"{', '.join(odd[:4])}",
            remedy="Install the versions listed in its manifest.json, or train the model anew",
        )
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(torch.from_numpy(np.array(tensors[name])))
