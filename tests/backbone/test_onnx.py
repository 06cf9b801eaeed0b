"""`onnx:FILE`: small networks built here, and a corpus of files that must be refused."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from isthmus.backbone import load_backbone
from isthmus.errors import BackboneError, DataError, LicenseError, UsageError

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

RECIPE = {
    "kind": "image",
    "size": 16,
    "crop_pct": 1.0,
    "interpolation": "bilinear",
    "mean": [0.5, 0.5, 0.5],
    "std": [0.25, 0.25, 0.25],
}


def write(path, nodes, *, inputs, outputs, weights=(), recipe=None, opsets=(("", 17),)):
    """A file from (name, type, shape) of inputs and outputs."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(*i) for i in inputs],
        [helper.make_tensor_value_info(*o) for o in outputs],
        [numpy_helper.from_array(v, n) for n, v in weights],
    )
    imports = [helper.make_opsetid(*o) for o in opsets]
    model = helper.make_model(graph, opset_imports=imports, ir_version=9)
    path.write_bytes(model.SerializeToString())
    if recipe is not None:
        path.with_name(path.name + ".recipe.json").write_text(json.dumps(recipe))
    return path


def pooled_image(path, *, recipe=RECIPE, batch="n", side=16):
    """Global average of each channel, then three numbers a picture."""
    return write(
        path,
        [
            helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0),
        ],
        inputs=[("x", TensorProto.FLOAT, [batch, 3, side, side])],
        outputs=[("y", TensorProto.FLOAT, [batch, 3])],
        recipe=recipe,
    )


def linear(path, weight, *, batch="n"):
    return write(
        path,
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        inputs=[("x", TensorProto.FLOAT, [batch, weight.shape[0]])],
        outputs=[("y", TensorProto.FLOAT, [batch, weight.shape[1]])],
        weights=[("w", weight)],
    )


def test_rows_of_numbers_need_no_recipe(tmp_path):
    weight = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    backbone = load_backbone(f"onnx:{linear(tmp_path / 'm.onnx', weight)}")
    assert backbone.modality == "features" and backbone.num_features == 3
    rows = np.random.default_rng(1).normal(size=(8, 5))
    found = backbone(np.stack([backbone.preprocess(r) for r in rows]))
    np.testing.assert_allclose(found, rows @ weight, atol=1e-5)
    with pytest.raises(DataError, match="4 features"):
        backbone.preprocess(np.zeros(4))
    with pytest.raises(DataError, match="nan"):
        backbone.preprocess(np.full(5, np.nan))


def test_an_image_network_needs_the_recipe_beside_it(tmp_path):
    path = pooled_image(tmp_path / "m.onnx", recipe=None)
    with pytest.raises(BackboneError, match="how images are prepared") as caught:
        load_backbone(str(path))
    assert "m.onnx.recipe.json" in str(caught.value)


