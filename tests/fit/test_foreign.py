"""Adapters of skada as they are: mapping, subspace, reweighting, labels; and what cannot work.

Importing skada switches scikit-learn's metadata routing on for the whole process; the fixture
puts it back.
"""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import sklearn
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression, Ridge

from isthmus import DomainAdaptedClassifier, DomainAdaptedRegressor
from isthmus.data.domains import stack_domains
from isthmus.errors import DataError, UsageError
from isthmus.fit.foreign import adapt_foreign


@pytest.fixture(scope="module")
def skada():
    before = sklearn.get_config()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own imports
        module = pytest.importorskip("skada")
    sklearn.set_config(**before)
    return module


def domains(shift=1.5):
    """Classes -1 and 1: the -1 of skada's 'no label' is a class here."""

    def side(n, seed, shift):
        rng = np.random.default_rng(seed)
        y = np.arange(n) % 2
        X = rng.normal(size=(n, 4)) + 3 * y[:, None] * np.array([1, 0, 0, 1]) + shift
        return X, np.where(y, 1, -1)

    return *side(120, 1, 0.0), *side(100, 2, shift)


@pytest.mark.filterwarnings("ignore:The number of unique classes")  # skada numbers its neighbours
def test_a_mapping_a_subspace_and_a_reweighting_work_as_they_are(skada):
    Xs, ys, Xt, yt = domains()
    X, y, marks, _ = stack_domains(Xs, ys, Xt)
    plain = LogisticRegression().fit(Xs, ys).score(Xt, yt)
    for adapter, least in (
        (skada.OTMappingAdapter(), 0.95),
        (skada.CORALAdapter(), 0.95),
        (skada.SubspaceAlignmentAdapter(n_components=2), 0.95),
        (skada.GaussianReweightAdapter(), 0.7),
        (skada.NearestNeighborReweightAdapter(), 0.7),
    ):
        model = DomainAdaptedClassifier(adapter, LogisticRegression())
        model.fit(X, y, sample_domain=marks)
        assert model.classes_.tolist() == [-1, 1], "the class -1 must not be taken for no label"
        assert model.score(Xt, yt) >= least, type(adapter).__name__
        assert model.predict_proba(Xt[:3]).shape == (3, 2)
        assert not hasattr(adapter, "X_source_")  # a clone was fitted
    assert plain < 0.9


def test_the_same_numbers_as_in_their_own_pipeline(skada):
    Xs, ys, Xt, _ = domains()
    X, y, marks, _ = stack_domains(Xs, ys, Xt)
    adapter = skada.SubspaceAlignmentAdapter(n_components=2, random_state=0)
    ours = DomainAdaptedClassifier(adapter, LogisticRegression()).fit(X, y, sample_domain=marks)
    theirs = skada.SubspaceAlignmentAdapter(n_components=2, random_state=0)
    rows = theirs.fit_transform(X, None, sample_domain=np.where(marks >= 0, 1, -2))
    head = LogisticRegression().fit(rows[:120], ys)
    there = theirs.transform(Xt, sample_domain=np.full(len(Xt), -2))
    np.testing.assert_allclose(ours.predict_proba(Xt), head.predict_proba(there), rtol=1e-9)


def test_weights_are_those_of_the_adapter_with_mean_one(skada):
    Xs, ys, Xt, _ = domains()
    X, y, marks, _ = stack_domains(Xs, ys, Xt)
    model = DomainAdaptedClassifier(skada.GaussianReweightAdapter(), LogisticRegression())
    got = model.fit(X, y, sample_domain=marks).adaptation_.weights
    own = skada.GaussianReweightAdapter()
    _, more = own.fit_transform(X, None, sample_domain=np.where(marks >= 0, 1, -2))
    want = more["sample_weight"][:120]
    np.testing.assert_allclose(got, want / want.mean())
    with pytest.raises(UsageError, match="takes no sample_weight"):
        from sklearn.neighbors import KNeighborsClassifier

        DomainAdaptedClassifier(own, KNeighborsClassifier()).fit(X, y, sample_domain=marks)


