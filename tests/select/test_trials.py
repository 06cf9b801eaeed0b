"""Candidates under a time budget: rungs of rows, the better half goes on, the rest say why."""

import itertools

import numpy as np
import pytest

from isthmus.errors import DataError
from isthmus.fit.calibrate import Temperature
from isthmus.fit.features import FeatureProcessor
from isthmus.fit.logistic import LogisticHead
from isthmus.fit.model import FeatureModel
from isthmus.select.bench import Bench
from isthmus.select.blended import blend
from isthmus.select.candidates import Candidate, candidates
from isthmus.select.prior import choice_prior
from isthmus.select.routes.base import Domains, Labelled
from isthmus.select.trials import CUT_SHORT, FIRST, halved, try_all

NAMES = np.array(["ant", "bee", "cat"], dtype=object)


def new_model():
    return FeatureModel(
        FeatureProcessor(), LogisticHead(), Temperature(), "classification", tuple(NAMES)
    )


@pytest.fixture(scope="module")
def domains():
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=2400)
    X = (rng.normal(size=(2400, 5)) + 2 * np.eye(5)[y]).astype("f4")
    return Domains(Labelled(X, NAMES[y]), None, X[:2100] + 0.5)


def ticking(step):
    ticks = itertools.count()
    return lambda: step * next(ticks)


def rungs(domains, budget):
    return halved(
        domains, new_model, candidates(labelled=False), choice_prior(), deadline=budget, seed=0,
        most=20_000, clock=ticking(1.0),
    )  # fmt: skip


def test_with_time_the_better_half_sees_all_rows(domains):
    kept, most, dropped = rungs(domains, 1e6)
    assert most == 20_000 and kept[0].name == "source-only"
    everyone = {c.name for c in candidates(labelled=False)}
    assert {c.name for c in kept} | set(dropped) == everyone and not {c.name for c in kept} & set(
        dropped
    )
    assert 7 <= len(kept) <= 8 and all("500 rows" in why for why in dropped.values())


def test_without_time_for_more_rows_the_first_rung_serves(domains):
    _, most, dropped = rungs(domains, 60.0)
    assert most == FIRST and dropped


def test_few_rows_have_no_rungs(domains):
    few = Domains(domains.source.take(np.arange(300)), None, domains.Xt[:300])
    kept, most, dropped = rungs(few, 60.0)
    assert len(kept) == len(candidates(labelled=False)) and most == 20_000 and not dropped


def test_the_blend_names_who_was_left_out_and_how_many_rows_it_saw(domains):
    found = blend(domains, new_model, deadline=60.0, clock=ticking(1.0))
    assert any("500 source rows" in note for note in found.notes)
    out = [line for line in found.lines if line.reason]
    assert out and all(line.weight == 0 for line in out)
    assert sum(line.weight for line in found.lines) == pytest.approx(1)


def test_the_first_candidate_must_not_fail_and_others_may(domains):
    def broken(bench, known):
        raise DataError("nothing works")

    cast = candidates(labelled=False)
    bench = Bench(domains, new_model)
    tried = try_all(bench, [cast[0], Candidate("broken", "none", broken)])
    assert "nothing works" in tried.failed["broken"] and list(tried.models) == ["source-only"]
    with pytest.raises(DataError, match="nothing works"):
        try_all(bench, [Candidate("broken", "none", broken), cast[0]])
    late = try_all(bench, cast[:2], deadline=-1.0)
    assert late.failed == {"balanced": CUT_SHORT}
