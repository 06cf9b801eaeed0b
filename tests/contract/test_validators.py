"""The contract of every label-free validator: the folder is walked, nothing is listed."""

from __future__ import annotations

import ast
import inspect
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

import isthmus.select.validate as package
from isthmus.errors import DataError
from isthmus.select.validate.base import Scene, Trial, Validator, discover, validate

ROOT = Path(__file__).parents[2]
FOLDER = Path(package.__file__).parent
VALIDATORS = discover()
each = pytest.mark.parametrize("name", sorted(VALIDATORS))


def centres(Xs, ys, n_classes):
    """A candidate that is easy to see through: softmax of distances to the class means."""
    present = np.unique(ys)
    means = np.stack([Xs[ys == code].mean(axis=0) for code in present])

    def predict(X):
        distance = ((X[:, None, :] - means) ** 2).sum(axis=2)
        P = np.zeros((len(X), n_classes))
        P[:, present] = softmax(-distance, axis=1)
        return P

    return predict


def neighbor_graph(X, m=5):
    distance = ((X[:, None, :] - X) ** 2).sum(axis=2)
    np.fill_diagonal(distance, np.inf)
    return np.argsort(distance, axis=1, kind="stable")[:, :m]


def case(n=90, m=80, K=3, d=4, seed=0, spread=1.2, dtype="f8"):
    """Gaussian classes; the target is moved a little, the weights are any that have mean 1."""
    rng = np.random.default_rng(seed)
    ys, yt = np.arange(n) % K, np.arange(m) % K
    corner = 3 * np.eye(max(K, d))[:K, :d]
    Xs = (corner[ys] + spread * rng.normal(size=(n, d))).astype(dtype)
    Xt = (corner[yt] + spread * rng.normal(size=(m, d)) + 0.4).astype(dtype)
    weights = rng.gamma(4.0, size=n)
    predict = centres(Xs, ys, K)
    held = np.empty((n, K))
    for fold in range(3):
        out = np.arange(n) // K % 3 == fold
        held[out] = centres(Xs[~out], ys[~out], K)(Xs[out])
    scene = Scene(
        Xs,
        ys,
        Xt,
        K,
        weights / weights.mean(),
        neighbor_graph(Xt),
        (predict(Xt) + 1 / K) / 2,
        random_state=0,
    )
    trial = Trial(
        "centres", predict(Xt), held, predict, lambda Xs, ys, Xt: centres(Xs, np.asarray(ys), K)
    )
    return scene, trial


def with_target(scene, trial, P):
    return scene, replace(trial, target_proba=P)


def permuted(scene, trial, order):
    """The same choice with its target rows in another order."""
    place = np.argsort(order)
    moved = replace(
        scene,
        Xt=scene.Xt[order],
        neighbors=place[scene.neighbors[order]],
        consensus=scene.consensus[order],
    )
    return moved, replace(trial, target_proba=trial.target_proba[order])


def test_every_file_of_the_folder_is_a_validator_or_a_helper():
    files = {path.stem for path in FOLDER.glob("*.py")} - {"__init__"}
    modules = {type(v).__module__.rpartition(".")[2] for v in VALIDATORS.values()}
    assert files - modules == {
        "base",
        "circles",
        "importance",
        "probabilities",
        "report",
        "scenes",
    }
    assert len(VALIDATORS) == len(modules)


@each
def test_each_has_its_test_file_its_row_and_its_paper(name):
    kind = type(VALIDATORS[name])
    stem = kind.__module__.rpartition(".")[2]
    assert name == stem.replace("_", "-")
    assert (ROOT / "tests" / "select" / "validate" / f"test_{stem}.py").exists()
    rows = (ROOT / "docs" / "methods.md").read_text()
    assert f"`isthmus.select.validate.{stem}`" in rows, f"no row for {name} in docs/methods.md"
    assert any(year in (kind.__doc__ or "") for year in map(str, range(1950, 2030))), "no paper"


@each
def test_twice_is_the_same_and_inputs_are_untouched(name):
    scene, trial = case()
    arrays = [
        getattr(thing, field.name)
        for thing in (scene, trial)
        for field in fields(thing)
        if isinstance(getattr(thing, field.name), np.ndarray)
    ]
    kept = [a.copy() for a in arrays]
    for a in arrays:
        a.setflags(write=False)
    first = VALIDATORS[name].score(scene, trial)
    again = discover()[name].score(*case())
    assert np.isfinite(first) and first == VALIDATORS[name].score(scene, trial) == again
    for now, then in zip(arrays, kept, strict=True):
        np.testing.assert_array_equal(now, then)


@each
def test_the_order_of_the_target_rows_does_not_matter(name):
    scene, trial = case()
    moved = permuted(scene, trial, np.random.default_rng(5).permutation(len(scene.Xt)))
    assert VALIDATORS[name].score(*moved) == pytest.approx(
        VALIDATORS[name].score(scene, trial), rel=1e-9
    )


@each
def test_single_precision_gives_the_same_within_tolerance(name):
    scene, trial = case()
    half = replace(
        scene,
        Xs=scene.Xs.astype("f4"),
        Xt=scene.Xt.astype("f4"),
        weights=scene.weights.astype("f4"),
        consensus=scene.consensus.astype("f4"),
    )
    light = replace(
        trial,
        target_proba=trial.target_proba.astype("f4"),
        source_proba=trial.source_proba.astype("f4"),
        predict=lambda X: trial.predict(X).astype("f4"),
    )
    assert VALIDATORS[name].score(half, light) == pytest.approx(
        VALIDATORS[name].score(scene, trial), abs=1e-4
    )


