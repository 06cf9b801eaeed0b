"""Layer 2: the default networks without torch: a graph from the package, weights from their file.

Importing torch and timm and exporting a network takes some 10 s of a first run. The graphs of the
default networks are therefore in the package, without their weights (``graphs/NAME.onnx``,
made by ``scripts/prebuilt.py``). The weights come from the pinned file of their own package, read
at recorded places; torch's features of a probe lie beside the graph, and an assembly that does not
reproduce them is not used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from isthmus import iofs
from isthmus.errors import BackboneError, need
from isthmus.types import Array

HOME = Path(__file__).with_name("graphs")


@dataclass(frozen=True)
class Prebuilt:
    """A default network that needs no torch.

    Parameters
    ----------
    name : str
        Of its files in the package.
    weights : callable
        Path of the weights file, its digest checked; called only when it is needed.
    """

    name: str
    weights: Callable[[], Path]

    def assemble(self) -> bytes:
        """The ONNX file.

        Raises
        ------
        BackboneError
            If the weights file is another one than the graph was made for.
        """
        onnx = need("onnx", extra="image")
        notes: dict[str, Any] = iofs.read_json(HOME / f"{self.name}.json", limit=1 << 20)
        file = self.weights()
        raw = file.read_bytes()
        if iofs.sha256_bytes(raw) != notes["sha256"]:
            raise BackboneError("the weights are not those of the prebuilt graph", where=str(file))
        model = onnx.load_from_string((HOME / f"{self.name}.onnx").read_bytes())
        for tensor in model.graph.initializer:
            place = notes["weights"].get(tensor.name)
            if place is None:
                continue
            axes = place["axes"]
            stored = [tensor.dims[axis] for axis in axes]
            count = int(np.prod(stored))
            dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).newbyteorder("<")
            values = np.frombuffer(raw, dtype, count=count, offset=place["at"]).reshape(stored)
            tensor.raw_data = np.ascontiguousarray(values.transpose(np.argsort(axes))).tobytes()
        return bytes(model.SerializeToString())

    def answers(self) -> list[Array]:
        """torch's features of the probe inputs, in their order."""
        from safetensors.numpy import load

        found = load((HOME / f"{self.name}.safetensors").read_bytes())
        return [found[f"features_{i}"] for i in range(len(found))]
