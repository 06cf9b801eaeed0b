"""Keras files are looked into before Keras opens them."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest

from isthmus.backbone.keras_files import check_file, scales_inside
from isthmus.errors import BackboneError

h5py = pytest.importorskip("h5py")


GOOD = {"module": "keras", "class_name": "Sequential", "config": {"layers": []}}


def archive(path, config, extra=None, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as file:
        text = config if isinstance(config, str) else json.dumps(config)
        file.writestr("config.json", text)
        for name, data in (extra or {}).items():
            file.writestr(name, data)
    return path


def layer(**fields):
    return {**GOOD, "config": {"layers": [{"module": "keras.layers", **fields}]}}


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (layer(class_name="Lambda", config={}), "Lambda"),
        (layer(class_name="TorchModuleWrapper", config={"module": "gASV"}), "TorchModuleWrapper"),
        (layer(class_name="TFSMLayer", config={"filepath": "/tmp/x"}), "TFSMLayer"),
        (layer(class_name="Dense", config={"activation": {"class_name": "__lambda__"}}), "lambda"),
        ({**GOOD, "module": "os", "class_name": "system"}, "os system"),
        ({**GOOD, "module": "builtins", "class_name": "exec"}, "exec"),
        (layer(class_name="my>Layer"), "not part of Keras"),
        ("{not json", "damaged"),
        ("[1]", "no object"),
    ],
)
def test_archives_that_could_run_code(config, named, tmp_path):
    with pytest.raises(BackboneError, match=named):
        check_file(archive(tmp_path / "m.keras", config))


def test_archives_that_reach_out_or_blow_up(tmp_path):
    for name in ("../evil", "/etc/evil", "a/../../evil", "C:\\evil"):
        with pytest.raises(BackboneError, match="leads outside"):
            check_file(archive(tmp_path / "m.keras", GOOD, {name: "x"}))
    bomb = archive(tmp_path / "b.keras", GOOD, {"z": b"\0" * (64 << 20)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(BackboneError, match="when unpacked"):
        check_file(bomb)
    (tmp_path / "t.keras").write_text("text")
    with pytest.raises(BackboneError, match=r"not a \.keras archive"):
        check_file(tmp_path / "t.keras")
    with pytest.raises(BackboneError, match="does not exist"):
        check_file(tmp_path / "absent.keras")


def test_hdf5_that_points_elsewhere(tmp_path):
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["a"] = h5py.ExternalLink("/etc/passwd", "/x")
    with h5py.File(tmp_path / "external.h5", "w") as file:
        file.create_dataset("a", (4,), "u1", external=[("/etc/passwd", 0, 4)])
    with h5py.File(tmp_path / "claim.h5", "w") as file:
        file.create_dataset("a", (1 << 30,), "f4", chunks=(1 << 10,))
    (tmp_path / "text.h5").write_text("text")
    for name, why in (
        ("link.h5", "link"), ("external.h5", "another file"), ("claim.h5", "claims"),
        ("text.h5", "not an HDF5 file"),
    ):  # fmt: skip
        with pytest.raises(BackboneError, match=why):
            check_file(tmp_path / name)


def test_good_files_pass(tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["layer/kernel"] = np.ones((3, 3), np.float32)
    assert check_file(tmp_path / "w.h5") is None
    assert check_file(archive(tmp_path / "m.keras", GOOD)) == GOOD
    assert scales_inside(layer(class_name="Rescaling")) and not scales_inside(GOOD)
