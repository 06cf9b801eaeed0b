"""The contract of every adapter in `isthmus/adapt/`: the folder is walked, nothing is listed."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone

import isthmus
from isthmus.adapt.base import Adapter, discover
from isthmus.errors import IsthmusError

ROOT = Path(__file__).parents[2]
METHODS = discover()
ADAPTERS = {
    name: cls
    for name, cls in METHODS.items()
    if issubclass(cls, Adapter) and not getattr(cls, "unlike_spaces", False)
}
each = pytest.mark.parametrize("name", sorted(ADAPTERS))


def data(n=60, m=50, d=6, seed=0, dtype="f8"):
    """Two classes, a target that is moved, rotated a little and scaled."""
    rng = np.random.default_rng(seed)
    ys = np.arange(n) % 2
    Xs = rng.normal(size=(n, d)) + 2.5 * ys[:, None]
    turn = np.eye(d) + 0.1 * rng.normal(size=(d, d))
    Xt = (rng.normal(size=(m, d)) + 2.5 * (np.arange(m) % 2)[:, None]) @ turn + 0.5
    return Xs.astype(dtype), np.array(["no", "yes"], dtype=object)[ys], Xt.astype(dtype)


def same(a, b, *, tol=1e-8):
    """Two adaptations agree on the source rows, the weights and a few new target rows."""
    np.testing.assert_allclose(np.asarray(a.Xs), np.asarray(b.Xs), rtol=tol, atol=tol)
    assert (a.weights is None) == (b.weights is None)
    if a.weights is not None:
        np.testing.assert_allclose(np.asarray(a.weights), np.asarray(b.weights), rtol=tol, atol=tol)
    new = data(seed=9)[2][:7]
    np.testing.assert_allclose(
        np.asarray(a.map_target(new)), np.asarray(b.map_target(new)), rtol=tol, atol=tol
    )


def sign_free(a):
    """Source and target rows up to the sign of each column: eigenvectors have none."""
    Xs = np.asarray(a.Xs)
    return Xs * np.where(Xs[np.abs(Xs).argmax(axis=0), np.arange(Xs.shape[1])] < 0, -1, 1)


@each
def test_shapes_and_types(name):
    Xs, ys, Xt = data()
    got = ADAPTERS[name]().adapt(Xs, ys, Xt)
    mapped = got.map_target(Xt[:7])
    assert got.Xs.ndim == 2 and len(got.Xs) == len(Xs)
    assert mapped.shape == (7, got.Xs.shape[1])
    assert np.isfinite(got.Xs).all() and np.isfinite(mapped).all()
    if got.weights is not None:
        assert got.weights.shape == (len(Xs),)
        assert (got.weights >= 0).all() and got.weights.mean() == pytest.approx(1)
        assert 0 < got.info["effective_sample_size"] <= len(Xs) * (1 + 1e-9)
    if got.labels is not None:
        assert len(got.labels) == len(Xt) and set(got.labels) <= set(ys)


@each
def test_inputs_are_untouched_and_the_adapter_is_not_mutated(name):
    Xs, ys, Xt = data()
    kept = Xs.copy(), ys.copy(), Xt.copy()
    adapter = ADAPTERS[name]()
    before = dict(vars(adapter))
    adapter.adapt(Xs, ys, Xt)
    assert vars(adapter) == before
    for now, then in zip((Xs, ys, Xt), kept, strict=True):
        np.testing.assert_array_equal(now, then)


@each
def test_twice_is_the_same(name):
    adapter = ADAPTERS[name]()
    same(adapter.adapt(*data()), clone(adapter).adapt(*data()), tol=0)


@each
def test_the_map_survives_pickling_and_works_on_new_rows(name):
    got = ADAPTERS[name]().adapt(*data())
    again = pickle.loads(pickle.dumps(got.map_target))
    new = data(seed=3)[2]
    np.testing.assert_array_equal(np.asarray(again(new)), np.asarray(got.map_target(new)))
    one = np.asarray(got.map_target(new[:1]))
    np.testing.assert_allclose(one, np.asarray(got.map_target(new))[:1], rtol=1e-6, atol=1e-8)


@each
@pytest.mark.parametrize("side", ["source", "target"])
def test_an_empty_side_and_missing_values_are_refused(name, side):
    Xs, ys, Xt = data()
    empty = (Xs[:0], ys[:0], Xt) if side == "source" else (Xs, ys, Xt[:0])
    with pytest.raises(IsthmusError, match="rows"):
        ADAPTERS[name]().adapt(*empty)
    broken = Xs.copy(), ys, Xt.copy()
    broken[0 if side == "source" else 2][3, 1] = np.nan
    with pytest.raises(IsthmusError, match="NaN"):
        ADAPTERS[name]().adapt(*broken)


@each
def test_other_widths_are_refused(name):
    Xs, ys, Xt = data()
    with pytest.raises(IsthmusError, match="features"):
        ADAPTERS[name]().adapt(Xs, ys, Xt[:, :-1])


@each
def test_one_class_duplicates_and_constant_columns_give_finite_numbers_or_a_clear_error(name):
    Xs, ys, Xt = data()
    cases = {
        "one class": (Xs, np.full(len(Xs), "yes", dtype=object), Xt),
        "duplicates": (
            np.repeat(Xs[:6], 10, axis=0),
            np.repeat(ys[:6], 10),
            np.repeat(Xt[:5], 9, 0),
        ),
        "constant": (np.c_[Xs, np.ones(len(Xs))], ys, np.c_[Xt, np.ones(len(Xt))]),
        "one row": (Xs, ys, Xt[:1]),
        "two rows": (Xs[:2], ys[:2], Xt[:2]),
    }
    for case, given in cases.items():
        try:
            got = ADAPTERS[name]().adapt(*given)
        except IsthmusError as error:
            assert str(error), case
            continue
        assert np.isfinite(np.asarray(got.Xs)).all(), case
        assert np.isfinite(np.asarray(got.map_target(given[2]))).all(), case
        if got.weights is not None:
            assert np.isfinite(np.asarray(got.weights)).all(), case


@each
def test_the_order_of_the_rows_does_not_matter(name):
    Xs, ys, Xt = data()
    rng = np.random.default_rng(1)
    p, q = rng.permutation(len(Xs)), rng.permutation(len(Xt))
    adapter = ADAPTERS[name]()
    if getattr(adapter, "order_matters", False):
        pytest.skip("the method draws at random; its own test covers the permutation")
    a, b = adapter.adapt(Xs, ys, Xt), adapter.adapt(Xs[p], ys[p], Xt[q])
    np.testing.assert_allclose(np.abs(sign_free(a)[p]), np.abs(sign_free(b)), rtol=1e-4, atol=1e-5)
    if a.weights is not None:
        np.testing.assert_allclose(a.weights[p], b.weights, rtol=1e-4, atol=1e-5)


@each
def test_single_precision_gives_the_same_within_tolerance(name):
    a = ADAPTERS[name]().adapt(*data())
    Xs, ys, Xt = data(dtype="f4")
    b = ADAPTERS[name]().adapt(Xs, ys, Xt)
    np.testing.assert_allclose(np.abs(sign_free(a)), np.abs(sign_free(b)), rtol=2e-2, atol=2e-2)
    if a.weights is not None:
        np.testing.assert_allclose(a.weights, b.weights, rtol=5e-2, atol=5e-2)


@each
def test_torch_in_torch_out(name):
    torch = pytest.importorskip("torch")
    cls = ADAPTERS[name]
    if getattr(cls, "numpy_only", False):
        pytest.skip(f"{name} runs on NumPy: {cls.numpy_only}")
    Xs, ys, Xt = data()
    a = cls().adapt(Xs, ys, Xt)
    b = cls().adapt(torch.from_numpy(Xs), ys, torch.from_numpy(Xt))
    assert isinstance(b.Xs, torch.Tensor)
    mapped = b.map_target(torch.from_numpy(Xt))
    assert isinstance(mapped, torch.Tensor)
    np.testing.assert_allclose(np.abs(sign_free(a)), np.abs(sign_free(b)), rtol=1e-5, atol=1e-6)
    if a.weights is not None:
        assert isinstance(b.weights, torch.Tensor)
        np.testing.assert_allclose(a.weights, b.weights.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_each_method_has_its_test_file_its_row_and_its_paper(name):
    assert (ROOT / "tests" / "adapt" / f"test_{name}.py").exists()
    rows = (ROOT / "docs" / "methods.md").read_text()
    assert f"isthmus.adapt.{name}`" in rows, f"no row for {name} in docs/methods.md"
    assert "Parameters" in (METHODS[name].__doc__ or ""), name
    assert Path(isthmus.__file__).parent.joinpath("adapt", f"{name}.py").exists()
