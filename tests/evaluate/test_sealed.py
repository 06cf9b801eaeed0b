from __future__ import annotations

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from isthmus.errors import DataError, UsageError
from isthmus.evaluate.metrics import score
from isthmus.evaluate.sealed import SealedLabels

SECRET = ["zebra", "okapi", "zebra", "okapi", "zebra"]


@pytest.fixture
def sealed():
    return SealedLabels(
        SECRET, task="classification", classes=("okapi", "zebra"), origin="test.csv"
    )


@pytest.mark.parametrize(
    "peek",
    [
        np.asarray,
        np.array,
        list,
        iter,
        set,
        pd.Series,
        pd.DataFrame,
        pickle.dumps,
        copy.copy,
        copy.deepcopy,
        lambda s: s[0],
        lambda s: s == "zebra",
        lambda s: s != np.array(SECRET),
        lambda s: np.array(SECRET) == s,
        lambda s: "zebra" in s,
        lambda s: np.unique(s),
        lambda s: np.mean(s),
        lambda s: vars(s),
        lambda s: s.labels,
        lambda s: LogisticRegression().fit(np.zeros((5, 1)), s),
        lambda s: s.open(""),
        lambda s: s.open(None),
    ],
)
def test_nothing_leaks(sealed, peek):
    with pytest.raises((UsageError, TypeError, AttributeError)) as caught:
        peek(sealed)
    assert "zebra" not in str(caught.value) or "test.csv" in str(caught.value)
    assert sealed.openings == 0


def test_attributes_and_repr_hide_the_rows(sealed):
    assert repr(sealed) == "SealedLabels(5 rows of test.csv, classification, opened 0 times)"
    for name in dir(sealed):
        if name.startswith("__"):
            continue
        value = getattr(sealed, name)
        assert not isinstance(value, np.ndarray)
        assert not (isinstance(value, (list, tuple)) and len(value) == len(SECRET))
    assert len(sealed) == 5


def test_opening_is_counted_and_gives_a_copy(sealed):
    labels = sealed.open("final test")
    assert labels.tolist() == SECRET
    labels[:] = "changed"
    assert sealed.open("again").tolist() == SECRET
    assert sealed.openings == 2 and sealed.reasons == ("final test", "again")
    assert "opened 2 times" in repr(sealed)


def test_the_callers_array_stays_apart():
    mine = np.array([1.0, 2.0])
    sealed = SealedLabels(mine, task="regression")
    mine[:] = 0
    assert sealed.open("test").tolist() == [1.0, 2.0]


def test_even_the_private_way_is_counted(sealed):
    sealed._reveal("peeked", None)
    assert sealed.reasons == ("peeked",)


def test_subsets_stay_sealed_and_share_the_ledger(sealed):
    part = sealed.take(np.array([4, 1])).take(np.array([False, True]))
    assert len(part) == 1
    with pytest.raises(UsageError):
        np.asarray(part)
    assert part.open("subset").tolist() == ["okapi"]
    assert sealed.openings == part.openings == 1
    assert part.classes == ("okapi", "zebra")
    with pytest.raises(DataError):
        sealed.take(np.array([7]))


def test_multilabel():
    matrix = np.eye(3, dtype=bool)
    sealed = SealedLabels(matrix, task="multilabel")
    assert len(sealed) == 3
    assert sealed.take(np.array([2])).open("x").tolist() == [[False, False, True]]


def test_score_opens_once_and_says_so(sealed):
    result = score(sealed, predicted=SECRET, task="classification", reason="final test")
    assert result["accuracy"].value == 1
    assert result["openings"] == {"count": 1, "reasons": ["final test"]}
    assert sealed.openings == 1
    assert score(sealed, predicted=SECRET, task="classification")["openings"]["count"] == 2
    assert score(SECRET, predicted=SECRET, task="classification")["openings"] is None


def test_scalar_is_refused():
    with pytest.raises(DataError):
        SealedLabels("zebra", task="classification")
