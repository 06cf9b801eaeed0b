"""`DomainAdaptedClassifier` inside scikit-learn: clone, Pipeline, searches, both ways of routing.

The rule behind all of it: `sample_domain` and `target_labeled` travel with the rows, and no label
of a target row is read unless `target_labeled` names it.
"""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from isthmus import DomainAdaptedClassifier, DomainAdaptedRegressor
from isthmus.adapt.base import Adapter
from isthmus.adapt.coral import CORAL
from isthmus.adapt.kmm import KMM
from isthmus.adapt.mlls import MLLS
from isthmus.data.domains import stack_domains
from isthmus.errors import DataError, UsageError
from isthmus.types import Adaptation


def side(n, seed, shift=0.0, turn=0.0):
    rng = np.random.default_rng(seed)
    codes = np.arange(n) % 2
    X = rng.normal(size=(n, 3)) * [1, 2, 0.5] + 2.5 * codes[:, None] + shift
    turned = X @ (np.eye(3) + turn * np.ones((3, 3)))
    return turned, np.array(["no", "yes"])[codes]


def stacked(known=0):
    Xs, ys = side(120, 0)
    Xt, yt = side(100, 1, shift=1.5, turn=0.3)
    labels = np.full(100, None, dtype=object)
    labels[:known] = yt[:known]
    return *stack_domains(Xs, ys.astype(object), Xt, labels), Xt, yt


def test_without_an_adapter_it_is_the_source_only_baseline():
    X, y, marks, _, Xt, _ = stacked()
    plain = LogisticRegression().fit(X[marks >= 0], y[marks >= 0].astype(str))
    for given in ({"sample_domain": marks}, {}):
        model = DomainAdaptedClassifier(None, LogisticRegression())
        rows = slice(None) if given else slice(0, 120)
        model.fit(X[rows], y[rows].astype(str), **given)
        np.testing.assert_allclose(model.predict_proba(Xt), plain.predict_proba(Xt))
    with pytest.raises(UsageError, match="CORAL needs sample_domain"):
        DomainAdaptedClassifier(CORAL()).fit(X, y)


@pytest.mark.parametrize("adapter", [CORAL(), KMM(), MLLS(use="correction")])
def test_placeholders_of_target_rows_change_nothing(adapter):
    X, y, marks, labelled, Xt, _ = stacked(known=10)
    hidden = (marks < 0) & ~labelled
    answers = []
    for filler in ("no", "yes", "never seen"):
        filled = y.copy()
        filled[hidden] = filler
        model = DomainAdaptedClassifier(adapter, LogisticRegression())
        model.fit(X, filled, sample_domain=marks, target_labeled=labelled)
        assert model.classes_.tolist() == ["no", "yes"]
        answers.append(model.predict_proba(Xt))
    np.testing.assert_array_equal(answers[0], answers[1])
    np.testing.assert_array_equal(answers[0], answers[2])
    filled[labelled] = np.where(filled[labelled] == "no", "yes", "no")
    model = DomainAdaptedClassifier(adapter, LogisticRegression())
    model.fit(X, filled, sample_domain=marks, target_labeled=labelled)
    assert np.abs(model.predict_proba(Xt) - answers[0]).max() > 1e-3  # these, it does read


def test_weights_need_an_estimator_that_takes_them():
    X, y, marks, _, _, _ = stacked()
    with pytest.raises(UsageError, match="takes no sample_weight"):
        DomainAdaptedClassifier(KMM(), KNeighborsClassifier()).fit(X, y, sample_domain=marks)


class Labels(Adapter):
    """Labels target rows by their first feature; maps rows by a shift."""

    def __init__(self, one: bool = False) -> None:
        self.one = one

    def adapt(self, Xs, ys, Xt):
        cut = np.inf if self.one else np.median(Xt[:, 0])
        return Adaptation(Xs, labels=np.where(Xt[:, 0] > cut, "yes", "no"))


