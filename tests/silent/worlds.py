"""Small, honest worlds cut out of the real data sets: source and target of other domains.

`Data` reads each set once. A world is what `isthmus.run.preflight.check` takes, as a dict.
"""

from __future__ import annotations

import shutil
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd


class Data:
    """The real sets, and a scratch folder for what is cut out of them."""

    def __init__(self, root: Path, scratch: Path) -> None:
        self.root, self.scratch = root, scratch
        self._count = 0

    def folder(self) -> Path:
        """A fresh folder."""
        self._count += 1
        path = self.scratch / f"w{self._count}"
        path.mkdir(parents=True)
        return path

    # images: ten photos in a row show one student, so blocks of numbers are other people
    @cached_property
    def signs(self) -> pd.DataFrame:
        files = sorted((self.root / "sign_digits").glob("[0-9]/*.JPG"))
        frame = pd.DataFrame({"file": files, "label": [f.parent.name for f in files]})
        frame["number"] = [int(f.stem.split("_")[1]) for f in files]
        return frame.sort_values("number").reset_index(drop=True)

    def sign_rows(self, start: int, per_class: int, classes: str = "0123456789") -> pd.DataFrame:
        """`per_class` photos a class, from the `start`-th on, in order of the number."""
        parts = []
        for name in classes:
            rows = self.signs[self.signs.label == name]
            parts.append(rows.iloc[start : start + per_class])
        return pd.concat(parts, ignore_index=True)

    def write_signs(
        self, rows: pd.DataFrame, folder: Path, rename=lambda row: row.file.name
    ) -> Path:
        """Copy photos into class folders."""
        for row in rows.itertuples():
            place = folder / row.label
            place.mkdir(exist_ok=True)
            shutil.copyfile(row.file, place / rename(row))
        return folder

    def images(self, classes: str = "01234", source: int = 10, target: int = 10, start: int = 0):
        """Two folders of sign photos by other people."""
        base = self.folder()
        one, other = base / "source", base / "target"
        one.mkdir()
        other.mkdir()
        self.write_signs(self.sign_rows(start, source, classes), one)
        self.write_signs(self.sign_rows(start + 100, target, classes), other)
        return {"source": one, "target": other}

    @cached_property
    def speech(self) -> pd.DataFrame:
        files = sorted((self.root / "spoken_digits").glob("*.wav"))
        parts = [f.stem.split("_") for f in files]
        return pd.DataFrame(
            {
                "file": files,
                "label": [p[0] for p in parts],
                "speaker": [p[1] for p in parts],
                "take": [int(p[2]) for p in parts],
            }
        )

    def speech_rows(self, speakers, takes, classes: str = "0123456789") -> pd.DataFrame:
        rows = self.speech
        keep = rows.speaker.isin(speakers) & rows["take"].isin(takes)
        return rows[keep & rows.label.isin(list(classes))].reset_index(drop=True)

    def write_speech(self, rows, folder: Path, rename=lambda row: row.file.name) -> Path:
        folder.mkdir(exist_ok=True)
        for row in rows.itertuples():
            place = folder / row.label
            place.mkdir(exist_ok=True)
            shutil.copyfile(row.file, place / rename(row))
        return folder

    def audio(self, one=("jackson", "nicolas"), other=("theo",), classes="0123456789", takes=6):
        """Recordings of other speakers; plain numbers as names."""
        base = self.folder()
        source = self.speech_rows(one, range(takes), classes)
        target = self.speech_rows(other, range(takes), classes)
        order = np.random.default_rng(0).permutation(10_000)

        def name(row):
            return f"{order[row.Index]:04d}.wav"

        return {
            "source": self.write_speech(source, base / "source", name),
            "target": self.write_speech(target, base / "target", name),
        }

    @cached_property
    def reviews(self) -> pd.DataFrame:
        return pd.read_csv(self.root / "reviews" / "sentences.csv")

    def texts(self, one="imdb", other="amazon", source=120, target=80, start=0):
        """Two tables of sentences, as many of each label."""
        found = {}
        for role, domain, n in (("source", one, source), ("target", other, target)):
            rows = self.reviews[self.reviews.domain == domain]
            parts = [rows[rows.label == k].iloc[start : start + n // 2] for k in (0, 1)]
            frame = pd.concat(parts)[["text", "label"]].sample(frac=1, random_state=0)
            found[role] = frame.reset_index(drop=True)
        return {**found, "label": "label", "text": "text"}

    @cached_property
    def heart(self) -> pd.DataFrame:
        frame = pd.read_csv(self.root / "heart" / "heart.csv", na_values="?")
        frame["disease"] = np.where(frame.num > 0, "yes", "no")
        return frame.drop(columns="num")

    def table(self, one="cleveland", other="hungarian", source=200, target=150, seed=0):
        """Two hospitals."""
        found = {}
        for role, hospital, n in (("source", one, source), ("target", other, target)):
            rows = self.heart[self.heart.hospital == hospital].drop(columns="hospital")
            rows = rows.sample(min(n, len(rows)), random_state=seed)
            found[role] = rows.reset_index(drop=True)
        return {**found, "label": "disease"}

    @cached_property
    def digits(self):
        """Pixels of two kinds of digits, 256 a row, 0..1: (X, y) of MNIST and of USPS."""
        with np.load(self.root / "published" / "mnist_usps.npz") as pack:
            return {k: (pack[f"X_{k}"], pack[f"y_{k}"].astype(int)) for k in ("mnist", "usps")}

    def features(self, one="mnist", other="usps", source=300, target=200, seed=0):
        """(X, y) of two kinds of digits."""
        rng = np.random.default_rng(seed)
        found = {}
        for role, name, n in (("source", one, source), ("target", other, target)):
            X, y = self.digits[name]
            rows = np.concatenate(
                [rng.choice(np.flatnonzero(y == k), n // 10, replace=False) for k in range(10)]
            )
            rng.shuffle(rows)
            found[role] = X[rows], y[rows]
        return {**found, "modality": "features"}

    def surf(self, one="amazon", other="dslr", source=200, target=120, seed=0):
        """Office-Caltech: bags of words of photos."""
        rng = np.random.default_rng(seed)
        found = {}
        for role, name, n in (("source", one, source), ("target", other, target)):
            with np.load(self.root / "published" / f"surf_{name}.npz") as pack:
                X, y = pack["X"].astype(np.float32), pack["y"].ravel().astype(int)
            rows = rng.permutation(len(X))[:n]
            found[role] = X[rows], y[rows]
        return {**found, "modality": "features"}

    def coil(self, one=1, other=2, classes=10, seed=0):
        """COIL: objects seen from two ranges of angles."""
        found = {}
        with np.load(self.root / "published" / "coil.npz") as pack:
            for role, half in (("source", one), ("target", other)):
                X, y = pack[f"X_coil{half}"], pack[f"y_coil{half}"].astype(int)
                keep = np.random.default_rng(seed).permutation(np.flatnonzero(y < classes))[:240]
                found[role] = X[keep], y[keep]
        return {**found, "modality": "features"}

    @cached_property
    def moods(self) -> dict[str, pd.DataFrame]:
        found = {}
        for path in sorted((self.root / "sentiment4").glob("*_GroundTruth.txt")):
            frame = pd.read_csv(
                path, sep="\t", header=None, names=["id", "mood", "text"], quoting=3
            )
            found[path.name.split("_")[0]] = frame
        return found

    def regression(self, one="amazonReviewSnippets", other="tweets", source=120, target=80, seed=0):
        """Human ratings of short texts."""
        return {
            "source": self.moods[one][["text", "mood"]].sample(source, random_state=seed),
            "target": self.moods[other][["text", "mood"]].sample(target, random_state=seed),
            "label": "mood",
            "text": "text",
            "task": "regression",
        }
