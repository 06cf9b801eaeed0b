"""Files made to run code, to reach other files, or to exhaust the machine: all refused.

Every case must end in one of our refusals: no other exception, no code run (the canary file is
never made), no large memory. The cases call what a user calls.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import resource
import struct
import zipfile
import zlib

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save as save_tensors

from isthmus import iofs
from isthmus.backbone import embed, load_backbone
from isthmus.data import read
from isthmus.errors import BundleError, IsthmusError
from isthmus.serve import load, load_model, verify
from isthmus.serve.manifest import MANIFEST, TENSORS, read_manifest, render, seal
from isthmus.serve.writers import frame_to_csv, frame_to_jsonl

MEMORY = 2 << 30  # bytes that a refusal may at most add to the peak


class Payload:
    """Makes the canary when it is unpickled."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.system, (f"touch {self.canary}",)


@pytest.fixture
def canary(tmp_path):
    """The file that executed code would make; it is checked after every test."""
    path = tmp_path / "canary"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield path
    assert not path.exists(), "code from a file was executed"
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown * 1024 < MEMORY, f"the refusal took {grown >> 10} MB"


def test_the_canary_sings(tmp_path):
    """The payload works: what follows would notice."""
    pickle.loads(pickle.dumps(Payload(tmp_path / "canary")))
    assert (tmp_path / "canary").exists()


# -- saved models ------------------------------------------------------------------------------


def reseal(folder, change):
    """Alter the manifest like somebody who knows how digests are made."""
    manifest = read_manifest(folder)
    change(manifest)
    (folder / MANIFEST).write_bytes(seal(manifest))


def put(folder, name, raw):
    """Replace a file and its digest."""
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(raw)
    entry = {"sha256": iofs.sha256_bytes(raw), "bytes": len(raw)}
    reseal(folder, lambda m: m["files"].__setitem__(name, entry))


def tensors_of(folder):
    return {k: v.copy() for k, v in iofs.read_tensors(folder / TENSORS).items()}


def altered(name, value):
    """Replace one tensor by another."""

    def change(folder, canary):
        tensors = tensors_of(folder)
        assert name in tensors
        tensors[name] = value(tensors[name]) if callable(value) else value
        put(folder, TENSORS, save_tensors(tensors))

    return change


def manifest(*keys, to):
    """Replace one entry of the manifest."""

    def change(folder, canary):
        def edit(found):
            for key in keys[:-1]:
                found = found[key]
            assert keys[-1] in found or keys[0] in ("files", "backbone", "input"), keys
            found[keys[-1]] = to

        reseal(folder, edit)

    return change


def raw_manifest(make):
    def change(folder, canary):
        found = json.loads((folder / MANIFEST).read_text())
        (folder / MANIFEST).write_bytes(make(found, canary))

    return change


def raw_tensors(make):
    def change(folder, canary):
        put(folder, TENSORS, make((folder / TENSORS).read_bytes(), canary))

    return change


def named_file(name):
    """The manifest lists a file that lies elsewhere."""
    return manifest("files", name, to={"sha256": "0" * 64, "bytes": 1})


def link(name, target):
    def change(folder, canary):
        raw = (folder / name).read_bytes()
        outside = folder.parent / "outside"
        outside.write_bytes(raw)
        (folder / name).unlink()
        (folder / name).symlink_to(outside if target is None else target)

    return change


def rename(before, after):
    """Move an entry of the tensors to another name."""

    def change(folder, canary):
        tensors = tensors_of(folder)
        tensors[after] = tensors.pop(before)
        put(folder, TENSORS, save_tensors(tensors))

    return change


def wild_header(**entry):
    text = json.dumps({"model.head.coef_": entry}).encode()
    return lambda raw, canary: struct.pack("<Q", len(text)) + text + bytes(8)


