"""Names, numbers and several labels as heads want them."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.errors import DataError, UsageError
from isthmus.fit.encode import encode_targets


def test_each_task_has_its_form():
    names = encode_targets(["b", "a"], 2, task="classification", classes=("a", "b"))
    assert names.tolist() == [1, 0] and names.dtype == np.int64
    assert encode_targets([1, 2.5], 2, task="regression", classes=()).tolist() == [1, 2.5]
    many = encode_targets([[1, 0], [0, 0]], 2, task="multilabel", classes=("a", "b"))
    assert many.dtype == bool and many.tolist() == [[True, False], [False, False]]


@pytest.mark.parametrize(
    ("y", "n", "task", "classes", "error"),
    [
        (["a", None], 2, "classification", ("a",), DataError),
        (["a", "z"], 2, "classification", ("a",), DataError),
        (["a"], 2, "classification", ("a",), DataError),
        (["a"], 1, "classification", (), UsageError),
        (["a"], 1, "classification", ("a", "a"), UsageError),
        ([1.0, np.nan], 2, "regression", (), DataError),
        ([[1]], 1, "multilabel", ("a", "b"), DataError),
        (["a"], 1, "ranking", ("a",), UsageError),
    ],
)
def test_what_does_not_fit_is_refused(y, n, task, classes, error):
    with pytest.raises(error):
        encode_targets(y, n, task=task, classes=classes)
