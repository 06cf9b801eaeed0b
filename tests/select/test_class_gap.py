"""Classes of one side only: seen where they are gone, silent where both sides have all."""

from dataclasses import replace

import numpy as np
import pytest

from isthmus.errors import DataError
from isthmus.fit.calibrate import Temperature
from isthmus.fit.features import FeatureProcessor
from isthmus.fit.logistic import LogisticHead
from isthmus.fit.model import FeatureModel
from isthmus.select.bench import Bench
from isthmus.select.class_gap import class_gap, told
from isthmus.select.routes.base import Domains, Labelled
from isthmus.select.views import views

K, D = 8, 20
NAMES = np.array([f"kind {c}" for c in range(K)], dtype=object)


def rows(n, classes, *, shift, seed):
    rng = np.random.default_rng(seed)
    y = rng.choice(classes, size=n)
    centres = np.random.default_rng(9).normal(size=(K, D)) * 1.2
    return (centres[y] + rng.normal(size=(n, D)) + shift).astype("f4"), y


def bench(source=range(K), target=range(K)):
    Xs, ys = rows(500, list(source), shift=0.0, seed=0)
    Xt, _ = rows(400, list(target), shift=0.3, seed=1)
    names = tuple(NAMES[sorted(set(source))])

    def new_model():
        return FeatureModel(
            FeatureProcessor(), LogisticHead(), Temperature(), "classification", names
        )

    return Bench(Domains(Labelled(Xs, NAMES[ys]), None, Xt), new_model)


def test_equal_classes_give_no_finding():
    said = told(class_gap(views(bench())), tuple(NAMES))
    assert said["absent"] == [] and said["novel"] is None
    assert set(said["presence"]) == set(NAMES) and min(said["presence"].values()) > 0.5


def test_classes_gone_from_the_target_are_named():
    said = told(class_gap(views(bench(target=range(5)))), tuple(NAMES))
    assert set(said["absent"]) == set(NAMES[5:]) and said["novel"] is None


def test_novel_rows_are_seen_with_the_rate_of_false_ones():
    pair = bench(source=range(5))
    said = told(class_gap(views(pair)), pair.classes)
    assert said["absent"] == [] and said["novel"]["low"] <= 3 / 8 <= said["novel"]["high"]
    assert said["false_alarm"] < 0.1


def test_no_row_can_be_held_out_of_a_class_of_one():
    pair = bench()
    y = pair.source.y.copy()
    y[1:][y[1:] == y[0]] = NAMES[(list(NAMES).index(y[0]) + 1) % K]
    with pytest.raises(DataError, match="too few"):
        views(Bench(replace(pair.domains, source=replace(pair.source, y=y)), pair.new_model))