MODELS = {
    "a pickle as tensors": raw_tensors(lambda raw, canary: pickle.dumps(Payload(canary))),
    "a pickle as manifest": raw_manifest(lambda m, canary: pickle.dumps(Payload(canary))),
    "yaml as manifest": raw_manifest(
        lambda m, canary: f"!!python/object/apply:os.system ['touch {canary}']".encode()
    ),
    "oversize header": raw_tensors(lambda raw, canary: struct.pack("<Q", 1 << 62) + raw[8:]),
    "overlapping tensors": raw_tensors(
        lambda raw, canary: raw.replace(b"[0,", b"[8,", 1) if b"[0," in raw else raw[:-8]
    ),
    "negative offsets": raw_tensors(wild_header(dtype="F64", shape=[1], data_offsets=[-8, 0])),
    "dims that overflow": raw_tensors(
        wild_header(dtype="F64", shape=[1 << 32, 1 << 32], data_offsets=[0, 8])
    ),
    "dtype that does not fit": raw_tensors(
        wild_header(dtype="F16", shape=[1], data_offsets=[0, 8])
    ),
    "NaN weights": altered("model.head.coef_", lambda v: np.full_like(v, np.nan)),
    "infinite weights": altered("model.head.intercept_", lambda v: np.full_like(v, np.inf)),
    "weights of another shape": altered("model.head.coef_", np.zeros((3, 7), np.float32)),
    "weights of another rank": altered("model.head.coef_", lambda v: v.reshape(-1)),
    "weights as texts of bytes": altered("model.head.coef_", lambda v: v.view(np.uint8)),
    "fewer classes than weights": altered("model.head.coef_", lambda v: v[:2]),
    "missing tensors": rename("model.head.coef_", "model.head.other"),
    "another task": manifest("task", to="regression"),
    "a task that is none": manifest("task", to="__import__('os')"),
    "more classes than the head": manifest("classes", to=["one", "three", "two", "four"]),
    "fewer classes than the head": manifest("classes", to=["one", "three"]),
    "classes that repeat": manifest("classes", to=["one", "one", "two"]),
    "classes in another order": manifest("classes", to=["two", "three", "one"]),
    "classes that are numbers": manifest("classes", to=[1, 2, 3]),
    "no classes": manifest("classes", to=[]),
    "another schema version": manifest("schema", to=2),
    "a schema version that is a truth": manifest("schema", to=True),
    "a file above the folder": named_file("../outside"),
    "a file in the root": named_file("/etc/passwd"),
    "a file by a Windows path": named_file("..\\outside"),
    "a file deep below": named_file("examples/../../outside"),
    "a hidden file": named_file(".ssh"),
    "a name with a line end": named_file("a\nb"),
    "a name with NUL": named_file("a\0b"),
    "a file of absurd size": manifest("files", TENSORS, to={"sha256": "0" * 64, "bytes": 1 << 60}),
    "a digest that is none": manifest("files", TENSORS, to={"sha256": "", "bytes": 1}),
    "no tensors listed": manifest("files", to={}),
    "entries of the wrong kind": manifest("backbone", to=dict.fromkeys("abc")),
    "an absurd number of features": manifest("backbone", "num_features", to=1 << 40),
    "another number of features": manifest("backbone", "num_features", to=6),
    "another fingerprint": manifest("backbone", "fingerprint", to="0" * 64),
    "a backbone that is a module": manifest("backbone", "reference", to={"spec": "os:system"}),
    "a backbone with foreign arguments": manifest(
        "backbone", "reference", to={"spec": "identity", "trust_remote_code": True}
    ),
    "a backbone that is a list": manifest("backbone", "reference", to={"spec": ["identity"]}),
    "a backbone without a name": manifest("backbone", "reference", to={}),
    "a state that no backbone has": manifest("backbone", "state", to={"kind": "x"}),
    "a head that is a class of ours": manifest("model", "head", "kind", to="FeatureModel"),
    "a head that is code": manifest("model", "head", "kind", to="os.system"),
    "a head with foreign parameters": manifest(
        "model", "head", "params", to={"__class__": "x", "C": 1}
    ),
    "a dtype of gigabytes": manifest("model", "head", "classes_dtype", to="<U2000000000"),
    "class codes out of range": manifest("model", "head", "classes", to=[0, 1, 7]),
    "negative class codes": manifest("model", "head", "classes", to=[0, 1, -1]),
    "a temperature of zero": manifest("model", "temperature", "T", to=0.0),
    "a temperature that is a list": manifest("model", "temperature", "T", to=[1, 2]),
    "columns that are numbers": manifest("input", "columns", to=[1, 2]),
    "columns that are code": manifest("input", "reading", to={"__class__": "x"}),
    "a width that is a list": manifest("input", "width", to=[5]),
    "a model that is empty": manifest("model", to={}),
    "a link to a copy": link(TENSORS, None),
    "a link to a device": link(TENSORS, "/dev/zero"),
    "a manifest that is a link": link(MANIFEST, None),
    "names twice": raw_manifest(
        lambda m, canary: render(m).replace(b'  "task":', b'  "task": "regression",\n  "task":', 1)
    ),
    "nested deeply": raw_manifest(lambda m, canary: b'{"a":' * 200_000),
    "nested deeply and closed": raw_manifest(
        lambda m, canary: seal(m | {"extra": {"a": 0}}).replace(
            b'"a": 0', b'"a": ' + b"[" * 5000 + b"]" * 5000
        )
    ),
    "a number of a million digits": raw_manifest(lambda m, canary: b"9" * 1_000_000),
    "half a surrogate": raw_manifest(
        lambda m, canary: render(m).replace(b'"isthmus model"', b'"isthmus model", "x": "\\udcff"')
    ),
    "another order of the entries": raw_manifest(
        lambda m, canary: json.dumps(dict(reversed(m.items())), indent=2).encode()
    ),
    "compressed": raw_manifest(lambda m, canary: gzip.compress(render(m))),
    "an empty manifest": raw_manifest(lambda m, canary: b""),
    "a manifest of another program": raw_manifest(lambda m, canary: b'{"name": "x"}'),
}


