"""Backbones with weights of their own: the same as the untrained one with its weights, and other
ones with others; read back bit by bit; whatever does not fit is refused by name."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.backbone import Backbone, load_backbone
from isthmus.backbone.trained import TrainedBackbone, to_length, trained, untrained_module
from isthmus.errors import BackboneError, BundleError

torch = pytest.importorskip("torch")
TEXTS = ["the cat sat on a mat", "not very good"]


def state(module):
    return {name: tensor.numpy().copy() for name, tensor in module.state_dict().items()}


def rows(backbone, items):
    """Features of items, each in a batch of its own."""
    size = backbone.batch_size
    made = [backbone(np.stack([backbone.preprocess(item)] * size))[0] for item in items]
    return np.array(made)


def photos():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (70, 60, 3), dtype=np.uint8) for _ in range(2)]


@pytest.fixture(scope="module")
def photo_backbone():
    pytest.importorskip("timm")
    return load_backbone("timm:test_efficientnet", weights="random", device="cpu")


def test_with_its_own_weights_it_is_the_untrained_one(photo_backbone):
    weights = state(untrained_module(photo_backbone))
    same = trained(photo_backbone, weights)
    assert isinstance(same, Backbone) and same.modality == "image"
    np.testing.assert_allclose(
        rows(same, photos()), rows(photo_backbone, photos()), atol=2e-5, rtol=1e-5
    )
    assert same.fingerprint != photo_backbone.fingerprint  # it is not kept under the same name


def test_other_weights_are_other_features_under_another_name(photo_backbone):
    module = untrained_module(photo_backbone)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1.25)
    weights = state(module)
    made = trained(photo_backbone, weights)
    first = trained(photo_backbone, state(untrained_module(photo_backbone)))
    assert made.fingerprint != first.fingerprint
    assert np.abs(rows(made, photos()) - rows(first, photos())).max() > 1e-3

    tensors, meta = made.state()
    again = TrainedBackbone.from_state(tensors, meta, reference=made.reference)
    assert again.fingerprint == made.fingerprint and again.name == made.name
    np.testing.assert_array_equal(rows(again, photos()), rows(made, photos()))
    one = weights | {"x": np.zeros(1, np.float32)}
    with pytest.raises(BackboneError, match="left over"):
        rows(TrainedBackbone.from_state(one, meta, reference=made.reference), photos())
    with pytest.raises(BundleError, match="incomplete"):
        TrainedBackbone.from_state(tensors, {"name": "x"}, reference=made.reference)


def test_made_on_a_gpu_it_says_what_it_is_on_a_cpu(photo_backbone, monkeypatch):
    from isthmus.backbone import trained as module
    from isthmus.serve import rebuild

    weights = state(untrained_module(photo_backbone))
    plain = trained(photo_backbone, weights)
    assert rebuild.describe_backbone(plain)["fingerprint_cpu"] is None
    monkeypatch.setattr(module, "resolve_device", lambda device=None: device or "cuda")
    monkeypatch.setattr(rebuild, "_gpu", lambda: True)
    fast = trained(photo_backbone, weights)
    said = rebuild.describe_backbone(fast)
    assert said["fingerprint"] == fast.fingerprint != plain.fingerprint
    assert said["fingerprint_cpu"] == plain.fingerprint
    assert rebuild.describe_backbone(plain)["fingerprint_cpu"] is None


def test_what_is_trained_is_a_copy(photo_backbone):
    """A module given as an object must not change while a copy of it is trained."""

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 4, kernel_size=3)

        def forward(self, x):
            return self.conv(x).mean((2, 3))

    own = Net()
    backbone = load_backbone(own)
    module = untrained_module(backbone)
    before = own.conv.weight.detach().clone()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    assert torch.equal(own.conv.weight, before)
    assert np.abs(rows(backbone, photos())).max() > 0
    made = trained(backbone, state(module))
    assert np.abs(rows(made, photos())).max() == 0


def test_texts_keep_their_tokenizer(bert_folder):
    base = load_backbone(f"hf:{bert_folder}", device="cpu")
    module = untrained_module(base)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(0.5)
    made = trained(base, state(module))
    tensors, meta = made.state()
    again = TrainedBackbone.from_state(tensors, meta, reference=made.reference)
    np.testing.assert_array_equal(rows(again, TEXTS), rows(made, TEXTS))
    item = torch.from_numpy(base.preprocess(TEXTS[0])[None])
    with torch.inference_mode():
        expected = module.eval()(item).numpy()
    np.testing.assert_allclose(rows(made, TEXTS[:1]), expected, atol=1e-4)
    changed = meta | {"recipe": meta["recipe"] | {"max_tokens": 7}}
    with pytest.raises(BackboneError, match="max_tokens"):
        TrainedBackbone.from_state(tensors, changed, reference=made.reference)


@pytest.mark.parametrize("name", ["hf", "logmel"])
def test_recordings_have_the_length_of_the_training(name, wav2vec2_folder):
    pytest.importorskip("soxr")
    if name == "hf":
        base = load_backbone(f"hf:{wav2vec2_folder}", device="cpu")
    else:
        base = load_backbone("logmel:cnn", weights="random", device="cpu")
    module = untrained_module(base)
    made = trained(base, state(module), length=6000)
    tone = np.sin(np.arange(4000) / 9).astype(np.float32) / 2
    item = made.preprocess((tone, 16_000))
    assert item.shape == (6000,) and (item[4000:] == 0).all()
    assert made.preprocess((np.tile(tone, 3), 16_000)).shape == (6000,)
    with torch.inference_mode():
        expected = module.eval()(torch.from_numpy(item[None])).numpy()
    np.testing.assert_allclose(made(item[None]), expected, atol=1e-4)
    assert made.inner._network.engine == "onnxruntime", made.inner._network.why
    other = trained(base, state(module), length=7000)
    assert other.fingerprint != made.fingerprint
    np.testing.assert_array_equal(to_length(tone, 3), tone[:3])


def test_what_cannot_be_trained_says_what_can():
    with pytest.raises(BackboneError, match="logmel:cnn") as caught:
        untrained_module(load_backbone("wakeword"))
    assert "not a torch network" in caught.value.why
