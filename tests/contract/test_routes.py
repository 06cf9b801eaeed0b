"""Every method that a run may use: it fits, saves without pickle, and answers bit for bit alike."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from isthmus import iofs
from isthmus.adapt.base import Adapter, discover
from isthmus.adapt.state import from_state, to_state
from isthmus.fit.blend import model_from_state
from isthmus.fit.features import FeatureProcessor
from isthmus.fit.logistic import LogisticHead
from isthmus.fit.model import FeatureModel
from isthmus.fit.ridge import RidgeRegressorHead
from isthmus.select.catalogue import FAMILIES, documented
from isthmus.select.methods import route_of, why_not
from isthmus.select.routes.base import Domains, Labelled

METHODS = discover()
ROUTES = sorted(name for name, kind in METHODS.items() if why_not(kind) is None)
CLASSES = ("ant", "bee", "cat")


def rows(n, seed, *, shift=0.0):
    """Three classes in five dimensions, float32 as features are."""
    rng = np.random.default_rng(seed)
    codes = np.arange(n) % 3
    X = rng.normal(size=(n, 5)) + 4 * np.eye(5)[codes] + shift
    return X.astype("f4"), np.array(CLASSES, dtype=object)[codes], X @ np.arange(5.0)


def route_and_domains(name, *, task="classification", target=True):
    (Xs, ys, vs), (Xt, yt, vt) = rows(90, 0), rows(60, 1, shift=0.7)
    here, there = (ys, yt) if task == "classification" else (vs, vt)
    known = Labelled(Xt[:12], there[:12], at=np.arange(12)) if target else None
    sites = np.repeat(["east", "west"], 45)
    domains = Domains(Labelled(Xs, here, domain=sites), known, Xt)
    return route_of(name, METHODS[name]()), domains


def new_model(task):
    def make():
        head = LogisticHead(C=1.0) if task == "classification" else RidgeRegressorHead(alpha=1.0)
        classes = CLASSES if task == "classification" else ()
        return FeatureModel(FeatureProcessor(), head, None, task, classes)

    return make


def replayed(model, folder):
    """The model after its way through files, as a saved folder keeps it."""
    tensors, meta = model.to_state()
    iofs.write_tensors(folder / "t.safetensors", tensors)
    meta = json.loads(json.dumps(meta, allow_nan=False))
    return model_from_state(iofs.read_tensors(folder / "t.safetensors"), meta)


def tasks(name):
    return [
        task
        for task in ("classification", "regression")
        if why_not(METHODS[name], task=task) is None
    ]


@pytest.mark.parametrize("labels", [True, False], ids=["some labels", "no labels"])
@pytest.mark.parametrize("name", ROUTES)
def test_a_route_answers_new_rows_and_its_saved_form_answers_alike(name, labels, tmp_path):
    if not labels and getattr(METHODS[name], "needs_target_labels", False):
        route, domains = route_and_domains(name, target=False)
        assert "target" in route.refuses(domains)
        return
    assert tasks(name)
    for task in tasks(name):
        route, domains = route_and_domains(name, task=task, target=labels)
        model = route.fit(domains, new_model(task))
        X, names, _ = rows(45, 7, shift=0.7)
        again = replayed(model, tmp_path)
        if task == "regression":
            got = model.predict(X)
            assert got.shape == (45,) and np.isfinite(got).all()
        else:
            got = model.predict_proba(X)
            assert got.shape == (45, 3)
            np.testing.assert_allclose(got.sum(axis=1), 1)
            np.testing.assert_array_equal(again.predict(X), model.predict(X))
            # a shift of 0.7 between classes 5.7 apart is no obstacle to any of them
            assert (model.predict(X) == names).mean() > 0.8
        np.testing.assert_array_equal(
            again.predict(X) if task == "regression" else again.predict_proba(X), got
        )


@pytest.mark.parametrize("name", sorted(n for n in ROUTES if hasattr(METHODS[n], "served")))
def test_what_an_estimator_hands_over_answers_as_it_does_itself(name):
    kind = METHODS[name]
    (Xs, ys, vs), (Xt, yt, vt) = rows(90, 0), rows(60, 1, shift=0.7)
    values = "classification" not in tasks(name)
    here, there = (vs, vt) if values else (ys.astype(str), yt.astype(str))
    y = np.concatenate([here, there])
    marks, known = np.repeat([0, -1], [90, 60]), np.zeros(150, dtype=bool)
    known[90:110] = True
    method = kind()
    if not values and method.get_params().get("estimator", 0) is None:
        method.set_params(estimator=LogisticRegression())  # as a run does with its own head
    method.fit(np.concatenate([Xs, Xt]).astype("f8"), y, sample_domain=marks, target_labeled=known)
    served, new = method.served(), rows(45, 7, shift=0.7)[0].astype("f8")
    if hasattr(served, "predict"):
        np.testing.assert_array_equal(served.predict(new), method.predict(new))
        return
    again = from_state(*to_state(served))
    scores = np.asarray(again(new))
    if values:
        np.testing.assert_allclose(scores.ravel(), method.predict(new), rtol=1e-9)
        return
    np.testing.assert_array_equal(method.classes_[scores.argmax(axis=1)], method.predict(new))
    if hasattr(method, "predict_proba") and name != "meda":  # its scores are no logits
        np.testing.assert_allclose(softmax(scores, axis=1), method.predict_proba(new), atol=1e-6)


@pytest.mark.parametrize("name", sorted(n for n, k in METHODS.items() if issubclass(k, Adapter)))
def test_the_map_of_every_adapter_has_a_state(name):
    (Xs, ys, _), (Xt, _, _) = rows(40, 0), rows(36, 1, shift=0.7)
    labels = ys.astype(str) if METHODS[name].needs_labels else None  # the flag is believed
    found = METHODS[name]().adapt(Xs.astype("f8"), labels, Xt.astype("f8"))
    tensors, meta = to_state(found.map_target)
    again = from_state(tensors, json.loads(json.dumps(meta)))
    np.testing.assert_array_equal(again(Xt.astype("f8")), found.map_target(Xt.astype("f8")))


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_names_its_family_and_its_row_stands_under_it(name):
    family = getattr(METHODS[name], "family", None)
    assert family in FAMILIES, f"{name} has the family {family!r}"
    assert set(documented()[name]) >= {"assumption", "cost", "fails", "paper"}
