from __future__ import annotations

import pytest

from isthmus.data.quarantine import bad_rates, check_bad_share, follows_label
from isthmus.data.samples import Problem
from isthmus.errors import DataError, UsageError


def problems(count, label=None):
    return [Problem(f"f.csv:{i}", "broken", "Mend it", label) for i in range(count)]


def test_exactly_the_limit_passes_and_one_more_does_not():
    check_bad_share(problems(10), 1000)
    with pytest.raises(DataError, match="11 of 1,000 rows"):
        check_bad_share(problems(11), 1000)


def test_no_problem_and_no_rows_pass():
    check_bad_share([], 0)
    check_bad_share([], 100, max_bad=0)


def test_message_lists_ten_and_counts_the_rest():
    with pytest.raises(DataError) as caught:
        check_bad_share(problems(25), 100)
    text = str(caught.value)
    assert "f.csv:9: broken. Mend it" in text and "f.csv:10:" not in text
    assert "and 15 more" in text
    assert "--max-bad 0.5" in text  # the smallest round limit that holds 25 %


def test_limit_is_the_callers_choice():
    check_bad_share(problems(25), 100, max_bad=0.25)
    check_bad_share(problems(100), 100, max_bad=1)


@pytest.mark.parametrize("wrong", [-0.1, 1.5, "1 %", float("nan"), None])
def test_a_limit_that_is_no_share_is_refused(wrong):
    with pytest.raises(UsageError, match="share"):
        check_bad_share([], 10, max_bad=wrong)


def test_few_failures_that_all_hit_one_class_stop_the_run():
    labels = ["cat"] * 5000 + ["dog"] * 4960 + ["owl"] * 40
    with pytest.raises(DataError, match=r"owl 30/40 \(75.0 %\)"):
        check_bad_share(problems(30, "owl"), 10_000, labels=labels)


def test_few_failures_spread_over_the_classes_pass():
    bad = problems(15, "cat") + problems(15, "dog")
    check_bad_share(bad, 10_000, labels={"cat": 5000, "dog": 5000})


def test_rates_per_class_are_in_the_message_only_where_failures_follow_the_class():
    with pytest.raises(DataError) as caught:
        check_bad_share(problems(20, "a") + problems(1, "b"), 200, labels={"a": 100, "b": 100})
    assert "follow the label: a 20/100" in str(caught.value)
    with pytest.raises(DataError) as caught:
        check_bad_share(problems(10, "a") + problems(10, "b"), 200, labels={"a": 100, "b": 100})
    assert "follow the label" not in str(caught.value)


def test_rates():
    rates = bad_rates(problems(2, "a"), ["a", "a", "b", None])
    assert rates == {"a": (2, 2), "b": (0, 1)}
    assert follows_label(rates, 2, 4) == []
