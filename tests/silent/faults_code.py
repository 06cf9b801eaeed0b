"""Faults in networks, stores and procedures."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
from faults import fault
from faults_data import table_of
from PIL import Image

from isthmus.backbone import Store, load_backbone
from isthmus.backbone.module import function
from isthmus.data.checks import Finding
from isthmus.run.case import pose
from isthmus.run.extract import extract
from isthmus.run.preflight import check, preflight

HALF = (0.5, 0.5, 0.5)


def network():
    """The default image network as a plain torch module, without any note of its recipe."""
    made = load_backbone("timm:tf_efficientnet_lite0").build()
    made.pretrained_cfg = made.default_cfg = None
    return made.eval()


class Own:
    """A backbone as a user writes one: PIL, a resize, a mean, a torch network."""

    modality, batch_size, num_features = "image", 8, 1280

    def __init__(self, module, *, mean=HALF, std=HALF, scale=1 / 255, bgr=False, careless=False):
        self.module, self.bgr, self.careless = module, bgr, careless
        self.name, self.reference = "own", {"custom": True}
        self.recipe = {"mean": list(mean), "std": list(std), "scale": scale}
        self.fingerprint = f"own{id(self)}"

    def preprocess(self, raw):
        from isthmus.data.images import decode

        if self.careless or not isinstance(raw, bytes):
            image = Image.open(io.BytesIO(raw)) if isinstance(raw, bytes) else Image.fromarray(raw)
            image = image.convert("RGB")
        else:
            image = Image.fromarray(decode(raw))
        pixels = np.asarray(image.resize((96, 96), Image.Resampling.BICUBIC), dtype=np.float32)
        pixels = pixels[..., ::-1] if self.bgr else pixels
        made = (pixels * self.recipe["scale"] - self.recipe["mean"]) / self.recipe["std"]
        return np.ascontiguousarray(np.moveaxis(made, -1, 0), dtype=np.float32)

    def __call__(self, batch):
        import torch

        with torch.no_grad():
            return self.module(torch.from_numpy(batch)).numpy()


def small(d):
    return d.images(source=6, target=6)


# 4, 5, 6 the recipe ---------------------------------------------------------------------------
@fault(4, "image", "the mean and deviation of other weights, noted in the network")
def noted_mean(d):
    net = Own(
        load_backbone("timm:tf_efficientnet_lite0").build().eval(), mean=(0.485, 0.456, 0.406)
    )
    net.recipe["std"] = [0.229, 0.224, 0.225]
    return {**small(d), "backbone": net, "no_cache": True}


@fault(4, "image", "no mean and deviation, and no note")
def no_mean(d):
    net = Own(network(), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    return {**small(d), "backbone": net, "no_cache": True}


@fault(5, "image", "a network fed 0..255")
def unscaled_network(d):
    return {**small(d), "backbone": Own(network(), scale=1.0), "no_cache": True}


@fault(5, "image", "a network fed pixels divided twice")
def twice_scaled_network(d):
    net = Own(network(), scale=1 / 255 / 255, mean=(0.0,) * 3, std=(0.5,) * 3)
    return {**small(d), "backbone": net, "no_cache": True}


@fault(6, "image", "a network fed BGR")
def bgr_network(d):
    return {**small(d), "backbone": Own(network(), bgr=True), "no_cache": True}


# 7 serving ------------------------------------------------------------------------------------
def saved(d, world, **options):
    import isthmus

    out = d.folder() / "run"
    isthmus.transfer(**world, out=out, head="nearest-mean", **options)
    return out


def refused(call):
    """The refusal of a call as findings."""
    from isthmus.data.checks.refusals import named
    from isthmus.errors import IsthmusError

    try:
        call()
    except IsthmusError as error:
        found = named(error)
        return [] if found is None else [found]
    return []


def said(frame):
    """Findings that travel with predictions."""
    keys = ("code", "severity", "title", "evidence")
    return [Finding(**{k: entry[k] for k in keys}) for entry in frame.attrs["findings"]]


@fault(7, "image", "served with a smaller input size")
def served_smaller(d):
    import isthmus

    out = saved(d, d.images(source=6, target=6))
    other = load_backbone("timm:tf_efficientnet_lite0", size=192)
    return refused(lambda: isthmus.load(out, backbone=other))


@fault(7, "text", "served with another pooling")
def served_pooling(d):
    import isthmus

    out = saved(d, d.texts())
    return refused(
        lambda: isthmus.load(out, backbone=load_backbone(None, modality="text", pooling="max"))
    )


@fault(7, "features", "served with features of another scaling")
def served_features(d):
    import isthmus

    world = d.surf()
    out = saved(d, world)
    X, _ = world["target"]
    predictor = isthmus.load(out)
    return said(predictor.predict((X - X.mean(axis=0)) / (X.std(axis=0) + 1)))


@fault(7, "table", "served with another unit")
def served_table(d):
    import isthmus

    world = d.table()
    out = saved(d, world)
    rows = world["target"].drop(columns="disease")
    predictor = isthmus.load(out)
    return said(predictor.predict(rows.assign(thalach=rows.thalach / 60, age=rows.age * 12)))


# 8, 9, 10 careless reading --------------------------------------------------------------------
@fault(8, "image", "a backbone that ignores the EXIF tag")
def careless_orientation(d):
    return {**small(d), "backbone": Own(network(), careless=True), "no_cache": True}


@fault(9, "image", "a backbone that clips 16-bit pictures")
def careless_depth(d):
    return {**small(d), "backbone": Own(network(), careless=True), "no_cache": True}


# 11, 12, 13 the frozen network ----------------------------------------------------------------
@fault(11, "image", "BatchNorm learns on")
def drifting(d):
    return {**small(d), "backbone": Own(network().train()), "no_cache": True}


class Around:
    """A text backbone with a fault around the default one."""

    modality = "text"

    def __init__(self, change):
        self.inner = load_backbone(None, modality="text")
        self.change = change
        self.name, self.reference = "around", {"custom": True}
        self.batch_size, self.num_features = self.inner.batch_size, self.inner.num_features
        self.recipe, self.fingerprint = dict(self.inner.recipe), f"around{id(self)}"

    def preprocess(self, raw):
        return self.inner.preprocess(raw)

    def __call__(self, batch):
        return np.asarray(self.change(self.inner(batch), batch), dtype=np.float32)


@fault(12, "image", "BatchNorm over the batch")
def batch_statistics(d):
    net = network()

    class Centred:
        def __call__(self, tensor):
            made = net(tensor)
            return made - made.mean(dim=0)

    return {**small(d), "backbone": Own(Centred()), "no_cache": True}


@fault(12, "text", "features centred over the batch")
def centred_text(d):
    around = Around(lambda found, batch: found - found.mean(axis=0))
    return {**d.texts(), "backbone": around, "no_cache": True}


@fault(13, "image", "dropout is on")
def dropout(d):
    import torch

    net = network()
    drop = torch.nn.Dropout(0.3).train()
    return {**small(d), "backbone": Own(torch.nn.Sequential(net, drop)), "no_cache": True}


@fault(13, "text", "noise in the features")
def noisy_text(d):
    rng = np.random.default_rng(0)
    around = Around(lambda found, batch: found + 0.05 * rng.normal(size=found.shape))
    return {**d.texts(), "backbone": around, "no_cache": True}


# 17 weights -----------------------------------------------------------------------------------
@fault(17, "image", "a weights file without a third of the tensors")
def partial_file(d):
    import timm
    from safetensors.torch import save_file

    state = timm.create_model("resnet18", pretrained=False).state_dict()
    kept = {n: t for i, (n, t) in enumerate(state.items()) if i % 3}
    path = d.folder() / "partial.safetensors"
    save_file(kept, path)
    return {**small(d), "backbone": "timm:resnet18", "weights": str(path)}


@fault(17, "image", "half the layers never loaded (strict=False)")
def half_loaded(d):
    import torch

    net = network()
    for name, layer in net.named_modules():
        if name.startswith("blocks.5") and hasattr(layer, "reset_parameters"):
            torch.manual_seed(0)
            layer.reset_parameters()
    return {**small(d), "backbone": Own(net), "no_cache": True}


# 18 dead features -----------------------------------------------------------------------------
@fault(18, "text", "the same features for every text")
def dead_text(d):
    around = Around(lambda found, batch: np.ones_like(found))
    return {**d.texts(), "backbone": around, "no_cache": True}


@fault(18, "image", "a dead last layer")
def dead_image(d):
    def flat(batch):
        return np.full((len(batch), 32), 0.5, dtype=np.float32)

    return {**small(d), "backbone": function(flat, name="dead", version=1), "no_cache": True}


# 20 padding -----------------------------------------------------------------------------------
@fault(20, "text", "the mean counts the padding")
def padded_mean(d):
    def diluted(found, batch):
        return found * batch[:, 1].mean(axis=1, keepdims=True)

    return {**d.texts(), "backbone": Around(diluted), "no_cache": True}


@fault(20, "text", "another pooling than the weights were trained with")
def other_pooling(d):
    world = d.texts()
    case = pose(world["source"], world["target"], options={"label": "label", "text": "text"})
    return preflight(case, load_backbone(None, modality="text", pooling="cls"))


# 22, 23 protocol ------------------------------------------------------------------------------
@fault(22, "table", "the labelled target rows are the test rows")
def test_is_labelled(d):
    world = table_of(d.table())
    rows = world["target"]
    return {**world, "target": rows, "shots": "all", "test": rows}


@fault(22, "features", "the test set was opened for every setting")
def opened_often(d):
    import isthmus
    from isthmus.run.postcheck import postcheck

    world = d.coil(classes=3)
    result = isthmus.transfer(**world, head="nearest-mean")
    result.results["proof"]["openings"] = 12  # what twelve settings on one test set leave
    return postcheck(result)


@fault(22, "text", "training sentences in the test file")
def test_in_training(d):
    world = table_of(d.texts())
    return {**world, "test": world["target"], "target_labels": world["target"].iloc[:40]}


@fault(23, "text", "a source with random labels")
def random_source(d):
    world = table_of(d.texts(target=100))
    rng = np.random.default_rng(3)
    world["source"]["label"] = rng.permutation(world["source"].label.to_numpy())
    return world


@fault(23, "features", "a source of other objects")
def foreign_source(d):
    world = d.coil()
    X, y = world["source"]
    return {**world, "source": (X, np.random.default_rng(1).permutation(y))}


# 25, 26 store and resume ----------------------------------------------------------------------
@fault(25, "image", "code changed under the same name")
def stale(d):
    def first(batch):
        return batch[:, ::28, ::28].reshape(len(batch), -1).astype(np.float32)

    def second(batch):
        return first(batch)[:, ::-1] * 2

    world = small(d)
    check(**world, backbone=function(first, name="patches", version=1))
    return {**world, "backbone": function(second, name="patches", version=1)}


def resumed(world, spoil, **options):
    """What a run finds after an interruption that spoiled the order of rows."""
    case = pose(world["source"], world["target"], options=options)
    model = load_backbone(None, modality=case.target.modality)
    found = extract(case, model, store=Store(), max_bad=0.01, seed=0)
    part = found.target
    return preflight(
        case, model, dataclasses.replace(found, target=dataclasses.replace(part, X=spoil(part.X)))
    )


@fault(26, "text", "a resumed run shifts the rows by one")
def shifted_text(d):
    world = d.texts()
    return resumed(world, lambda X: np.roll(X, 1, axis=0), label="label", text="text")


@fault(26, "audio", "a resumed run repeats the first half")
def repeated_audio(d):
    world = d.audio()
    return resumed(world, lambda X: np.concatenate([X[: len(X) // 2]] * 2)[: len(X)])


@fault(26, "image", "an epoch that skips a batch after resuming")
def skipped_batch(d):
    from isthmus.run.checks.account import Consumed

    first = Consumed(100)
    first.add(range(40))
    second = Consumed(100, first.state())
    second.add(range(48, 100))  # one batch of eight lost
    found = second.finish("epoch 3")
    return [] if found is None else [found]


# 27 weights -----------------------------------------------------------------------------------
@fault(27, "image", "a NaN in the weights")
def nan_weights(d):
    import timm
    from safetensors.torch import save_file

    state = timm.create_model("resnet18", pretrained=False).state_dict()
    state["layer1.0.conv1.weight"][0, 0, 0, 0] = float("nan")
    path = d.folder() / "nan.safetensors"
    save_file(state, path)
    return {**small(d), "backbone": "timm:resnet18", "weights": str(path)}
