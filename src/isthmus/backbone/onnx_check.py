"""Layer 2: what an ONNX file may hold before ONNX Runtime sees it.

ONNX is data, not code, but a file can still name other files to read, ask for foreign operators,
loop for ever, or describe a value larger than the memory.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np

from isthmus.errors import BackboneError, need

log = logging.getLogger(__name__)

MAX_TENSOR = 1 << 32  # bytes of one value, at four bytes a number
# "" and ai.onnx are the standard, ai.onnx.ml its sibling, com.microsoft is built into ONNX Runtime
_DOMAINS = frozenset(("", "ai.onnx", "ai.onnx.ml", "com.microsoft"))
_LOOPS = frozenset(("Loop", "Scan"))


def inspect(raw: bytes, *, where: str) -> None:
    """Refuse a damaged or hostile ONNX file.

    Parameters
    ----------
    raw : bytes
        The file.
    where : str
        Its name, for messages.

    Raises
    ------
    BackboneError
        If it is not ONNX, or could read other files, run foreign operators, never end, or exhaust
        the memory.
    """
    onnx = need("onnx", extra="image")

    def refuse(what: str, why: str = "") -> BackboneError:
        remedy = "Export the network again (torch.onnx.export), or check that the copy is whole"
        return BackboneError(what, where=where, why=why, remedy=remedy)

    try:
        model = onnx.load_model_from_string(raw)
    except Exception as error:  # protobuf's own classes
        raise refuse("not an ONNX file", str(error)[:200]) from None
    if not model.graph.node or not model.graph.output:
        raise refuse("not an ONNX file", "it holds no network")
    own = {(function.domain, function.name) for function in model.functions}
    for graph in _graphs(model):
        for node in graph.node:
            if node.domain not in _DOMAINS and (node.domain, node.op_type) not in own:
                raise refuse(
                    "the file needs operators from elsewhere", f"{node.domain}::{node.op_type}"
                )
            if node.op_type in _LOOPS:
                raise refuse("the file holds a loop, which might never end", node.op_type)
        for tensor in _tensors(graph):
            if tensor.data_location == tensor.EXTERNAL or tensor.external_data:
                raise refuse(
                    "the weights lie in another file",
                    "only a self-contained file can be checked by its digest",
                )
    for shape in _static_shapes(onnx, model):
        if np.prod(shape, dtype=np.float64) * 4 > MAX_TENSOR:
            raise refuse("a value inside the network would not fit in memory", f"shape {shape}")


def _graphs(model: Any) -> Iterator[Any]:
    """The graph, the functions of the file, and every branch inside a node."""
    waiting = [model.graph, *model.functions]
    while waiting:
        graph = waiting.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                waiting += [attribute.g] if attribute.HasField("g") else []
                waiting += attribute.graphs


def _tensors(graph: Any) -> Iterator[Any]:
    yield from getattr(graph, "initializer", ())  # a function has none
    for sparse in getattr(graph, "sparse_initializer", ()):
        yield sparse.values
        yield sparse.indices
    for node in graph.node:
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors


def _static_shapes(onnx: Any, model: Any) -> Iterator[tuple[int, ...]]:
    """Shapes that are known before the network runs, of values and of weights."""
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception as error:  # best effort; ONNX Runtime checks the types again
        log.debug("no shape inference: %s", error)
        inferred = model
    for value in (*inferred.graph.value_info, *inferred.graph.output, *inferred.graph.input):
        yield tuple(d.dim_value for d in value.type.tensor_type.shape.dim if d.dim_value > 0)
    for tensor in inferred.graph.initializer:
        yield tuple(tensor.dims)