def awkward():
    scene, trial = case()
    m, K = trial.target_proba.shape
    certain = np.eye(K)[trial.target_proba.argmax(axis=1)]
    yield "one predicted class", with_target(scene, trial, np.tile([0.8, 0.1, 0.1], (m, 1)))
    yield "one class, certain", with_target(scene, trial, np.tile([1.0, 0.0, 0.0], (m, 1)))
    yield "exact zeros", with_target(scene, trial, certain)
    yield "uniform", with_target(scene, trial, np.full((m, K), 1 / K))
    gone = np.where(certain[:, [0]] == 1, [[0.0, 1.0, 0.0]], certain)
    yield "a class is never predicted", with_target(scene, trial, gone)
    rows = scene.ys != 1
    yield (
        "a class without source rows",
        (
            replace(scene, Xs=scene.Xs[rows], ys=scene.ys[rows], weights=scene.weights[rows]),
            replace(trial, source_proba=trial.source_proba[rows]),
        ),
    )
    yield "two classes", case(K=2)
    yield "20 rows", case(n=20, m=20)
    yield "four rows", case(n=4, m=4, K=2)
    yield "more columns than rows", case(n=20, m=20, d=60)
    few = np.arange(m) % 5
    yield (
        "duplicates",
        (
            replace(
                scene,
                Xt=scene.Xt[few],
                neighbors=neighbor_graph(scene.Xt[few]),
                consensus=scene.consensus[few],
            ),
            replace(trial, target_proba=trial.target_proba[few]),
        ),
    )
    alike = np.zeros_like(scene.Xt)
    yield (
        "all target rows are one",
        (
            replace(scene, Xt=alike, neighbors=neighbor_graph(alike)),
            replace(trial, target_proba=trial.predict(alike)),
        ),
    )
    yield "domains apart", (replace(scene, Xt=scene.Xt + 1000), trial)
    spike = np.eye(len(scene.Xs))[0] * len(scene.Xs)
    yield "one weight", (replace(scene, weights=spike), trial)


@each
def test_awkward_cases_give_a_finite_value_or_a_reason(name):
    seen = 0
    for label, (scene, trial) in awkward():
        try:
            value = VALIDATORS[name].score(scene, trial)
        except DataError as error:
            assert len(str(error)) > 10, label
            continue
        seen += 1
        assert np.isfinite(value), label
    assert seen >= 7  # a validator that refuses everything is none


@each
def test_what_is_no_probability_is_refused(name):
    scene, trial = case()
    broken = trial.target_proba.copy()
    broken[3, 1] = np.nan
    wrong = {
        "nan": broken,
        "logits": np.log(trial.target_proba),
        "other width": trial.target_proba[:, :2],
        "other length": trial.target_proba[:-1],
    }
    if name in ("iwcv", "dev"):  # they read the source alone
        wrong = {"logits": np.log(trial.source_proba), "length": trial.source_proba[:-1]}
        trials = {k: replace(trial, source_proba=P) for k, P in wrong.items()}
    else:
        trials = {k: replace(trial, target_proba=P) for k, P in wrong.items()}
    for label, bad in trials.items():
        with pytest.raises(DataError):
            pytest.fail(f"{label}: {VALIDATORS[name].score(scene, bad)}")


@each
def test_a_missing_field_is_a_reason_and_not_a_number(name):
    scene, trial = case()
    bare = replace(trial, source_proba=None, predict=None, refit=None)
    got = validate(VALIDATORS[name], scene, [bare])["centres"]
    if VALIDATORS[name].needs:
        assert got.value is None and "has no" in got.reason
    else:
        assert got.value == VALIDATORS[name].score(scene, trial)


@pytest.mark.parametrize("name", sorted(n for n, v in VALIDATORS.items() if v.needs))
def test_a_candidate_that_breaks_down_is_a_reason(name):
    scene, trial = case()

    def broken(*_):
        raise ValueError("the matrix is singular")

    bad = replace(
        trial, predict=broken, refit=broken, source_proba=np.full((len(scene.Xs), 3), np.nan)
    )
    got = validate(VALIDATORS[name], scene, [bad])["centres"]
    assert got.value is None and ("singular" in got.reason or "held-out" in got.reason)


@each
def test_a_good_candidate_is_not_below_a_coin(name):
    scene, trial = case(n=300, m=300)
    rng = np.random.default_rng(0)
    coin = rng.dirichlet(np.ones(3) * 2, size=300)
    held = rng.dirichlet(np.ones(3) * 2, size=300)

    def lottery(Xs, ys, Xt):
        return lambda X: np.random.default_rng(1).dirichlet(np.ones(3), size=len(X))

    bad = replace(
        trial, target_proba=coin, source_proba=held, refit=lottery, predict=lottery(0, 0, 0)
    )
    good = VALIDATORS[name].score(scene, trial)
    # density of the neighbourhoods aside: SND is high for whatever is vague
    assert name == "snd" or good > VALIDATORS[name].score(scene, bad)


def test_no_label_of_the_target_can_be_reached():
    allowed = {"Xs", "ys", "Xt", "n_classes", "weights", "neighbors", "consensus", "groups"}
    assert {field.name for field in fields(Scene)} == allowed | {"random_state"}
    assert {f.name for f in fields(Trial)} == {
        "name",
        "target_proba",
        "source_proba",
        "predict",
        "refit",
    }
    for validator in VALIDATORS.values():
        assert list(inspect.signature(validator.score).parameters) == ["scene", "trial"]
        assert isinstance(validator, Validator) and validator.cost in ("cheap", "refit")
    for path in FOLDER.glob("*.py"):
        tree = ast.parse(path.read_text())
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        names |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert not names & {"yt", "Yt", "labels", "sealed", "SealedLabels"}, path.name
