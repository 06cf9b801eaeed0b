"""A trained network in a folder: ``network.safetensors`` and ``network.json``, nothing executed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from isthmus import iofs
from isthmus.errors import BundleError
from isthmus.fit.deep.checkpoint import to_host
from isthmus.fit.deep.surgery import CopyReport, copy_weights

TENSORS, FACTS, FORMAT = "network.safetensors", "network.json", 1


def save_network(folder: str | Path, network: nn.Module, facts: Mapping[str, Any]) -> None:
    """Write the weights, and `facts` (plain values: how to build the network, its classes)."""
    from safetensors.torch import save as to_bytes

    digest = iofs.write_bytes(Path(folder) / TENSORS, to_bytes(to_host(network.state_dict())))
    iofs.write_json(
        Path(folder) / FACTS, {"format": FORMAT, "digest": digest, "facts": dict(facts)}
    )


def read_facts(folder: str | Path) -> dict[str, Any]:
    """What `save_network` was told.

    Raises
    ------
    BundleError
        If the file is of another version.
    """
    head = iofs.read_json(Path(folder) / FACTS)
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise BundleError("not a saved network of this version", where=str(Path(folder) / FACTS))
    iofs.check_digest(Path(folder) / TENSORS, str(head["digest"]))
    return dict(head["facts"])


def load_network(folder: str | Path, network: nn.Module) -> CopyReport:
    """Put saved weights into a network of the same shape; its digest is checked.

    Raises
    ------
    BundleError, BackboneError
        If a file is damaged, or a tensor has no place.
    """
    read_facts(folder)
    return copy_weights(network, Path(folder) / TENSORS)