def test_propagated_labels_train_on_the_target_and_known_ones_stand():
    X, y, marks, labelled, Xt, _ = stacked(known=10)
    model = DomainAdaptedClassifier(Labels(), LogisticRegression()).fit(X, y, sample_domain=marks)
    own = np.where(Xt[:, 0] > np.median(Xt[:, 0]), "yes", "no")
    plain = LogisticRegression().fit(Xt, own)
    np.testing.assert_allclose(model.predict_proba(Xt), plain.predict_proba(Xt))
    model.fit(X, y, sample_domain=marks, target_labeled=labelled)
    own[:10] = y[labelled]
    plain = LogisticRegression().fit(Xt, own)
    np.testing.assert_allclose(model.predict_proba(Xt), plain.predict_proba(Xt))
    with pytest.raises(DataError, match="every target row received"):
        DomainAdaptedClassifier(Labels(one=True)).fit(X, y, sample_domain=marks)


def test_clone_and_nested_parameters():
    model = DomainAdaptedClassifier(CORAL(reg=0.5), LogisticRegression(C=3))
    again = clone(model)
    assert again.adapter is not model.adapter and again.get_params()["adapter__reg"] == 0.5
    again.set_params(adapter__reg=2.0, estimator__C=1)
    assert (model.adapter.reg, again.adapter.reg, again.estimator.C) == (0.5, 2.0, 1)
    X, y, marks, _, _, _ = stacked()
    again.fit(X, y, sample_domain=marks)
    assert not hasattr(clone(again), "estimator_")


def routed(model):
    """The same estimator with its metadata asked for, which is what routing wants."""
    return model.set_fit_request(sample_domain=True, target_labeled=True)


def pipeline(routing):
    model = DomainAdaptedClassifier(CORAL(), LogisticRegression())
    return Pipeline([("scale", StandardScaler()), ("da", routed(model) if routing else model)])


def names(routing, marks, labelled, *, prefix="da__"):
    """Fit arguments as each of the two worlds spells them."""
    start = "" if routing else prefix
    return {f"{start}sample_domain": marks, f"{start}target_labeled": labelled}


both_worlds = pytest.mark.parametrize("routing", [False, True], ids=["plain", "routing"])


@both_worlds
def test_pipeline(routing):
    X, y, marks, labelled, Xt, yt = stacked(known=10)
    with config_context(enable_metadata_routing=routing):
        model = pipeline(routing).fit(X, y, **names(routing, marks, labelled))
        by_hand = DomainAdaptedClassifier(CORAL(), LogisticRegression())
        scaler = StandardScaler().fit(X)
        by_hand.fit(scaler.transform(X), y, sample_domain=marks, target_labeled=labelled)
        np.testing.assert_allclose(
            model.predict_proba(Xt), by_hand.predict_proba(scaler.transform(Xt))
        )
        assert model.score(Xt, yt) > 0.9
        assert model[-1].adaptation_.Xs.shape == (120, 3)


def target_folds(marks, labelled):
    """Folds that test on labelled target rows and train on all else; both domains in each."""
    known = np.flatnonzero(labelled)
    return [(np.setdiff1d(np.arange(len(marks)), known[i::3]), known[i::3]) for i in range(3)]


@both_worlds
def test_grid_search_passes_the_domains_on_and_slices_them(routing):
    X, y, marks, labelled, Xt, yt = stacked(known=30)
    grid = [{"da__adapter__reg": [0.1, 1.0]}, {"da__adapter": [None]}]
    with config_context(enable_metadata_routing=routing):
        search = GridSearchCV(
            pipeline(routing), grid, cv=target_folds(marks, labelled), error_score="raise"
        )
        search.fit(X, y, **names(routing, marks, labelled))
    scores = search.cv_results_["mean_test_score"]
    assert len(scores) == 3 and np.isfinite(scores).all()
    assert search.best_estimator_.score(Xt, yt) > 0.9
    assert scores[:2].max() >= scores[2]  # a shifted target: alignment is no worse than nothing


