"""From a method to one model: the identity changes nothing; weights, priors and labels arrive."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from isthmus.adapt.balanced_weights import BalancedWeights
from isthmus.adapt.base import Adapter
from isthmus.adapt.coral import CORAL
from isthmus.adapt.maps import Affine
from isthmus.errors import DataError
from isthmus.fit.adapted import adapt, common_space, fit_adapter, fit_method, log_ratio
from isthmus.fit.estimator import DomainAdaptedClassifier, corrected
from isthmus.fit.features import FeatureProcessor
from isthmus.fit.logistic import LogisticHead
from isthmus.fit.model import FeatureModel
from isthmus.types import Adaptation, Prior

CLASSES = ("a", "b")


def blobs(n, seed=0, shift=0.0, gap=2.0):
    rng = np.random.default_rng(seed)
    codes = np.arange(n) % 2
    X = rng.normal(size=(n, 3)) + gap * codes[:, None] + shift
    return X.astype("f4"), np.array(CLASSES, dtype=object)[codes]


def model(**head):
    return FeatureModel(
        FeatureProcessor(), LogisticHead(**{"C": 1.0, **head}), None, classes=CLASSES
    )


@dataclass
class Returns(Adapter):
    """An adapter that returns what it is told."""

    found: object = None

    def adapt(self, Xs, ys, Xt):
        return self.found(Xs, ys, Xt)


def fitted(found, *, ns=80, shift=0.5, known=None, **more):
    Xs, ys = blobs(ns)
    Xt, _ = blobs(50, 1, shift)
    fresh = model()
    space = common_space(fresh.processor, Xs, Xt)
    result = found(space.Xs, ys, space.Xt)
    return fit_adapter(fresh, space, result, ys, known=known, **more), space


def test_features_have_variance_one_in_the_mean_whatever_their_unit():
    Xs, Xt = blobs(60)[0] * 1e-3, blobs(40, 1)[0] * 1e-3
    for processor in (FeatureProcessor(standardize=False, l2=True), FeatureProcessor(), None):
        space = common_space(processor, Xs, Xt)
        both = np.concatenate([space.Xs, space.Xt])
        assert both.var(axis=0).mean() == pytest.approx(1, rel=1e-5)
        assert both.dtype == np.float64
        np.testing.assert_allclose(space.rows(Xt), space.Xt, rtol=1e-6)
    assert common_space(None, np.ones((4, 2)), np.ones((3, 2))).scale == 1  # nothing to scale


def test_an_identity_gives_what_the_head_gives_on_the_same_rows():
    got, space = fitted(lambda Xs, ys, Xt: Adaptation(Xs))
    plain = LogisticHead(C=1.0).fit(space.Xs, (blobs(80)[1] == "b").astype(int))
    X = blobs(30, 5)[0]
    np.testing.assert_allclose(
        got.predict_proba(X), plain.predict_proba(space.rows(X)), rtol=1e-9, atol=1e-12
    )


def test_source_weights_reach_the_head():
    """Weight zero is as good as a row that is not there."""
    half = np.arange(80) < 40

    def weighed(Xs, ys, Xt):
        return Adaptation(Xs, np.where(half, 2.0, 0.0))

    _, ys = blobs(80)
    got, space = fitted(weighed)
    again = LogisticHead(C=1.0).fit(
        space.Xs[half], (ys[half] == "b").astype(int), sample_weight=np.full(40, 2.0)
    )
    X = blobs(30, 5)[0]
    p, q = got.predict_proba(X), again.predict_proba(space.rows(X))
    np.testing.assert_allclose(p, q, atol=1e-5)


def test_target_rows_go_through_the_map():
    offset = np.array([1.0, -2.0, 0.5])
    got, space = fitted(lambda Xs, ys, Xt: Adaptation(Xs, map_target=Affine(offset)))
    plain, _ = fitted(lambda Xs, ys, Xt: Adaptation(Xs))
    X = blobs(30, 5)[0]
    np.testing.assert_allclose(got.head_.logits(space.rows(X) - offset), got.logits(X), rtol=1e-9)
    assert np.abs(got.logits(X) - plain.logits(X)).max() > 0.1


def test_labelled_target_rows_are_mapped_and_pooled_in():
    Xl, yl = blobs(20, 9, shift=6.0)
    yl = np.where(yl == "a", "b", "a").astype(object)  # the target turns the classes round
    shifted = lambda Xs, ys, Xt: Adaptation(Xs)  # noqa: E731
    without, _ = fitted(shifted, shift=6.0)
    heavy, _ = fitted(shifted, shift=6.0, known=(Xl, yl), target_weight=50.0)
    light, _ = fitted(shifted, shift=6.0, known=(Xl, yl), target_weight=1e-6)
    X, y = blobs(40, 11, shift=6.0)
    turned = np.where(y == "a", "b", "a")
    assert (heavy.predict(X) == turned).mean() > (without.predict(X) == turned).mean() + 0.2
    np.testing.assert_allclose(light.predict_proba(X), without.predict_proba(X), atol=1e-3)


def test_labels_that_a_method_propagates_train_the_head_on_target_rows():
    def propagated(Xs, ys, Xt):
        return Adaptation(Xs, labels=np.where(Xt[:, 0] > np.median(Xt[:, 0]), "b", "a"))

    got, space = fitted(propagated, shift=30.0)  # the source is far away and must not matter
    own = (space.Xt[:, 0] > np.median(space.Xt[:, 0])).astype(int)
    plain = LogisticHead(C=1.0).fit(space.Xt, own)
    X = blobs(30, 5, shift=30.0)[0]
    np.testing.assert_allclose(
        got.predict_proba(X), plain.predict_proba(space.rows(X)), rtol=1e-6, atol=1e-9
    )
    with pytest.raises(DataError, match="every target row received the label 'a'"):
        fitted(lambda Xs, ys, Xt: Adaptation(Xs, labels=np.full(len(Xt), "a")))


def test_a_prior_corrects_probabilities_as_the_estimator_does():
    prior = Prior(np.array(CLASSES), np.array([0.5, 0.5]), np.array([0.9, 0.1]))
    got, _ = fitted(lambda Xs, ys, Xt: Adaptation(Xs, prior=prior))
    plain, _ = fitted(lambda Xs, ys, Xt: Adaptation(Xs))
    X = blobs(200, 5)[0]
    want = corrected(plain.predict_proba(X), np.array(CLASSES), prior)
    np.testing.assert_allclose(got.predict_proba(X), want, rtol=1e-9)
    np.testing.assert_array_equal(
        got.predict(X), np.array(CLASSES, dtype=object)[want.argmax(axis=1)]
    )
    assert (got.predict(X) != plain.predict(X)).any()


def test_a_class_that_the_target_lacks_gets_a_finite_correction():
    prior = Prior(np.array(CLASSES), np.array([0.5, 0.5]), np.array([1.0, 0.0]))
    got, _ = fitted(lambda Xs, ys, Xt: Adaptation(Xs, prior=prior))
    assert np.isfinite(log_ratio(prior, got)).all()
    assert set(got.predict(blobs(60, 5)[0])) == {"a"}


def test_numbers_that_are_not_finite_and_broken_algebra_are_errors_with_the_name():
    Xs, ys = blobs(20)
    space = common_space(None, Xs, blobs(20, 1)[0])

    def broken(*given):
        raise np.linalg.LinAlgError("SVD did not converge")

    with pytest.raises(DataError, match="Returns: the linear algebra failed: SVD"):
        adapt(Returns(broken), space, ys, task="classification")
    with pytest.raises(DataError, match="weights are not finite"):
        adapt(
            Returns(lambda Xs, ys, Xt: Adaptation(Xs, np.full(len(Xs), np.nan))),
            space,
            ys,
            task="classification",
        )


def test_the_same_method_by_hand_gives_the_same_predictions():
    """`DomainAdaptedClassifier` on the same space: another head, hence nearly the same."""
    Xs, ys = blobs(200)
    Xt, yt = blobs(150, 1, shift=1.5)
    fresh = model()
    space = common_space(fresh.processor, Xs, Xt)
    got = fit_adapter(fresh, space, adapt(CORAL(), space, ys, task="classification"), ys)
    marks = np.repeat([0, -1], [200, 150])
    y = np.concatenate([ys, np.full(150, "a", dtype=object)])
    other = DomainAdaptedClassifier(CORAL(), LogisticRegression())
    other.fit(np.concatenate([space.Xs, space.Xt]), y.astype(str), sample_domain=marks)
    agree = (got.predict(Xt) == other.predict(space.Xt)).mean()
    assert agree > 0.98 and (got.predict(Xt) == yt).mean() > 0.9


def test_an_estimator_gets_the_models_head_and_the_labels_of_the_right_rows():
    Xs, ys = blobs(60)
    Xt, yt = blobs(40, 1, shift=1.0)
    for at in (np.arange(10, 20), None):
        fresh = FeatureModel(FeatureProcessor(), LogisticHead(), None, classes=CLASSES)
        space = common_space(fresh.processor, Xs, Xt if at is not None else Xt[20:])
        known = (Xt[10:20], yt[10:20])
        got = fit_method(fresh, space, BalancedWeights(trade_off=1.0), ys, known=known, at=at)
        assert isinstance(got.head_, LogisticHead) and isinstance(got.head_.C, float)
        alone = LogisticHead(C=got.head_.C).fit(
            space.rows(Xt[10:20]), (yt[10:20] == "b").astype(int), sample_weight=np.full(10, 7.0)
        )
        np.testing.assert_allclose(
            got.predict_proba(Xt), alone.predict_proba(space.rows(Xt)), atol=1e-4
        )
