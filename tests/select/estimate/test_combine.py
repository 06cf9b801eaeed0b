"""The combination learns a known bias; its interval covers groups that it has not seen."""

from __future__ import annotations

import json

import numpy as np
import pytest

from isthmus.errors import DataError
from isthmus.select.estimate.base import Estimate
from isthmus.select.estimate.combine import Calibration, Record, calibrate


def world(rng, groups, each=30, n=400, bias=0.1, noise=0.3):
    """Truths, and three estimators: too high by `bias`, noisy, and pure noise."""
    out = []
    for g in range(groups):
        own = 0.3 * rng.normal()
        for _ in range(each):
            z = 1 + 0.8 * rng.normal()
            p = 1 / (1 + np.exp(-z))
            seen = rng.binomial(n, p) / n

            def say(shift, spread, z=z):
                return float(1 / (1 + np.exp(-(z + shift + spread * rng.normal()))))

            estimates = {
                "high": say(10 * bias + own, 0.15),
                "fair": say(own, noise),
                "noise": float(rng.uniform(0.4, 0.9)),
                "gone": None,
            }
            out.append(Record(estimates, seen, n, f"set{g}"))
    return out


@pytest.fixture(scope="module")
def learnt():
    return calibrate(world(np.random.default_rng(0), 12))


def test_what_never_answers_is_left_out_and_named(learnt):
    assert learnt.names == ("fair", "high", "noise")
    assert learnt.notes == ("gone: too few answers",)
    assert learnt.records == 360 and learnt.groups == 12


def test_better_than_the_plain_mean_on_new_groups(learnt):
    fresh = world(np.random.default_rng(1), 20)
    ours, plain, inside = [], [], []
    for r in fresh:
        found = learnt.apply(r.estimates, n_t=r.n)
        ours.append(abs(found.value - r.truth))
        plain.append(abs(np.mean([v for v in r.estimates.values() if v is not None]) - r.truth))
        inside.append(found.low <= r.truth <= found.high)
        assert 0 <= found.low <= found.value <= found.high <= 1
    assert np.mean(ours) < 0.055 < 0.07 < np.mean(plain)
    assert np.mean(inside) >= 0.87
    assert learnt.error == pytest.approx(np.mean(ours), abs=0.02)
    assert learnt.coverage >= 0.85


def test_few_target_rows_widen_the_interval(learnt):
    given = {"fair": 0.8, "high": 0.9, "noise": 0.6}
    wide, narrow = (learnt.apply(given, n_t=n) for n in (20, 100_000))
    assert wide.value == narrow.value
    assert wide.high - wide.low > 1.2 * (narrow.high - narrow.low)


def test_disagreement_widens_the_interval():
    """Misses that grow with the spread of the estimates."""
    rng = np.random.default_rng(2)
    records = []
    for i in range(400):
        z, s = rng.normal(), rng.uniform(0.05, 1.0)
        given = {k: float(1 / (1 + np.exp(-(z + s * rng.normal())))) for k in "abcd"}
        records.append(Record(given, float(1 / (1 + np.exp(-z))), 10_000, f"g{i % 8}"))
    c = calibrate(records)
    near = c.apply({"a": 0.7, "b": 0.7, "c": 0.71, "d": 0.7}, n_t=10_000)
    far = c.apply({"a": 0.5, "b": 0.85, "c": 0.71, "d": 0.7}, n_t=10_000)
    assert far.high - far.low > 1.5 * (near.high - near.low)


def test_estimates_may_be_missing_but_not_most(learnt):
    found = learnt.apply({"fair": Estimate(0.7), "high": Estimate(None, "x"), "noise": 0.7}, n_t=99)
    assert found.how.startswith("2 label-free")
    with pytest.raises(DataError, match="1 of 3"):
        learnt.apply({"fair": 0.7, "other": 0.9}, n_t=99)


def test_json_round_trip(learnt):
    back = Calibration.from_dict(json.loads(json.dumps(learnt.to_dict())))
    assert back == learnt
    given = {"fair": 0.8, "high": 0.9, "noise": 0.6}
    assert back.apply(given, n_t=50) == learnt.apply(given, n_t=50)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 99}, {"weights": [1.0]}, {"quantile": float("nan")}, {"extra": 1},
        {"names": None}, {"quantile": -1.0}, {"spread": [1.0]},
    ],
)  # fmt: skip
def test_damaged_calibrations_are_refused(learnt, change):
    with pytest.raises(DataError):
        Calibration.from_dict({**learnt.to_dict(), **change})


def test_few_records_and_few_groups():
    records = world(np.random.default_rng(3), 1, each=19)
    with pytest.raises(DataError, match="19 records"):
        calibrate(records)
    with pytest.raises(DataError, match="no estimator"):
        calibrate([Record({"a": None}, 0.5, 10)] * 30)
    one = calibrate(world(np.random.default_rng(3), 1, each=60))
    assert one.groups == 1 and 0.7 < one.coverage <= 1
