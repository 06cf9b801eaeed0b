"""More tasks to learn from, none of which is reported: other questions and other styles.

The questions of a set are turned round (who speaks, after other digits; which site, after the
other opinion), photos change their style, tables are split along a feature.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.choice_tasks import (
    ChoiceTask,
    embedded,
    pairs,
    review_domains,
    sentiment,
    spoken_rows,
)


def extra_tasks(folder: Path, *, most: int = 1000) -> list[ChoiceTask]:
    """Tasks of suites that the benchmark does not report."""
    makers = (speakers, sites, signs, small_digits, styled_digits, tables)
    return [task.capped(most) for maker in makers for task in maker(folder)]


def speakers(folder: Path) -> Iterator[ChoiceTask]:
    """Who speaks: learned on one digit, asked on another."""
    X, digit, who = spoken_rows(folder)
    for a, b in ("01", "23", "45", "67", "89", "18", "52", "94"):
        s, t = digit == a, digit == b
        yield ChoiceTask(f"speaker:{a}>{b}", "speaker", "audio", X[s], who[s], X[t], who[t])


def sites(folder: Path) -> Iterator[ChoiceTask]:
    """Where a text comes from: learned on one opinion, asked on the other."""
    texts = {t.name.split(":")[1].split(">")[0]: (t.Xs, t.ys) for t in sentiment(folder)}
    for name, domains in (("site", review_domains(folder)), ("kind", texts)):
        X = np.concatenate([rows for rows, _ in domains.values()])
        where = np.concatenate([[key] * len(y) for key, (_, y) in domains.items()])
        opinion = np.concatenate([y for _, y in domains.values()])
        for a, b in (tuple(np.unique(opinion)), tuple(np.unique(opinion)[::-1])):
            s, t = opinion == a, opinion == b
            yield ChoiceTask(f"{name}:{a}>{b}", "site", "text", X[s], where[s], X[t], where[t])


def signs(folder: Path) -> Iterator[ChoiceTask]:
    """Hand signs, clean and in six other styles, through the default image network."""
    from PIL import Image, ImageFilter

    files = sorted((folder / "sign_digits").glob("*/*.JPG"))
    files = [files[i] for i in np.random.default_rng(0).permutation(len(files))]
    styles: dict[str, Callable] = {
        "clean": lambda im: im,
        "inverted": lambda im: Image.eval(im.convert("L").convert("RGB"), lambda v: 255 - v),
        "blurred": lambda im: im.filter(ImageFilter.GaussianBlur(3)),
        "edges": lambda im: im.filter(ImageFilter.FIND_EDGES),
        "coarse": lambda im: im.resize((16, 16)).resize((100, 100)),
        "dark": lambda im: Image.eval(im, lambda v: v // 4),
        "turned": lambda im: im.rotate(25),
    }
    domains = {}
    for name, style in styles.items():
        part = files[:1000] if name == "clean" else files[1031:1731]
        photos = [style(Image.open(p).convert("RGB").resize((100, 100))) for p in part]
        labels = np.array([p.parent.name for p in part])
        domains[name] = embedded(np.stack([np.asarray(im) for im in photos]), labels, "image")
    yield from _star("signs", "clean", domains)


def styled_digits(folder: Path) -> Iterator[ChoiceTask]:
    """MNIST as photos, plain and in four other styles."""
    from PIL import Image, ImageFilter

    with np.load(folder / "digits" / "mnist_25k.npz") as stored:
        images, y = stored["X_train"][5000:7000], stored["y_train"][5000:7000].astype(str)
    noise = np.random.default_rng(0).normal(0, 60, images.shape[1:])
    styles: dict[str, Callable] = {
        "plain": lambda im: im,
        "inverted": lambda im: Image.eval(im, lambda v: 255 - v),
        "turned": lambda im: im.rotate(30),
        "thick": lambda im: im.filter(ImageFilter.MaxFilter(3)),
        "noisy": lambda im: Image.fromarray(
            np.clip(np.asarray(im) + noise, 0, 255).astype(np.uint8)
        ),
    }
    domains = {}
    for name, style in styles.items():
        part = slice(1000, 2000) if name == "plain" else slice(0, 1000)
        photos = np.stack([np.asarray(style(Image.fromarray(im))) for im in images[part]])
        domains[name] = embedded(np.repeat(photos[..., None], 3, axis=3), y[part], "image")
    yield from _star("styled_digits", "plain", domains)


def small_digits(folder: Path) -> Iterator[ChoiceTask]:
    """The 8x8 digits of scikit-learn and USPS, shrunk to the same size."""
    from sklearn.datasets import load_digits

    own = load_digits()
    with np.load(folder / "digits" / "usps.npz") as stored:
        other = stored["X_train"][:1500].reshape(-1, 8, 2, 8, 2).mean(axis=(2, 4)) / 16
        y = stored["y_train"][:1500].astype(str)
    domains = {
        "optdigits": (own.data.astype(np.float32), own.target.astype(str)),
        "usps": (other.reshape(len(other), 64).astype(np.float32), y),
    }
    yield from pairs("small_digits", "features", domains)


def tables(_: Path) -> Iterator[ChoiceTask]:
    """Wine and tumours: low against high in a feature, with overlap."""
    from sklearn.datasets import load_breast_cancer, load_wine

    for name, load in (("wine", load_wine), ("tumours", load_breast_cancer)):
        found = load()
        X, y = found.data.astype(np.float32), found.target.astype(str)
        for j in range(4):
            rng = np.random.default_rng(j)
            order = np.argsort(X[:, j] + rng.normal(0, 0.7 * X[:, j].std(), len(X)))
            low, high = order[: len(X) // 2], order[len(X) // 2 :]
            for s, t, way in ((low, high, "up"), (high, low, "down")):
                yield ChoiceTask(f"{name}:{j}{way}", name, "table", X[s], y[s], X[t], y[t])


def _star(
    suite: str, middle: str, domains: dict[str, tuple[np.ndarray, np.ndarray]]
) -> Iterator[ChoiceTask]:
    for task in pairs(suite, "image", domains):
        if middle in task.name.split(":")[1].split(">"):
            yield task


def variant(tasks: list[ChoiceTask], seed: int) -> ChoiceTask:
    """A task drawn from these, each suite with the same chance: other sizes, classes and shares.

    Three in ten are made from one domain: split within classes along a principal direction, or
    with other class shares.
    """
    rng = np.random.default_rng(seed)
    suites = sorted({task.suite for task in tasks})
    while True:
        suite = suites[rng.integers(len(suites))]
        own = [task for task in tasks if task.suite == suite]
        task = own[rng.integers(len(own))]
        if rng.random() < 0.3:
            task = _of_one_domain(task, rng)
        names = np.array(sorted(set(task.ys) & set(task.yt)))
        if len(names) > 3 and rng.random() < 0.5:
            names = rng.choice(names, rng.integers(2, len(names)), replace=False)
            s, t = np.isin(task.ys, names), np.isin(task.yt, names)
            task = replace(task, Xs=task.Xs[s], ys=task.ys[s], Xt=task.Xt[t], yt=task.yt[t])
        if rng.random() < 0.3:
            keep = _tilted(task.yt, names, rng)
            task = replace(task, Xt=task.Xt[keep], yt=task.yt[keep])
        if rng.random() < 0.15:
            keep = _tilted(task.ys, names, rng)
            task = replace(task, Xs=task.Xs[keep], ys=task.ys[keep])
        n_s, n_t = (int(np.exp(rng.uniform(np.log(80), np.log(800)))) for _ in range(2))
        s, t = rng.permutation(len(task.Xs))[:n_s], rng.permutation(len(task.Xt))[:n_t]
        found = replace(
            task, name=f"{task.name}#{seed}",
            Xs=task.Xs[s], ys=task.ys[s], Xt=task.Xt[t], yt=task.yt[t],
        )  # fmt: skip
        _, counts = np.unique(found.ys, return_counts=True)
        if (counts >= 2).sum() >= 2 and len(found.Xs) >= 40 and len(found.Xt) >= 40:
            return found


def _tilted(y: np.ndarray, names: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rows that stay when the classes are thinned by shares from a Dirichlet distribution."""
    shares = rng.dirichlet(np.full(len(names), 2.0))
    chance = dict(zip(names, np.maximum(shares / shares.max(), 0.05), strict=True))
    return rng.random(len(y)) < np.array([chance.get(label, 1.0) for label in y])


def _of_one_domain(task: ChoiceTask, rng: np.random.Generator) -> ChoiceTask:
    X, y = (task.Xs, task.ys) if rng.random() < 0.5 else (task.Xt, task.yt)
    _, codes = np.unique(y, return_inverse=True)
    if rng.random() < 0.5:
        means = np.stack([X[codes == c].mean(axis=0) for c in range(codes.max() + 1)])
        inner = X - means[codes]
        some = rng.permutation(len(X))[:500]
        directions = np.linalg.svd(inner[some], full_matrices=False)[2]
        along = inner @ directions[min(rng.integers(0, 3), len(directions) - 1)]
        side = (along > 0) ^ (rng.random(len(X)) < 0.1)
    else:
        side = rng.random(len(X)) < rng.uniform(0.15, 0.85, codes.max() + 1)[codes]
    return replace(task, Xs=X[~side], ys=y[~side], Xt=X[side], yt=y[side])
