"""The route `multi-source` against `MultiSource` itself, its refusals, and a run that is saved."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import isthmus
from isthmus.adapt.coral import CORAL
from isthmus.adapt.multi_source import MultiSource
from isthmus.errors import UsageError
from isthmus.fit.adapted import common_space
from isthmus.fit.features import FeatureProcessor
from isthmus.fit.model import FeatureModel
from isthmus.select.routes.base import Domains, Labelled
from isthmus.select.several_sources import SeveralSources

NAMES = np.array(["ant", "bee", "cat"], dtype=object)


def blobs(n, seed, *, shift=0.0, swapped=False):
    rng = np.random.default_rng(seed)
    codes = np.arange(n) % 3
    X = rng.normal(size=(n, 6)) + 3 * np.eye(6)[codes] + shift
    return X.astype("f4"), NAMES[(codes + 1) % 3 if swapped else codes]


def three_sources():
    """Near, far, and near with every label wrong."""
    parts = [blobs(90, 1), blobs(90, 2, shift=2.0), blobs(90, 3, swapped=True)]
    domain = np.repeat(["near", "far", "wrong"], 90)
    return Labelled(
        np.concatenate([X for X, _ in parts]), np.concatenate([y for _, y in parts]), domain=domain
    )


def new_model():
    return FeatureModel(FeatureProcessor(), "nearest-mean", None, "classification", tuple(NAMES))


def weights(model):
    return dict(zip(model.names, model.weights.tolist(), strict=True))


@pytest.mark.parametrize("adapter", [None, CORAL()])
@pytest.mark.parametrize("weighting", ["uniform", "discrepancy"])
def test_sources_weigh_what_the_method_itself_gives_them(adapter, weighting):
    source, Xt = three_sources(), blobs(120, 9)[0]
    method = MultiSource(adapter, weighting=weighting)
    model = SeveralSources("multi-source", method).fit(Domains(source, None, Xt), new_model)
    space = common_space(FeatureProcessor(), source.X, Xt)
    names, ids = np.unique(source.domain, return_inverse=True)
    own = MultiSource(adapter, weighting=weighting).fit(
        np.concatenate([space.Xs, space.Xt]),
        np.concatenate([source.y.astype(str), np.repeat("ant", len(Xt))]),
        sample_domain=np.concatenate([ids, np.full(len(Xt), -1)]),
    )
    assert list(model.names) == list(names)
    np.testing.assert_allclose(model.weights, own.weights_, atol=1e-9)


def test_labelled_target_rows_silence_a_source_that_is_wrong():
    source, (Xt, yt) = three_sources(), blobs(120, 9)
    known = Labelled(Xt[:30], yt[:30], at=np.arange(30))
    route = SeveralSources("multi-source", MultiSource())
    blind = route.fit(Domains(source, None, Xt), new_model)
    seen = route.fit(Domains(source, known, Xt), new_model)
    assert weights(blind)["wrong"] > 0.2 > 0.05 > weights(seen)["wrong"]
    assert (seen.predict(Xt[30:]) == yt[30:]).mean() > 0.95


def test_models_of_the_sources_are_fitted_once_for_all_folds():
    source, (Xt, yt) = three_sources(), blobs(120, 9)
    route = SeveralSources("multi-source", MultiSource())
    whole = Domains(source, Labelled(Xt[:30], yt[:30], at=np.arange(30)), Xt)
    first = route.fit(whole, new_model)
    again = route.fit(whole.with_target(np.arange(10)), new_model)
    assert all(a is b for a, b in zip(first.members, again.members, strict=True))
    route.forget()
    assert route.fit(whole, new_model).members[0] is not first.members[0]


@pytest.mark.parametrize(
    "method, domain, words",
    [
        (MultiSource(), None, "no domains to tell apart"),
        (MultiSource(), np.repeat("one", 270), "fewer than two source domains"),
        (MultiSource(weighting="mixture"), "own", "weighs row by row"),
        (MultiSource(weighting="stacking"), "own", "needs some labelled target rows"),
        (MultiSource(estimator=object()), "own", "leave the estimator"),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason(method, domain, words):
    source = three_sources()
    if not isinstance(domain, str):
        source = Labelled(source.X, source.y, domain=domain)
    domains = Domains(source, None, blobs(30, 9)[0])
    route = SeveralSources("multi-source", method)
    assert words in route.refuses(domains)
    with pytest.raises(UsageError, match="multi-source cannot be used here"):
        route.fit(domains, new_model)


def frame(source, target):
    table = pd.DataFrame(np.concatenate([source.X, target[0]]), columns=list("abcdef"))
    table["kind"] = np.concatenate([source.y, target[1]])
    table["site"] = np.concatenate([source.domain, np.repeat("here", len(target[0]))])
    return table


def test_a_run_serves_it_and_the_saved_model_answers_alike(tmp_path):
    source, target = three_sources(), blobs(90, 9)
    two = Labelled(source.X[:180], source.y[:180], domain=source.domain[:180])
    options = {"label": "kind", "domain": "site", "target_domain": "here"}
    table = frame(two, target)
    result = isthmus.transfer(
        table, source_domain="near,far", method="multi-source", out=tmp_path / "run", **options
    )
    assert result.results["chosen"] == "multi-source"
    assert result.results["proof"]["headline"]["multi-source"]["value"] > 0.9
    again = isthmus.load(tmp_path / "run").predict(table[table["site"] == "here"][list("abcdef")])
    assert list(again["prediction"]) == list(result.predictions["prediction"])
    with pytest.raises(UsageError, match="cannot be used here"):
        isthmus.transfer(table, source_domain="near", method="multi-source", **options)