@pytest.mark.parametrize("name", MODELS)
def test_models_are_refused(bundle_copy, canary, name):
    before = (bundle_copy / MANIFEST).read_bytes(), (bundle_copy / TENSORS).read_bytes()
    MODELS[name](bundle_copy, canary)
    if not name.startswith(("a link", "a manifest that is a link")):
        assert ((bundle_copy / MANIFEST).read_bytes(), (bundle_copy / TENSORS).read_bytes()) != (
            before
        ), "the case altered nothing"
    with pytest.raises(IsthmusError) as caught:
        load_model(bundle_copy)
    assert caught.value.where or caught.value.why
    report = verify(bundle_copy)
    assert not report["ok"]
    assert next(check for check in report["checks"] if not check["ok"])["detail"]


def test_a_forged_link_folder_is_refused(bundle_copy, tmp_path):
    (bundle_copy / "examples").rename(tmp_path / "elsewhere")
    (bundle_copy / "examples").symlink_to(tmp_path / "elsewhere")
    report = verify(bundle_copy)
    assert not report["ok"]
    assert sum(not check["ok"] for check in report["checks"]) == 3


WILD = (
    None, -1, 0, 1, True, 2.5, 1e308, 10**18, "x", "", "<U10", "../../x", [], [None], [1, 2, 3],
    ["a", "b"], {}, {"a": 1},
)  # fmt: skip


def places(value, path=()):
    """Paths to all entries of a JSON value."""
    yield path
    children = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        children = enumerate(value[:3])
    for key, child in children:
        yield from places(child, (*path, key))


def test_any_altered_entry_is_refused_or_harmless(tmp_path, kit, canary, caplog):
    """500 random values at random places of a sealed manifest: never another exception."""
    rng = np.random.default_rng(0)
    n = 60
    frame = pd.DataFrame(
        {
            "age": rng.normal(50, 9, n).round(1),
            "smoker": rng.random(n) > 0.5,
            "town": [f"t{i % 7}" for i in range(n)],
            "seen": pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(n), unit="D"),
        }
    )
    frame.loc[3, "age"] = np.nan
    frame["label"] = np.where(frame.age > 50, "old", "young")
    samples = read(frame, label="label", modality="table")
    backbone = load_backbone(modality="table").fit(samples.items.frame)
    made = kit.save(tmp_path / "model", samples, backbone)
    sound = (made.folder / MANIFEST).read_bytes()
    parts = {"model": (), "input": (), "examples": (), "backbone": ("state",)}
    where = [
        (part, *inner, *path)
        for part, inner in parts.items()
        for path in places(made.manifest[part]["state"] if inner else made.manifest[part])
        if inner or path
    ]
    refused = 0
    for _ in range(500):
        found = json.loads(sound)
        path = where[rng.integers(len(where))]
        at = found
        for key in path[:-1]:
            at = at[key]
        if isinstance(at, dict) and rng.random() < 0.2:
            del at[path[-1]]
        else:
            at[path[-1]] = WILD[rng.integers(len(WILD))]
        (made.folder / MANIFEST).write_bytes(seal(found))
        report = verify(made.folder)
        try:
            load(made.folder).predict(samples)
        except IsthmusError:
            refused += 1
            # other columns make a sound model for other data
            assert not report["ok"] or path[0] == "input"
    assert refused > 200


