"""Small problems run on one BLAS thread, and the caller's limit is back afterwards."""

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from isthmus.fit import threads
from isthmus.fit.threads import calm


def blas_threads():
    return {p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"}


class Seen:
    @calm
    def fit(self, X, y=None):
        """Told apart by its docstring."""
        self.threads = blas_threads()
        if y == "fail":
            raise ValueError("no")
        return self


@pytest.mark.parametrize("rows, expected", [(10, {1}), (1000, {2})])
def test_only_small_features_are_limited(monkeypatch, rows, expected):
    monkeypatch.setattr(threads, "SMALL", 5000)
    with threadpool_limits(2, user_api="blas"):
        assert Seen().fit(np.ones((rows, 10))).threads == expected
        assert blas_threads() == {2}


def test_the_limit_is_lifted_after_an_error_and_the_signature_stays():
    with threadpool_limits(2, user_api="blas"):
        with pytest.raises(ValueError, match="no"):
            Seen().fit([[1.0]], "fail")
        assert blas_threads() == {2}
    assert Seen.fit.__doc__ == "Told apart by its docstring."
