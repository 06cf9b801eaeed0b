"""A dense network out of a file (``.h5``, ``.keras``, ``.safetensors``, ``.pt``) as a start.

The file says how many layers there are and how wide they are; a Keras file also names their
activations. Nothing in it is executed. Its hidden layers become the body, its last layer the head
where it has as many outputs as there are classes; else the head is drawn anew, and the report says
so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from isthmus.backbone.keras_files import check_file
from isthmus.backbone.weights import check_finite, read_state
from isthmus.errors import BackboneError
from isthmus.fit.deep.copy_weights import CopyReport, copy_weights
from isthmus.fit.deep.keras_state import keras_layers
from isthmus.fit.deep.network import Network
from isthmus.fit.deep.surgery import ACTIVATIONS, he_initialise

KERAS, MOST_LAYERS = (".keras", ".h5", ".hdf5"), 64
_GIVE = "Give a file with the weights of a dense network"
_SAME = {"swish": "silu", "linear": "none"}  # what Keras calls them -> what we do


@dataclass(frozen=True)
class SavedDense:
    """Dense layers of a file, first to last.

    Parameters
    ----------
    layers : tuple of (str, Tensor, Tensor or None)
        Name in the file, weight (out, in), bias (out,).
    activations : tuple of str
        After each layer but the last.
    where : str
        The file.
    """

    layers: tuple[tuple[str, Tensor, Tensor | None], ...]
    activations: tuple[str, ...]
    where: str

    @property
    def num_inputs(self) -> int:
        """Width of a row that the network takes."""
        return int(self.layers[0][1].shape[1])

    @property
    def widths(self) -> tuple[int, ...]:
        """Outputs of each layer."""
        return tuple(int(weight.shape[0]) for _, weight, _ in self.layers)

    def network(
        self, num_classes: int, *, dropout: float = 0.0, pretrained: bool = True, seed: int = 0
    ) -> tuple[Network, CopyReport | None]:
        """The network for `num_classes` classes, its weights from the file.

        Parameters
        ----------
        dropout : float, default=0.0
            After every hidden layer.
        pretrained : bool, default=True
            False: the same network, drawn anew (`isthmus.fit.deep.surgery.he_initialise`).
        seed : int, default=0
            Of what is drawn.

        Returns
        -------
        Network, CopyReport or None
            The report accounts for every tensor of the file and of the network.
        """
        body, state = _body(self, dropout)
        width = body.num_features
        network = Network(body, num_classes, num_features=width)
        he_initialise(network, seed=seed)
        if not pretrained:
            return network, None
        _, weight, bias = self.layers[-1]
        state["head.weight"] = weight
        if bias is not None:
            state["head.bias"] = bias
        else:
            state["head.bias"] = torch.zeros(len(weight))
        return network, copy_weights(network, state, allow=["head"])


class _Dense(nn.Sequential):
    """Hidden layers of rows of numbers."""

    num_features: int


def _body(saved: SavedDense, dropout: float) -> tuple[_Dense, dict[str, Tensor]]:
    parts: list[nn.Module] = []
    state: dict[str, Tensor] = {}
    for (_, weight, bias), name in zip(saved.layers, saved.activations):  # all but the last layer
        made = nn.Linear(weight.shape[1], weight.shape[0])
        state[f"body.{len(parts)}.weight"] = weight
        state[f"body.{len(parts)}.bias"] = torch.zeros(len(weight)) if bias is None else bias
        parts += [made, ACTIVATIONS[name]()]
        parts += [nn.Dropout(dropout)] if dropout else []
    body = _Dense(*parts)
    body.num_features = saved.layers[-1][1].shape[1]
    return body, state


def read_dense(path: str | Path, *, activation: str = "relu") -> SavedDense:
    """Read the dense layers of a file.

    Parameters
    ----------
    path : path-like
        ``.keras``, ``.h5``; or ``.safetensors``, ``.pt``, ``.pth`` with tensors ``NAME.weight``
        (out, in) and ``NAME.bias``.
    activation : {"relu", "gelu", "tanh", "silu", "sigmoid", "none"}
        After each hidden layer, where the file does not name it.

    Raises
    ------
    BackboneError
        If the file holds anything but dense layers, or they do not follow one another.
    """
    path = Path(path)
    keras = path.suffix.lower() in KERAS
    found = _keras(path) if keras else _torch(path)
    if not found or len(found) > MOST_LAYERS:
        raise BackboneError(
            f"the file holds {len(found)} dense layers",
            where=str(path),
            remedy=_GIVE,
        )
    for name, weight, bias in found:
        if not weight.numel() or (bias is not None and bias.shape != weight.shape[:1]):
            shapes = [tuple(value.shape) for value in (weight, bias) if value is not None]
            raise BackboneError(
                f"{name!r} is no dense layer",
                where=str(path),
                why=f"its weight is {' and its bias '.join(map(str, shapes))}",
                remedy=_GIVE,
            )
        beside = {} if bias is None else {f"{name}.bias": bias}
        check_finite({f"{name}.weight": weight, **beside}, where=str(path))
    chain = _chained(found)
    if chain is None:
        widths = ", ".join(f"{name} {w.shape[1]} > {w.shape[0]}" for name, w, _ in found)
        raise BackboneError(
            "the dense layers do not follow one another",
            where=str(path),
            why=widths,
            remedy=_GIVE,
        )
    named = _keras_activations(path) if keras else None
    hidden = tuple((named or [activation] * len(chain))[: len(chain) - 1])
    for name in hidden:
        if name not in ACTIVATIONS:
            raise BackboneError(
                f"a dense layer with the activation {name!r}",
                where=str(path),
                why=f"known: {', '.join(ACTIVATIONS)}",
                remedy="Train it with one of them",
            )
    return SavedDense(tuple(chain), hidden, str(path))


_Layer = tuple[str, Tensor, Tensor | None]


def _keras(path: Path) -> list[_Layer]:
    layers: list[_Layer] = []
    for name, weights in keras_layers(path):
        kernel = weights.get("weight")
        if kernel is None or kernel.ndim != 2 or set(weights) - {"weight", "bias"}:
            raise _other([name], path)
        bias = weights.get("bias")
        layers.append(
            (
                name,
                torch.from_numpy(kernel.T.astype("float32", copy=True)),
                None if bias is None else torch.from_numpy(bias.astype("float32", copy=True)),
            )
        )
    return layers


def _torch(path: Path) -> list[_Layer]:
    state = read_state(path)
    layers: list[_Layer] = []
    used = set()
    for key in sorted(state, key=_by_numbers):
        dense = state[key].ndim == 2 and not state[key].is_complex()
        if key.rpartition(".")[2] == "weight" and dense:
            name = key.rpartition(".")[0]
            beside = f"{name}.bias" if name else "bias"
            bias = state.get(beside)
            used |= {key, beside}
            layers.append((name, state[key].float(), None if bias is None else bias.float()))
    others = [key for key in state if key not in used]
    if others:
        raise _other(others, path)
    return layers


def _by_numbers(name: str) -> list[tuple[int, int, str]]:
    """``dense.2`` before ``dense.10``."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]


