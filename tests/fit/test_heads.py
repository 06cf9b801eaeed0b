"""Heads by name: every pair of name and task, and helpful refusals."""

import numpy as np
import pytest

from isthmus.errors import BundleError, UsageError
from isthmus.fit import HEADS, MultiLabelHead, head_from_state, make_head

PAIRS = [(task, name) for task, names in HEADS.items() for name in names]


@pytest.mark.parametrize(("task", "name"), PAIRS)
def test_every_head_fits_and_comes_back_from_its_state(task, name):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 6))
    y = {
        "classification": np.arange(90) % 3,
        "multilabel": X[:, :2] > 0.2,
        "regression": X[:, 0] + 1,
    }[task]
    head = make_head(name, task).fit(X, y)
    again = head_from_state(*head.to_state())
    assert type(again) is type(head)
    assert np.array_equal(again.predict(X), head.predict(X))


def test_parameters_reach_the_head():
    assert make_head("logistic", C=3.0).C == 3.0
    wrapped = make_head("knn", "multilabel", n_neighbors=2)
    assert isinstance(wrapped, MultiLabelHead) and wrapped.estimator.n_neighbors == 2


@pytest.mark.parametrize(
    ("call", "hint"),
    [
        (lambda: make_head("logistc"), "'logistic'"),
        (lambda: make_head("nearest_mean"), "'nearest-mean'"),
        (lambda: make_head("ridge", "regresion"), "'regression'"),
        (lambda: make_head("ridge", alfa=1.0), "'alpha'"),
        (lambda: make_head("knn", "regression"), "Choose from ridge"),
    ],
)
def test_refusals_name_the_nearest(call, hint):
    with pytest.raises(UsageError, match=hint):
        call()


@pytest.mark.parametrize("meta", [{}, {"kind": "os.system"}, {"kind": None}, [], "x"])
def test_unknown_states_are_refused(meta):
    with pytest.raises(BundleError, match="unknown"):
        head_from_state({}, meta)
