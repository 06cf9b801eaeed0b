"""Layer 2: the torch side of the runtime: freeze a module, run it, write it as ONNX.

Imported only where a network has to be built; a cached ONNX file makes it unnecessary.
"""

from __future__ import annotations

import io
import logging
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus.backbone.weights import digest_state
from isthmus.errors import BackboneError, need
from isthmus.types import Array

if TYPE_CHECKING:
    from torch import Tensor, nn

log = logging.getLogger(__name__)

MAX_ONNX = 1_800_000_000  # protobuf holds 2 GB at most; larger models stay in torch
# What plain image networks are made of. The TorchScript exporter is 5 to 10 times faster than the
# dynamo one and gives the same network, but prints to stdout what it does not know: it is asked
# for nothing else.
_PLAIN_OPS = (
    "Int _convolution adaptive_avg_pool2d add add_ avg_pool2d batch_norm cat ceil clamp div "
    "dropout dropout_ expand flatten floor_divide gelu hardsigmoid hardswish_ hardtanh_ "
    "layer_norm linear max_pool2d mean mul pad permute relu relu_ reshape "
    "scaled_dot_product_attention select sigmoid silu_ size slice sub to transpose unbind "
    "unsqueeze "
)
PLAIN_OPS = frozenset(_PLAIN_OPS.split())


def torch_call(module: nn.Module, device: str) -> Callable[..., Array]:
    """The module run by torch itself: channels_last on a CPU, autocast too on a GPU."""
    import torch

    module = module.to(device)
    module = module.to(memory_format=torch.channels_last)
    cuda = device.startswith("cuda")
    # bfloat16 needs no loss of range; older cards only have float16.
    half = torch.bfloat16 if cuda and torch.cuda.is_bf16_supported() else torch.float16
    lock = threading.Lock()  # modules may hold state (captured layers) while they run

    def call(*arrays: Array) -> Array:
        tensors = [torch.from_numpy(np.ascontiguousarray(a)).to(device) for a in arrays]
        with lock, torch.inference_mode():
            if cuda:
                with torch.autocast("cuda", dtype=half):
                    output: Tensor = module(*tensors)
            else:
                output = module(*tensors)
            return output.float().cpu().numpy()

    return call


def frozen(module: nn.Module) -> nn.Module:
    """Eval mode, no gradients: dropout is off and BatchNorm uses its stored statistics."""
    module.eval()
    module.requires_grad_(False)
    return module


def digests(module: nn.Module) -> dict[str, str]:
    """SHA-256 of every parameter and buffer."""
    return {name: digest_state({name: value}) for name, value in module.state_dict().items()}


def must_be_unchanged(before: dict[str, str], after: dict[str, str]) -> None:
    """Frozen means bit-equal: a network that rewrites its statistics gives drifting features."""
    for name, digest in before.items():
        if after[name] != digest:
            raise BackboneError(
                f"the frozen network changed its buffer {name!r} while it ran",
                why="features would depend on what was seen before",
            )


def export(
    module: nn.Module,
    example: tuple[Array, ...],
    dynamic: Mapping[int, str] | None,
    *,
    plain: bool = False,
) -> bytes:
    """ONNX bytes of a module in eval mode, by torch's dynamo exporter.

    Parameters
    ----------
    plain : bool
        Whether `forward` takes the same way for every input of this shape. Such a network is
        traced, which is faster, where its operators allow it.
    """
    import torch

    size = sum(p.numel() * p.element_size() for p in module.parameters())
    if size > MAX_ONNX:
        raise BackboneError(f"{size / 1e9:.1f} GB of weights do not fit into one ONNX file")
    tensors = tuple(torch.from_numpy(np.ascontiguousarray(array)) for array in example)
    if plain and not dynamic and (traced := _traced(module, tensors)) is not None:
        return traced
    need("onnxscript", extra="image")
    shapes = None
    if dynamic:
        # The same Dim object wherever the same name is used: equal lengths stay tied together.
        dims = {name: torch.export.Dim(name) for name in dynamic.values()}
        shapes = tuple(
            {axis: dims[name] for axis, name in dynamic.items() if axis < array.ndim}
            for array in example
        )
    with _quiet_exporter():
        program = torch.onnx.export(
            module,
            tensors,
            dynamo=True,
            dynamic_shapes=shapes,
            input_names=[f"input_{i}" for i in range(len(example))],
            output_names=["features"],
            external_data=False,
            verbose=False,
        )
    assert program is not None  # dynamo=True always returns a program
    return program.model_proto.SerializeToString()


def _traced(module: nn.Module, tensors: tuple[Tensor, ...]) -> bytes | None:
    """ONNX bytes of a plain network by the TorchScript exporter; None where that cannot be."""
    import torch

    out = io.BytesIO()
    with _quiet_exporter(), torch.no_grad():
        try:
            if _uneven_pools(module, tensors):  # that exporter would print the whole graph
                log.debug("not traced: adaptive pooling into windows of different sizes")
                return None
            traced = torch.jit.trace(module, tensors, check_trace=False)
            kinds = {node.kind() for node in traced.inlined_graph.nodes()}
            ops = {kind.removeprefix("aten::") for kind in kinds if not kind.startswith("prim::")}
            if not ops <= PLAIN_OPS:
                log.debug("not traced: %s", ", ".join(sorted(ops - PLAIN_OPS)))
                return None
            torch.onnx.export(
                traced,
                tensors,
                out,  # type: ignore[arg-type]
                dynamo=False,
                input_names=[f"input_{i}" for i in range(len(tensors))],
                output_names=["features"],
            )
        except Exception as error:  # an exporter raises anything; the other one is asked then
            log.debug("not traced: %s", error)
            return None
    return out.getvalue()


def _uneven_pools(module: nn.Module, tensors: tuple[Tensor, ...]) -> bool:
    """Whether an adaptive pooling has windows of different sizes, which ONNX's pooling has not."""
    from torch import nn

    found: list[bool] = []

    def look(_: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        sizes = zip(inputs[0].shape[2:], output.shape[2:], strict=True)
        found.append(any(size % windows for size, windows in sizes))

    pools = [m for m in module.modules() if isinstance(m, nn.modules.pooling._AdaptiveAvgPoolNd)]
    hooks = [pool.register_forward_hook(look) for pool in pools]
    try:
        if pools:
            module(*tensors)
    finally:
        for hook in hooks:
            hook.remove()
    return any(found)


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Silence the exporter's own chatter (its warnings and two loggers), nothing else."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
