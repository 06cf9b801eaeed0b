"""Small models of every kind, saved once a session."""

from __future__ import annotations

import hashlib
import io
import shutil
import sys
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from isthmus.backbone import embed, load_backbone
from isthmus.data import read
from isthmus.data.images import decode
from isthmus.errors import DataError
from isthmus.fit.calibrate import Temperature
from isthmus.fit.features import FeatureProcessor
from isthmus.fit.model import FeatureModel
from isthmus.serve import save_model


@dataclass
class Colours:
    """A backbone without a name: mean and spread of the three channels of an image."""

    name: str = "colours"
    modality: str = "image"
    num_features: int = 6
    batch_size: int = 4
    recipe: dict[str, Any] = field(default_factory=lambda: {"size": 8})
    reference: dict[str, Any] = field(default_factory=lambda: {"custom": True})
    salt: str = ""

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(f"colours {self.recipe} {self.salt}".encode()).hexdigest()

    def preprocess(self, raw):
        image = Image.fromarray(decode(raw)).resize((8, 8), Image.Resampling.BILINEAR)
        return np.asarray(image, dtype=np.float32) / 255

    def __call__(self, batch):
        return np.concatenate([batch.mean(axis=(1, 2)), batch.std(axis=(1, 2))], axis=1)


@dataclass
class Letters:
    """Shares of six letters in a text."""

    name: str = "letters"
    modality: str = "text"
    num_features: int = 6
    batch_size: int = 8
    recipe: dict[str, Any] = field(default_factory=lambda: {"letters": "aeiouy"})
    reference: dict[str, Any] = field(default_factory=lambda: {"custom": True})
    fingerprint: str = "0" * 64

    def preprocess(self, raw):
        if not raw.strip():
            raise DataError("the text is empty", remedy="Write one")
        return np.array([raw.count(c) / len(raw) for c in "aeiouy"], dtype=np.float32)

    def __call__(self, batch):
        return np.array(batch, dtype=np.float32)


def jpeg(colour, *, size=(24, 20), seed=0) -> bytes:
    noise = np.random.default_rng(seed).integers(-20, 20, (size[1], size[0], 3))
    pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=95)
    return out.getvalue()


def photos(folder, count=12):
    """``red/``, ``green/`` and ``blue/`` with `count` JPEGs each."""
    colours = {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200)}
    for k, (name, colour) in enumerate(colours.items()):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            (folder / name / f"{i:02d}.jpg").write_bytes(jpeg(colour, seed=100 * k + i))
    return folder


def fitted(samples, backbone, task="classification", head=None):
    got = embed(backbone, samples)
    head = head or ("ridge" if task == "regression" else "logistic")
    model = FeatureModel(
        FeatureProcessor(), head, Temperature(), task=task, classes=samples.classes
    )
    return model.fit(got.features, samples.labels[got.rows])


def save(folder, samples, backbone, *, task="classification", **more):
    model = fitted(samples, backbone, task)
    manifest = save_model(
        folder,
        model=model,
        backbone=backbone,
        samples_like=samples,
        task=task,
        classes=samples.classes,
        **{"examples": samples, **more},
    )
    return SimpleNamespace(
        folder=folder, model=model, backbone=backbone, samples=samples, manifest=manifest
    )


def numbers(task="classification", n=60, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 5)).astype(np.float32)
    if task == "regression":
        return X, X @ np.array([1.0, -2, 0, 3, 0]) + 5
    if task == "multilabel":
        return X, np.column_stack([X[:, 0] > 0, X[:, 1] > 0, X[:, 2] > 1])
    return X, np.array(["one", "two", "three"], dtype=object)[np.digitize(X[:, 0], [-0.5, 0.5])]


@pytest.fixture(scope="session")
def small_bundle(tmp_path_factory):
    """Classification of plain features; treat as read-only."""
    X, y = numbers()
    samples = read((X, y))
    backbone = load_backbone("identity", modality="features").fixed(5)
    return save(tmp_path_factory.mktemp("small") / "model", samples, backbone)


@pytest.fixture
def bundle_copy(small_bundle, tmp_path):
    """A copy of the small model that may be damaged."""
    return shutil.copytree(small_bundle.folder, tmp_path / "model")


@pytest.fixture(scope="session")
def photo_bundle(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    photos(root / "data")
    return save(root / "model", read(root / "data"), Colours())


@pytest.fixture(scope="session")
def kit():
    """The helpers of this file."""
    return sys.modules[__name__]
