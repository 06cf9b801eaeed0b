"""Three heads: rows are held out, and the estimate from them knows where nothing moved."""

import numpy as np
import pytest

from isthmus.errors import DataError
from isthmus.fit.calibrate import Temperature
from isthmus.fit.features import FeatureProcessor
from isthmus.fit.logistic import LogisticHead
from isthmus.fit.model import FeatureModel
from isthmus.select.bench import Bench
from isthmus.select.estimated import (
    WEIGHTED,
    all_estimates,
    calibration,
    estimated_accuracy,
    stored,
    unknown,
)
from isthmus.select.routes.base import Domains, Labelled
from isthmus.select.views import KINDS, views

NAMES = np.array(["a", "b", "c"], dtype=object)


def bench(n=150, m=200, *, noise=1.0, seed=0, flip=False):
    rng = np.random.default_rng(seed)
    ys, yt = np.arange(n) % 3, rng.integers(3, size=m)
    centres = 2.0 * np.eye(3, 6)
    Xs, Xt = (centres[y] + s * rng.normal(size=(len(y), 6)) for y, s in ((ys, 1.0), (yt, noise)))
    if flip:
        ys = rng.permutation(ys)

    def make():
        return FeatureModel(
            FeatureProcessor(), LogisticHead(), Temperature(), "classification", tuple(NAMES)
        )

    domains = Domains(Labelled(Xs.astype("f4"), NAMES[ys]), None, Xt.astype("f4"))
    return Bench(domains, make), yt


def test_rows_are_held_out():
    pair, _ = bench(flip=True)  # labels without meaning: only a leak would be right
    seen = views(pair)
    assert seen.held.shape == (len(KINDS), 150, 3) and np.isfinite(seen.held).all()
    for held in seen.held:
        assert (held.argmax(axis=1) == pair.codes).mean() < 0.5
        np.testing.assert_allclose(held.sum(axis=1), 1, atol=1e-6)


def test_the_estimate_is_near_where_nothing_moved():
    pair, yt = bench()
    seen = views(pair)
    truth = (seen.scene.consensus.argmax(axis=1) == yt[seen.rows]).mean()
    found, lines = estimated_accuracy(seen, seen.scene.consensus, n_t=200)
    assert found.low <= truth <= found.high and found.level == 0.9
    assert abs(found.value - truth) < 0.1
    told = {line["estimator"]: line for line in lines}
    assert not set(WEIGHTED) & set(told)
    assert told["agreement-change"]["missed_by"] == stored()["missed"]["agreement-change"]
    assert set(calibration().names) <= set(told)


def test_a_consensus_that_agrees_with_nobody_is_held_to_be_worse():
    pair, _ = bench()
    seen = views(pair)
    turned = np.roll(seen.scene.consensus, 1, axis=1)
    here = all_estimates(seen, seen.scene.consensus)["agreement-change"].value
    assert all_estimates(seen, turned)["agreement-change"].value < 0.3 * here


def test_the_calibration_that_ships_keeps_what_it_promises():
    made = calibration()
    assert made.level == 0.9 and made.coverage >= 0.85 and made.groups >= 10
    assert min(made.weights[:-1]) >= 0
    wide = unknown(np.full((10, 2), 0.5), "nothing")
    assert (wide.low, wide.high) == (0, 1)


def test_a_class_of_one_row_is_refused():
    pair, _ = bench()
    y = pair.source.y.copy()
    y[y == "c"] = "a"
    y[0] = "c"
    domains = Domains(Labelled(pair.source.X, y), None, pair.domains.Xt)
    with pytest.raises(DataError, match="too few"):
        views(Bench(domains, pair.new_model))
