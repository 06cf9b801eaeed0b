from __future__ import annotations

import json
import math

import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.datasets import load_diabetes, load_digits
from sklearn.linear_model import LogisticRegression, Ridge

from isthmus.errors import DataError, UsageError
from isthmus.evaluate import as_json, difference, score
from isthmus.evaluate.metrics import LOWER_IS_BETTER, MAIN_METRIC
from isthmus.types import Interval

AB = ("a", "b")


def intervals(result):
    return {k: v for k, v in result.items() if isinstance(v, Interval)}


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    model = LogisticRegression(C=1e-4, max_iter=300).fit(X[:900], y[:900])
    names = np.array([f"digit {k}" for k in range(10)], dtype=object)
    return names, y[900:], model.predict(X[900:]), model.predict_proba(X[900:])


def test_point_values_are_scikit_learns(digits):
    names, t, p, q = digits
    result = score(
        names[t], predicted=names[p], proba=q, classes=tuple(names), task="classification"
    )
    expected = {
        "accuracy": sk.accuracy_score(t, p),
        "balanced_accuracy": sk.balanced_accuracy_score(t, p),
        "precision_macro": sk.precision_score(t, p, average="macro"),
        "precision_weighted": sk.precision_score(t, p, average="weighted"),
        "recall_macro": sk.recall_score(t, p, average="macro"),
        "recall_weighted": sk.recall_score(t, p, average="weighted"),
        "f1_macro": sk.f1_score(t, p, average="macro"),
        "f1_weighted": sk.f1_score(t, p, average="weighted"),
        "roc_auc": sk.roc_auc_score(t, q, multi_class="ovr", average="macro"),
        "log_loss": sk.log_loss(t, q),
        "brier": np.mean(((q - np.eye(10)[t]) ** 2).sum(axis=1)),
    }
    for name, value in expected.items():
        figure = result[name]
        assert figure.value == pytest.approx(value), name
        assert figure.low < figure.value < figure.high, name
        assert "bootstrap over 897 rows" in figure.how
    assert result["confusion"]["matrix"] == sk.confusion_matrix(t, p).tolist()
    assert result["confusion"]["classes"] == list(names)
    f1 = sk.f1_score(t, p, average=None)
    assert result["per_class"]["digit 3"]["f1"].value == pytest.approx(f1[3])
    assert set(intervals(result)) == set(expected) | {"ece", "ece_adaptive"}
    assert result["n"] == 897 and result["n_groups"] is None and result["notes"] == []
    assert sum(b["count"] for b in result["reliability"]["bins"]) == 897


def test_brier_is_scikit_learns_where_it_knows_many_classes(digits):
    names, t, p, q = digits
    try:
        reference = sk.brier_score_loss(t, q, labels=range(10))
    except (TypeError, ValueError):
        pytest.skip("this scikit-learn has the binary Brier score only")
    result = score(
        names[t], predicted=names[p], proba=q, classes=tuple(names), task="classification", n_boot=0
    )
    assert result["brier"].value == pytest.approx(reference)


def test_label_order_is_the_callers(digits):
    names, t, p, q = digits
    turned = np.arange(10)[::-1]
    one = score(
        names[t], predicted=names[p], proba=q, classes=tuple(names), task="classification", n_boot=0
    )
    two = score(
        names[t],
        predicted=names[p],
        proba=q[:, turned],
        classes=tuple(names[turned]),
        task="classification",
        n_boot=0,
    )
    for name, figure in intervals(one).items():
        assert two[name].value == pytest.approx(figure.value), name


def test_same_seed_same_json(digits):
    names, t, p, q = digits

    def run(seed):
        result = score(
            names[t],
            predicted=names[p],
            proba=q,
            classes=tuple(names),
            task="classification",
            groups=np.arange(len(t)) // 30,
            n_boot=100,
            random_state=seed,
        )
        return json.dumps(as_json(result), sort_keys=True, allow_nan=False)

    assert run(1) == run(1) != run(2)
    assert json.loads(run(1))["n_groups"] == 30


def test_numbers_and_names_are_the_same_label():
    result = score([1, 2, 2], predicted=["1", "2.0", 1.0], task="classification")
    assert result["accuracy"].value == pytest.approx(2 / 3)
    assert result["confusion"]["classes"] == ["1", "2"]


def test_class_names_are_in_numeric_order():
    result = score(["10", "9", "2"], predicted=["10", "9", "2"], task="classification")
    assert result["confusion"]["classes"] == ["2", "9", "10"]


