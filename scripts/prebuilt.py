"""Makes src/isthmus/backbone/graphs/: graphs of the default networks without their weights.

Needs torch, timm and transformers; the files are then used without them. Each network becomes

- NAME.onnx: the graph, whose weights are empty,
- NAME.json: SHA-256 of the weights file, and where in it the bytes of each weight lie,
- NAME.safetensors: a probe input and torch's features of it, against which every assembly is held.

    python scripts/prebuilt.py
"""

from __future__ import annotations

import io
import warnings
from itertools import permutations
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from isthmus import iofs
from isthmus.backbone import hf_modules, load_backbone, minilm, timm
from isthmus.backbone.export import frozen
from isthmus.backbone.image import probe
from isthmus.backbone.networks import Normalised
from isthmus.backbone.recipes import output_size
from isthmus.backbone.texts import bucket, example
from isthmus.backbone.transformers import ROWS

HOME = Path(__file__).parents[1] / "src" / "isthmus" / "backbone" / "graphs"
INLINE = 64  # bytes: smaller constants stay in the graph


def strip(name: str, raw: bytes, file: Path, probes: dict[str, np.ndarray]) -> None:
    """Take the weights out of an ONNX model, note where they lie in `file`, write the three files.

    Raises
    ------
    SystemExit
        If more than small constants are not in the file.
    """
    model = onnx.load_from_string(raw)
    weights = file.read_bytes()
    places: dict[str, dict[str, object]] = {}
    lost = 0
    for tensor in model.graph.initializer:
        content = numpy_helper.to_array(tensor)
        if content.nbytes <= INLINE:
            continue
        # TensorFlow's weights lie in its own order of axes.
        for axes in permutations(range(content.ndim)):
            at = weights.find(content.transpose(axes).tobytes())
            if at >= 0:
                break
        if at < 0:
            lost += content.nbytes
            print(f"  {tensor.name} {list(tensor.dims)} is not in the file")
            continue
        places[tensor.name] = {"at": at, "axes": list(axes)}
        tensor.ClearField("raw_data")
        tensor.ClearField("float_data")
    if lost > 1 << 16:
        raise SystemExit(f"{lost} bytes of weights are not in {file.name}")
    model.doc_string = ""
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    model.producer_version = ""
    iofs.write_bytes(HOME / f"{name}.onnx", model.SerializeToString(deterministic=True))
    iofs.write_json(HOME / f"{name}.json", {"sha256": iofs.sha256_file(file), "weights": places})
    iofs.write_tensors(HOME / f"{name}.safetensors", probes)
    print(f"{name}: {len(places)} weights, graph {(HOME / f'{name}.onnx').stat().st_size} bytes")


def image() -> None:
    backbone = load_backbone(f"timm:{timm.DEFAULT}")
    module = frozen(Normalised(backbone.build(), backbone.recipe))
    pictures = probe(output_size(backbone.recipe))
    out = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        features = module(torch.from_numpy(pictures)).numpy()
        torch.onnx.export(
            module,
            (torch.from_numpy(pictures[:1]),),
            out,
            dynamo=False,
            # Neither batch norms folded nor constants: the weights stay those of the file.
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=False,
            input_names=["input_0"],
            output_names=["features"],
        )
    strip("efficientnet_lite0", out.getvalue(), timm.default_file(), {"features_0": features})


def text() -> None:
    folder = minilm.folder()
    backbone = load_backbone(f"hf:{minilm.NAME}")
    limit, pad = backbone.recipe["max_tokens"], backbone.recipe["pad_id"]
    model = hf_modules.load_model(folder, random=False, attention="eager")
    module = frozen(hf_modules.TextEncoder(model, layer=None, pooling="mean", l2=True))
    probes = [
        example(backbone.batch_size, bucket(n, limit), vocabulary=30522, pad_id=pad)
        for n in (32, 8, 128)
    ]
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        features = [module(torch.from_numpy(ids)).numpy() for ids in probes]
        program = torch.onnx.export(
            module,
            (torch.from_numpy(probes[0][:ROWS]),),
            dynamo=True,
            dynamic_shapes=({2: torch.export.Dim("length")},),
            optimize=False,  # no constants folded: the weights stay those of the file
            input_names=["input_0"],
            output_names=["features"],
            external_data=False,
            verbose=False,
        )
    assert program is not None
    raw = program.model_proto.SerializeToString()
    answers = {f"features_{i}": value for i, value in enumerate(features)}
    strip("minilm", raw, folder.path / "model.safetensors", answers)


if __name__ == "__main__":
    image()
    text()
