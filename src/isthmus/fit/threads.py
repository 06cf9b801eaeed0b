"""Layer 5: small problems on one BLAS thread.

Two BLAS threads wait for each other by spinning. Where another process has a core of its own, a
logistic path on 500 x 1,280 features took 5.8 to 24 s on two threads and 1.5 s on one; on an idle
machine the two take the same. Large products keep all threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache, wraps
from typing import Any, cast

import numpy as np
from threadpoolctl import ThreadpoolController

SMALL = 2_000_000  # numbers in the features


def calm(fit: Callable[..., Any]) -> Callable[..., Any]:
    """A `fit(self, X, ...)` that uses one BLAS thread where X is small; the caller's limit returns.

    Notes
    -----
    The limit is that of the process while the call lasts, as BLAS libraries know no other.
    """

    @wraps(fit)
    def fitted(self: Any, X: Any, *args: Any, **kwargs: Any) -> Any:
        if np.prod(getattr(X, "shape", ())) > SMALL:
            return fit(self, X, *args, **kwargs)
        with _one_thread():
            return fit(self, X, *args, **kwargs)

    return fitted


@contextmanager
def calmly(size: int) -> Iterator[None]:
    """One BLAS thread for a block of work on `size` numbers, where these are few."""
    if size > SMALL:
        yield
        return
    with _one_thread():
        yield


@cache
def _libraries() -> ThreadpoolController:
    """The BLAS libraries of NumPy and SciPy; looking for them takes longer than a small fit."""
    import scipy.linalg  # noqa: F401  (loads its own)

    return ThreadpoolController()


def _one_thread() -> AbstractContextManager[Any]:
    return cast("AbstractContextManager[Any]", _libraries().limit(limits=1, user_api="blas"))
