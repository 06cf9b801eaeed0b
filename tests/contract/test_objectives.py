"""The contract of every objective in `isthmus/align/`: the folder is walked, nothing is listed."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import json
import pickle
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from isthmus.align.base import Objective  # noqa: E402
from isthmus.align.registry import discover, settings  # noqa: E402
from isthmus.align.registry import made as by_name  # noqa: E402
from isthmus.errors import UsageError  # noqa: E402
from isthmus.types import DomainBatch  # noqa: E402

ROOT = Path(__file__).parents[2]
METHODS = discover()
OBJECTIVES = {name: cls for name, cls in METHODS.items() if issubclass(cls, Objective)}
each = pytest.mark.parametrize("name", sorted(OBJECTIVES))
LEAVES = ("source.features", "source.logits", "target.features", "target.logits")


def data(n=12, m=9, d=6, k=3, seed=0, dtype=torch.float64):
    """A labelled source batch and an unlabelled target batch; what the network made are leaves."""
    generator = torch.Generator().manual_seed(seed)

    def leaf(*shape):
        return torch.randn(*shape, generator=generator).to(dtype).requires_grad_(True)

    source = DomainBatch(leaf(n, d), leaf(n, k), torch.arange(n) % k)
    return source, DomainBatch(leaf(m, d), leaf(m, k))


def made(name, seed=0, dtype=torch.float64, d=6, k=3):
    """The method with its defaults, built under a seed; the caller's randomness stays."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        objective = OBJECTIVES[name]()
        objective.build(d, k)
    return objective.to(dtype)


def run(objective, source, target, progress=0.5, seed=1):
    """The loss under a seed: methods may draw (WDGRL's points)."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return objective(source, target, progress)


def reached(source, target):
    """Which leaves have a gradient that is not zero everywhere."""
    leaves = dict(zip(LEAVES, (source.features, source.logits, target.features, target.logits)))
    return {n for n, leaf in leaves.items() if leaf.grad is not None and leaf.grad.any()}


@pytest.mark.parametrize("name", [n for n in sorted(OBJECTIVES) if OBJECTIVES[n].on_features])
def test_the_settings_for_features_are_settings_and_make_a_method_that_learns(name):
    chosen = OBJECTIVES[name].on_features
    assert set(chosen) <= set(inspect.signature(OBJECTIVES[name]).parameters)
    method = by_name(name, on_features=True)
    assert settings(method) == settings(OBJECTIVES[name](**chosen))
    source, target = data()
    method.build(6, 3)
    loss = run(method.double(), source, target)
    assert torch.isfinite(loss)
    loss.backward()
    assert reached(source, target) == set(OBJECTIVES[name].reaches)


@each
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
def test_a_finite_scalar_of_the_features_type(name, dtype, progress):
    objective = made(name, dtype=dtype)
    source, target = data(dtype=dtype)
    loss = run(objective, source, target, progress)
    assert loss.shape == () and loss.dtype == dtype and torch.isfinite(loss)
    loss.backward()
    for leaf in (source.features, source.logits, target.features, target.logits):
        assert leaf.grad is None or torch.isfinite(leaf.grad).all()
    for figure, value in objective.figures.items():
        assert value.shape == () and not value.requires_grad and torch.isfinite(value), figure


@each
def test_gradients_reach_what_is_declared_and_nothing_else(name):
    # sure target rows, so that methods with a threshold have something to teach
    source, target = data()
    sure = (6 * target.logits.detach()).requires_grad_(True)
    target = dataclasses.replace(target, logits=sure)
    objective = made(name)
    run(objective, source, target, 1.0).backward()
    assert reached(source, target) == set(objective.reaches)
    assert set(objective.reaches) <= set(LEAVES)
    for parameter, value in objective.named_parameters():
        # the last bias of a critic has none by right: a difference of means does not know it
        assert value.grad is not None and (value.ndim == 1 or value.grad.any()), parameter


@pytest.mark.parametrize(
    "name", sorted(n for n in OBJECTIVES if hasattr(OBJECTIVES[n](), "opposed"))
)
def test_opposed_both_lets_the_reversal_reach_the_source_and_changes_nothing_else(name):
    found = []
    for opposed in ("target", "both"):
        objective = made(name)
        objective.opposed = opposed
        source, target = data()
        loss = run(objective, source, target, 1.0)
        loss.backward()
        own = [value.grad for value in objective.parameters()]
        found.append((reached(source, target), [loss.detach(), target.features.grad, *own]))
    assert found[1][0] - found[0][0] == {"source.features"}
    torch.testing.assert_close(found[0][1], found[1][1])


@each
def test_labels_of_the_target_are_never_read_and_those_of_the_source_only_where_stated(name):
    objective = made(name)
    source, target = data()
    before = run(copy.deepcopy(objective), source, target)
    sealed = dataclasses.replace(target, labels=torch.full((9,), 99))
    assert torch.equal(before, run(copy.deepcopy(objective), source, sealed))
    other = dataclasses.replace(source, labels=torch.full((12,), 2))
    same = torch.equal(before, run(copy.deepcopy(objective), other, target))
    assert same is not objective.needs_labels
    if not objective.needs_labels:
        bare = dataclasses.replace(source, labels=None)
        assert torch.equal(before, run(copy.deepcopy(objective), bare, target))


@each
@pytest.mark.parametrize("sizes", [(1, 1), (1, 9), (12, 1), (3, 40)])
def test_a_batch_of_one_and_unequal_batches(name, sizes):
    source, target = data(*sizes)
    loss = run(made(name), source, target)
    loss.backward()
    assert torch.isfinite(loss)
    for leaf in (source.features, source.logits, target.features, target.logits):
        assert leaf.grad is None or torch.isfinite(leaf.grad).all()


@each
def test_missing_classes_equal_rows_and_extreme_logits_give_finite_numbers(name):
    source, target = data()
    one = torch.zeros(12, dtype=torch.long)
    cases = {
        "one class": (dataclasses.replace(source, labels=one), target),
        "no labelled row": (dataclasses.replace(source, labels=one - 1), target),
        "equal rows": (
            DomainBatch(torch.ones(12, 6).double(), torch.ones(12, 3).double(), source.labels),
            DomainBatch(torch.ones(9, 6).double(), torch.ones(9, 3).double()),
        ),
        "zeros": (
            DomainBatch(torch.zeros(12, 6).double(), torch.zeros(12, 3).double(), source.labels),
            DomainBatch(torch.zeros(9, 6).double(), torch.zeros(9, 3).double()),
        ),
        "extreme": (
            dataclasses.replace(source, logits=500 * source.logits.detach()),
            dataclasses.replace(target, logits=500 * target.logits.detach()),
        ),
    }
    for case, (s, t) in cases.items():
        s, t = (
            dataclasses.replace(
                b,
                features=b.features.detach().requires_grad_(True),
                logits=b.logits.detach().requires_grad_(True),
            )
            for b in (s, t)
        )
        loss = run(made(name), s, t)
        loss.backward()
        assert torch.isfinite(loss), case
        for leaf in (s.features, s.logits, t.features, t.logits):
            assert leaf.grad is None or torch.isfinite(leaf.grad).all(), case


@each
@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("value", [float("nan"), 1e30])
def test_a_row_that_is_no_number_gives_a_loss_that_is_none(name, side, value):
    """Then the loop stops and names the row; an error of LAPACK's would not."""
    objective = made(name, dtype=torch.float32)
    source, target = data(dtype=torch.float32)
    broken = source if side == "source" else target
    with torch.no_grad():
        broken.features[3] = value
        broken.logits[3] = value
    loss = run(objective, source, target)
    assert loss.ndim == 0
    reads = any(one.startswith(side) for one in objective.reaches)
    if value != value and reads:
        assert not torch.isfinite(loss)


