from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from isthmus import iofs
from isthmus.backbone import load_backbone
from isthmus.data import read
from isthmus.data.samples import FrameItems, Samples, ValueItems
from isthmus.errors import BackboneError, BundleError
from isthmus.serve import load_model, save_model, verify
from isthmus.serve.examples import choose, frame_from_json, frame_to_json, keep
from isthmus.serve.manifest import read_manifest, seal


def files_of(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


# -- what is written ---------------------------------------------------------------------------


def test_the_folder_holds_json_and_safetensors_only(small_bundle):
    assert files_of(small_bundle.folder) == [
        "examples/arrays.safetensors",
        "examples/inputs.json",
        "examples/outputs.safetensors",
        "manifest.json",
        "model.safetensors",
    ]
    for path in small_bundle.folder.rglob("*"):
        if path.suffix == ".safetensors":
            iofs.tensor_header(path)
        elif path.is_file():
            json.loads(path.read_text())


def test_the_manifest_names_all_that_a_reader_needs(small_bundle):
    found = json.loads((small_bundle.folder / "manifest.json").read_text())
    assert found == small_bundle.manifest == read_manifest(small_bundle.folder)
    assert found["classes"] == ["one", "three", "two"]
    assert found["task"] == "classification"
    assert found["backbone"]["reference"] == {"spec": "identity:5"}
    assert found["backbone"]["fingerprint"] == small_bundle.backbone.fingerprint
    assert found["input"] == {"modality": "features", "reading": {}, "width": 5}
    assert {"python", "numpy", "isthmus", "scikit-learn"} <= set(found["libraries"])
    listed = sorted([*found["files"], "manifest.json"])
    assert listed == files_of(small_bundle.folder)
    for name, entry in found["files"].items():
        path = small_bundle.folder / name
        assert entry == {"sha256": iofs.sha256_file(path), "bytes": path.stat().st_size}


def test_the_same_model_gives_the_same_bytes(small_bundle, tmp_path, kit):
    again = kit.save(tmp_path / "again", small_bundle.samples, small_bundle.backbone)
    for name in files_of(small_bundle.folder):
        assert (again.folder / name).read_bytes() == (small_bundle.folder / name).read_bytes()


def test_extra_facts_travel(tmp_path, small_bundle, kit):
    made = kit.save(
        tmp_path / "m", small_bundle.samples, small_bundle.backbone, extra={"verdict": "ünsicher"}
    )
    assert load_model(made.folder).manifest["extra"] == {"verdict": "ünsicher"}
    with pytest.raises(BundleError, match="JSON"):
        kit.save(tmp_path / "n", small_bundle.samples, small_bundle.backbone, extra={"x": np.nan})
    with pytest.raises(BundleError, match="JSON"):
        kit.save(tmp_path / "n", small_bundle.samples, small_bundle.backbone, extra={"x": object()})
    assert not (tmp_path / "n").exists()


def test_private_data_stay_out(tmp_path, small_bundle, kit):
    for more in ({"examples": None}, {"n_examples": 0}):
        made = kit.save(
            tmp_path / str(len(more)), small_bundle.samples, small_bundle.backbone, **more
        )
        assert files_of(made.folder) == ["manifest.json", "model.safetensors"]
        report = verify(made.folder)
        assert report["ok"] and report["replayed"] == 0


# -- and read back -----------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_predictions_are_bit_identical_after_loading(tmp_path, task, kit):
    X, y = kit.numbers(task)
    samples = read((X, y), task=task)
    backbone = load_backbone("identity", modality="features").fixed(5)
    made = kit.save(tmp_path / "m", samples, backbone, task=task)
    loaded = load_model(made.folder)
    assert loaded.task == task
    assert loaded.classes == samples.classes
    assert np.array_equal(loaded.model.predict(X), made.model.predict(X))
    if task != "regression":
        assert np.array_equal(loaded.model.predict_proba(X), made.model.predict_proba(X))
    report = verify(made.folder)
    assert report["ok"], report
    assert report["replayed"] == 8
    assert report["largest_difference"] == 0


def test_a_fresh_process_gives_the_same_predictions(small_bundle, kit):
    X, _ = kit.numbers()
    code = (
        "import sys, numpy as np; from isthmus.serve import load_model\n"
        "X = np.frombuffer(sys.stdin.buffer.read(), np.float32).reshape(-1, 5)\n"
        "sys.stdout.buffer.write(load_model(sys.argv[1]).model.predict_proba(X).tobytes())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(small_bundle.folder)],
        input=X.tobytes(),
        capture_output=True,
        check=True,
    )
    found = np.frombuffer(done.stdout).reshape(-1, 3)
    assert np.array_equal(found, small_bundle.model.predict_proba(X))


def test_a_copied_folder_works_and_its_name_does_not_matter(bundle_copy):
    assert verify(bundle_copy)["ok"]


def test_photos_are_kept_under_generated_names(photo_bundle):
    names = sorted(photo_bundle.manifest["files"])
    photos_kept = [n for n in names if n.endswith(".jpg")]
    assert photos_kept == [f"examples/{i:03d}.jpg" for i in range(8)]
    inputs = json.loads((photo_bundle.folder / "examples" / "inputs.json").read_text())
    first = inputs["items"][0]
    original = photo_bundle.samples.items[photo_bundle.samples.ids.index(first["id"])]
    assert (photo_bundle.folder / "examples" / first["file"]).read_bytes() == original
    assert set(photo_bundle.manifest["examples"]["predictions"]) == {"red", "green", "blue"}


# -- backbones ---------------------------------------------------------------------------------


def test_a_backbone_without_a_name_must_be_handed_over(photo_bundle, kit):
    with pytest.raises(BackboneError, match="no name") as caught:
        load_model(photo_bundle.folder)
    assert "backbone=" in caught.value.remedy
    assert verify(photo_bundle.folder)["ok"] is False
    assert verify(photo_bundle.folder, backbone=kit.Colours())["ok"]


def test_another_preprocessing_is_refused_and_named(photo_bundle, kit):
    with pytest.raises(BackboneError, match="differs in size"):
        load_model(photo_bundle.folder, backbone=kit.Colours(recipe={"size": 9}))
    with pytest.raises(BackboneError, match="weights or code"):
        load_model(photo_bundle.folder, backbone=kit.Colours(salt="retrained"))
    report = verify(photo_bundle.folder, backbone=kit.Colours(salt="retrained"))
    (bad,) = [check for check in report["checks"] if not check["ok"]]
    assert bad["name"] == "backbone"


class Sums:
    """A table encoder with a state: columns minus what they were in training."""

    name, modality, num_features = "sums", "table", 2
    recipe: dict = {}  # noqa: RUF012
    reference: dict = {"spec": "sums"}  # noqa: RUF012

    def __init__(self, mean=None):
        self.mean = mean

    @property
    def fingerprint(self):
        return iofs.sha256_bytes(self.mean.tobytes())

    def fit(self, frame):
        return Sums(frame[["a", "b"]].to_numpy(float).mean(axis=0))

    def __call__(self, frame):
        return (frame[["a", "b"]].to_numpy(float) - self.mean).astype(np.float32)

    def state(self):
        return {"mean": self.mean}, {"columns": ["a", "b"]}

    @classmethod
    def from_state(cls, tensors, meta):
        assert meta == {"columns": ["a", "b"]}
        return cls(tensors["mean"])


def table(n=40, seed=3):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {"a": rng.normal(size=n) + 7, "b": rng.normal(size=n), "c": ["x", "y"] * (n // 2)}
    )
    frame["label"] = np.where(frame.a > 7, "high", "low")
    return frame


def test_the_state_of_a_table_encoder_travels(tmp_path, monkeypatch, kit):
    samples = read(table(), label="label")
    backbone = Sums().fit(samples.items.frame)
    made = kit.save(tmp_path / "m", samples, backbone)
    assert [c["name"] for c in made.manifest["input"]["columns"]] == ["a", "b", "c"]
    monkeypatch.setattr("isthmus.backbone.load_backbone", lambda spec: Sums())
    loaded = load_model(made.folder)
    assert np.array_equal(loaded.backbone.mean, backbone.mean)
    report = verify(made.folder)
    assert report["ok"] and report["largest_difference"] == 0


# -- refusals when saving ----------------------------------------------------------------------


def test_nan_weights_are_not_saved(tmp_path, small_bundle, kit):
    model = kit.fitted(small_bundle.samples, small_bundle.backbone)
    model.head_.coef_ = model.head_.coef_.copy()
    model.head_.coef_.flat[0] = np.nan
    with pytest.raises(BundleError, match="NaN"):
        save_model(
            tmp_path / "m",
            model=model,
            backbone=small_bundle.backbone,
            samples_like=small_bundle.samples,
            task="classification",
            classes=small_bundle.samples.classes,
        )
    assert not (tmp_path / "m").exists()


def test_a_folder_that_cannot_be_written_is_an_error_of_ours(tmp_path, small_bundle, kit):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(BundleError, match="cannot be written"):
        kit.save(tmp_path / "file" / "m", small_bundle.samples, small_bundle.backbone)


def test_overwriting_replaces_the_model_and_keeps_other_files(bundle_copy, tmp_path, kit):
    (bundle_copy / "results.json").write_text("{}")
    kit.photos(tmp_path / "data", 4)
    kit.save(bundle_copy, read(tmp_path / "data"), kit.Colours())
    assert (bundle_copy / "results.json").read_text() == "{}"
    assert not (bundle_copy / "examples" / "arrays.safetensors").exists()
    assert verify(bundle_copy, backbone=kit.Colours())["ok"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "model"]


def test_a_kill_while_overwriting_leaves_the_old_model(bundle_copy, monkeypatch, small_bundle, kit):
    before = {name: (bundle_copy / name).read_bytes() for name in files_of(bundle_copy)}
    real = iofs.write_bytes

    def dies(path, data):
        if os.fspath(path).endswith("manifest.json"):
            raise KeyboardInterrupt
        return real(path, data)

    monkeypatch.setattr(iofs, "write_bytes", dies)
    with pytest.raises(KeyboardInterrupt):
        kit.save(bundle_copy, small_bundle.samples, small_bundle.backbone, n_examples=2)
    assert {name: (bundle_copy / name).read_bytes() for name in files_of(bundle_copy)} == before


# -- examples ----------------------------------------------------------------------------------


def test_examples_cover_the_classes(small_bundle):
    samples = small_bundle.samples
    rows = choose(samples, 6)
    assert list(rows) == sorted(rows)
    assert {samples.labels[r] for r in rows} == set(samples.classes)
    assert list(choose(samples, 1000)) == list(range(len(samples)))
    many = replace(
        samples,
        labels=np.array([f"c{i}" for i in range(len(samples))], dtype=object),
        classes=tuple(f"c{i}" for i in range(len(samples))),
    )
    assert len(set(choose(many, 5))) == 5


def test_every_kind_of_raw_item_is_kept(kit):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (5, 4, 3)).astype(np.uint8)
    sound = (rng.normal(size=100).astype(np.float32), 16000)
    for modality, values in {
        "image": [kit.jpeg((9, 9, 9)), pixels],
        "text": ["ein Text", "zweite\nZeile \U0001f600", ""],
        "audio": [sound, b"RIFF"],
    }.items():
        ids = tuple(f"../{i}.JPG" if i else "=cmd()" for i in range(len(values)))
        kept = keep(Samples(ValueItems(values), ids, modality), 8)
        assert not kept.left_out
        found = kept.samples
        assert found.modality == modality and len(found) == len(values)
        for i, value in enumerate(values):
            got = found.items[i]
            if isinstance(value, tuple):
                assert np.array_equal(got[0], value[0]) and got[1] == value[1]
            elif isinstance(value, np.ndarray):
                assert np.array_equal(got, value) and got.dtype == value.dtype
            else:
                assert got == value
        assert all(name.startswith("examples/0") or "." in name for name in kept.files)
        assert not any(".." in name for name in kept.files)


def test_what_cannot_be_kept_is_said():
    values = [b"x" * (5 << 20), {"a": 1}, "\udcff", "fine"]
    kept = keep(Samples(ValueItems(values), ("big", "odd", "surrogate", "ok"), "text"), 8)
    assert [name.split(":")[0] for name in kept.left_out] == ["big", "odd", "surrogate"]
    assert list(kept.samples.items.values) == ["fine"]
    assert keep(Samples(ValueItems(values[:2]), ("big", "odd"), "text"), 8) is None


def test_tables_come_back_with_values_and_dtypes():
    frame = pd.DataFrame(
        {
            "f": [0.1, np.nan, np.inf],
            "f32": np.array([0.1, 2, 3], np.float32),
            "i": [1, 2, 2**62],
            "b": [True, False, True],
            "nullable": pd.array([1, None, 3], dtype="Int64"),
            "s": pd.Series(["a", None, "ü"], dtype="str"),
            "mixed": pd.Series(["a", 1, None], dtype=object),
            "t": pd.to_datetime(["2020-01-01 00:00:01", None, "2021-05-06 07:08:09"]),
            "c": pd.Categorical(["x", "y", None], categories=["y", "x", "z"], ordered=True),
        }
    )
    text = json.dumps(frame_to_json(frame), allow_nan=False)
    pd.testing.assert_frame_equal(frame_from_json(json.loads(text)), frame)


@pytest.mark.parametrize("count", [1, 5])
def test_texts_replay(tmp_path, count, kit):
    texts = ["aa bee", "oo you", "aa aa b", "you ooh", "a sea bee", "your oo"] * 5
    samples = Samples(
        ValueItems(texts),
        tuple(map(str, range(30))),
        "text",
        task="classification",
        labels=np.array(["a", "o"] * 15, dtype=object),
        classes=("a", "o"),
    )
    made = kit.save(tmp_path / "m", samples, kit.Letters(), n_examples=count)
    report = verify(made.folder, backbone=kit.Letters())
    assert report["ok"] and report["replayed"] == count
    assert isinstance(samples.items, ValueItems) and not isinstance(samples.items, FrameItems)


def test_a_drift_in_the_outputs_is_found_and_explained(tmp_path, photo_bundle, monkeypatch, kit):
    """Same fingerprint, other features: what an unnoticed change of a library looks like."""
    report = verify(photo_bundle.folder, backbone=kit.Colours())
    assert report["ok"] and report["libraries"] == {}

    class Drifted(kit.Colours):
        def preprocess(self, raw):
            return super().preprocess(raw) + np.float32(0.05)

    report = verify(photo_bundle.folder, backbone=Drifted())
    (bad,) = [check for check in report["checks"] if not check["ok"]]
    assert bad["name"] == "examples" and bad["file"] == "examples/outputs.safetensors"
    assert "features differ by" in bad["detail"]

    class Blind(kit.Colours):
        def preprocess(self, raw):
            from isthmus.errors import DataError

            raise DataError("cannot decode")

    assert "cannot be read any more" in str(verify(photo_bundle.folder, backbone=Blind()))


def test_other_library_versions_are_listed_and_no_failure(bundle_copy):
    manifest = read_manifest(bundle_copy)
    manifest["libraries"] |= {"numpy": "1.0", "gone": "2.0"}
    (bundle_copy / "manifest.json").write_bytes(seal(manifest))
    report = verify(bundle_copy)
    assert report["ok"]
    assert report["libraries"]["gone"] == ["2.0", None]
    assert report["libraries"]["numpy"] == ["1.0", np.__version__]


# -- made on a GPU, used on a CPU, and the other way round -------------------------------------


def fake(device, monkeypatch, kit):
    """A named backbone whose fingerprint knows its arithmetic, on a machine with that device."""

    class Named(kit.Colours):
        pass

    def load_backbone(spec, device_=None, **options):
        place = options.get("device") or device
        return Named(
            reference={"spec": spec}, salt="autocast" if place == "cuda" else "float32", name="fake"
        )

    monkeypatch.setattr("isthmus.backbone.load_backbone", load_backbone)
    monkeypatch.setattr("isthmus.serve.rebuild._gpu", lambda: device == "cuda")
    return load_backbone("fake:net")


@pytest.mark.parametrize("made_on", ["cpu", "cuda"])
@pytest.mark.parametrize("used_on", ["cpu", "cuda"])
def test_a_model_goes_from_one_device_to_the_other(tmp_path, monkeypatch, kit, made_on, used_on):
    samples = read(kit.photos(tmp_path / "data", 4))
    made = kit.save(tmp_path / "m", samples, fake(made_on, monkeypatch, kit))
    on_cpu = made.manifest["backbone"]["fingerprint_cpu"]
    assert (on_cpu is not None) == (made_on == "cuda")
    fake(used_on, monkeypatch, kit)
    loaded = load_model(made.folder)
    arithmetic = "float32" if "cpu" in (made_on, used_on) else "autocast"
    assert loaded.backbone.salt == arithmetic
    assert verify(made.folder)["ok"]
