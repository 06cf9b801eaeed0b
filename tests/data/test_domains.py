"""The sample_domain rule, stacked and split again."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from isthmus.data.domains import source_domains, split_domains, stack_domains
from isthmus.errors import DataError


@pytest.fixture
def sides():
    rng = np.random.default_rng(0)
    ys = np.array(["a", "b", "a", "c", "b"], dtype=object)
    yt = np.array([None, "c", None, "a"], dtype=object)
    return rng.standard_normal((5, 3)), ys, rng.standard_normal((4, 3)), yt


def test_the_rule(sides):
    Xs, ys, Xt, yt = sides
    X, y, domain, labeled = stack_domains(Xs, ys, Xt, yt)
    assert np.array_equal(X, np.vstack([Xs, Xt]))
    assert domain.tolist() == [0, 0, 0, 0, 0, -1, -1, -1, -1]
    assert labeled.tolist() == [False] * 5 + [False, True, False, True]
    assert y[:5].tolist() == ys.tolist() and y[6] == "c" and y[8] == "a"
    assert all(value in {"a", "b", "c"} for value in y)  # no sentinel enters label space


def test_there_and_back_in_any_order(sides):
    Xs, ys, Xt, yt = sides
    X, y, domain, labeled = stack_domains(Xs, ys, Xt, yt)
    order = np.random.default_rng(1).permutation(len(X))
    back = split_domains(X[order], y[order], domain[order], target_labeled=labeled[order])
    assert np.array_equal(back.Xs, Xs[order[order < 5]])
    assert back.ys.tolist() == ys[order[order < 5]].tolist()
    rows = order[order >= 5] - 5
    assert np.array_equal(back.Xt, Xt[rows])
    assert back.labeled.tolist() == [yt[i] is not None for i in rows]
    assert back.yt.tolist() == [yt[i] for i in rows if yt[i] is not None]


def test_labels_of_unlabelled_target_rows_do_not_come_through(sides):
    Xs, ys, Xt, _ = sides
    X, y, domain, _ = stack_domains(Xs, ys, Xt)
    y[5:] = "secret"
    back = split_domains(X, y, domain)
    assert len(back.yt) == 0 and not back.labeled.any()
    assert "secret" not in back.ys.tolist()


def test_other_domain_numbers_and_int_types():
    X, y = np.arange(8.0).reshape(4, 2), np.array([0, 1, 0, 1])
    for kind in (np.int8, np.int64):
        back = split_domains(X, y, np.array([2, -5, 0, -1], dtype=kind))
        assert back.Xs.tolist() == [[0, 1], [4, 5]] and back.Xt.tolist() == [[2, 3], [6, 7]]


def test_minus_one_is_a_class_like_any_other():
    ys, yt = np.array([-1, 1, -1]), np.array([1, -1])
    X, y, domain, labeled = stack_domains(np.eye(3), ys, np.eye(3)[:2], yt)
    back = split_domains(X, y, domain, target_labeled=labeled)
    assert back.ys.tolist() == [-1, 1, -1] and back.yt.tolist() == [1, -1]


def test_types_of_y_survive():
    X = np.zeros((2, 1))
    nan = np.nan
    ints = stack_domains(X, [3, 4], X, [nan, 4.0])
    assert (
        ints[1].dtype.kind == "i" and ints[1][3] == 4 and ints[3].tolist() == [False] * 3 + [True]
    )
    floats = stack_domains(X, [0.5, 1.5], X, [nan, 2.25])
    assert floats[1].dtype == float and floats[1][3] == 2.25 and np.isfinite(floats[1]).all()
    longer = stack_domains(X, ["a", "b"], X, ["a", "longer"])
    assert longer[1].tolist() == ["a", "b", "a", "longer"]
    many = np.array([[True, False], [False, False]])
    multi = stack_domains(X, many, X, many)
    assert multi[1].tolist() == many.tolist() * 2 and multi[3][2:].all()


def test_nothing_given_is_modified_or_shared(sides):
    copies = [part.copy() for part in sides]
    X, y, domain, labeled = stack_domains(*sides)
    X[:], y[:], domain[:], labeled[:] = 9, "z", 3, True
    for part, copy in zip(sides, copies):
        assert np.array_equal(part, copy)
    X, y, domain, labeled = stack_domains(*sides)
    before = [a.copy() for a in (X, y, domain, labeled)]
    back = split_domains(X, y, domain, target_labeled=labeled)
    back.Xs[:], back.ys[:], back.Xt[:], back.labeled[:], back.yt[:] = 9, "z", 9, True, "z"
    for part, copy in zip((X, y, domain, labeled), before):
        assert np.array_equal(part, copy)


def test_rows_of_any_shape_and_sparse_matrices(sides):
    Xs, ys, Xt, _ = sides
    X, y, domain, _ = stack_domains(Xs.reshape(5, 1, 3), ys, Xt.reshape(4, 1, 3))
    assert X.shape == (9, 1, 3)
    for kind in ("csr", "csc", "coo"):
        matrix = sparse.random(9, 4, density=0.5, format=kind, random_state=0)
        back = split_domains(matrix, y, domain)
        assert np.array_equal(back.Xs.toarray(), matrix.toarray()[:5])
        assert np.array_equal(back.Xt.toarray(), matrix.toarray()[5:])


def test_lists_are_read():
    X, y, domain, labeled = stack_domains([[1, 2]], ["a"], [[3, 4]], [None])
    assert X.tolist() == [[1, 2], [3, 4]] and not labeled.any()
    assert split_domains(X.tolist(), y.tolist(), domain.tolist()).ys.tolist() == ["a"]


@pytest.mark.parametrize(
    "sample_domain, words",
    [
        (None, "sample_domain is missing.*stack_domains"),
        ([0, 0, 0], "3 source rows and 0 target rows.*>= 0"),
        ([-1, -2, -1], "0 source rows and 3 target rows"),
        ([0, -1], r"shape \(2,\), expected \(3,\)"),
        ([[0], [-1], [0]], "expected"),
        ([True, False, True], "bool values, not integers"),
        ([0.0, -1.0, 0.0], "float64 values"),
        (["s", "t", "s"], "not integers"),
    ],
)
def test_sample_domain_that_is_refused(sample_domain, words):
    with pytest.raises(DataError, match=words) as caught:
        split_domains(np.eye(3), [0, 1, 0], sample_domain)
    assert isinstance(caught.value, ValueError)


def test_other_refusals_when_splitting():
    domain = [0, -1, 0]
    with pytest.raises(DataError, match="2 labels for 3 rows"):
        split_domains(np.eye(3), [0, 1], domain)
    with pytest.raises(DataError, match="marks 1 source rows"):
        split_domains(np.eye(3), [0, 1, 0], domain, target_labeled=np.array([True, True, False]))
    for bad in ([0, 1, 0], np.array([True])):
        with pytest.raises(DataError, match="one boolean"):
            split_domains(np.eye(3), [0, 1, 0], domain, target_labeled=bad)
    with pytest.raises(DataError, match="arrays"):
        split_domains(3, 4, 0)


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((np.eye(3), [0, 1, 0], np.zeros((0, 3))), "3 source rows and 0 target rows"),
        ((np.zeros((0, 3)), [], np.eye(3)), "0 source rows and 3 target rows"),
        ((np.eye(3), [0, 1, 0], np.eye(4)), r"\(3,\), target rows \(4,\)"),
        ((np.eye(3), [0, 1], np.eye(3)), "2 source labels for 3"),
        ((np.eye(3), 1, np.eye(3)), "1 source labels for 3"),
        ((np.eye(3), ["a", None, "b"], np.eye(3)), "1 of 3 source rows have no label"),
        ((np.eye(3), [0, np.nan, np.nan], np.eye(3)), "2 of 3 source rows have no label"),
        ((np.eye(3), [0, 1, 0], np.eye(3), [0, 1]), r"shape \(2,\), expected \(3,\)"),
        ((np.eye(3), [0, 1, 0], np.eye(3), ["0", "1", "0"]), "different kinds"),
        ((np.eye(3), ["0", "1", "0"], np.eye(3), [0, None, None]), "names and numbers"),
    ],
)
def test_stacking_that_is_refused(arguments, words):
    with pytest.raises(DataError, match=words):
        stack_domains(*arguments)


def test_a_method_that_holds_the_source_needs_no_source_rows():
    X, y, domain = np.zeros((3, 2)), np.arange(3), np.full(3, -1)
    with pytest.raises(DataError, match="source rows"):
        split_domains(X, y, domain)
    parts = split_domains(X, y, domain, source_needed=False)
    assert parts.Xs.shape == (0, 2) and len(parts.ys) == 0 and len(parts.Xt) == 3
    for bad in (np.zeros(3, dtype=int), np.zeros(0, dtype=int)):  # no target row is never fine
        with pytest.raises(DataError, match="target rows"):
            split_domains(X[: len(bad)], y[: len(bad)], bad, source_needed=False)


def test_source_domains_are_the_ids_in_the_order_of_the_source_rows():
    domain = np.array([2, -1, 0, 0, -3, 7])
    np.testing.assert_array_equal(source_domains(domain), [2, 0, 0, 7])
    with pytest.raises(DataError, match="missing"):
        source_domains(None)
