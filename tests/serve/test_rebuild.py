"""A trained backbone in a saved model: rebuilt from its own weights, or refused in one sentence."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from isthmus.errors import BackboneError, BundleError
from isthmus.serve import load
from isthmus.serve.manifest import MANIFEST, TENSORS, seal

torch = pytest.importorskip("torch")


class Net(torch.nn.Module):
    """A network without a name: two averages of filtered colours."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 2, kernel_size=1)

    def forward(self, x):
        return self.conv(x).mean((2, 3))


@pytest.fixture(scope="module")
def photos():
    rng = np.random.default_rng(0)
    made = rng.integers(0, 80, (24, 40, 40, 3), dtype=np.uint8)
    made[np.arange(24) % 2 == 1, :, :, 0] += 150
    return made, np.array(["dull", "red"], dtype=object)[np.arange(24) % 2]


@pytest.fixture(scope="module")
def saved(photos, tmp_path_factory):
    """A fine-tuned network without a name, and what it was made of."""
    from isthmus.run.finetune import finetune

    network = Net()
    X, y = photos
    folder = tmp_path_factory.mktemp("model") / "run"
    done = finetune(
        (X, y), (X[:8], y[:8]), modality="image", backbone=network, on="network", epochs=3,
        batch_size=8, lr=0.05, out=folder, allow="ISX001,ISX003,ISX012,ISX013,ISX018",
        say=lambda text: None,
    )  # fmt: skip
    return folder, network, done


def rewritten(folder, target, change):
    """A copy of the model whose manifest was changed by somebody who can compute digests."""
    shutil.copytree(folder, target)
    manifest = json.loads((target / MANIFEST).read_text())
    change(manifest)
    (target / MANIFEST).write_bytes(seal(manifest))
    return target


def test_a_network_without_a_name_must_be_handed_over(saved, photos):
    folder, network, done = saved
    with pytest.raises(BackboneError, match="no name"):
        load(folder)
    model = load(folder, backbone=network_of(network))
    frame = model.predict(photos[0][:8], modality="image")
    assert frame["prediction"].tolist() == done.predicted.tolist()
    np.testing.assert_array_equal(
        frame[[f"p({name})" for name in done.results["classes"]]].to_numpy(), done.proba
    )


def network_of(network):
    from isthmus.backbone import load_backbone

    return load_backbone(network)


def test_weights_of_another_network_are_refused(saved):
    folder, _, _ = saved

    class Wide(Net):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 2, kernel_size=3)

    with pytest.raises(BackboneError, match="not the one"):
        load(folder, backbone=network_of(Wide()))


@pytest.mark.parametrize(
    "state",
    [
        {"kind": "trained"},
        {"kind": "trained", "recipe": 3, "num_features": 2, "name": "x"},
        {"kind": "trained", "recipe": {"kind": "image"}, "num_features": "x", "name": "x"},
        {"kind": "trained", "files": ["../../etc/passwd"], "recipe": {}, "num_features": 2},
        {"kind": "other"},
    ],
)
def test_a_hostile_state_is_one_refusal(saved, tmp_path, state):
    folder = saved[0]

    def change(manifest):
        manifest["backbone"]["state"] = state
        manifest["backbone"]["reference"] = {"spec": "timm:test_efficientnet"}

    with pytest.raises((BundleError, BackboneError)):
        load(rewritten(folder, tmp_path / "m", change))


def test_another_weight_changes_the_fingerprint(saved, tmp_path):
    from safetensors.numpy import load_file, save

    folder, network, _ = saved
    tensors = load_file(folder / TENSORS)
    name = next(n for n in tensors if n.startswith("backbone."))
    tensors[name] = tensors[name] + 1.0
    raw = save(tensors)

    def change(manifest):
        from isthmus import iofs

        manifest["files"][TENSORS] = {"bytes": len(raw), "sha256": iofs.sha256_bytes(raw)}

    target = rewritten(folder, tmp_path / "m", change)
    (target / TENSORS).write_bytes(raw)
    with pytest.raises(BackboneError, match="not the one that the model was trained with"):
        load(target, backbone=network_of(network))
