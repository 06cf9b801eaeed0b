"""Routes are found by their files; weights give the target its share and no more."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.select.routes.base import Domains, Labelled, discover
from isthmus.select.routes.pooled import Pooled, joint_groups


def domains(with_target: bool = True, with_source: bool = True) -> Domains:
    rng = np.random.default_rng(0)
    rows = Labelled(rng.normal(size=(8, 3)).astype("f4"), np.array(list("abababab"), dtype=object))
    return Domains(rows if with_source else None, rows if with_target else None, rows.X)


def test_the_folder_is_the_registry():
    assert [route.name for route in discover()] == ["pooled", "source-only", "target-only"]


def test_a_route_without_its_labels_refuses_with_the_missing_domain():
    routes = {route.name: route for route in discover()}
    assert "target" in routes["pooled"].refuses(domains(with_target=False))
    assert "source" in routes["source-only"].refuses(domains(with_source=False))
    assert routes["target-only"].refuses(domains(with_source=False)) is None


@pytest.mark.parametrize(
    ("n_source", "n_target", "ratio"), [(100, 50, 2.0), (1000, 10, 10.0), (10, 100, 1.0)]
)
def test_target_rows_carry_half_of_the_weight_up_to_the_cap(n_source, n_target, ratio):
    weights = Pooled().weights(n_source, n_target)
    assert weights.mean() == pytest.approx(1)
    assert weights[-1] / weights[0] == pytest.approx(ratio)


def test_groups_of_the_two_domains_never_merge_by_name():
    groups = joint_groups(np.array(["p1", "p1"]), np.array(["p1"]), 2, 1)
    assert groups[0] == groups[1] != groups[2]
    assert len(set(joint_groups(None, np.array(["x", "x"]), 3, 2))) == 4


def test_a_fold_changes_only_the_labelled_target_rows():
    whole = domains()
    part = whole.with_target(np.array([0, 3]))
    assert len(part.target) == 2 and part.source is whole.source and part.Xt is whole.Xt


def test_labelled_target_rows_of_one_class_serve_no_route_that_learns_from_them():
    X = np.random.default_rng(0).normal(size=(12, 3)).astype("f4")
    both = Labelled(X, np.array(["a", "b"] * 6, dtype=object))
    lone = Labelled(X, np.array(["a"] * 12, dtype=object))
    refusals = {r.name: r.refuses(Domains(both, lone, X)) for r in discover()}
    assert refusals.pop("source-only") is None
    assert all("are 'a'" in why for why in refusals.values()) and len(refusals) == 2
    # a source of one class can be pooled with a target that has the others
    refusals = {r.name: r.refuses(Domains(lone, both, X)) for r in discover()}
    assert "are 'a'" in refusals.pop("source-only") and set(refusals.values()) == {None}
    numbers = Labelled(X, np.ones(12))  # of a regression: equal values are no class
    assert discover()[1].refuses(Domains(numbers, numbers, X)) is None
