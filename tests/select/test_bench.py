"""What candidates share: spaces, maps fitted once, weights of labelled rows, drawn rows."""

from dataclasses import replace

import numpy as np
import pytest

from isthmus.adapt.coral import CORAL
from isthmus.fit.adapted import fit_adapter
from isthmus.fit.features import FeatureProcessor
from isthmus.fit.logistic import LogisticHead
from isthmus.fit.model import FeatureModel
from isthmus.select.bench import Bench, drawn
from isthmus.select.routes.base import Domains, Labelled

NAMES = np.array(["ant", "bee", "cat"], dtype=object)


def new_model():
    return FeatureModel(
        FeatureProcessor(standardize=True), LogisticHead(), None, "classification", tuple(NAMES)
    )


@pytest.fixture(scope="module")
def domains():
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    X = (rng.normal(size=(90, 8)) + 2 * np.eye(8)[y]).astype("f4")
    groups = np.array([f"g{i // 3}" for i in range(90)], dtype=object)
    target = Labelled(X[:12] + 1, NAMES[y[:12]], at=np.arange(12))
    return Domains(Labelled(X, NAMES[y], groups), target, X + 1)


def test_a_map_is_fitted_once_for_all_folds(domains):
    calls = []

    class Counted(CORAL):
        def adapt(self, *args, **kwargs):
            calls.append(1)
            return super().adapt(*args, **kwargs)

    bench = Bench(domains, new_model)
    first, _ = bench.adapted_each(Counted(), [np.arange(9), np.arange(3, 12)])
    assert len(calls) == 1
    # the same as a model of its own on these rows
    target = domains.target
    known = (target.X[:9], target.y[:9])
    space = bench.space
    found = CORAL().adapt(space.Xs, None, space.Xt)
    ratio = space.Xs.var(axis=0).sum() / found.Xs.var(axis=0).sum()
    alone = fit_adapter(
        bench.blank(bench.C * ratio),
        space,
        found,
        domains.source.y,
        known=known,
        target_weight=bench.row_weight,
    )
    alone = bench.calibrated(alone)
    want = alone.predict_proba(domains.Xt)
    np.testing.assert_allclose(first.predict_proba(domains.Xt), want, atol=2e-3)
    saved = FeatureModel.from_state(*first.to_state())
    np.testing.assert_array_equal(saved.predict_proba(domains.Xt), first.predict_proba(domains.Xt))


def test_labelled_rows_are_pooled_in(domains):
    bench = Bench(domains, new_model)
    assert bench.row_weight == pytest.approx(90 / 12)
    lied = replace(domains.target, y=NAMES[(np.arange(12) + 1) % 3])
    every = [np.arange(12)]
    plain, (told,) = bench.adapted(CORAL()), bench.adapted_each(CORAL(), every)
    (wrong,) = Bench(replace(domains, target=lied), new_model).adapted_each(CORAL(), every)
    right = [(m.predict(domains.target.X) == domains.target.y).mean() for m in (plain, told, wrong)]
    assert right[1] >= right[0] > right[2]


def test_a_class_of_the_target_alone_is_known_where_its_row_is(domains):
    lone = replace(domains.target, y=np.array(["dog", *domains.target.y[1:]], dtype=object))
    four = (*NAMES, "dog")

    def with_dog():
        return new_model().set_params(classes=four)

    bench = Bench(replace(domains, target=lone), with_dog)
    inside, outside = bench.adapted_each(None, [np.arange(12), np.arange(1, 12)])
    assert inside.unseen_ == () and outside.unseen_ == ("dog",)
    assert (outside.predict_proba(domains.Xt)[:, 3] == 0).all()
    assert (inside.predict_proba(domains.Xt)[:, 3] > 0).all()


def test_drawn_rows_keep_their_groups_and_their_labels(domains):
    some, notes = drawn(domains, 0, most_source=30, most_target=50)
    assert len(some.source) == len(some.source.groups) == 30 and len(some.Xt) == 50
    assert len(notes) == 2 and "30" in notes[0] and "50" in notes[1]
    at = [int(np.flatnonzero((row == domains.source.X).all(axis=1))[0]) for row in some.source.X]
    assert (domains.source.y[at] == some.source.y).all()
    assert (domains.source.groups[at] == some.source.groups).all()
    assert len(some.target) == 12 and some.target.at is None  # its places in Xt have gone
    same, notes = drawn(domains, 0, most_source=90, most_target=90)
    assert same.source is domains.source and same.Xt is domains.Xt and not notes
    assert same.target.at is not None
