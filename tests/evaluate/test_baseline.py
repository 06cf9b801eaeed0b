from __future__ import annotations

import importlib

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes

from isthmus.data.samples import FileItems, FrameItems, Samples, ValueItems
from isthmus.errors import DataError, UsageError
from isthmus.evaluate.baseline import majority, no_transfer, raw_answers
from isthmus.evaluate.metrics import difference, score


def samples(items, modality, labels=None, **rest):
    n = len(items)
    return Samples(items, tuple(f"row {i}" for i in range(n)), modality, labels=labels, **rest)


def names(values):
    return np.array([str(v) for v in values], dtype=object)


def accuracy(y, answer, classes):
    return score(
        y, predicted=answer[0], proba=answer[1], classes=classes, task="classification", n_boot=0
    )["accuracy"].value


# ---- the constant answer ----


def test_majority_of_classes():
    constant = majority(["b", "a", "b", "c"], task="classification", classes=("a", "b", "c"))
    predicted, proba = constant.answer(2)
    assert predicted.tolist() == ["b", "b"]
    assert proba.tolist() == [[0.25, 0.5, 0.25]] * 2
    assert constant.words == "always 'b'"
    tie = majority(["b", "a"], task="classification")
    assert tie.constant == "a" and tie.classes == ("a", "b")


def test_majority_equals_scikit_learns_dummy():
    from sklearn.dummy import DummyClassifier

    y = names(np.random.default_rng(0).integers(0, 4, 101))
    dummy = DummyClassifier(strategy="prior").fit(np.zeros((101, 1)), y)
    constant = majority(y, task="classification")
    np.testing.assert_allclose(constant.predict_proba(3), dummy.predict_proba(np.zeros((3, 1))))
    assert (constant.predict(3) == dummy.predict(np.zeros((3, 1)))).all()


def test_majority_of_numbers_and_label_sets():
    y = load_diabetes().target
    assert majority(y, task="regression").predict(2) == pytest.approx([y.mean()] * 2)
    median = majority(y, task="regression", strategy="median")
    assert median.predict(1)[0] == np.median(y) and median.predict_proba(1) is None
    result = score(y, predicted=majority(y, task="regression").predict(len(y)), task="regression")
    assert result["r2"].value == pytest.approx(0)
    label = majority([[1, 0], [1, 0], [0, 1]], task="multilabel")
    assert label.predict(2).tolist() == [[True, False]] * 2
    assert label.predict_proba(1)[0] == pytest.approx([2 / 3, 1 / 3])


def test_majority_refusals():
    with pytest.raises(DataError, match="no training labels"):
        majority([], task="classification")
    with pytest.raises(UsageError, match="not in `classes`"):
        majority(["x"], task="classification", classes=("a",))
    with pytest.raises(UsageError, match="strategy"):
        majority([1.0], task="regression", strategy="mode")
    with pytest.raises(UsageError, match="task"):
        majority([1.0], task="ranking")
    with pytest.raises(DataError, match="missing"):
        majority([1.0, np.nan], task="regression")


# ---- learning without transfer, on real data ----


def sign_digits(root, start, stop):
    files, labels = [], []
    for k in range(10):
        found = sorted((root / "sign_digits" / str(k)).glob("*.JPG"))[start:stop]
        files += [str(path.relative_to(root)) for path in found]
        labels += [str(k)] * len(found)
    return samples(FileItems(root, tuple(files)), "image"), names(labels)


DIGITS = tuple("0123456789")


def test_images(real_data):
    train, y = sign_digits(real_data, 0, 40)
    test, truth = sign_digits(real_data, 100, 120)
    answer = no_transfer(train, y, test, task="classification", classes=DIGITS)
    assert 0.55 < accuracy(truth, answer, DIGITS) < 0.95
    gap = difference(
        truth,
        ours=answer,
        baseline=majority(y, task="classification", classes=DIGITS).answer(len(test)),
        task="classification",
        classes=DIGITS,
    )
    assert gap.low > 0.3
    again = no_transfer(train, y, test, task="classification", classes=DIGITS)
    np.testing.assert_array_equal(again[1], answer[1])


