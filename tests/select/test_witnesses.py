"""What the validators say beside the choice: picks, reasons of those not asked, measured worth."""

import numpy as np
import pytest

from isthmus.fit.calibrate import Temperature
from isthmus.fit.features import FeatureProcessor
from isthmus.fit.logistic import LogisticHead
from isthmus.fit.model import FeatureModel
from isthmus.select import witnesses
from isthmus.select.bench import Bench
from isthmus.select.routes.base import Domains, Labelled
from isthmus.select.validate.base import discover
from isthmus.select.witnesses import heard, reliability, statements

NAMES = np.array(["ant", "bee", "cat"], dtype=object)


@pytest.fixture(scope="module")
def scene():
    """A bench, and three candidates: right and sure, right and unsure, always the first class."""
    rng = np.random.default_rng(0)
    y = np.arange(150) % 3
    X = (rng.normal(size=(150, 6)) * 0.5 + 3 * np.eye(6)[y]).astype("f4")

    def new_model():
        return FeatureModel(
            FeatureProcessor(), LogisticHead(), Temperature(), "classification", tuple(NAMES)
        )

    bench = Bench(Domains(Labelled(X, NAMES[y]), None, X + 0.2), new_model)
    sure = 0.94 * np.eye(3)[y] + 0.02
    return bench, {
        "source-only": 0.1 * np.eye(3)[y] + 0.3,
        "sure": sure,
        "one class": np.tile([0.9, 0.05, 0.05], (150, 1)),
    }


def test_every_validator_is_in_the_table_with_a_pick_or_a_reason(scene):
    told = {entry["validator"]: entry for entry in statements(heard(*scene))}
    assert set(told) == set(discover())
    for name in ("circular", "circular-prior", "iwcv", "dev", "mixval"):
        assert "not asked" in told[name]["left_out"] and "picks" not in told[name]
    for name in ("infomax", "bnm"):  # sure of each row, and not of one class
        assert told[name]["picks"] == "sure" and not told[name]["left_out"]
    assert told["infomax"]["scores"]["one class"] < told["infomax"]["scores"]["sure"]


def test_what_is_shown_beside_a_pick_was_measured():
    known = reliability()
    assert set(known) <= set(discover()) and len(known) >= 12
    for entry in known.values():
        assert -1 <= entry["rank"]["low"] <= entry["rank"]["value"] <= entry["rank"]["high"] <= 1
        assert entry["rank"]["tasks"] >= 5 and 0 <= entry["hurt"] <= 1


def test_many_rows_are_drawn(scene, monkeypatch):
    monkeypatch.setattr(witnesses, "MOST", 40)
    first, again = (statements(heard(*scene, random_state=1)) for _ in range(2))
    assert first == again
    picks = {entry["validator"]: entry.get("picks") for entry in first}
    assert picks["infomax"] == "sure"
