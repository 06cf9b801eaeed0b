"""`validate` and `discover`: failures are reasons, values are numbers."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from isthmus.errors import DataError
from isthmus.select.validate.base import Scene, Trial, Validator, discover, validate
from isthmus.select.validate.scenes import drawn, once

HALF = np.full((4, 2), 0.5)
ONE = np.arange(4.0)[:, None]
SCENE = Scene(ONE, np.zeros(4, int), ONE, 2, np.ones(4), np.zeros((4, 1), int), HALF)


class Given(Validator):
    name = "given"
    needs = ("refit",)

    def __init__(self, values):
        self.left = iter(values)

    def score(self, scene, trial):
        value = next(self.left)
        if isinstance(value, Exception):
            raise value
        return value


def test_values_reasons_and_warnings(caplog):
    trials = [Trial(n, HALF, refit=print) for n in "abcd"] + [Trial("e", HALF)]
    values = [0.25, DataError("too few rows"), np.linalg.LinAlgError("singular"), np.nan]
    with caplog.at_level(logging.WARNING):
        got = validate(Given(values), SCENE, trials)
    assert {name: s.value for name, s in got.items()} == dict(
        a=0.25, b=None, c=None, d=None, e=None
    )
    assert got["b"].reason == "too few rows" and got["c"].reason == "singular"
    assert "finite" in got["d"].reason and got["e"].reason == "e has no refit"
    assert len(caplog.records) == 3


def test_a_programming_error_is_no_reason():
    with pytest.raises(TypeError):
        validate(Given([TypeError("bug")]), SCENE, [Trial("a", HALF, refit=print)])


def test_all_fourteen_are_found():
    assert sorted(discover()) == [
        "agreement", "bnm", "circular", "circular-capacity", "circular-prior", "class-ami", "dev",
        "entropy", "infomax", "iwcv", "mano", "mixval", "neighbors", "snd",
    ]  # fmt: skip


def test_once_is_made_once_a_scene_and_key():
    from dataclasses import replace

    made = []
    scene = replace(SCENE)
    for key in ("a", "a", "b"):
        once(scene, key, lambda s: made.append(s) or len(made))
    assert len(made) == 2
    once(replace(scene), "a", lambda s: made.append(s) or 0)
    assert len(made) == 3


def test_a_draw_follows_the_values_and_not_the_order():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 3))
    order = rng.permutation(50)
    np.testing.assert_array_equal(X[drawn(X, 3, 20)], X[order][drawn(X[order], 3, 20)])
    assert sorted(drawn(X, 3)) == list(range(50)) and len(drawn(X, 3, 20)) == 20
    assert not np.array_equal(drawn(X, 3), drawn(X, 4))