@both_worlds
def test_cross_validate(routing):
    X, y, marks, labelled, _, _ = stacked(known=30)
    given = names(routing, marks, labelled)
    with config_context(enable_metadata_routing=routing):
        done = cross_validate(
            pipeline(routing),
            X,
            y,
            cv=target_folds(marks, labelled),
            params=given,
            return_estimator=True,
            error_score="raise",
        )
    assert (done["test_score"] > 0.7).all()
    # in every fold the rows that were tested were neither source rows nor labelled ones
    for model, (train, _) in zip(done["estimator"], target_folds(marks, labelled), strict=True):
        assert len(model[-1].adaptation_.Xs) == (marks[train] >= 0).sum() == 120


@both_worlds
def test_labels_of_tested_rows_reach_no_fit(routing):
    X, y, marks, labelled, Xt, _ = stacked(known=30)
    answers = []
    for filler in ("no", "yes"):
        filled = y.copy()
        hidden = (marks < 0) & ~labelled
        filled[hidden] = filler
        with config_context(enable_metadata_routing=routing):
            done = cross_validate(
                pipeline(routing),
                X,
                filled,
                cv=target_folds(marks, labelled),
                params=names(routing, marks, labelled),
                return_estimator=True,
                error_score="raise",
            )
        answers.append(np.stack([m.predict_proba(Xt) for m in done["estimator"]]))
    np.testing.assert_array_equal(*answers)


def test_routing_refuses_what_was_not_asked_for():
    X, y, marks, labelled, _, _ = stacked(known=5)
    with config_context(enable_metadata_routing=True):
        silent = Pipeline([("da", DomainAdaptedClassifier(CORAL()))])
        with pytest.raises(ValueError, match="sample_domain"):
            silent.fit(X, y, sample_domain=marks)
        # what was not requested does not leak in by another way either
        deaf = DomainAdaptedClassifier(CORAL()).set_fit_request(
            sample_domain=True, target_labeled=False
        )
        with pytest.raises(TypeError, match="target_labeled"):
            Pipeline([("da", deaf)]).fit(X, y, sample_domain=marks, target_labeled=labelled)


def test_a_fold_without_one_domain_is_an_error_that_says_so():
    X, y, marks, labelled, _, _ = stacked(known=5)
    only_source = [(np.flatnonzero(marks >= 0), np.flatnonzero(labelled))]
    refused = pytest.raises(DataError, match="120 source rows and 0 target rows")
    with refused, config_context(enable_metadata_routing=False):  # a peer library turns it on
        cross_validate(
            DomainAdaptedClassifier(CORAL()),
            X,
            y,
            cv=only_source,
            params={"sample_domain": marks},
            error_score="raise",
        )


@both_worlds
def test_the_regressor_in_a_search(routing):
    rng = np.random.default_rng(0)
    Xs, Xt = rng.normal(size=(90, 3)), rng.normal(size=(80, 3)) * 2 + 1
    ys, yt = Xs @ [1.0, 2, 3], (Xt - 1) / 2 @ [1.0, 2, 3]
    known = yt.copy()
    known[30:] = np.nan
    X, y, marks, labelled = stack_domains(Xs, ys, Xt, known)
    model = DomainAdaptedRegressor(CORAL(), Ridge())
    with config_context(enable_metadata_routing=routing):
        search = GridSearchCV(
            routed(model) if routing else model,
            {"adapter__reg": [1e-3, 10.0], "adapter__mean": [True, False]},
            cv=target_folds(marks, labelled),
            error_score="raise",
        ).fit(X, y, **names(routing, marks, labelled, prefix=""))
    assert search.best_params_["adapter__mean"] is True
    assert search.best_estimator_.score(Xt, yt) > Ridge().fit(Xs, ys).score(Xt, yt)
