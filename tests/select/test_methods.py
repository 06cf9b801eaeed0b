"""Methods by name: what is asked for, what is refused and why, and one adaptation for all folds."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

from isthmus.adapt.base import Adapter
from isthmus.adapt.coral import CORAL
from isthmus.adapt.gromov_wasserstein import GromovWasserstein
from isthmus.errors import UsageError
from isthmus.fit.adapted import Spaces
from isthmus.fit.aligned import AlignedMLP
from isthmus.fit.features import FeatureProcessor
from isthmus.fit.logistic import LogisticHead
from isthmus.fit.model import FeatureModel
from isthmus.select import methods
from isthmus.select.evidence import cross_validate
from isthmus.select.methods import MethodRoute, method_routes, wanted, why_not
from isthmus.select.routes.base import Domains, Labelled

HERE = {"source": True, "labelled": True}


def test_names_are_read_as_people_write_them():
    for name in ("linear-monge", "linear_monge", "LinearMonge", "LINEAR-MONGE"):
        assert [n for n, _ in wanted(name).methods] == ["linear-monge"]
    both = wanted(["kmm", CORAL(reg=0.1)])
    assert [n for n, _ in both.methods] == ["kmm", "coral"]
    assert both.methods[1][1].reg == 0.1
    assert wanted(None).methods == () and wanted([]).methods == ()


@pytest.mark.parametrize(
    ("name", "near"),
    [("corall", "coral"), ("sinkhorn", "sinkhorn-transport"), ("linear-mong", "linear-monge")],
)
def test_a_wrong_name_gets_the_nearest_ones(name, near):
    with pytest.raises(UsageError, match=f"no method '{name}'.*Did you mean.*{near}"):
        wanted(name)


def test_a_name_like_no_other_points_to_the_list():
    with pytest.raises(UsageError, match="isthmus methods"):
        wanted("zzzz")


def test_twice_and_strangers_are_refused():
    with pytest.raises(UsageError, match="named twice"):
        wanted(["coral", "CORAL"])
    with pytest.raises(UsageError, match=r"LogisticHead is no method.*DomainAdaptedClassifier"):
        wanted(LogisticHead())


def test_the_seed_goes_to_named_methods_and_not_to_objects():
    assert wanted("kliep", seed=7).methods[0][1].random_state == 7
    from isthmus.adapt.kliep import KLIEP

    assert wanted(KLIEP(random_state=3), seed=7).methods[0][1].random_state == 3


@pytest.mark.parametrize(
    ("name", "task", "given", "words"),
    [
        ("balanced-weights", "classification", {"labelled": False}, "labelled target rows"),
        ("jdot-regressor", "classification", {}, "for regression, and this task is classif"),
        ("jdot", "regression", {}, "for classification, and this task is regression"),
        ("bbse", "regression", {}, "these rows have numbers"),
        ("class-regularized-transport", "multilabel", {}, "several labels a row"),
        ("jdot", "multilabel", {}, "this task is multilabel"),
        ("gromov-wasserstein", "classification", {}, "different features"),
        ("coral", "classification", {"source": False}, "no labelled source rows"),
    ],
)
def test_a_method_that_does_not_apply_is_refused_with_the_reason(name, task, given, words):
    with pytest.raises(UsageError, match=words) as caught:
        method_routes(wanted(name), task=task, **{**HERE, **given})
    assert f"the method {name} cannot be used here" in str(caught.value)


@pytest.mark.parametrize("task", ["classification", "regression", "multilabel"])
def test_all_offers_what_applies_and_says_what_it_left_out(task):
    routes, notes = method_routes(wanted("all"), task=task, source=True, labelled=False)
    names = {route.name for route in routes}
    assert "coral" in names and "balanced-weights" not in names
    assert ("bbse" in names) == (task == "classification")
    assert len(names) + len(notes) == len(wanted("all").methods)
    assert any("gromov-wasserstein is left out" in note for note in notes)


def test_a_library_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(methods.importlib.util, "find_spec", lambda name: None)
    from isthmus.adapt.jdot import JDOT

    assert "pip install 'isthmus[transport]'" in why_not(JDOT)
    assert why_not(CORAL) is None


def test_an_estimator_without_a_form_that_can_be_saved_is_no_route():
    class Lonely(GromovWasserstein):
        unlike_spaces = False

    assert "cannot be saved without pickle" in why_not(Lonely)


class Counted(Adapter):
    """CORAL that counts how often it is asked, and what it sees."""

    calls: ClassVar[list] = []

    def adapt(self, Xs, ys, Xt):
        Counted.calls.append((Xs.copy(), Xt.copy()))
        return CORAL().adapt(Xs, ys, Xt)


def domains(at=True):
    rng = np.random.default_rng(0)
    y = np.array(["a", "b"], dtype=object)[np.arange(60) % 2]
    X = (rng.normal(size=(60, 4)) + 2 * (np.arange(60) % 2)[:, None]).astype("f4")
    known = Labelled(X[:20] + 1, y[:20], at=np.arange(20) if at else None)
    return Domains(Labelled(X, y), known, X + 1)


def new_model():
    return FeatureModel(FeatureProcessor(), LogisticHead(C=1.0), None, classes=("a", "b"))


FOLDS = [(np.arange(10), np.arange(10, 20)), (np.arange(10, 20), np.arange(10))]


def test_an_adapter_runs_once_for_all_folds_and_sees_every_target_row():
    Counted.calls = []
    route = MethodRoute("counted", Counted())
    found = cross_validate(route, domains(), new_model, FOLDS, task="classification")
    assert found.status == "scored" and found.row_scores.shape == (20,)
    route.fit(domains(), new_model)
    assert len(Counted.calls) == 2, "the second pair of domains is another one"
    assert Counted.calls[0][1].shape == (60, 4)


def test_folds_differ_by_their_labelled_rows():
    whole = domains()
    route = MethodRoute("coral", CORAL())
    one = route.fit(whole.with_target(np.arange(10)), new_model)
    two = route.fit(whole.with_target(np.arange(10, 20)), new_model)
    assert np.abs(one.logits(whole.Xt) - two.logits(whole.Xt)).max() > 1e-3


def test_methods_of_a_run_share_one_space():
    spaces, whole = Spaces(), domains()
    first, second = (MethodRoute(n, CORAL(), spaces) for n in "ab")
    first.fit(whole, new_model)
    space = spaces.of(None, whole.source.X, whole.Xt)
    second.fit(whole, new_model)
    assert spaces.of(None, whole.source.X, whole.Xt) is space


def test_target_rows_weigh_as_in_the_route_pooled(monkeypatch):
    seen = {}

    def spy(model, space, found, ys, **more):
        seen.update(more)
        return model

    monkeypatch.setattr(methods, "fit_adapter", spy)
    MethodRoute("coral", CORAL()).fit(domains(), new_model)
    assert seen["target_weight"] == 3.0  # 60 source rows, 20 target rows: half of the mass each
    MethodRoute("coral", CORAL()).fit(domains().with_target(np.arange(2)), new_model)
    assert seen["target_weight"] == 10.0  # and no more than ten source rows


def test_it_refuses_without_a_source():
    whole = domains()
    assert "source" in MethodRoute("coral", CORAL()).refuses(Domains(None, whole.target, whole.Xt))
    assert MethodRoute("coral", CORAL()).refuses(whole) is None


def test_trained_methods_go_by_name_without_torch(monkeypatch):
    import builtins
    import sys

    for name in [n for n in sys.modules if n.split(".")[0] == "torch"]:
        monkeypatch.delitem(sys.modules, name)
    real = builtins.__import__

    def refuse(name, *rest):
        if name.split(".")[0] == "torch":
            raise ImportError("torch is blocked")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    ((name, net),) = wanted("Deep Self-Training", seed=5).methods
    assert (name, net.method, net.random_state) == ("deep-self-training", "self_training", 5)
    assert [n for n, _ in wanted(["dann", "deep_coral"]).methods] == ["dann", "deep-coral"]
    with pytest.raises(UsageError, match=r"no method 'dannn'.*Did you mean dann"):
        wanted("dannn")


def test_a_network_of_ones_own_is_a_method():
    ((name, net),) = wanted(AlignedMLP("mcc", steps=50)).methods
    assert name == "mcc" and net.steps == 50
    with pytest.raises(UsageError, match="named twice"):
        wanted(["mcc", AlignedMLP("mcc")])
    with pytest.raises(UsageError, match="no method of isthmus"):
        wanted(AlignedMLP())


def test_why_a_network_cannot_be_a_route(monkeypatch):
    assert why_not(AlignedMLP("dann"), task="classification") is None
    assert "for classification" in why_not(AlignedMLP("dann"), task="regression")
    assert "two views" in why_not(AlignedMLP("fixmatch"))
    monkeypatch.setattr(methods.importlib.util, "find_spec", lambda name: None)
    assert "isthmus[deep]" in why_not(AlignedMLP("dann"))


def test_all_are_the_methods_that_are_not_trained():
    assert not any(isinstance(method, AlignedMLP) for _, method in wanted("all").methods)
