"""Suspicious rows: planted label errors, duplicates and outliers are on the list, and first."""

from __future__ import annotations

import csv
import io

import numpy as np

from isthmus.data import read
from isthmus.run.extract import Part
from isthmus.run.suspects import Suspect, Suspects, duplicates, label_errors, outliers, rare_slices

CENTRES = np.random.default_rng(99).normal(0, 4, (3, 10))


def part(n=180, seed=0, flip=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    X = (CENTRES[y] + rng.normal(size=(n, 10))).astype(np.float32)
    flipped = rng.choice(n, flip, replace=False)
    labels = y.copy()
    labels[flipped] = (labels[flipped] + 1) % 3
    samples = read((X, [f"c{k}" for k in labels]))
    return Part(samples, X, np.arange(n)), {samples.ids[i] for i in flipped}


def test_planted_label_errors_are_found():
    found, planted = part(flip=12)
    suspects = label_errors("source", found, columns=True)
    hit = {s.id for s in suspects} & planted
    assert len(hit) >= 10 and len(suspects) <= 14
    assert all(0 <= s.score <= 1 for s in suspects)
    clean, _ = part()
    assert len(label_errors("source", clean, columns=True)) <= 2


def test_duplicates_within_a_part():
    found, _ = part()
    found.X[50] = found.X[20]
    samples = read((np.asarray(found.X), ["a"] * 90 + ["b"] * 90))
    pairs = duplicates("source", Part(samples, found.X, found.rows), columns=True)
    assert [(s.id, s.other) for s in pairs] == [(samples.ids[50], samples.ids[20])]


def test_outliers_come_first():
    found, _ = part()
    found.X[7] += 40
    suspects = outliers("source", found, columns=False)
    assert (
        suspects[0].id == found.samples.ids[7]
        or max(suspects, key=lambda s: s.score).id == (found.samples.ids[7])
    )


def test_rare_slice():
    found, _ = part(n=300)
    found.X[:6] = 30 + 0.1 * np.random.default_rng(1).normal(size=(6, 10))
    rows = {s.id for s in rare_slices("source", found, columns=True)}
    assert set(found.samples.ids[:6]) <= rows and len(rows) <= 20


def test_csv_and_counts():
    rows = (Suspect("outlier", "source", "=1+1", "cat", 4.2, ""),)
    found = Suspects(rows, {"source": 10})
    assert found.counts() == {"label error": 0, "duplicate": 0, "outlier": 1, "rare slice": 0}
    (line,) = csv.DictReader(io.StringIO(found.csv()))
    assert line["label"] == "cat" and not line["id"].startswith("=")
    assert [f.code for f in found.findings()] == ["ISX033"]
    header = next(csv.reader(io.StringIO(Suspects().csv())))
    assert header == ["kind", "part", "id", "label", "score", "other"]
