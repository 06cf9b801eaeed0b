"""The contract of methods that are estimators themselves: the folder is walked, nothing listed.

They are fitted on stacked domains (`stack_domains`); the last target rows carry no label.
"""

from __future__ import annotations

import pickle
from typing import Any, NamedTuple

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import ClassifierMixin, RegressorMixin, clone, is_classifier
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_score

from isthmus.adapt.base import Adapter, discover
from isthmus.errors import IsthmusError

METHODS = {
    name: cls
    for name, cls in discover().items()
    if not issubclass(cls, Adapter) and not getattr(cls, "unlike_spaces", False)
}
LABELED = 12
QUICK = {"n_steps": 4, "n_estimators": 4}  # boosting within boosting is slow on purpose


def _cases() -> dict[str, Any]:
    """Methods that wrap either kind of estimator are checked as a regressor too."""
    made = {name: cls() for name, cls in METHODS.items()}
    for name, cls in METHODS.items():
        if not issubclass(cls, (ClassifierMixin, RegressorMixin)):
            made[f"{name}-regressor"] = cls(Ridge())
    for model in made.values():
        known = model.get_params(deep=False)
        model.set_params(**{k: v for k, v in QUICK.items() if k in known})
    return made


CASES = _cases()
each = pytest.mark.parametrize("case", sorted(CASES))


class Stacked(NamedTuple):
    X: np.ndarray
    y: np.ndarray
    domain: np.ndarray
    labeled: np.ndarray
    new: np.ndarray


def data(model, *, n=60, m=50, d=6, seed=0, dtype="f8", names=("no", "yes")) -> Stacked:
    """A target that is moved, turned a little and scaled; two classes, or values in between."""
    rng = np.random.default_rng(seed)
    code = np.concatenate([np.arange(n), np.arange(m), np.arange(15)]) % 2
    X = rng.normal(size=(len(code), d)) + 2.5 * code[:, None]
    turn = np.eye(d) + 0.1 * rng.normal(size=(d, d))
    X[n:] = X[n:] @ turn + 0.5
    if is_classifier(model):
        y = np.array(names, dtype=object if isinstance(names[0], str) else None)[code]
    else:
        y = X @ np.linspace(1, 2, d) + rng.normal(size=len(X))
    domain = np.repeat([0, -1], [n, m])
    labeled = np.zeros(n + m, dtype=bool)
    labeled[n : n + LABELED] = True
    return Stacked(X[: n + m].astype(dtype), y[: n + m], domain, labeled, X[n + m :].astype(dtype))


def fit(model, given: Stacked):
    return clone(model).fit(
        given.X, given.y, sample_domain=given.domain, target_labeled=given.labeled
    )


def said(model, rows):
    """Probabilities where there are any, else values or classes as numbers."""
    if hasattr(model, "predict_proba"):
        return model.predict_proba(rows)
    out = model.predict(rows)
    return out if out.dtype.kind == "f" else (out == model.classes_[0]).astype(float)


@each
def test_parameters_are_stored_and_cloned_and_fit_leaves_them_alone(case):
    model = CASES[case]
    before = {k: repr(v) for k, v in model.get_params().items()}
    again = clone(model)
    assert {k: repr(v) for k, v in again.get_params().items()} == before
    given = data(again)
    assert (
        again.fit(given.X, given.y, sample_domain=given.domain, target_labeled=given.labeled)
        is again
    )
    assert {k: repr(v) for k, v in again.get_params().items()} == before
    assert again.n_features_in_ == given.X.shape[1]


@each
def test_shapes_new_rows_and_probabilities(case):
    given = data(CASES[case])
    model = fit(CASES[case], given)
    out = model.predict(given.new)
    assert out.shape == (len(given.new),)
    np.testing.assert_allclose(said(model, given.new[:1]), said(model, given.new)[:1], atol=1e-8)
    if not is_classifier(model):
        assert np.isfinite(out).all()
        return
    assert list(model.classes_) == ["no", "yes"] and set(out) <= {"no", "yes"}
    truth = given.y[: len(out)]
    assert (out == truth).mean() > 0.8  # the classes are far apart: anything works but a mix-up
    if hasattr(model, "predict_proba"):
        proba = model.predict_proba(given.new)
        assert proba.shape == (len(out), 2) and (proba >= 0).all()
        np.testing.assert_allclose(proba.sum(axis=1), 1)
        np.testing.assert_array_equal(model.classes_[proba.argmax(axis=1)], out)


@each
def test_labels_of_unlabelled_target_rows_are_never_read(case):
    given = data(CASES[case])
    want = said(fit(CASES[case], given), given.new)
    free = (given.domain < 0) & ~given.labeled
    rng = np.random.default_rng(1)
    if is_classifier(CASES[case]):
        poisons = [rng.permutation(given.y[free]), np.full(free.sum(), "neither", dtype=object)]
        poisons.append(np.full(free.sum(), None, dtype=object))
    else:
        poisons = [rng.permutation(given.y[free]), np.full(free.sum(), 1e9)]
        poisons.append(np.full(free.sum(), np.nan))
    for poison in poisons:
        y = given.y.copy()
        y[free] = poison
        got = said(fit(CASES[case], given._replace(y=y)), given.new)
        np.testing.assert_array_equal(got, want)