def test_images_are_prepared_by_the_recipe(tmp_path):
    pytest.importorskip("PIL")
    backbone = load_backbone(str(pooled_image(tmp_path / "m.onnx")))
    assert backbone.modality == "image" and backbone.num_features == 3
    pixels = np.zeros((40, 40, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = 255, 51
    item = backbone.preprocess(pixels)
    assert item.shape == (16, 16, 3) and item.dtype == np.uint8
    found = backbone(np.stack([item] * backbone.batch_size))
    np.testing.assert_allclose(found[0], [2.0, (0.2 - 0.5) / 0.25, -2.0], atol=1e-5)
    assert load_backbone(**backbone.reference).fingerprint == backbone.fingerprint


def test_channels_last_and_byte_input(tmp_path):
    pytest.importorskip("PIL")
    last = write(
        tmp_path / "last.onnx",
        [helper.make_node("ReduceMean", ["x"], ["y"], axes=[1, 2], keepdims=0)],
        inputs=[("x", TensorProto.FLOAT, ["n", 16, 16, 3])],
        outputs=[("y", TensorProto.FLOAT, ["n", 3])],
        recipe=RECIPE,
    )
    raw = write(
        tmp_path / "raw.onnx",
        [
            helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["f"], ["y"], axes=[2, 3], keepdims=0),
        ],
        inputs=[("x", TensorProto.UINT8, ["n", 3, 16, 16])],
        outputs=[("y", TensorProto.FLOAT, ["n", 3])],
        recipe=RECIPE,
    )
    pixels = np.zeros((16, 16, 3), np.uint8) + np.array([255, 51, 0], np.uint8)
    for path, expected in ((last, [2.0, -1.2, -2.0]), (raw, [255, 51, 0])):
        backbone = load_backbone(str(path))
        found = backbone(np.stack([backbone.preprocess(pixels)] * backbone.batch_size))
        np.testing.assert_allclose(found[-1], expected, atol=1e-5)


def test_maps_are_pooled_and_one_of_several_outputs_is_named(tmp_path):
    pytest.importorskip("PIL")
    path = write(
        tmp_path / "m.onnx",
        [
            helper.make_node("Relu", ["x"], ["map"]),
            helper.make_node("Neg", ["x"], ["other"]),
        ],
        inputs=[("x", TensorProto.FLOAT, [4, 3, 16, 16])],
        outputs=[(n, TensorProto.FLOAT, [4, 3, 16, 16]) for n in ("map", "other")],
        recipe=RECIPE,
    )
    with pytest.raises(BackboneError, match="map, other"):
        load_backbone(str(path))
    backbone = load_backbone(str(path), layer="map", pooling="max")
    assert backbone.batch_size == 4 and backbone.num_features == 3
    pixels = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    expected = np.maximum((pixels / 255 - 0.5) / 0.25, 0).max((1, 2))
    np.testing.assert_allclose(backbone(pixels), expected, atol=1e-5)
    assert load_backbone(str(path), layer="map", pooling="flatten").num_features == 3 * 256
    marks = {
        load_backbone(str(path), layer=layer, pooling=pooling).fingerprint
        for layer in ("map", "other")
        for pooling in ("mean", "max")
    }
    assert len(marks) == 4


def test_the_fingerprint_follows_bytes_and_recipe(tmp_path):
    one = load_backbone(str(pooled_image(tmp_path / "a.onnx"))).fingerprint
    assert load_backbone(str(pooled_image(tmp_path / "b.onnx"))).fingerprint == one  # other name
    other = pooled_image(tmp_path / "c.onnx", recipe=RECIPE | {"mean": [0.4, 0.5, 0.5]})
    assert load_backbone(str(other)).fingerprint != one
    weight = np.eye(3, dtype=np.float32)
    first = load_backbone(str(linear(tmp_path / "d.onnx", weight))).fingerprint
    weight[0, 0] += 1e-6
    assert load_backbone(str(linear(tmp_path / "e.onnx", weight))).fingerprint != first


def refused(path, match, **options):
    with pytest.raises(BackboneError, match=match):
        load_backbone(f"onnx:{path}", **options)


def test_damaged_files(tmp_path):
    good = linear(tmp_path / "good.onnx", np.eye(4, dtype=np.float32)).read_bytes()
    cases = {"empty": b"", "text": b"hello", "cut": good[:-9], "html": b"<html></html>"}
    for name, raw in cases.items():
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(raw)
        with pytest.raises(BackboneError):
            load_backbone(str(path))
    refused(tmp_path / "absent.onnx", "does not exist")


def test_a_pickle_is_not_executed(tmp_path):
    path = tmp_path / "evil.onnx"
    mark = tmp_path / "executed"
    path.write_bytes(b"cos\nsystem\n(S'touch " + os.fsencode(mark) + b"'\ntR.")
    refused(path, "not an ONNX file|ONNX Runtime")
    assert not mark.exists()


def test_weights_in_another_file_are_refused(tmp_path):
    path = linear(tmp_path / "m.onnx", np.eye(4, dtype=np.float32))
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    path.write_bytes(model.SerializeToString())
    refused(path, "another file")


def test_foreign_operators_are_refused(tmp_path):
    path = write(
        tmp_path / "m.onnx",
        [helper.make_node("Evil", ["x"], ["y"], domain="org.example")],
        inputs=[("x", TensorProto.FLOAT, ["n", 4])],
        outputs=[("y", TensorProto.FLOAT, ["n", 4])],
        opsets=(("", 17), ("org.example", 1)),
    )
    refused(path, "org.example::Evil")


def test_a_foreign_operator_inside_a_branch_is_found(tmp_path):
    def branch(node):
        return helper.make_graph(
            [node], "b", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
        )

    path = write(
        tmp_path / "m.onnx",
        [
            helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.array(True))),
            helper.make_node(
                "If",
                ["c"],
                ["y"],
                then_branch=branch(helper.make_node("Identity", ["x"], ["y"])),
                else_branch=branch(helper.make_node("Evil", ["x"], ["y"], domain="org.example")),
            ),
        ],
        inputs=[("x", TensorProto.FLOAT, ["n", 4])],
        outputs=[("y", TensorProto.FLOAT, ["n", 4])],
        opsets=(("", 17), ("org.example", 1)),
    )
    refused(path, "org.example::Evil")


