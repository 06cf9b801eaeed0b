"""The rung of trained networks: when it is tried, in words; how a network is weighed."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from isthmus.fit.aligned import AlignedMLP
from isthmus.fit.features import FeatureProcessor
from isthmus.fit.logistic import LogisticHead
from isthmus.fit.model import FeatureModel
from isthmus.select import blended, rung, stacked
from isthmus.select.bench import Bench
from isthmus.select.blended import blend
from isthmus.select.candidates import candidates
from isthmus.select.prior import choice_prior
from isthmus.select.routes.base import Domains, Labelled
from isthmus.select.stacked import stack
from isthmus.select.trials import try_all, weigh

CLASSES = ("ant", "bee", "cat")


def new_model():
    return FeatureModel(FeatureProcessor(), LogisticHead(C=1.0), None, "classification", CLASSES)


def rows(n, shift=0.0, seed=0):
    rng = np.random.default_rng(seed)
    codes = np.arange(n) % 3
    X = (rng.normal(size=(n, 6)) + 3 * np.eye(6)[codes] + shift).astype("f4")
    return X, np.array(CLASSES, dtype=object)[codes]


def domains(n=240, m=220, shift=2.0):
    return Domains(Labelled(*rows(n)), None, rows(m, shift, 1)[0])


@pytest.fixture
def quick(monkeypatch):
    """Networks of five steps, beside the cheapest closed-form candidates."""
    few = {"source-only", "pooled", "target-only", "prior", "pca"}

    def some(*, labelled):
        return [one for one in candidates(labelled=labelled) if one.name in few]

    for module in (blended, stacked):
        monkeypatch.setattr(module, "candidates", some)
    monkeypatch.setattr(AlignedMLP, "count", lambda self, n: self.steps or 5)


def ask(shift=2.0, n=240, **given):
    return rung.asked_for(Bench(domains(n, shift=shift), new_model), **given)


def test_by_hand_it_is_tried_or_not():
    assert ask(deep=True, left=None) == rung.Rung(True, "tried: asked for")
    assert not ask(deep=False, left=1e9).tried


def test_every_reason_is_told(monkeypatch):
    monkeypatch.setattr(rung, "seconds", lambda bench, clock: 2.0)
    assert "no time budget" in ask(deep=None, left=None).why
    assert "networks need 200 a side" in ask(deep=None, left=1e9, n=150).why
    alike = ask(shift=0.0, deep=None, left=1e9)
    assert not alike.tried and "not told apart (domain AUC 0." in alike.why
    short = ask(deep=None, left=10.0)  # four networks of 2 s, and half of 10 s to spare
    assert not short.tried and "about 8 s of training, and 5 s are to spare" in short.why
    assert not ask(deep=None, left=20.0, fits=3).tried
    enough = ask(deep=None, left=20.0)
    assert enough.tried and "the domains differ (domain AUC 1.00 [" in enough.why
    monkeypatch.setattr(rung.importlib.util, "find_spec", lambda name: None)
    assert "torch is not installed" in ask(deep=True, left=None).why


def test_a_network_is_weighed_like_a_candidate_without_a_name():
    bench, prior = Bench(domains(), new_model), choice_prior()
    tried = try_all(bench, [c for c in candidates(labelled=False) if c.rung == 0])
    found = weigh(bench, tried, prior, seed=0, least=0.0)
    proba = tried.proba | {"shot": tried.proba["pca"], "mlp": tried.proba["source-only"]}
    both = rung.joined(found, found.around, proba, prior, least=0.0)
    n = len(found.order)
    assert both.order == [*found.order, "shot", "mlp"]
    np.testing.assert_array_equal(both.rows[:n], found.rows)  # the others read as before
    np.testing.assert_allclose(both.gain[:n], found.gain)
    # answers of PCA: its descriptors but for the marks of names, which are all 0
    at, named = found.order.index("pca"), len(prior.columns) - len(prior.candidates)
    np.testing.assert_allclose(both.rows[n][:named], found.rows[at][:named])
    assert not both.rows[n:, named:].any() and found.rows[at, named:].sum() == 1
    worth = np.exp((both.gain - prior.caution * both.downside) / prior.temperature)
    np.testing.assert_allclose(both.weights, worth / worth.sum())
    assert rung.joined(found, found.around, tried.proba, prior, least=0.0) is found


def test_the_blend_holds_them_and_says_so(quick):
    found = blend(domains(), new_model, deep=True)
    named = [line.name for line in found.lines]
    assert named[-4:] == ["shot", "mcc", "dann", "mlp"]
    assert sum(line.weight for line in found.lines) == pytest.approx(1)
    assert found.as_dict()["networks"] == {"tried": True, "why": "tried: asked for"}
    without = blend(domains(), new_model)
    assert [line.name for line in without.lines] == named[:-4]
    assert "no time budget" in without.networks.why


def test_time_that_ends_leaves_networks_out(quick, monkeypatch):
    monkeypatch.setattr(rung, "seconds", lambda bench, clock: 0.0)
    now = iter(np.arange(0.0, 1e6, 0.01))
    found = blend(domains(), new_model, deep=None, deadline=1e9, clock=lambda: next(now))
    assert found.networks.tried
    # half of what is left would be enough, the end comes all the same
    late = blend(domains(), new_model, deep=True, deadline=-1.0, clock=lambda: next(now))
    assert {line.reason for line in late.lines[-4:]} == {"not reached: the time budget ended"}
    why = "not tried: the time budget ended before the first of them"
    assert late.networks == rung.Rung(False, why)


def test_with_labels_the_labels_weigh_them(quick):
    Xt, yt = rows(220, 2.0, 1)
    at = np.arange(18)
    known = Labelled(Xt[at], yt[at], at=at)
    folds = [(at[at % 3 != k], at[at % 3 == k]) for k in range(3)]
    found = stack(Domains(Labelled(*rows(240)), known, Xt), new_model, folds, deep=True)
    own = {line.name: line for line in found.lines}
    assert {"shot", "mcc", "dann", "mlp", "pooled"} <= set(own)
    assert "held_out_log_likelihood" in own["shot"].evidence
    assert found.as_dict()["networks"]["tried"]
    late = stack(Domains(Labelled(*rows(240)), known, Xt), new_model, folds, deep=True, deadline=0)
    assert not late.networks.tried and "time budget ended" in late.networks.why