def test_one_class_in_the_test_rows():
    proba = np.array([[0.9, 0.1], [0.3, 0.7], [0.8, 0.2]])
    result = score(
        ["a", "a", "a"], predicted=["a", "b", "a"], proba=proba, classes=AB, task="classification"
    )
    assert math.isnan(result["roc_auc"].value)
    assert result["roc_auc"].how == "undefined: the test rows hold one class only"
    assert result["accuracy"].value == result["balanced_accuracy"].value == pytest.approx(2 / 3)
    assert result["absent"] == ["b"]
    assert result["per_class"]["b"]["recall"].how == "undefined: no test rows"
    assert result["per_class"]["b"]["precision"].value == 0  # answered once, wrongly
    assert any("nothing to tell apart" in note for note in result["notes"])


def test_absent_class_is_not_a_zero():
    names = ("a", "b", "c")
    result = score(
        ["a", "b", "a", "b"],
        predicted=["a", "b", "b", "b"],
        proba=np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.4, 0.5, 0.1], [0.2, 0.7, 0.1]]),
        classes=names,
        task="classification",
    )
    assert result["recall_macro"].value == pytest.approx(0.75)
    assert result["roc_auc"].value == 1.0
    assert "2 of 3 classes" in result["roc_auc"].how
    for figure in result["per_class"]["c"].values():
        assert figure.how.startswith("undefined") and figure.as_dict()["value"] is None
    assert result["absent"] == ["c"] and result["support"]["c"] == 0


def test_class_that_is_never_predicted():
    result = score(["a", "b"] * 5, predicted=["a"] * 10, task="classification")
    assert result["per_class"]["b"]["precision"].how == "undefined: never predicted"
    assert result["per_class"]["b"]["recall"].value == 0
    assert result["precision_macro"].value == pytest.approx(0.25)  # 0 in the average, by rule


def test_unseen_labels_are_errors_and_said():
    proba = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])
    result = score(
        ["a", "b", "yeti", "b"],
        predicted=["a", "b", "a", "b"],
        proba=proba,
        classes=AB,
        task="classification",
    )
    assert result["accuracy"].value == 0.75
    assert result["unseen"] == {"yeti": 1}
    assert "'yeti'" in result["notes"][0] and "count as errors" in result["notes"][0]
    assert result["confusion"]["classes"] == ["a", "b", "yeti"]
    assert result["confusion"]["matrix"][2] == [1, 0, 0]
    assert math.isnan(result["log_loss"].value) and "1 test rows" in result["log_loss"].how
    assert result["brier"].value == pytest.approx((0.01 + 0.04 + (0.36 + 0.16) / 2 + 0.09) / 4)
    assert result["balanced_accuracy"].value == pytest.approx(2 / 3)
    json.dumps(as_json(result), allow_nan=False)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
@pytest.mark.parametrize("groups", [False, True])
def test_tiny_sets_never_crash(n, task, groups):
    rng = np.random.default_rng(n)
    if task == "classification":
        t, p = rng.integers(0, 3, n), rng.integers(0, 3, n)
        names = np.array(["a", "b", "c"], dtype=object)
        data = {
            "predicted": names[p],
            "proba": np.eye(3)[p],
            "classes": tuple(names),
        }
        truth = names[t]
    elif task == "multilabel":
        truth = rng.random((n, 3)) < 0.4
        data = {"predicted": rng.random((n, 3)) < 0.4, "proba": rng.random((n, 3))}
    else:
        truth, data = rng.normal(size=n), {"predicted": rng.normal(size=n)}
    result = score(truth, task=task, groups=np.zeros(n) if groups else None, n_boot=200, **data)
    json.dumps(as_json(result), allow_nan=False)
    for name, figure in intervals(result).items():
        if math.isnan(figure.value):
            assert figure.how.startswith("undefined: "), name
        elif math.isfinite(figure.low):
            assert figure.low <= figure.value + 1e-12 and figure.value <= figure.high + 1e-12, name
        else:
            assert figure.how.startswith("no interval: "), name


def test_perfect_answers_are_not_certain():
    names = np.array(["a"] * 10 + ["b"] * 20, dtype=object)
    proba = np.where((names == "a")[:, None], [[0.99, 0.01]], [[0.02, 0.98]])
    result = score(names, predicted=names, proba=proba, classes=AB, task="classification")
    for name in ("accuracy", "balanced_accuracy", "f1_macro", "precision_macro", "roc_auc"):
        assert result[name].value == result[name].high == 1.0
        assert 0.5 < result[name].low < 0.95, name
        assert "Wilson" in result[name].how
    assert result["accuracy"].low == pytest.approx(0.8865, abs=1e-3)
    # 10 and 20 rows carry the mean of two recalls like 26.7 of one
    assert result["balanced_accuracy"].low < result["accuracy"].low


def test_groups_widen():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(15), 40)
    right = rng.random(600) < np.repeat(rng.random(15), 40)
    names = np.where(right, "a", "b").astype(object)
    truth = np.full(600, "a", dtype=object)
    plain = score(truth, predicted=names, task="classification")["accuracy"]
    grouped = score(truth, predicted=names, task="classification", groups=groups)["accuracy"]
    assert grouped.value == plain.value
    assert grouped.high - grouped.low > 2 * (plain.high - plain.low)
    assert grouped.how == "bootstrap over 15 groups"


