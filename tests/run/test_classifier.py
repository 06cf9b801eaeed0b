"""The run as a scikit-learn classifier: its contract, its three cases, kinds of rows, refusals."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from isthmus import TransferClassifier
from isthmus.data.domains import stack_domains
from isthmus.demo.cases import DATA
from isthmus.errors import DataError, UsageError


@parametrize_with_checks([TransferClassifier(head="nearest-mean")])
def test_the_contract_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def sides():
    rng = np.random.default_rng(0)
    ys, yt = np.arange(90) % 3, np.arange(60) % 3
    Xs = rng.normal(size=(90, 4)) + 3 * np.eye(4)[ys]
    Xt = rng.normal(size=(60, 4)) + 3 * np.eye(4)[yt] + 0.5
    return Xs, ys * 10 - 10, Xt, yt * 10 - 10  # -10, 0, 10: no number means "unlabelled"


def test_source_and_unlabelled_target(sides):
    Xs, ys, Xt, yt = sides
    X, y, domain, _ = stack_domains(Xs, ys, Xt)
    model = TransferClassifier().fit(X, y, sample_domain=domain)
    assert model.route_ in ("blend", "source-only") and model.verdict_.sentence
    assert (model.predict(Xt) == yt).mean() > 0.85 and model.predict(Xt).dtype == ys.dtype
    proba = model.predict_proba(Xt)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert proba.shape == (60, 3) and list(model.classes_) == [-10, 0, 10]
    said = model.result_.predictions["prediction"].to_numpy()
    assert (said == model.predict(Xt).astype(str)).all()


def test_labels_of_unlabelled_target_rows_are_never_read(sides):
    Xs, ys, Xt, _ = sides
    X, y, domain, _ = stack_domains(Xs, ys, Xt)
    first = TransferClassifier().fit(X, y, sample_domain=domain).predict_proba(Xt)
    y[domain < 0] = 77
    again = TransferClassifier().fit(X, y, sample_domain=domain).predict_proba(Xt)
    np.testing.assert_array_equal(first, again)


def test_a_few_target_labels_join(sides):
    Xs, ys, Xt, yt = sides
    known = np.where(np.arange(60) < 12, yt, np.nan)
    X, y, domain, labeled = stack_domains(Xs, (ys + 10) % 30 - 10, Xt, known)  # a source that lies
    model = TransferClassifier().fit(X, y, sample_domain=domain, target_labeled=labeled)
    assert model.route_ in ("target-only", "blend")
    assert (model.predict(Xt) == yt).mean() > 0.7


def test_the_blend_is_proved_where_no_label_is_sealed():
    rng = np.random.default_rng(0)
    ys, yt = np.arange(160) % 4, np.append(np.arange(90) % 3, [3] * 10)
    Xs, Xt = (rng.normal(size=(len(y), 6)) + 2 * np.eye(6)[y] for y in (ys, yt))
    labeled = (np.arange(100) < 30) | (np.arange(100) == 90)  # one row of the rare class
    X, y, domain, labeled = stack_domains(Xs, ys, Xt + 0.5, np.where(labeled, yt, np.nan))
    model = TransferClassifier().fit(X, y, sample_domain=domain, target_labeled=labeled)
    assert model.route_ == "blend"
    proof = model.result_.results["proof"]
    assert proof["kind"] == "cv-target" and set(proof["headline"]) >= {"blend", "no transfer"}
    # its answers come from the folds, not from the model that saw these rows
    (line,) = [r for r in model.result_.results["routes"] if r["route"] == "blend"]
    assert proof["headline"]["blend"]["value"] == pytest.approx(line["score"]["value"], abs=0.1)


def test_frames_and_texts():
    table = pd.read_csv(DATA / "reviews" / "sentences.csv")
    name = table["domain"].unique()
    some = pd.concat([table[table["domain"] == d].head(60) for d in name[:2]])
    side = np.where(some["domain"] == name[0], 0, -1)
    texts = some["text"].tolist()
    model = TransferClassifier(method="none").fit(texts, some["label"], sample_domain=side)
    right = (model.predict(texts[60:]) == some["label"].to_numpy()[60:]).mean()
    assert right > 0.7 and not hasattr(model, "n_features_in_")

    rng = np.random.default_rng(0)
    y = np.array(["no", "yes"], dtype=object)[np.arange(60) % 2]
    frame = pd.DataFrame({"size": rng.normal(size=60) + 4 * (y == "yes"), "kind": ["a", "b"] * 30})
    model = clone(TransferClassifier()).fit(frame, y)
    assert (model.predict(frame) == y).all() and list(model.feature_names_in_) == ["size", "kind"]


def test_refusals(sides):
    Xs, ys, _, _ = sides
    with pytest.raises(UsageError, match="sample_domain"):
        TransferClassifier().fit(Xs, ys, target_labeled=np.ones(90, dtype=bool))
    with pytest.raises(DataError, match="no target rows"):
        TransferClassifier().fit(Xs, ys, sample_domain=np.zeros(90, dtype=int))
    with pytest.raises(DataError, match="one class only"):
        TransferClassifier().fit(Xs, np.zeros(90))
    with pytest.raises(DataError, match="90 rows and 60 labels"):
        TransferClassifier().fit(Xs, ys[:60])
    model = TransferClassifier(method="none").fit(Xs, ys)
    with pytest.raises(ValueError, match="NaN"):
        model.predict(np.full((2, 4), np.nan))


@pytest.mark.parametrize("label_set, lacking", [("open", ()), ("universal", (0,))])
def test_rows_of_no_source_class_have_a_novelty(label_set, lacking):
    rng = np.random.default_rng(1)
    ys, yt = np.arange(180) % 3, np.arange(160) % 4  # the target's class 3 is new
    yt = yt[~np.isin(yt, lacking)]
    Xs = rng.normal(size=(len(ys), 6)) + 6 * np.eye(6)[ys]
    Xt = rng.normal(size=(len(yt), 6)) + 6 * np.eye(6)[yt]
    X, y, domain, _ = stack_domains(Xs, ys, Xt)
    model = TransferClassifier(label_set=label_set).fit(X, y, sample_domain=domain)
    strange = model.novelty(Xt)
    assert ((strange >= 0) & (strange <= 1)).all()
    found, lost = (strange > 0.5)[yt == 3].mean(), (strange > 0.5)[yt < 3].mean()
    assert found > lost + 0.3, (found, lost)
    assert strange[yt == 3].mean() > strange[yt < 3].mean() + 0.2
    assert model.predict(Xt).dtype == ys.dtype  # a class all the same
    assert (model.predict(Xt)[yt < 3] == yt[yt < 3]).mean() > 0.9


def test_novelty_needs_an_open_label_set(sides):
    Xs, ys, *_ = sides
    with pytest.raises(UsageError, match="does not look for novel rows"):
        TransferClassifier(method="none").fit(Xs, ys).novelty(Xs)