def test_labels_that_are_propagated_train_on_target_rows(skada):
    from skada._ot import OTLabelPropAdapter

    Xs, ys, Xt, yt = domains()
    X, y, marks, _ = stack_domains(Xs, ys, Xt)
    model = DomainAdaptedClassifier(OTLabelPropAdapter(n_iter_max=100_000), LogisticRegression())
    assert model.fit(X, y, sample_domain=marks).score(Xt, yt) > 0.9
    assert set(model.adaptation_.labels.tolist()) == {-1, 1}


def test_nothing_is_read_from_target_labels(skada):
    Xs, ys, Xt, _ = domains()
    X, y, marks, _ = stack_domains(Xs, ys, Xt)
    for adapter in (skada.OTMappingAdapter(), skada.KMMReweightAdapter()):
        models = [
            DomainAdaptedClassifier(adapter, LogisticRegression()).fit(
                X, np.where(marks < 0, filler, y), sample_domain=marks
            )
            for filler in (-1, 1, 77)
        ]
        for other in models[1:]:
            np.testing.assert_array_equal(other.predict_proba(Xt), models[0].predict_proba(Xt))


def test_regression(skada):
    rng = np.random.default_rng(0)
    Xs, Xt = rng.normal(size=(80, 3)), rng.normal(size=(60, 3)) + 2
    ys, yt = Xs @ [1.0, 2, 3], (Xt - 2) @ [1.0, 2, 3]
    X, y, marks, _ = stack_domains(Xs, ys, Xt)
    model = DomainAdaptedRegressor(skada.LinearOTMappingAdapter(), Ridge(1e-3))
    assert model.fit(X, y, sample_domain=marks).score(Xt, yt) > 0.8
    assert Ridge(1e-3).fit(Xs, ys).score(Xt, yt) < 0


def test_what_cannot_work_is_refused_with_the_reason(skada):
    Xs, ys, Xt, _ = domains()
    X, y, marks, _ = stack_domains(Xs, ys, Xt)

    def refused(adapter, error, words):
        with pytest.raises(error, match=words):
            DomainAdaptedClassifier(adapter, LogisticRegression()).fit(X, y, sample_domain=marks)

    refused(skada.CORAL(), UsageError, "is a pipeline .*CORALAdapter")
    refused(LogisticRegression(), UsageError, "not an adapter")
    refused(skada.JDOTRegressor(), UsageError, "not an adapter")
    from skada.transformers import Subsampler

    refused(Subsampler(train_size=30), DataError, "returned 30 rows for 220")


class Stub(BaseEstimator):
    """Speaks the protocol; what it returns is set."""

    def __init__(self, out=None):
        self.out = out

    def fit_transform(self, X, y=None, *, sample_domain=None):
        return self.out(X, y, sample_domain)

    def transform(self, X, *, sample_domain=None, allow_source=False):
        return X


@pytest.mark.parametrize(
    ("out", "words"),
    [
        (lambda X, y, d: X[:, 0], "no finite features"),
        (lambda X, y, d: X * np.nan, "no finite features"),
        (lambda X, y, d: (X, {"sample_weight": -np.ones(len(X))}), "negative"),
        (lambda X, y, d: (X, {"sample_weight": np.zeros(len(X))}), "all zero"),
        (lambda X, y, d: (X, {"sample_cost": np.ones(len(X))}), "sample_cost, which nothing"),
        (lambda X, y, d: (X, y, d, {}), "4 parts"),
        (lambda X, y, d: (X, np.full(len(X), np.nan), {}), "no label"),
    ],
)
def test_answers_that_cannot_be_read_are_refused(out, words):
    Xs, ys, Xt, _ = domains()
    with pytest.raises(DataError, match=words):
        adapt_foreign(Stub(out), Xs, ys, Xt, classes=True)


def test_one_without_transform_is_refused():
    with pytest.raises(UsageError, match="has no transform"):
        adapt_foreign(
            SimpleNamespace(fit_transform=None), np.ones((2, 1)), [0, 1], None, classes=True
        )
