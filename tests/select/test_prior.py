"""The learned table: its trees against scikit-learn's, its weights by hand, what ships."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingRegressor

from isthmus.errors import DataError
from isthmus.select.candidates import candidates
from isthmus.select.descriptors import columns
from isthmus.select.prior import FILE, ChoicePrior, Trees, choice_prior, settled


def as_json(model):
    trees = []
    for (stage,) in model.estimators_:
        tree = stage.tree_
        trees.append(
            {
                "feature": np.maximum(tree.feature, -1).tolist(),
                "threshold": tree.threshold.tolist(),
                "left": np.maximum(tree.children_left, 0).tolist(),
                "right": np.maximum(tree.children_right, 0).tolist(),
                "value": (model.learning_rate * tree.value[:, 0, 0]).tolist(),
            }
        )
    return {"start": float(np.ravel(model.init_.constant_)[0]), "trees": trees}


def test_trees_predict_what_scikit_learn_predicts():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 5))
    y = np.sin(X[:, 0]) + (X[:, 1] > 0) * X[:, 2]
    model = GradientBoostingRegressor(n_estimators=20, max_depth=3, random_state=0).fit(X, y)
    state = json.loads(json.dumps(as_json(model)))
    new = rng.normal(size=(50, 5))
    np.testing.assert_allclose(Trees.from_dict(state).predict(new), model.predict(new))


def test_the_table_that_ships_is_of_this_version_and_small():
    prior = choice_prior()
    names = tuple(c.name for c in candidates(labelled=False))
    assert prior.candidates == names and prior.columns == columns(names)
    assert FILE.stat().st_size < 400_000
    assert prior.learned_from["tasks"] > 300
    assert prior.gain_error["low"] < 0 < prior.gain_error["high"]


def test_weights_follow_the_expectation_and_fear_the_downside():
    prior = choice_prior()
    gain, down = np.array([0.0, 0.04, 0.04]), np.array([0.0, 0.0, 0.04])
    weights = prior.weights(gain, down)
    assert weights.sum() == pytest.approx(1)
    assert np.log(weights[1] / weights[0]) == pytest.approx(0.04 / prior.temperature)
    want = prior.caution * 0.04 / prior.temperature
    assert np.log(weights[1] / weights[2]) == pytest.approx(want)


def test_nothing_is_expected_of_source_only():
    gain, down = settled(np.array([0.3, 0.1]), np.array([0.2, 0.04]), ["source-only", "x"])
    assert gain.tolist() == [0.0, 0.1] and down.tolist() == pytest.approx([0.0, 0.2])


def test_another_version_is_refused():
    state = json.loads(FILE.read_text())
    with pytest.raises(DataError, match="schema"):
        ChoicePrior.from_dict(state | {"schema": 99})
    state.pop("gain")
    with pytest.raises(DataError, match="incomplete"):
        ChoicePrior.from_dict(state)
