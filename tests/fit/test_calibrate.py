"""Temperature: the minimum of the likelihood, bounded, and blind to the order of classes."""

import json

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from isthmus.errors import BundleError, DataError, UsageError
from isthmus.fit import Temperature
from isthmus.fit.base import softmax


def drawn(n=4000, K=4, T=1.0, seed=0):
    """Logits whose labels are drawn from softmax(logits / T)."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, K)) * 3
    p = softmax(z / T)
    y = (rng.random((n, 1)) > np.cumsum(p, axis=1)).sum(axis=1)
    return z, np.minimum(y, K - 1)


@pytest.mark.parametrize("T", [0.3, 1.0, 4.0])
def test_the_true_temperature_is_found(T):
    assert pytest.approx(T, rel=0.08) == Temperature().fit(*drawn(T=T)).T_


def test_it_is_the_minimum_of_the_smoothed_likelihood():
    z, y = drawn(300, T=2.0)
    n, rows = len(y), np.arange(len(y))
    rest = z.copy()
    rest[rows, y] = -np.inf
    doubt = 1 / (n + 2)

    def loss(log_t):
        logs = np.log(softmax(z / np.exp(log_t)))
        return -((1 - doubt) * logs[rows, y] + doubt * logs[rows, rest.argmax(axis=1)]).sum()

    best = minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-9})
    assert pytest.approx(np.exp(best.x), rel=1e-5) == Temperature().fit(z, y).T_


def test_rows_that_are_all_right_support_no_more_than_the_rule_of_succession():
    y = np.arange(60) % 3
    z = np.eye(3)[y] * 5.0
    t = Temperature().fit(z, y)
    confidence = softmax(t.apply(z)).max()
    assert np.isfinite(t.T_) and confidence < 61 / 62 + 0.01


def test_clipping_is_noted():
    y = np.arange(60) % 3
    t = Temperature((0.5, 2.0)).fit(np.eye(3)[(y + 1) % 3] * 9.0, y)
    assert t.T_ == 2.0 and "clipped" in t.note_
    t = Temperature((0.5, 2.0)).fit(np.eye(3)[y] * 0.01, y)
    assert t.T_ == 0.5 and "clipped" in t.note_


def test_two_classes_one_column_and_multilabel():
    z, y = drawn(3000, 2, T=2.5)
    both = Temperature().fit(z, y).T_
    assert pytest.approx(both) == Temperature().fit(z[:, 1] - z[:, 0], y).T_
    rng = np.random.default_rng(0)
    z = rng.normal(size=(3000, 3)) * 4
    yes = rng.random(z.shape) < 1 / (1 + np.exp(-z / 2.5))
    assert pytest.approx(2.5, rel=0.08) == Temperature().fit(z, yes).T_


def test_weights_are_repeated_rows():
    z, y = drawn(200, T=2.0)
    w = np.random.default_rng(0).integers(0, 3, 200)
    again = np.repeat(np.arange(200), w)
    weighted = Temperature().fit(z, y, sample_weight=w)
    assert pytest.approx(Temperature().fit(z[again], y[again]).T_) == weighted.T_


def test_order_never_changes_and_shape_is_kept():
    z, y = drawn(T=5.0)
    t = Temperature().fit(z, y)
    assert (t.apply(z).argmax(axis=1) == z.argmax(axis=1)).all()
    assert t.apply(z[:, 0]).shape == (len(z),)


def test_too_few_rows_leave_one():
    t = Temperature().fit(np.eye(3), [0, 1, 2])
    assert t.T_ == 1.0 and "3 held-out rows" in t.note_


def test_state_and_refusals():
    z, y = drawn(100)
    t = Temperature().fit(z, y)
    tensors, meta = t.to_state()
    assert not tensors
    again = Temperature.from_state({}, json.loads(json.dumps(meta)))
    assert again.apply(z).tobytes() == t.apply(z).tobytes()
    for bad in ({}, {**meta, "T": 0.0}, {**meta, "T": "hot"}):
        with pytest.raises(BundleError):
            Temperature.from_state({}, bad)
    with pytest.raises(DataError):
        Temperature().fit(z, y[:50])
    with pytest.raises(DataError, match="finite"):
        Temperature().fit(np.full((20, 2), np.inf), np.zeros(20, dtype=int))
    with pytest.raises(UsageError):
        Temperature((2.0, 3.0)).fit(z, y)
