"""The plan says what the run then does; it writes nothing and opens no sealed label."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from isthmus.errors import DataError, UsageError
from isthmus.evaluate.sealed import SealedLabels
from isthmus.run.costs import documented_degree
from isthmus.run.plan import plan
from isthmus.transfer import transfer


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Two hospitals of made-up patients."""
    folder = tmp_path_factory.mktemp("tables")
    rng = np.random.default_rng(0)
    for name, n, shift in (("s", 90, 0.0), ("t", 60, 0.4)):
        X = rng.normal(size=(n, 4)) + shift
        frame = pd.DataFrame(X, columns=list("abcd"))
        frame["label"] = np.where(X[:, 0] + 0.3 * rng.normal(size=n) > shift, "up", "down")
        frame.to_csv(folder / f"{name}.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def planned(tables):
    return plan(str(tables / "s.csv"), str(tables / "t.csv"), shots=5, method=["coral"])


def test_it_says_what_the_run_does(tables, planned):
    done = transfer(str(tables / "s.csv"), str(tables / "t.csv"), shots=5, method=["coral"])
    about, results = planned.about, done.results
    assert {r["route"] for r in about["routes"]} == {r["route"] for r in results["routes"]}
    assert all(r["offered"] for r in about["routes"])
    assert about["evidence"] == results["evidence"]
    assert about["backbone"]["name"] == results["backbone"]["name"] == planned.options["backbone"]
    assert about["backbone"]["features"] == results["backbone"]["num_features"]
    rows = {role: entry["rows"] for role, entry in results["data"].items()}
    for role, entry in about["data"].items():
        assert entry["rows"] == rows[role.removesuffix(" (labels sealed)")]
    assert about["notes"] == results["notes"][: len(about["notes"])]


def test_its_options_give_the_same_run(tables, planned, tmp_path):
    direct = transfer(str(tables / "s.csv"), str(tables / "t.csv"), shots=5, method=["coral"])
    from isthmus.run.plan_file import load_plan

    again = transfer(**load_plan(planned.save(tmp_path / "plan.yaml")))
    assert again.results["routes"] == direct.results["routes"]
    assert again.results["proof"] == direct.results["proof"]
    pd.testing.assert_frame_equal(again.predictions, direct.predictions)


def test_guesses_come_with_their_reason_and_option(planned):
    said = planned.about["data"]["source"]["understood"]
    assert said["label"].startswith("label (") and "[--label]" in said["label"]
    target = planned.about["data"]["target"]
    assert "understood" not in target, "the same table as that of the labelled rows: said once"


def test_steps_cover_all_rows_and_sum_up(planned):
    steps = {step["step"]: step for step in planned.about["steps"]}
    assert steps["features: source"]["rows"] == 90
    assert steps["features: target"]["rows"] == 50 and steps["features: target"]["seconds"] > 0
    assert steps["route: coral"]["rows"] == 90 + 50
    assert "16 fits" in steps["route: target-only"]["how"]
    total = planned.about["total"]
    assert total["seconds"] == pytest.approx(sum(s["seconds"] for s in steps.values()), rel=0.1)
    assert "estimate" in total


def test_routes_left_out_say_why(tables):
    found = plan(str(tables / "s.csv"), str(tables / "t.csv"), method="all")
    routes = {r["route"]: r for r in found.about["routes"]}
    assert not routes["target-only"]["offered"]
    assert routes["target-only"]["why"] == "there are no labelled target rows"
    assert not routes["feda"]["offered"] and "labelled target rows" in routes["feda"]["why"]
    assert routes["coral"]["offered"]
    timed = {step["step"] for step in found.about["steps"]}
    assert "route: coral" in timed and "route: feda" not in timed


def test_the_automatic_choice_is_planned_unless_it_is_turned_off(tables):
    source, target = str(tables / "s.csv"), str(tables / "t.csv")
    for shots in (None, 5):
        found = plan(source, target, shots=shots)
        entry = next(r for r in found.about["routes"] if r["route"] == "blend")
        step = next(s for s in found.about["steps"] if s["step"] == "route: blend")
        assert (
            entry["offered"]
            and step["seconds"] > 0
            and step["rows"] == 90 + (60 if shots is None else 50)
        )
        assert found.options["method"] == "auto"
    found = plan(source, target, method="none")
    assert "blend" not in {r["route"] for r in found.about["routes"]}
    assert found.options["method"] == "none"


def test_no_sealed_label_is_opened_and_nothing_written(tables, tmp_path, monkeypatch):
    def never(self, reason):
        raise AssertionError("opened")

    monkeypatch.setattr(SealedLabels, "open", never)
    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path / "cache"))
    plan(str(tables / "s.csv"), str(tables / "t.csv"))
    assert not (tmp_path / "cache").exists() and not list(tmp_path.iterdir())


def test_a_budget_that_is_too_small_is_told(tables):
    found = plan(str(tables / "s.csv"), str(tables / "t.csv"), time=0.001)
    assert "0.001 s" in found.about["total"]["budget"]


@pytest.mark.parametrize(("rows", "tried"), [(220, True), (150, False)])
def test_a_budget_brings_the_networks_where_there_are_rows_for_them(rows, tried):
    pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    words = np.array(["good fine great nice", "bad poor awful sad"])
    y = rng.integers(0, 2, 2 * rows)
    frame = pd.DataFrame({"text": [f"{words[k]} {i}" for i, k in enumerate(y)], "label": y})
    sides = frame[:rows], frame[rows:]
    found = {
        time: {step["step"] for step in plan(*sides, label="label", time=time).about["steps"]}
        for time in (None, 600)
    }
    networks = {"route: the network itself", "route: blend, networks"}
    assert not networks & found[None]
    assert networks & found[600] == (networks if tried else set())
    some = plan(*sides, label="label", time=600, network=False, deep=False).about["steps"]
    assert not networks & {step["step"] for step in some}


def test_what_a_run_refuses_a_plan_refuses(tables):
    with pytest.raises(DataError):
        plan(str(tables / "s.csv"), str(tables / "nowhere.csv"))
    with pytest.raises(UsageError, match="coral"):
        plan(str(tables / "s.csv"), str(tables / "t.csv"), method="corall")
    with pytest.raises(UsageError):
        plan(str(tables / "s.csv"), str(tables / "t.csv"), head="logistik")


def test_data_in_memory_can_be_planned_but_not_filed():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    frame = pd.DataFrame(X, columns=list("abc"))
    found = plan(frame.assign(label=np.where(X[:, 0] > 0, "u", "d")), frame, label="label")
    assert found.about["data"]["source"]["rows"] == 60
    with pytest.raises(UsageError, match="cannot hold"):
        found.yaml()


def test_powers_of_documented_costs():
    for cost, power in [
        ("O(n_s^2) a step; Nystroem O(n r)", 2), ("O(n d^2 + d^3)", 1), ("N weighted fits", 1),
        ("O(n_s n_t d); inverted lists", 2), ("O(n^3)", 3),
    ]:  # fmt: skip
        assert documented_degree(cost) == power