def ece_of(rng, seed, *, n, tilt, groups=None):
    """ECE interval where the truth is |tilt|: confidences q, right with probability q + tilt."""
    q = rng.uniform(0.6, 0.9, n)
    noise = rng.random(n) if groups is None else rng.random(groups.max() + 1)[groups]
    names = np.where(noise < q + tilt, "b", "a").astype(object)
    return score(
        names,
        predicted=["b"] * n,
        proba=np.stack([1 - q, q], axis=1),
        classes=AB,
        task="classification",
        n_boot=200,
        random_state=seed,
        groups=groups,
    )["ece"]


def test_calibration_error_of_a_calibrated_model_reaches_zero():
    """Resampling inflates an ECE: a plain percentile interval never holds the true 0."""
    covered, above = 0, 0
    for seed in range(60):
        result = ece_of(np.random.default_rng(seed), seed, n=300, tilt=0.0)
        covered += result.low == 0
        above += result.value > 0.02
        assert result.low <= result.value <= result.high
        assert "noise alone would give 0.0" in result.how
    assert above > 40  # the value itself is mostly noise, so the interval must say so
    assert covered >= 54


def test_calibration_error_of_a_miscalibrated_model_is_found():
    covered = 0
    for seed in range(60):
        result = ece_of(np.random.default_rng(seed), seed, n=600, tilt=-0.15)
        covered += result.low <= 0.15 <= result.high
        assert result.low > 0
    assert covered >= 54


def test_calibration_noise_of_groups_is_larger():
    groups = np.repeat(np.arange(20), 30)
    result = ece_of(np.random.default_rng(3), 0, n=600, tilt=0.0, groups=groups)
    assert result.low == 0
    assert float(result.how.rsplit(" ", 1)[1]) > 0.05


def test_no_probabilities_is_said():
    result = score(["a", "b"], predicted=["a", "a"], task="classification")
    for name in ("roc_auc", "log_loss", "ece", "ece_adaptive", "brier"):
        assert result[name].how == "undefined: no probabilities were given"
    assert result["reliability"] is None


def test_predictions_against_the_probabilities_are_noted():
    proba = np.array([[0.9, 0.1], [0.5, 0.5]])
    result = score(["a", "b"], predicted=["b", "b"], proba=proba, classes=AB, task="classification")
    assert result["notes"] == [
        "1 of 2 predictions are not the most probable class; calibration figures judge the most "
        "probable one"
    ]


def test_multilabel_values():
    rng = np.random.default_rng(0)
    t = rng.random((300, 5)) < 0.3
    q = np.clip(rng.random((300, 5)) * 0.6 + 0.4 * t, 0, 1)
    p = q > 0.5
    result = score(t, predicted=p, proba=q, classes=tuple("vwxyz"), task="multilabel")
    expected = {
        "subset_accuracy": sk.accuracy_score(t, p),
        "f1_micro": sk.f1_score(t, p, average="micro"),
        "f1_macro": sk.f1_score(t, p, average="macro"),
        "hamming_loss": sk.hamming_loss(t, p),
        "mean_average_precision": sk.average_precision_score(t, q),
    }
    for name, value in expected.items():
        assert result[name].value == pytest.approx(value)
        assert result[name].low < value < result[name].high
    assert result["per_class"]["x"]["average_precision"].value == pytest.approx(
        sk.average_precision_score(t[:, 2], q[:, 2])
    )


def test_multilabel_single_column_and_absent_label():
    one = score([[1], [0], [1]], predicted=[[1], [1], [1]], task="multilabel")
    assert one["subset_accuracy"].value == pytest.approx(2 / 3)
    assert one["per_class"]["0"]["precision"].value == pytest.approx(2 / 3)
    two = score(
        [[1, 0], [1, 0]], predicted=[[1, 0], [0, 0]], proba=[[1, 0], [0, 0]], task="multilabel"
    )
    assert two["f1_macro"].value == two["per_class"]["0"]["f1"].value == pytest.approx(2 / 3)
    assert two["per_class"]["1"]["f1"].how == "undefined: neither tested nor predicted"
    assert "1 of 2 labels" in two["mean_average_precision"].how


def test_regression_on_diabetes():
    X, y = load_diabetes(return_X_y=True)
    z = Ridge(alpha=0.1).fit(X[:300], y[:300]).predict(X[300:])
    y = y[300:]
    result = score(y, predicted=z, task="regression")
    expected = {
        "mae": sk.mean_absolute_error(y, z),
        "rmse": sk.mean_squared_error(y, z) ** 0.5,
        "r2": sk.r2_score(y, z),
        "median_ae": sk.median_absolute_error(y, z),
    }
    for name, value in expected.items():
        assert result[name].value == pytest.approx(value)
        assert result[name].low < value < result[name].high
    assert 0.3 < result["r2"].low < result["r2"].high < 0.7
    assert 0.5 < result["spearman"].value < 0.8


