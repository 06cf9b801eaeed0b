from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris

from isthmus.data.labels import distinct_of
from isthmus.data.tasks import infer_task, list_separator, split_labels, truth, unlabel

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (["cat", "dog", "cat"], "classification"),
        ([0, 1, 1, 0], "classification"),
        ([True, False], "classification"),
        ([1.0, 2.0, 3.0] * 10, "classification"),
        (["1.5", "2.0", "2.5"] * 10, "classification"),  # grades
        (RNG.normal(size=50).tolist(), "regression"),
        ([str(x) for x in RNG.normal(size=50)], "regression"),
        (["1,5", "2,7", *(f"{i},25" for i in range(20))], "regression"),
        (list(range(1000)), "regression"),
        (np.repeat(np.arange(964), 20).tolist(), "classification"),  # omniglot
        (np.repeat(np.arange(20), 72).tolist(), "classification"),
        (["a|b", "a", "b|c", "c"], "multilabel"),
        (["a;b", "a", "b"], "multilabel"),
        (["a, b", "b, c", "a, c", "a"], "multilabel"),
        ([["a"], ["a", "b"], []], "multilabel"),
        (["Portland, Oregon", "Paris, France"], "classification"),
        ([True, 1, 0], "classification"),
    ],
)
def test_tasks(values, task):
    assert infer_task(distinct_of(values))[0] == task


@pytest.mark.parametrize(
    ("loader", "task"),
    [
        (load_diabetes, "regression"),
        (load_iris, "classification"),
        (load_digits, "classification"),
        (load_breast_cancer, "classification"),
    ],
)
def test_real_targets(loader, task):
    assert infer_task(distinct_of(loader().target))[0] == task


def test_no_labels():
    assert infer_task(distinct_of([None, None])) == (None, "no row is labelled")


def test_tokens_for_no_label():
    column, tokens = unlabel(["a", "?", "NA", "", None, "None", "nan", "a"])
    assert column.codes.tolist() == [0, -1, -1, -1, -1, 1, -1, 0]
    assert column.values == ["a", "None"]  # "None" may be a class
    assert tokens == {"?": 1, "NA": 1, "nan": 1, "empty": 2}
    assert unlabel(pd.Series([1.0, np.nan]))[1] == {"empty": 1}


def test_splitting():
    assert list_separator(["a|b", "a", "b"]) == "|"
    assert list_separator(["a", "b"]) is None
    assert split_labels("a | b|", "|") == ["a", "b"]
    assert split_labels(("x", 1), None) == ["x", 1]


def test_truth():
    assert [truth(v) for v in (1, "1.0", True, "yes", "Y")] == [True] * 5
    assert [truth(v) for v in (0, "0", False, None, "", "No")] == [False] * 6
    assert truth("maybe") is None and truth(2) is None
