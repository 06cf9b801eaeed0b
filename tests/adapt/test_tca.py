"""TCA against its eigenproblem solved densely, and the shifts it can and cannot mend."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from scipy.linalg import eigh
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.neighbors import KNeighborsClassifier

from isthmus.adapt.tca import TCA
from isthmus.errors import UsageError


@pytest.fixture
def domains():
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(7, 7)) * 0.8 ** np.arange(7)
    return rng.normal(size=(50, 7)) @ mix + 0.4, rng.normal(size=(40, 7)) @ mix


def unit(X):
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def contrast(n, m):
    e = np.r_[np.full(n, 1 / n), np.full(m, -1 / m)]
    return e / np.linalg.norm(e)  # e e' then has Frobenius norm 1


def dense(K, n, m, k, trade_off):
    """Eq. 9 of the paper by a symmetric-definite solver: K W, W of unit length."""
    e = K @ contrast(n, m)
    centred = K - K.mean(axis=0)
    A, B = np.outer(e, e) + trade_off * np.eye(len(K)), centred.T @ centred
    _, W = eigh(B, A, subset_by_index=(len(K) - k, len(K) - 1))
    return K @ (W / np.linalg.norm(W, axis=0))


def agree(got, Z, n, Xt):
    """Same components up to signs, on source rows and on mapped target rows."""
    ours = np.r_[got.Xs, got.map_target(Xt)]
    np.testing.assert_allclose(ours @ ours.T, Z @ Z.T, atol=1e-6)


def one_scale(Z):
    return Z / np.sqrt(((Z - Z.mean(0)) ** 2).sum(axis=1).mean())


@pytest.mark.parametrize("trade_off", [1.0, 1e-3])
def test_linear_kernel_equals_the_dense_problem(domains, trade_off):
    Xs, Xt = domains
    X = unit(np.r_[Xs, Xt])
    got = TCA(3, normalize=True, trade_off=trade_off).adapt(Xs, None, Xt)
    agree(got, unit(dense(X @ X.T, 50, 40, 3, trade_off)), 50, Xt)


def test_rbf_kernel_equals_the_dense_problem(domains):
    Xs, Xt = domains
    K = rbf_kernel(np.r_[Xs, Xt], gamma=0.05)
    got = TCA(4, kernel="rbf", gamma=0.05).adapt(Xs, None, Xt)
    agree(got, one_scale(dense(K, 50, 40, 4, 1.0)), 50, Xt)


def test_primal_weights_solve_the_generalised_equation(domains):
    Xs, Xt = domains
    X = unit(np.r_[Xs, Xt])
    W = TCA(3, kernel="primal", normalize=True).adapt(Xs, None, Xt).map_target.matrix
    e = X.T @ contrast(50, 40)
    A, B = np.outer(e, e) + np.eye(7), (X - X.mean(0)).T @ (X - X.mean(0))
    values = np.diag(W.T @ B @ W) / np.diag(W.T @ A @ W)
    np.testing.assert_allclose(B @ W, A @ W * values, atol=1e-9)
    # what a symmetric solver makes of the non-symmetric matrix is no solution
    wrong = np.linalg.eigh(np.linalg.solve(A, B))[1][:, -3:]
    values = np.diag(wrong.T @ B @ wrong) / np.diag(wrong.T @ A @ wrong)
    assert np.abs(B @ wrong - A @ wrong * values).max() > 1e-2


def test_many_rows_use_the_iterative_solver_and_still_agree():
    rng = np.random.default_rng(1)
    Xs, Xt = rng.normal(size=(300, 4)), rng.normal(size=(260, 4)) + 1
    K = rbf_kernel(np.r_[Xs, Xt], gamma=0.2)
    got = TCA(5, kernel="rbf", gamma=0.2).adapt(Xs, None, Xt)
    assert got.info["solver"] == "exact" and not got.troubles
    agree(got, one_scale(dense(K, 300, 260, 5, 1.0)), 300, Xt)


def test_nystroem_on_all_rows_is_the_exact_kernel(domains):
    Xs, Xt = domains
    a = TCA(4, kernel="rbf").adapt(Xs, None, Xt)
    b = TCA(4, kernel="rbf", solver="approximate", landmarks=90).adapt(Xs, None, Xt)
    assert b.info["solver"] == "nystroem"
    np.testing.assert_allclose(a.Xs @ a.Xs.T, b.Xs @ b.Xs.T, atol=1e-5)
    few = TCA(4, kernel="rbf", max_exact=80, landmarks=30)
    p, q = np.random.default_rng(0).permutation(50), np.random.default_rng(1).permutation(40)
    c, d = few.adapt(Xs, None, Xt), few.adapt(Xs[p], None, Xt[q])
    assert c.info["solver"] == "nystroem"
    np.testing.assert_allclose(c.Xs[p], d.Xs, atol=1e-6)


def test_rbf_runs_on_torch_and_in_single_precision_and_is_picklable(domains):
    torch = pytest.importorskip("torch")
    Xs, Xt = domains
    for solver in ("exact", "approximate"):
        adapter = TCA(3, kernel="rbf", solver=solver, landmarks=60)
        want = adapter.adapt(Xs, None, Xt)
        got = adapter.adapt(torch.from_numpy(Xs), None, torch.from_numpy(Xt))
        np.testing.assert_allclose(got.Xs.numpy(), want.Xs, atol=1e-7)
        mapped = pickle.loads(pickle.dumps(got.map_target))(torch.from_numpy(Xt))
        np.testing.assert_allclose(mapped.numpy(), want.map_target(Xt), atol=1e-7)
        low = adapter.adapt(Xs.astype("f4"), None, Xt.astype("f4"))
        assert low.Xs.dtype == np.float32
        np.testing.assert_allclose(low.map_target(Xt.astype("f4")), want.map_target(Xt), atol=1e-3)


def shifted(by):
    """Classes apart in dimension 0; the target moved by a vector."""
    rng = np.random.default_rng(2)
    y = np.arange(200) % 2
    Xs, Xt = rng.normal(size=(200, 5)), rng.normal(size=(200, 5)) + by
    for X in (Xs, Xt):
        X[:, 0] += 6 * (y - 0.5)
        X[:, 1] *= 3

    def score(adapter=None):
        rows, new = Xs, Xt
        if adapter:
            got = adapter.adapt(Xs, y, Xt)
            rows, new = got.Xs, got.map_target(Xt)
        return float(np.mean(KNeighborsClassifier(1).fit(rows, y).predict(new) == y))

    return score


@pytest.mark.parametrize("kernel, k", [("linear", 1), ("primal", 1), ("rbf", 2)])
def test_helps_when_a_direction_without_labels_moved(kernel, k):
    score = shifted([0, 15, 0, 0, 0])
    assert score() < 0.6 < 0.97 < score(TCA(k, kernel=kernel))


def test_fails_when_the_classes_moved_along_their_own_direction():
    score = shifted([6, 0, 0, 0, 0])
    assert score() < 0.6
    assert score(TCA(3)) < 0.75


def test_parameters_out_of_range_are_refused(domains):
    Xs, Xt = domains
    for bad in (
        TCA(0),
        TCA(trade_off=0),
        TCA(kernel="cubic"),
        TCA(solver="fast"),
        TCA(kernel="rbf", gamma=-1),
    ):
        with pytest.raises(UsageError):
            bad.adapt(Xs, None, Xt)


def test_landmarks_that_miss_much_of_the_kernel_are_told(domains):
    rng = np.random.default_rng(0)
    options = {"kernel": "rbf", "solver": "approximate", "landmarks": 30}
    wide, also = rng.normal(size=(150, 400)), rng.normal(size=(120, 400))  # a flat spectrum
    found = TCA(3, **options).adapt(wide, None, also).troubles
    assert [one.code for one in found] == ["rough-kernel"] and "30 landmarks" in found[0].reason
    share = float(found[0].reason.split("explain ")[1].split(" %")[0])
    assert share < 25  # thirty rows of 270 that have nothing in common
    assert "exact" in found[0].remedy
    flat = np.outer(np.linspace(0, 1, 150), np.ones(5))  # one direction: thirty rows are plenty
    assert TCA(3, **options).adapt(flat, None, flat[:100] + 0.1).troubles == ()
    assert TCA(3, kernel="rbf", solver="exact").adapt(wide, None, also).troubles == ()