def test_regression_of_constants():
    flat = score([2.0, 2.0, 2.0], predicted=[1.0, 2.0, 3.0], task="regression")
    assert flat["r2"].how == "undefined: the true values are all equal"
    assert flat["mae"].value == pytest.approx(2 / 3)
    answer = score([1.0, 2.0, 3.0], predicted=[2.0] * 3, task="regression")
    assert answer["spearman"].how == "undefined: the predictions are all equal"
    assert answer["r2"].value == pytest.approx(0)
    assert score([1.0], predicted=[1.0], task="regression")["r2"].how == "undefined: one test row"


def test_difference_is_paired(digits):
    names, t, p, q = digits
    worse = p.copy()
    worse[:30] = (worse[:30] + 1) % 10
    common = {"classes": tuple(names), "task": "classification"}
    gap = difference(names[t], ours=(names[p], q), baseline=(names[worse], None), **common)
    assert gap.value == pytest.approx(sk.accuracy_score(t, p) - sk.accuracy_score(t, worse))
    assert 0 < gap.low < gap.value < gap.high < 0.06
    f1 = difference(
        names[t],
        ours=(names[p], q),
        baseline=(names[worse], None),
        metric="f1_macro",
        **common,
    )
    assert f1.value == pytest.approx(
        sk.f1_score(t, p, average="macro") - sk.f1_score(t, worse, average="macro")
    )
    none = difference(
        names[t], ours=(names[p], q), baseline=(names[worse], None), metric="roc_auc", **common
    )
    assert "roc_auc of baseline: no probabilities were given" in none.how


def test_difference_of_a_system_with_itself_is_zero():
    y = load_diabetes().target
    gap = difference(y, ours=(y + 5, None), baseline=(y + 5, None), task="regression")
    assert gap.value == gap.low == gap.high == 0
    gain = difference(y, ours=(y + 5, None), baseline=(y - 9, None), task="regression")
    assert gain.value == pytest.approx(-4) and "mae" in LOWER_IS_BETTER
    assert MAIN_METRIC["regression"] == "mae"


def test_difference_refuses_unknown_figures():
    with pytest.raises(UsageError, match="There are: "):
        difference([1.0], ours=([1.0], None), baseline=([1.0], None), metric="x", task="regression")


@pytest.mark.parametrize(
    ("y", "options", "error"),
    [
        ([], {"predicted": [], "task": "classification"}, "no rows"),
        (["a", None], {"predicted": ["a", "a"], "task": "classification"}, "no label"),
        (["a"], {"predicted": ["a", "a"], "task": "classification"}, "2 predictions for 1"),
        (["a"], {"predicted": ["c"], "classes": AB, "task": "classification"}, "'c'"),
        (["a"], {"predicted": ["a"], "proba": [[1.0]], "task": "classification"}, "class names"),
        (
            ["a"],
            {"predicted": ["a"], "proba": [[2.0, -1.0]], "classes": AB, "task": "classification"},
            "outside",
        ),
        (
            ["a"],
            {"predicted": ["a"], "proba": [[0.5, 0.2]], "classes": AB, "task": "classification"},
            "sum to 1",
        ),
        (
            ["a"],
            {"predicted": ["a"], "proba": [[np.nan, 1]], "classes": AB, "task": "classification"},
            "NaN",
        ),
        (["a"], {"predicted": ["a"], "classes": ("a", "a"), "task": "classification"}, "repeat"),
        ([1.0, np.nan], {"predicted": [1.0, 1.0], "task": "regression"}, "missing"),
        (["x"], {"predicted": [1.0], "task": "regression"}, "numbers"),
        ([[0, 2]], {"predicted": [[0, 1]], "task": "multilabel"}, "0 or 1"),
        ([0, 1], {"predicted": [[0, 1]], "task": "multilabel"}, "shape"),
        (["a"], {"predicted": ["a"], "task": "ranking"}, "unknown task"),
        (["a"], {"predicted": ["a"], "task": "classification", "groups": [1, 2]}, "2 groups"),
        (["a"], {"predicted": ["a"], "task": "classification", "level": 95}, "level"),
    ],
)
def test_refusals(y, options, error):
    with pytest.raises((DataError, UsageError), match=error):
        score(y, **options)


def test_inputs_are_left_alone(digits):
    names, t, p, q = digits
    truth, before = names[t], q.copy()
    score(truth, predicted=names[p], proba=q, classes=tuple(names), task="classification", n_boot=5)
    np.testing.assert_array_equal(q, before)
    np.testing.assert_array_equal(truth, names[t])