EXAMPLES = {
    "a pickle": lambda canary: pickle.dumps(Payload(canary)),
    "no JSON": lambda canary: b"[",
    "another shape": lambda canary: b"[]",
    "a file elsewhere": lambda canary: json.dumps(
        {"modality": "image", "items": [{"id": "a", "kind": "file", "file": "../../../etc/passwd"}]}
    ).encode(),
    "a text that is a number": lambda canary: json.dumps(
        {"modality": "text", "items": [{"id": "a", "kind": "text", "text": 7}]}
    ).encode(),
    "a table of another dtype": lambda canary: json.dumps(
        {
            "modality": "table",
            "items": [],
            "table": {"columns": [{"name": "a", "dtype": "<U2000000000", "values": [1]}]},
        }
    ).encode(),
    "a dtype by import": lambda canary: json.dumps(
        {
            "modality": "table",
            "items": [],
            "table": {"columns": [{"name": "a", "dtype": "os.system", "values": [str(canary)]}]},
        }
    ).encode(),
    "another modality": lambda canary: json.dumps(
        {"modality": "text", "items": [{"id": "a", "kind": "text", "text": "x"}]}
    ).encode(),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_refused(bundle_copy, canary, name):
    put(bundle_copy, "examples/inputs.json", EXAMPLES[name](canary))
    report = verify(bundle_copy)
    assert not report["ok"]


def test_an_image_bomb_among_the_examples_is_a_failed_replay(photo_bundle, tmp_path, kit, canary):
    import shutil

    folder = shutil.copytree(photo_bundle.folder, tmp_path / "model")
    put(folder, "examples/000.jpg", image_bomb())
    report = verify(folder, backbone=kit.Colours())
    assert not report["ok"]
    assert "cannot be read any more" in str(report["checks"])


# -- weights -----------------------------------------------------------------------------------


def image_bomb(side=60_000):
    """A small PNG of 60,000 x 60,000 pixels."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1_000_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def zipped(**files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, raw in files.items():
            archive.writestr(name, raw)
    return out.getvalue()


def torch_zip(canary, **more):
    """What `torch.save` writes, with a payload as its pickle."""
    files = {"archive/data.pkl": pickle.dumps({"a": Payload(canary)}), "archive/version": b"3\n"}
    return zipped(**files, **more)


def onnx_model(*, external=None, domain=""):
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    weight = helper.make_tensor("w", TensorProto.FLOAT, [4, 2], np.zeros(8, np.float32))
    if external:
        weight.ClearField("float_data")
        weight.data_location = TensorProto.EXTERNAL
        for key, value in {"location": external, "offset": "0", "length": "32"}.items():
            entry = weight.external_data.add()
            entry.key, entry.value = key, value
    node = helper.make_node("MatMul", ["x", "w"], ["y"], domain=domain)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [weight],
    )
    opsets = [helper.make_opsetid("", 17)]
    if domain:
        opsets.append(helper.make_opsetid(domain, 1))
    made = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    assert onnx
    return made.SerializeToString()


def keras_file(canary, *, inside="config.json"):
    """A .keras archive whose layer is Python code (a marshalled Lambda)."""
    import base64
    import marshal

    code = compile(f"open({str(canary)!r}, 'w')", "x", "eval")
    function = (lambda x: x).__code__.replace(
        co_code=code.co_code, co_consts=code.co_consts, co_names=code.co_names
    )
    body = base64.b64encode(marshal.dumps(function)).decode()
    layer = {
        "module": "keras.layers",
        "class_name": "Lambda",
        "config": {
            "name": "evil",
            "function": {"class_name": "__lambda__", "config": {"code": body}},
        },
        "name": "evil",
        "inbound_nodes": [],
    }
    start = {
        "module": "keras.layers",
        "class_name": "InputLayer",
        "config": {"batch_shape": [None, 8, 8, 3], "name": "in"},
        "name": "in",
        "inbound_nodes": [],
    }
    config = {
        "module": "keras",
        "class_name": "Sequential",
        "config": {"name": "s", "layers": [start, layer]},
    }
    return zipped(
        **{
            inside: json.dumps(config),
            "metadata.json": json.dumps({"keras_version": "3.15.0"}),
            "model.weights.h5": empty_h5(),
        }
    )


def empty_h5():
    h5py = pytest.importorskip("h5py")
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        file.create_group("layers")
    return out.getvalue()


def tokenizer():
    tokenizers = pytest.importorskip("tokenizers")
    words = tokenizers.models.WordLevel({"[PAD]": 0, "[UNK]": 1, "a": 2}, unk_token="[UNK]")
    return tokenizers.Tokenizer(words).to_str().encode()


def weights(name, make):
    """A weights file for a small network."""

    def run(folder, canary):
        (folder / name).write_bytes(make(canary))
        backbone = load_backbone("timm:test_resnet", weights=folder / name)
        backbone(np.stack([backbone.preprocess(np.zeros((64, 64, 3), np.uint8))] * 2))

    return run


def spec(name, make):
    """A file that is a backbone itself."""

    def run(folder, canary):
        (folder / name).write_bytes(make(canary))
        load_backbone(str(folder / name))

    return run


def hf(**files):
    """A Hugging Face folder."""

    def run(folder, canary):
        (folder / "tokenizer.json").write_bytes(tokenizer())
        (folder / "tokenizer_config.json").write_text(
            '{"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]"}'
        )
        for name, make in files.items():
            (folder / name).write_bytes(make(canary))
        backbone = load_backbone(f"hf:{folder}", modality="text")
        backbone(np.stack([backbone.preprocess("a")] * backbone.batch_size))

    return run


def bert_config(canary, **more):
    config = {
        "model_type": "bert",
        "architectures": ["BertModel"],
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "intermediate_size": 8,
        "vocab_size": 10,
    }
    return json.dumps(config | more).encode()


def remote_code(canary):
    return f"open({str(canary)!r}, 'w')\nclass Evil: pass\n".encode()


BACKBONES = {
    "pickle as .pth": weights("w.pth", lambda c: pickle.dumps(Payload(c))),
    "pickle of protocol 2 as .pt": weights("w.pt", lambda c: pickle.dumps(Payload(c), protocol=2)),
    "pickle as .bin": weights("w.bin", lambda c: pickle.dumps({"a": Payload(c)})),
    "pickle as .safetensors": weights("w.safetensors", lambda c: pickle.dumps(Payload(c))),
    "pickle in a torch archive": weights("w.pth", torch_zip),
    "zip-slip in a torch archive": weights(
        "w.pth", lambda c: torch_zip(c, **{"../../../canary": b"x"})
    ),
    "bomb in a torch archive": weights(
        "w.pth", lambda c: torch_zip(c, **{"archive/data/0": bytes(1 << 26)})
    ),
    "oversize header": weights("w.safetensors", lambda c: struct.pack("<Q", 1 << 50) + bytes(64)),
    "header of a bomb": weights(
        "w.safetensors",
        lambda c: (lambda text: struct.pack("<Q", len(text)) + text)(
            b'{"a":{"dtype":"F32","shape":[4294967295,4294967295],"data_offsets":[0,4]}}'
        ),
    ),
    "NaN weights": weights(
        "w.safetensors", lambda c: save_tensors({"a": np.full(3, np.nan, np.float32)})
    ),
    "no weights at all": weights("w.pth", lambda c: b""),
    "keras: Lambda layer": spec("m.keras", keras_file),
    "keras: pickle as .keras": spec("m.keras", lambda c: pickle.dumps(Payload(c))),
    "keras: pickle as .h5": spec("m.h5", lambda c: pickle.dumps(Payload(c))),
    "keras: zip-slip": spec(
        "m.keras", lambda c: zipped(**{"../canary": b"x", "config.json": b"{}"})
    ),
    "keras: bomb": spec(
        "m.keras",
        lambda c: zipped(**{"config.json": b"{}", "model.weights.h5": bytes(1 << 26)}),
    ),
    "onnx: weights elsewhere": spec("m.onnx", lambda c: onnx_model(external="/etc/passwd")),
    "onnx: weights above": spec("m.onnx", lambda c: onnx_model(external="../../secret")),
    "onnx: foreign operator": spec("m.onnx", lambda c: onnx_model(domain="evil.ops")),
    "onnx: pickle": spec("m.onnx", lambda c: pickle.dumps(Payload(c))),
    "hf: pickle as weights": hf(
        **{"config.json": bert_config, "pytorch_model.bin": lambda c: pickle.dumps(Payload(c))}
    ),
    "hf: code of the repository": hf(
        **{
            "config.json": lambda c: json.dumps(
                {"auto_map": {"AutoModel": "modeling.Evil", "AutoConfig": "modeling.Evil"}}
            ).encode(),
            "modeling.py": remote_code,
        }
    ),
    "hf: code under an unknown type": hf(
        **{
            "config.json": lambda c: bert_config(
                c, model_type="evil", auto_map={"AutoModel": "modeling.Evil"}
            ),
            "modeling.py": remote_code,
            "model.safetensors": lambda c: save_tensors({"a": np.zeros(3, np.float32)}),
        }
    ),
    "hf: config nested deeply": hf(**{"config.json": lambda c: b'{"a":' * 100_000}),
}


@pytest.mark.parametrize("name", BACKBONES)
def test_backbones_are_refused(tmp_path, canary, name):
    pytest.importorskip("torch")
    folder = tmp_path / "files"
    folder.mkdir()
    with pytest.raises(IsthmusError):
        BACKBONES[name](folder, canary)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["files"]


def test_a_saved_model_cannot_smuggle_weights_in(bundle_copy, tmp_path, canary):
    """The reference of a manifest goes through the same doors as what a user types."""
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Payload(canary)))
    reference = {"spec": "timm:test_resnet", "weights": str(tmp_path / "evil.pth")}
    reseal(bundle_copy, lambda m: m["backbone"].__setitem__("reference", reference))
    with pytest.raises(IsthmusError):
        load_model(bundle_copy)


# -- data --------------------------------------------------------------------------------------


def npz(canary, **arrays):
    out = io.BytesIO()
    np.savez(out, **{name: make(canary) for name, make in arrays.items()})
    return out.getvalue()


def npy_header(text):
    raw = text.encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(raw)) + raw


def objects(canary):
    return np.array([Payload(canary), 1, 2], dtype=object)


DATA = {
    "npz with pickled objects": ("a.npz", lambda c: npz(c, X=objects)),
    "npz with pickled labels": (
        "a.npz",
        lambda c: npz(c, X=lambda c: np.zeros((3, 2)), y=objects),
    ),
    "npz that is a pickle": ("a.npz", lambda c: pickle.dumps(Payload(c))),
    "npy that is a pickle": ("a.npy", lambda c: pickle.dumps(Payload(c))),
    "npy whose header is code": (
        "a.npy",
        lambda c: npy_header(f"__import__('os').system('touch {c}')\n"),
    ),
    "npy of absurd size": (
        "a.npy",
        lambda c: npy_header("{'descr':'<f8','fortran_order':False,'shape':(1099511627776,9),}\n"),
    ),
    "npz bomb": (
        "a.npz",
        lambda c: zipped(
            **{
                "X.npy": npy_header(
                    "{'descr':'|u1','fortran_order':False,'shape':(34359738368,1),}\n"
                )
                + bytes(1 << 26)
            }
        ),
    ),
    "a pickle": ("a.pkl", lambda c: pickle.dumps(Payload(c))),
    "a pickle as table": ("a.csv", lambda c: pickle.dumps(Payload(c))),
    "a pickle as parquet": ("a.parquet", lambda c: pickle.dumps(Payload(c))),
    "a pickle as JSON lines": ("a.jsonl", lambda c: pickle.dumps(Payload(c))),
    "yaml as JSON": (
        "a.json",
        lambda c: f"!!python/object/apply:os.system ['touch {c}']".encode(),
    ),
    "JSON nested deeply": ("a.json", lambda c: b"[" * 1_000_000),
    "JSON line nested deeply": ("a.jsonl", lambda c: b'{"a":' * 500_000 + b"\n"),
    "JSON number of a million digits": ("a.jsonl", lambda c: b'{"a": ' + b"9" * 10**6 + b"}\n"),
    "a table of files elsewhere": (
        "a.csv",
        lambda c: b"file,label\n../../../etc/passwd.jpg,a\n/etc/shadow.png,b\n",
    ),
    "an archive": ("a.zip", lambda c: zipped(**{"../../canary": b"x"})),
    "a torch file": ("a.pt", torch_zip),
    "an image bomb": ("a.png", lambda c: image_bomb()),
    "an image that is a pickle": ("a.jpg", lambda c: pickle.dumps(Payload(c))),
    "a vector image": (
        "a.jpg",
        lambda c: (
            b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
            b"<svg>&e;</svg>"
        ),
    ),
    "postscript as an image": (
        "a.png",
        lambda c: (
            f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%touch {c}) "
            "(w) file\n".encode()
        ),
    ),
    "sound of absurd length": (
        "a.wav",
        lambda c: (
            b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x01\0"
            + struct.pack("<IIHH", 2**31 - 1, 2**31 - 1, 1, 8)
            + b"data\xff\xff\xff\xff"
        ),
    ),
    "sound that is a pickle": ("a.wav", lambda c: pickle.dumps(Payload(c))),
}


@pytest.mark.parametrize("name", DATA)
def test_data_are_refused(tmp_path, canary, name, kit):
    """Refused when read, or every row of them when it is decoded."""
    folder = tmp_path / "files"
    folder.mkdir()
    file, make = DATA[name]
    (folder / file).write_bytes(make(canary))
    try:
        samples = read(folder / file)
    except IsthmusError:
        return
    assert samples.modality in ("image", "audio"), "only photos and recordings are decoded later"
    if samples.modality == "image":
        backbone = kit.Colours()
    else:
        backbone = load_backbone(modality="audio")
    got = embed(backbone, samples)
    assert len(got.rows) == 0 and len(got.problems) == len(samples)
    assert got.problems[0].reason


def test_a_field_of_ten_million_characters(tmp_path, canary):
    """No error in itself: such a text is read, or the row is set aside."""
    path = tmp_path / "a.csv"
    path.write_bytes(b"text,label\nshort one,a\n" + b"x" * 10**7 + b",b\n" + b"other one,b\n")
    try:
        samples = read(path, max_bad=1.0)
    except IsthmusError:
        return
    assert len(samples) + len(samples.quarantine) == 3


def test_names_that_are_not_utf8(tmp_path, photo_bundle, kit):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "good.jpg").write_bytes(kit.jpeg((200, 40, 40)))
    try:
        with open(os.fsencode(folder) + b"/\xff\xfe.jpg", "wb") as handle:
            handle.write(kit.jpeg((200, 40, 40)))
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    predictor = load(photo_bundle.folder, backbone=kit.Colours())
    found = predictor.predict(folder)
    assert list(found["prediction"]) == ["red", None]
    assert "not UTF-8" in found["error"][1]
    # named one by one, such files can be predicted; what is written can be read anywhere
    found = predictor.predict(sorted(folder.iterdir()))
    assert list(found["prediction"]) == ["red", "red"]
    assert "\\udcff" in frame_to_csv(found)
    assert len([json.loads(line) for line in frame_to_jsonl(found).splitlines()]) == 2


def test_the_corpus_is_large_enough():
    assert len(MODELS) + len(BACKBONES) + len(DATA) + len(EXAMPLES) > 100
    assert issubclass(BundleError, IsthmusError)