def reviews(root, domain):
    table = pd.read_csv(root / "reviews" / "sentences.csv")
    table = table[table.domain == domain]
    return list(table.text), names(table.label)


def test_texts_from_one_site_to_another(real_data):
    texts, y = reviews(real_data, "amazon")
    other, truth = reviews(real_data, "yelp")
    found = raw_answers(
        samples(ValueItems(texts), "text"),
        y,
        samples(ValueItems(other), "text"),
        task="classification",
    )
    assert 0.65 < accuracy(truth, (found.predicted, found.proba), ("0", "1")) < 0.85
    assert "TF-IDF" in found.words and "C = " in found.words
    assert found.classes == ("0", "1") and len(found.rows) == 1000
    np.testing.assert_allclose(found.proba.sum(axis=1), 1)


def test_text_matches_scikit_learns_search(real_data):
    """The same grid through GridSearchCV on the same folds gives the same answers."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    from isthmus.evaluate.baseline import SPARSE_GRID
    from isthmus.fit.folds import folds

    texts, y = reviews(real_data, "imdb")
    other, _ = reviews(real_data, "yelp")
    texts, y = texts[:300], y[:300]
    found = raw_answers(
        samples(ValueItems(texts), "text"),
        y,
        samples(ValueItems(other[:100]), "text"),
        task="classification",
    )
    encoder = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)  # ASCII: the same words
    search = GridSearchCV(
        LogisticRegression(max_iter=2000, tol=1e-3),
        {"C": SPARSE_GRID},
        cv=folds(y, task="classification", random_state=0),
    ).fit(encoder.fit_transform(texts), y)
    assert f"C = {search.best_params_['C']:.3g}" in found.words
    reference = search.predict_proba(encoder.transform(other[:100]))
    np.testing.assert_allclose(found.proba, reference, atol=0.02)


def spoken(root, speakers):
    files = [p for s in speakers for p in sorted((root / "spoken_digits").glob(f"*_{s}_*.wav"))]
    part = samples(
        FileItems(root, tuple(str(p.relative_to(root)) for p in files)),
        "audio",
        groups=names(p.stem.split("_")[1] for p in files),
    )
    return part, names(p.stem[0] for p in files)


def test_recordings_of_an_unheard_speaker(real_data):
    train, y = spoken(real_data, ["jackson", "nicolas", "theo", "yweweler", "lucas"])
    test, truth = spoken(real_data, ["george"])
    answer = no_transfer(train, y, test, task="classification", classes=DIGITS)
    assert 0.2 < accuracy(truth, answer, DIGITS) < 0.9  # better than 10 %, far from solved


def heart(root, hospital):
    table = pd.read_csv(root / "heart" / "heart.csv", na_values="?")
    table = table[table.hospital == hospital].reset_index(drop=True)
    y = names(np.where(table.num > 0, "sick", "well"))
    return samples(FrameItems(table.drop(columns=["hospital", "num"])), "table"), y


def test_tables_from_one_hospital_to_another(real_data):
    train, y = heart(real_data, "cleveland")
    test, truth = heart(real_data, "hungarian")
    answer = no_transfer(train, y, test, task="classification", classes=("sick", "well"))
    assert 0.7 < accuracy(truth, answer, ("sick", "well")) < 0.9


def test_source_and_target_parts_together(real_data):
    cleveland, y = heart(real_data, "cleveland")
    hungary, truth = heart(real_data, "hungarian")
    few = np.arange(0, 294, 10)
    found = raw_answers(
        [cleveland, hungary.take(few)],
        np.concatenate([y, truth[few]]),
        hungary.take(np.setdiff1d(np.arange(294), few)),
        task="classification",
    )
    assert len(found.predicted) == 294 - 30 and found.problems == ()


def test_regression():
    X, y = load_diabetes(return_X_y=True)
    train = samples(ValueItems(X[:300]), "features")
    test = samples(ValueItems(X[300:]), "features")
    predicted, proba = no_transfer(train, y[:300], test, task="regression")
    result = score(y[300:], predicted=predicted, task="regression", n_boot=0)
    assert proba is None and 0.42 < result["r2"].value < 0.6


def test_multilabel_texts_and_constant_labels():
    texts = ["red round apple", "green round pear", "red square brick", "green square leaf"] * 5
    y = np.array([[1, 1, 0], [0, 1, 0], [1, 0, 0], [0, 0, 0]] * 5, dtype=bool)
    predicted, proba = no_transfer(
        samples(ValueItems(texts), "text"),
        y,
        samples(ValueItems(["red round thing", "green square thing"]), "text"),
        task="multilabel",
        classes=("red", "round", "never"),
    )
    assert predicted.tolist() == [[True, True, False], [False, False, False]]
    assert (proba[:, 2] == 0).all()


def test_text_regression():
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 9, 120)
    texts = [f"{'good ' * c}{'bad ' * (9 - c)}" for c in counts]
    part = samples(ValueItems(texts), "text")
    predicted, _ = no_transfer(part, counts.astype(float), part, task="regression")
    assert np.corrcoef(predicted, counts)[0, 1] > 0.95


# ---- awkward cases ----


def test_one_training_class_gives_the_constant():
    part = samples(ValueItems(np.eye(3)), "features")
    found = raw_answers(part, ["a"] * 3, part, task="classification", classes=("a", "b"))
    assert found.predicted.tolist() == ["a"] * 3 and found.proba.tolist() == [[1, 0]] * 3
    assert "one class" in found.words


@pytest.mark.parametrize("modality", ["text", "features"])
def test_one_row_a_class(modality):
    items = ValueItems(["red apple", "green pear"] if modality == "text" else np.eye(2))
    part = samples(items, modality)
    answer = no_transfer(part, ["a", "b"], part, task="classification")
    assert answer[0].tolist() == ["a", "b"]


def test_class_without_training_rows_has_probability_zero():
    part = samples(ValueItems(np.eye(4)), "features")
    _, proba = no_transfer(
        part, ["a", "c", "a", "c"], part, task="classification", classes=("a", "b", "c")
    )
    assert (proba[:, 1] == 0).all() and np.allclose(proba.sum(axis=1), 1)


def test_groups_of_the_samples_are_used(monkeypatch):
    seen = []
    module = importlib.import_module("isthmus.fit.folds")
    real = module.folds

    def spy(*args, groups=None, **rest):
        seen.append(groups)
        return real(*args, groups=groups, **rest)

    monkeypatch.setattr(module, "folds", spy)
    texts = ["red apple", "green pear"] * 10
    groups = np.array([f"g{i // 4}" for i in range(20)], dtype=object)
    groups[0] = None
    part = samples(ValueItems(texts), "text", groups=groups)
    no_transfer(part, ["a", "b"] * 10, part, task="classification")
    assert seen[0][:5].tolist() == ["row 0", "group g0", "group g0", "group g0", "group g1"]


def test_unreadable_rows_follow_the_quarantine_rule(real_data, caplog):
    train, y = sign_digits(real_data, 0, 8)
    test, _ = sign_digits(real_data, 100, 102)
    raw = [test.items[i] for i in range(20)]
    raw[4] = raw[4][:100]
    broken = samples(ValueItems(raw), "image")
    options = {"task": "classification", "classes": DIGITS}
    with pytest.raises(DataError, match="1 of 20 rows"):
        no_transfer(train, y, broken, **options)
    found = raw_answers(train, y, broken, max_bad=0.1, **options)
    assert found.rows.tolist() == [r for r in range(20) if r != 4]
    assert [p.where for p in found.problems] == ["row 4"]
    predicted, proba = no_transfer(train, y, broken, max_bad=0.1, **options)
    assert len(predicted) == 20 and predicted[4] == "0"  # eight of each: the first class
    np.testing.assert_allclose(proba[4], 0.1)
    np.testing.assert_array_equal(np.delete(predicted, 4), found.predicted)
    assert "1 unreadable test rows" in caplog.text


def test_refusals():
    part = samples(ValueItems(np.eye(3)), "features")
    with pytest.raises(DataError, match="2 labels for 3"):
        no_transfer(part, ["a", "b"], part, task="classification")
    with pytest.raises(DataError, match="groups"):
        no_transfer(part, ["a", "b", "a"], part, task="classification", groups=np.array(["g"]))
    with pytest.raises(UsageError, match="task"):
        no_transfer(part, ["a", "b", "a"], part, task="ranking")
