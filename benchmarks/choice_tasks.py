"""The tasks that choices are measured on and learned from: real pairs of domains, then variants.

`real_tasks` are the sets of the shared data as they are. `variants` draws others from any of them:
fewer rows, some of the classes, tilted class shares, and shifts made from one domain alone. A task
is a pair of feature matrices; photos, texts and recordings went through the default backbones.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.backbone import Store, embed, load_backbone
from isthmus.data import read

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("ISTHMUS_TEST_DATA", ROOT.parent / "shared" / "data"))
LETTERS = {"C": "caltech", "A": "amazon", "W": "webcam", "D": "dslr"}
HEART = [
    "age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak",
    "slope", "ca", "thal",
]  # fmt: skip


@dataclass(frozen=True)
class ChoiceTask:
    """One pair of domains with all labels known.

    Parameters
    ----------
    name : str
    suite : str
        Tasks of one suite share their data; what is learned is tested on other suites.
    modality : str
    Xs, Xt : ndarray of shape (n_s, d), (n_t, d), float32
    ys, yt : ndarray of shape (n_s,), (n_t,), text
    """

    name: str
    suite: str
    modality: str
    Xs: np.ndarray
    ys: np.ndarray
    Xt: np.ndarray
    yt: np.ndarray

    def capped(self, most: int, seed: int = 0) -> ChoiceTask:
        """At most `most` rows a side, drawn at random."""
        rng = np.random.default_rng(seed)
        s = np.sort(rng.permutation(len(self.Xs))[:most])
        t = np.sort(rng.permutation(len(self.Xt))[:most])
        return replace(self, Xs=self.Xs[s], ys=self.ys[s], Xt=self.Xt[t], yt=self.yt[t])


def real_tasks(folder: Path = DATA, *, most: int = 2000) -> list[ChoiceTask]:
    """The pairs that `make bench-choice` reports, at most `most` rows a side."""
    makers = (surf, pixels, digit_photos, sentiment, reviews, heart, spoken)
    return [task.capped(most) for maker in makers for task in maker(folder)]


def pairs(
    suite: str, modality: str, domains: dict[str, tuple[np.ndarray, np.ndarray]]
) -> Iterator[ChoiceTask]:
    for a, b in permutations(domains, 2):
        yield ChoiceTask(f"{suite}:{a}>{b}", suite, modality, *domains[a], *domains[b])


def surf(folder: Path) -> Iterator[ChoiceTask]:
    """Office-Caltech10: counts of 800 visual words as shares of their row."""
    domains = {}
    for letter, name in LETTERS.items():
        with np.load(folder / "published" / f"surf_{name}.npz") as stored:
            X = stored["X"].astype(float)
            X /= X.sum(axis=1, keepdims=True)
            domains[letter] = X.astype(np.float32), stored["y"].astype(str)
    yield from pairs("surf", "features", domains)


def pixels(folder: Path) -> Iterator[ChoiceTask]:
    """Digits 16x16 and COIL 32x32 as plain grey values."""
    for suite, sides in (("mnist_usps", ("mnist", "usps")), ("coil", ("coil1", "coil2"))):
        with np.load(folder / "published" / f"{suite}.npz") as stored:
            domains = {
                side: (
                    np.asarray(stored[f"X_{side}"], dtype=np.float32),
                    stored[f"y_{side}"].astype(str),
                )
                for side in sides
            }
        yield from pairs("digits" if suite == "mnist_usps" else suite, "features", domains)


def digit_photos(folder: Path) -> Iterator[ChoiceTask]:
    """MNIST and USPS as photos for the default image network."""
    domains = {}
    for name, keys in (("mnist_25k", "mnist"), ("usps", "usps")):
        with np.load(folder / "digits" / f"{name}.npz") as stored:
            images = next(
                stored[k] for k in stored.files if stored[k].ndim >= 3 and "train" in k.lower()
            )
            labels = next(
                stored[k] for k in stored.files if stored[k].ndim == 1 and "train" in k.lower()
            )
        take = np.random.default_rng(0).permutation(len(images))[:2000]
        rgb = np.repeat(images[take].reshape(len(take), *images.shape[1:3], 1), 3, axis=3)
        domains[keys] = embedded(rgb, labels[take].astype(str), "image")
    yield from pairs("digits", "image", domains)


def sentiment(folder: Path) -> Iterator[ChoiceTask]:
    """Four kinds of text, positive or negative."""
    domains = {}
    for path in sorted((folder / "sentiment4").glob("*_GroundTruth.txt")):
        lines = [line.split("\t", 2) for line in path.read_text("utf-8", "replace").splitlines()]
        rows = [(float(p[1]), p[2]) for p in lines if len(p) == 3 and float(p[1]) != 0]
        rng = np.random.default_rng(0)
        rows = [rows[i] for i in np.sort(rng.permutation(len(rows))[:2000])]
        labels = np.array(["positive" if value > 0 else "negative" for value, _ in rows])
        name = path.name[:5].rstrip("R")
        domains[name] = embedded([text for _, text in rows], labels, "text")
    yield from pairs("sentiment4", "text", domains)


def reviews(folder: Path) -> Iterator[ChoiceTask]:
    """Three sites, positive or negative."""
    yield from pairs("reviews", "text", review_domains(folder))


def review_domains(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    with (folder / "reviews" / "sentences.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    domains = {}
    for site in ("imdb", "amazon", "yelp"):
        mine = [row for row in rows if row["domain"] == site]
        labels = np.array([row["label"] for row in mine])
        domains[site] = embedded([row["text"] for row in mine], labels, "text")
    return domains


def heart(folder: Path) -> Iterator[ChoiceTask]:
    """Four hospitals; the table encoder is fitted on the source, as a run does it."""
    import pandas as pd

    frame = pd.read_csv(folder / "heart" / "heart.csv", na_values="?")
    frame.loc[frame["chol"] == 0, "chol"] = np.nan
    y = np.where(frame["num"] > 0, "sick", "well").astype(str)
    for a, b in permutations(frame["hospital"].unique(), 2):
        s, t = frame["hospital"] == a, frame["hospital"] == b
        encoder = load_backbone(None, modality="table").fit(frame.loc[s, HEART])
        Xs, Xt = (np.asarray(encoder(frame.loc[rows, HEART]), np.float32) for rows in (s, t))
        yield ChoiceTask(f"heart:{a}>{b}", "heart", "table", Xs, y[s], Xt, y[t])


def spoken(folder: Path) -> Iterator[ChoiceTask]:
    """Each speaker after the five others, and each after one other."""
    X, digit, speaker = spoken_rows(folder)
    names = sorted(set(speaker))
    for name in names:
        there = speaker == name
        yield ChoiceTask(
            f"spoken:rest>{name}", "spoken", "audio",
            X[~there], digit[~there], X[there], digit[there],
        )  # fmt: skip
    for i, a in enumerate(names):
        s, t = speaker == a, speaker == names[(i + 1) % len(names)]
        yield ChoiceTask(
            f"spoken:{a}>{names[(i + 1) % len(names)]}", "spoken", "audio",
            X[s], digit[s], X[t], digit[t],
        )  # fmt: skip


def spoken_rows(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, digit and speaker of every recording."""
    samples = read(folder / "spoken_digits")
    got = embed(load_backbone(None, modality="audio"), samples, store=Store())
    stems = [Path(samples.ids[i]).stem.split("_") for i in got.rows]
    return (
        np.asarray(got.features, np.float32),
        np.array([s[0] for s in stems]),
        np.array([s[1] for s in stems]),
    )


def embedded(raw: Any, labels: np.ndarray, modality: str) -> tuple[np.ndarray, np.ndarray]:
    """Features of the default network, through the store: the second call is quick."""
    if modality == "text":
        import pandas as pd

        samples = read(pd.DataFrame({"text": raw}), text="text", modality="text")
    else:
        samples = read(raw, modality=modality)
    got = embed(load_backbone(None, modality=modality), samples, store=Store())
    return np.asarray(got.features, np.float32), labels[got.rows]