def test_loops_are_refused(tmp_path):
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["c2"]), helper.make_node("Identity", ["s"], ["s2"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            helper.make_tensor_value_info("s", TensorProto.FLOAT, ["n", 4]),
        ],
        [
            helper.make_tensor_value_info("c2", TensorProto.BOOL, []),
            helper.make_tensor_value_info("s2", TensorProto.FLOAT, ["n", 4]),
        ],
    )
    path = write(
        tmp_path / "m.onnx",
        [helper.make_node("Loop", ["count", "", "x"], ["y"], body=body)],
        inputs=[("x", TensorProto.FLOAT, ["n", 4])],
        outputs=[("y", TensorProto.FLOAT, ["n", 4])],
        weights=[("count", np.array(2**62))],
    )
    refused(path, "loop")


def test_a_small_file_that_stands_for_a_giant_value_is_refused(tmp_path):
    path = write(
        tmp_path / "bomb.onnx",
        [
            helper.make_node("ConstantOfShape", ["s"], ["big"]),
            helper.make_node("ReduceMax", ["big"], ["top"], keepdims=0),
            helper.make_node("Add", ["x", "top"], ["y"]),
        ],
        inputs=[("x", TensorProto.FLOAT, ["n", 4])],
        outputs=[("y", TensorProto.FLOAT, ["n", 4])],
        weights=[("s", np.array([1 << 20, 1 << 20]))],
    )
    assert path.stat().st_size < 1000
    refused(path, "not fit in memory")


def test_training_mode_is_found(tmp_path):
    noisy = write(
        tmp_path / "noisy.onnx",
        [
            helper.make_node("RandomNormalLike", ["x"], ["r"]),
            helper.make_node("Add", ["x", "r"], ["y"]),
        ],
        inputs=[("x", TensorProto.FLOAT, ["n", 4])],
        outputs=[("y", TensorProto.FLOAT, ["n", 4])],
    )
    refused(noisy, "other features for the same input")
    batch = write(
        tmp_path / "batch.onnx",
        [
            helper.make_node("ReduceMean", ["x"], ["m"], axes=[0], keepdims=1),
            helper.make_node("Sub", ["x", "m"], ["y"]),
        ],
        inputs=[("x", TensorProto.FLOAT, ["n", 4])],
        outputs=[("y", TensorProto.FLOAT, ["n", 4])],
    )
    refused(batch, "other items of its batch")


def test_inputs_that_cannot_be_served(tmp_path):
    def identity(name, kind, shape):
        return write(
            tmp_path / f"{name}.onnx",
            [helper.make_node("Identity", ["x"], ["y"])],
            inputs=[("x", kind, shape)],
            outputs=[("y", kind, shape)],
        )

    refused(identity("ids", TensorProto.INT64, ["n", 8]), "int64")
    refused(identity("grey", TensorProto.FLOAT, ["n", 1, 8, 8]), "colour images")
    refused(identity("wave", TensorProto.FLOAT, ["n", "samples"]), "cannot be served")
    two = write(
        tmp_path / "two.onnx",
        [helper.make_node("Add", ["a", "b"], ["y"])],
        inputs=[(n, TensorProto.FLOAT, ["n", 4]) for n in "ab"],
        outputs=[("y", TensorProto.FLOAT, ["n", 4])],
    )
    refused(two, "2 inputs")


@pytest.mark.parametrize(
    "recipe",
    [
        [],
        RECIPE | {"std": [0, 1, 1]},
        RECIPE | {"size": "large"},
        RECIPE | {"interpolation": "magic"},
        RECIPE | {"size": 32},
        RECIPE | {"crop_pct": 0},
    ],
)
def test_recipes_that_cannot_be_used(tmp_path, recipe):
    with pytest.raises(BackboneError):
        load_backbone(str(pooled_image(tmp_path / "m.onnx", recipe=recipe)))


def test_licence_in_the_recipe_and_options(tmp_path):
    path = pooled_image(tmp_path / "m.onnx", recipe=RECIPE | {"license": "cc-by-nc-4.0"})
    with pytest.raises(LicenseError):
        load_backbone(str(path))
    assert load_backbone(str(path), allow_license=True).licence == "cc-by-nc-4.0"
    with pytest.raises(UsageError, match="weights"):
        load_backbone(str(path), weights="random", allow_license=True)
    with pytest.raises(UsageError, match="pooling"):
        load_backbone(str(path), pooling="median", allow_license=True)


def test_open_sizes_follow_the_recipe_or_the_option(tmp_path):
    path = pooled_image(tmp_path / "m.onnx", side="s")
    assert load_backbone(str(path)).preprocess(np.zeros((50, 60, 3), np.uint8)).shape[0] == 16
    wide = load_backbone(str(path), size=24)
    assert wide.preprocess(np.zeros((50, 60, 3), np.uint8)).shape == (24, 24, 3)