@each
def test_twice_under_one_seed_is_the_same_and_inputs_are_untouched(name):
    source, target = data()
    kept = [leaf.detach().clone() for leaf in (source.features, target.logits)]
    a, b = (run(made(name), source, target) for _ in range(2))
    assert torch.equal(a, b)
    assert torch.equal(source.features, kept[0]) and torch.equal(target.logits, kept[1])


@each
def test_the_order_of_the_rows_does_not_matter(name):
    source, target = data()
    p, q = torch.randperm(12), torch.randperm(9)
    shuffled = [
        DomainBatch(b.features[rows], b.logits[rows], None if b.labels is None else b.labels[rows])
        for b, rows in ((source, p), (target, q))
    ]
    if name == "wdgrl":
        pytest.skip("points between random pairs of rows are drawn; its own test covers them")
    a, b = run(made(name), source, target), run(made(name), *shuffled)
    torch.testing.assert_close(a, b)


@each
def test_single_precision_gives_the_same_within_tolerance(name):
    values = []
    for dtype in (torch.float64, torch.float32):
        # drawn in one precision: the generator's points would differ
        objective = made(name, dtype=dtype)
        if name == "wdgrl":
            objective.penalty = 0.0
        values.append(run(objective, *data(dtype=dtype)).double())
    torch.testing.assert_close(values[0], values[1], rtol=1e-4, atol=1e-5)


@each
def test_settings_are_stored_as_given_plain_and_make_an_equal_method(name):
    cls = OBJECTIVES[name]
    kept = settings(cls())
    assert "trade_off" in kept
    again = json.loads(json.dumps(kept))
    changed = cls(**{**again, "trade_off": 0.123})
    assert changed.trade_off == 0.123
    assert settings(changed) == {**settings(cls(**again)), "trade_off": 0.123}
    assert not list(cls().parameters()), "modules are made by build, not by __init__"


@each
def test_it_survives_pickling_copying_and_its_state_dict(name):
    source, target = data()
    objective = made(name)
    run(objective, source, target).backward()  # buffers have moved
    fresh = made(name, seed=7)
    fresh.load_state_dict(objective.state_dict())
    wanted = run(copy.deepcopy(objective), source, target)
    for again in (fresh, pickle.loads(pickle.dumps(objective))):
        torch.testing.assert_close(run(again, source, target), wanted, rtol=0, atol=0)


@each
def test_a_method_for_classes_refuses_values(name):
    objective = OBJECTIVES[name]()
    try:
        objective.build(6, 1)
    except UsageError as error:
        assert "classes" in str(error)
        return
    source, target = data(k=1)
    source = dataclasses.replace(source, labels=torch.randn(12).double())
    assert torch.isfinite(run(objective.to(torch.float64), source, target))


@pytest.mark.parametrize("name", sorted(METHODS))
def test_each_method_has_its_test_file_its_row_and_its_paper(name):
    assert (ROOT / "tests" / "align" / f"test_{name}.py").exists()
    rows = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    assert f"isthmus.align.{name}`" in rows, f"no row for {name} in docs/methods.md"
    assert "Parameters" in (METHODS[name].__doc__ or ""), name