@each
def test_inputs_are_untouched(case):
    given = data(CASES[case])
    kept = [part.copy() for part in given]
    model = fit(CASES[case], given)
    model.predict(given.new)
    for now, then in zip(given, kept, strict=True):
        np.testing.assert_array_equal(now, then)


@each
def test_twice_is_the_same_and_pickling_changes_nothing(case):
    given = data(CASES[case])
    model = fit(CASES[case], given)
    want = said(model, given.new)
    np.testing.assert_array_equal(said(fit(CASES[case], given), given.new), want)
    np.testing.assert_array_equal(said(pickle.loads(pickle.dumps(model)), given.new), want)


@each
def test_the_order_of_the_rows_does_not_matter(case):
    if getattr(CASES[case], "order_matters", False):
        pytest.skip("the method draws rows at random")
    given = data(CASES[case])
    p = np.random.default_rng(2).permutation(len(given.X))
    turned = Stacked(given.X[p], given.y[p], given.domain[p], given.labeled[p], given.new)
    a, b = (said(fit(CASES[case], one), given.new) for one in (given, turned))
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)


@each
def test_single_precision_gives_the_same_within_tolerance(case):
    a, b = (
        said(fit(CASES[case], given), given.new)
        for given in (data(CASES[case]), data(CASES[case], dtype="f4"))
    )
    np.testing.assert_allclose(a, b, rtol=2e-2, atol=2e-2)


@each
def test_classes_may_be_called_anything(case):
    if not is_classifier(CASES[case]):
        pytest.skip("a regressor")
    want = fit(CASES[case], data(CASES[case])).predict(data(CASES[case]).new) == "yes"
    for names in ((-1, 1), (False, True), (3, 40)):
        given = data(CASES[case], names=names)
        model = fit(CASES[case], given)
        out = model.predict(given.new)
        assert model.classes_.dtype == given.y.dtype and out.dtype == given.y.dtype
        np.testing.assert_array_equal(out == names[1], want)


@each
def test_what_is_missing_is_refused_with_the_remedy(case):
    given = data(CASES[case])
    model = clone(CASES[case])
    with pytest.raises(IsthmusError, match="sample_domain") as caught:
        model.fit(given.X, given.y)
    assert "stack_domains" in str(caught.value)
    for value, word in ((0, "target"), (-1, "source")):
        with pytest.raises(IsthmusError, match=f"0 {word} rows"):
            model.fit(given.X, given.y, sample_domain=np.full_like(given.domain, value))
    for row in (0, len(given.X) - 1):  # a source row, an unlabelled target row
        X = given.X.copy()
        X[row, 1] = np.nan
        with pytest.raises(IsthmusError, match="NaN"):
            fit(model, given._replace(X=X))
    y = given.y.copy()
    y[0] = None if is_classifier(model) else np.nan
    with pytest.raises(IsthmusError):
        fit(model, given._replace(y=y))


@each
def test_rows_of_another_width_are_refused_at_predict_time(case):
    given = data(CASES[case])
    model = fit(CASES[case], given)
    with pytest.raises(ValueError, match="features"):
        model.predict(given.new[:, :-1])


@each
def test_awkward_rows_give_finite_numbers_or_a_clear_error(case):
    model = CASES[case]
    given = data(model)
    source = given.domain >= 0
    one = given.y.copy()
    one[source] = one[0]
    all_one = np.full_like(given.y, given.y[0])
    lone = np.zeros_like(given.labeled)
    lone[np.flatnonzero(given.labeled)[0]] = True
    first = np.flatnonzero(given.labeled)[:1]
    few = np.concatenate([np.flatnonzero(source)[:2], np.flatnonzero(~source)])
    twice = np.concatenate([np.repeat(np.arange(6), 10), np.repeat(np.arange(60, 70), 5)])
    cases = {
        "one class in the source": given._replace(y=one),
        "one class": given._replace(y=all_one),
        "one labelled row": given._replace(labeled=lone),
        "one target row": Stacked(
            *(part[np.concatenate([np.flatnonzero(source), first])] for part in given[:4]),
            given.new,
        ),
        "two source rows": Stacked(*(part[few] for part in given[:4]), given.new),
        "duplicates": Stacked(*(part[twice] for part in given[:4]), given.new),
        "a constant column": given._replace(
            X=np.c_[given.X, np.ones(len(given.X))], new=np.c_[given.new, np.ones(len(given.new))]
        ),
        "nothing but constants": given._replace(X=np.ones_like(given.X)),
    }
    for title, awkward in cases.items():
        try:
            fitted = fit(model, awkward)
        except IsthmusError as error:
            assert str(error), title
            continue
        assert np.isfinite(said(fitted, awkward.new)).all(), title


@each
def test_cross_validation_hands_the_domains_on(case):
    """scikit-learn slices `sample_domain` and `target_labeled` where they are asked for."""
    given = data(CASES[case])
    mixed = np.random.default_rng(0).permutation(len(given.X))
    with config_context(enable_metadata_routing=True):
        model = clone(CASES[case]).set_fit_request(sample_domain=True, target_labeled=True)
        scores = cross_val_score(
            model,
            given.X[mixed],
            given.y[mixed],
            cv=2,
            params={
                "sample_domain": given.domain[mixed],
                "target_labeled": given.labeled[mixed],
            },
            error_score="raise",
        )
    assert len(scores) == 2 and np.isfinite(scores).all()
