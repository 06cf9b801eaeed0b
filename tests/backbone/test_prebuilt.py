"""The default networks without torch: the same features, from the pinned weights only."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from isthmus.backbone import load_backbone, runtime, timm
from isthmus.backbone.prebuilt import HOME, Prebuilt
from isthmus.errors import BackboneError

NO_TORCH = """
import json, sys
import numpy as np
from isthmus.backbone import load_backbone
given = json.load(sys.stdin)
backbone = load_backbone(modality=given["modality"])
if given["modality"] == "image":
    rng = np.random.default_rng(5)
    soft = rng.integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    raw = list(soft.repeat(40, axis=1).repeat(30, axis=2))
else:
    raw = ["The plot is thin.", "A phone that lasts.", "x " * 300]
rows = [backbone.preprocess(item) for item in raw]
out = np.concatenate([backbone(np.repeat(row[None], backbone.batch_size, axis=0))[:1]
                      for row in rows])
heavy = [name for name in ("torch", "timm", "transformers") if name in sys.modules]
print(json.dumps({"features": out.tolist(), "heavy": heavy, "engine": backbone.engine
                  if given["modality"] == "image" else ""}))
"""


def fresh(modality, cache):
    """Features in a process of its own with an empty cache."""
    done = subprocess.run(
        [sys.executable, "-c", NO_TORCH],
        input=json.dumps({"modality": modality}),
        env={**__import__("os").environ, "ISTHMUS_CACHE": str(cache)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    found = json.loads(done.stdout)
    return np.array(found["features"]), found


@pytest.mark.parametrize("modality", ["image", "text"])
def test_a_first_run_imports_no_torch_and_gives_the_features_of_torch(
    modality, tmp_path, monkeypatch
):
    got, found = fresh(modality, tmp_path / "a")
    assert found["heavy"] == []
    # The same with the graph out of reach: torch builds and exports the network.
    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path / "b"))
    monkeypatch.setattr(Prebuilt, "assemble", lambda self: b"no graph")
    backbone = load_backbone(modality=modality)
    if modality == "image":
        soft = np.random.default_rng(5).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
        raw = list(soft.repeat(40, axis=1).repeat(30, axis=2))
    else:
        raw = ["The plot is thin.", "A phone that lasts.", "x " * 300]
    expected = np.concatenate(
        [
            backbone(np.repeat(backbone.preprocess(item)[None], backbone.batch_size, axis=0))[:1]
            for item in raw
        ]
    )
    assert "torch" in sys.modules
    np.testing.assert_allclose(got, expected, atol=1e-4 * np.abs(expected).max())
    assert np.abs(got[0] - got[1]).max() > 1e-2  # and they tell the items apart


def test_another_weights_file_is_refused(tmp_path):
    other = tmp_path / "weights.pth"
    other.write_bytes(timm.default_file().read_bytes()[:-1] + b"?")
    with pytest.raises(BackboneError, match="not those of the prebuilt graph"):
        Prebuilt("efficientnet_lite0", lambda: other).assemble()


def test_a_wrong_assembly_is_not_used_but_exported_anew(tmp_path, monkeypatch, caplog):
    """The graph's answers do not agree with it: torch must be asked."""
    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path))
    true = Prebuilt.answers
    monkeypatch.setattr(Prebuilt, "answers", lambda self: [-value for value in true(self)])
    backbone = load_backbone(modality="image")
    assert backbone.engine == "onnxruntime"
    assert "exported anew" in caplog.text
    pixels = backbone.preprocess(np.full((50, 60, 3), 90, np.uint8)).copy()
    reference = runtime.torch_call(backbone_module(), "cpu")(pixels[None])
    np.testing.assert_allclose(backbone(pixels[None]), reference, atol=1e-4)


def backbone_module():
    from isthmus.backbone.export import frozen
    from isthmus.backbone.networks import Normalised

    other = load_backbone(modality="image")
    return frozen(Normalised(other.build(), other.recipe))


def test_the_package_holds_no_weights():
    for file in Path(HOME).iterdir():
        assert file.stat().st_size < 200_000, file.name