def _other(names: list[str], path: Path) -> BackboneError:
    return BackboneError(
        "the file holds more than dense layers",
        where=str(path),
        why=f"{', '.join(names[:6])}{', ...' if len(names) > 6 else ''}",
        remedy="Give a dense network; others: --backbone FILE, or --backbone with --weights",
    )


def _chained(layers: list[_Layer]) -> list[_Layer] | None:
    """In an order in which each takes what the one before it gives; the file's own if that fits."""

    def grow(chain: list[_Layer], rest: list[_Layer]) -> list[_Layer] | None:
        if not rest:
            return chain
        for k, layer in enumerate(rest):
            if not chain or chain[-1][1].shape[0] == layer[1].shape[1]:
                whole = grow([*chain, layer], rest[:k] + rest[k + 1 :])
                if whole is not None:
                    return whole
        return None

    return grow([], layers)


def _keras_activations(path: Path) -> list[str] | None:
    """Activation of every dense layer by the configuration; layers of their own count too."""
    config: Any = check_file(path)
    if config is None:
        return None
    if "model_config" in config:
        config = config["model_config"]
    found: list[str] = []
    for layer in config.get("config", {}).get("layers", []):
        kind, own = str(layer.get("class_name")), layer.get("config", {})
        name = {"ReLU": "relu", "LeakyReLU": "leaky_relu", "Softmax": "softmax"}.get(kind, "")
        if kind == "Dense":
            given = own.get("activation", "linear")
            found.append(given if isinstance(given, str) else str(given.get("class_name", given)))
        elif kind == "Activation" or name:
            name = name or str(own.get("activation"))
            if found and found[-1] == "linear":
                found[-1] = name
    return [_SAME.get(name, name) for name in found] or None
