"""Each check of backbone and features against a known fault and, beside it, without one."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from isthmus.backbone import load_backbone
from isthmus.data.checks.registry import discover
from isthmus.run.case import pose
from isthmus.run.checks import account, collapsed, groups, hurts, near_copies, quick
from isthmus.run.checks.gap import relative_gap
from isthmus.run.checks.padding import widened
from isthmus.run.checks.permutation import order_of, permuted
from isthmus.run.checks.untrained import untrained
from isthmus.run.checks.view import ModelView
from isthmus.run.extract import extract
from isthmus.run.preflight import raw_view

NAMES = np.array([f"class{k}" for k in range(4)])


def blobs(n=120, d=12, seed=0, apart=4.0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 4
    centres = np.random.default_rng(99).normal(0, apart, (4, d))
    return (centres[y] + rng.normal(size=(n, d))).astype(np.float32), NAMES[y]


def model_view(source, target, **options) -> ModelView:
    case = pose(source, target, options=options)
    backbone = load_backbone(None, modality=case.target.modality)
    features = extract(case, backbone, store=None, max_bad=0.01, seed=0)
    truth = None if case.sealed is None else case.sealed.open("test")
    return ModelView(raw_view(case, truth=truth), features.backbone, features)


def test_the_folder_is_the_registry_and_says_what_needs_features():
    every = set(discover("isthmus.run.checks"))
    late = set(discover("isthmus.run.checks", late=True))
    assert late | set(discover("isthmus.run.checks", late=False)) == every
    assert {"account", "near_copies", "permutation", "swapped", "hurts"} <= late
    assert "behaviour" not in late and "quick" not in every and "view" not in every


def test_quick_head_learns_and_guesses_honestly():
    (X, y), (Z, z) = blobs(), blobs(seed=1)
    assert (quick.predict(X, y, Z, columns=True) == z).mean() > 0.95
    scores, classes = quick.out_of_fold(X, y, columns=False)
    assert (classes[scores.argmax(axis=1)] == y).mean() > 0.95
    shuffled = np.random.default_rng(0).permutation(y)
    scores, classes = quick.out_of_fold(X, shuffled, columns=False)
    assert (classes[scores.argmax(axis=1)] == shuffled).mean() < 0.45
    p = quick.probabilities(scores, shuffled, classes)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert p.max() < 0.75  # nothing was learned, so nothing is sure


@pytest.mark.parametrize(
    ("moved", "kind"),
    [
        (dict(zip(["8", "9", "10", "11", "12"], ["10", "11", "12", "8", "9"])), "string"),
        ({"4": "3", "5": "4", "6": "5"}, "shifted"),
        ({"3": "7", "7": "3"}, "other"),
    ],
)
def test_kinds_of_order(moved, kind):
    names = sorted({*moved, *moved.values()}, key=int)
    there = set(moved.values()) - ({"6"} if kind == "shifted" else set())
    assert order_of(moved, names, there)[0] == kind


def test_permutation_needs_a_clear_majority():
    truth = np.repeat(np.array(["a", "b", "c"]), 20)
    right = truth.copy()
    assert permuted(truth, right, "test", "") is None
    turned = np.array([{"a": "b", "b": "c", "c": "a"}[t] for t in truth])
    found = permuted(truth, turned, "test", "")
    assert found is not None and found.code == "ISX014"
    assert found.figures["agree"] == 0 and found.figures["agree_permuted"] == 1
    guesses = np.random.default_rng(0).choice(["a", "b", "c"], 60)
    assert permuted(truth, guesses, "test", "") is None


def test_near_pairs_are_confirmed_by_the_items():
    (X, y), (Z, z) = blobs(), blobs(n=80, seed=2)
    Z[5] = X[9] * 1.001
    found = list(near_copies.find(model_view((X, y), (Z, z))))
    assert [f.code for f in found] == ["ISX001"] and found[0].figures["shared"] == 1
    assert not list(near_copies.find(model_view((X, y), blobs(n=80, seed=2))))


def test_proposals_find_the_nearest_row():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 6))
    pairs = near_copies.proposals(X, X[[7, 3]] + 1e-6)
    assert {(a, b) for a, b, _ in pairs} == {(7, 0), (3, 1)}
    itself = near_copies.proposals(X, X, itself=True)
    assert all(a < b for a, b, alike in itself if alike > -2)


def test_groups_cross_only_far_above_chance():
    near = np.arange(40) % 20
    here = np.repeat(np.arange(5), 4).astype(str)
    there = here[near]  # every neighbour has the same value
    found = groups.crossing(here, there, near)
    assert found is not None and found[:2] == (1.0, 1.0) and found[2] == pytest.approx(0.2)
    other = np.random.default_rng(0).permutation(there)
    assert groups.crossing(here, other, near) is None
    alone = np.arange(20).astype(str)  # every row its own value: no group
    assert groups.crossing(alone, alone[near], near) is None


def test_collapsed_features():
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(60, 20))
    assert 14 < collapsed.effective_rank(wide) <= 20
    line = np.outer(rng.normal(size=60), rng.normal(size=20))
    assert collapsed.effective_rank(line) == pytest.approx(1)
    assert collapsed.effective_rank(np.ones((60, 20))) == 0


def test_account_knows_stale_from_mixed_up():
    source, target = blobs(), blobs(n=80, seed=3)
    view = model_view(source, target)
    part = view.features.target

    def looked(X):
        changed = dataclasses.replace(
            view.features, target=dataclasses.replace(part, X=X), backbone=part_backbone
        )
        spoilt = ModelView(view.raw, part_backbone, changed)
        return [f.code for f in account._recomputed(spoilt, "target", changed.target)]

    part_backbone = view.features.backbone
    # plain features are never stored: pretend that they were
    object.__setattr__(part_backbone, "worth_storing", True)
    X = np.asarray(part.X)
    assert looked(X) == []
    assert looked(np.roll(X, 1, axis=0)) == ["ISX026"]
    assert looked(X + 1) == ["ISX025"]


def test_consumed_rows():
    ledger = account.Consumed(6)
    ledger.add([0, 1, 2])
    ledger = account.Consumed(6, ledger.state())
    ledger.add([3, 4, 5])
    assert ledger.finish() is None
    ledger.add([5])
    found = ledger.finish()
    assert found is not None and found.figures == {"missed": 0, "repeated": 1}


def test_a_source_of_noise_hurts():
    (X, y), target = blobs(), blobs(n=80, seed=4)
    assert not list(hurts.find(model_view((X, y), target)))
    shuffled = np.random.default_rng(0).permutation(y)
    assert [f.code for f in hurts.find(model_view((X, shuffled), target))] == ["ISX023"]


def test_widened_pads_ids_and_masks():
    items = np.ones((2, 2, 3), dtype=np.int64)
    made = widened(items, 7, 2)
    assert made[0].tolist() == [[1, 1, 1, 7, 7], [1, 1, 1, 0, 0]]
    assert widened(items[:, 0], 7, 1)[0].tolist() == [1, 1, 1, 7]


def test_gap_is_relative():
    one = np.array([[10.0, 0.0]])
    assert relative_gap(one, one * 1.1) == pytest.approx(0.1)
    assert relative_gap(one, one[:, :1]) == float("inf")


def test_initial_weights_are_recognised():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.BatchNorm1d(32))
    assert untrained(net) == (["0", "1"], 2)
    with torch.no_grad():
        net[0].weight.normal_(0, 0.05)
        net[1].running_mean += 0.1
    assert untrained(net) == ([], 2)
