"""Layer 4: the adapter protocol, and the one check that every method makes of its arguments."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar

import array_api_compat
import numpy as np
from sklearn.base import BaseEstimator

from isthmus.errors import DataError
from isthmus.registry import classes_by_file, named
from isthmus.types import Adaptation


class Adapter(BaseEstimator, ABC):
    """A domain adapter: parameters only; `adapt` returns a value and changes nothing.

    Class attributes
    ----------------
    needs_labels : bool
        Whether source labels are used; where not, they may be None.
    family : str
        ``instance``, ``feature``, ``transport``, ``label-shift``, ``relation`` or ``model``.
    extra : str or None
        The extra of this package that brings a library the method needs.

    Estimators in this folder have the same attributes, and ``needs_target_labels`` where they
    need labelled target rows. One whose fitted form can be saved has ``served()``: a head that was
    given as its `estimator`, or a frozen dataclass of this package that gives the scores of the
    classes (n, K) in the order of `classes_`, or the values (n,), of new target rows.
    """

    needs_labels: ClassVar[bool] = False
    family: ClassVar[str] = "feature"
    extra: ClassVar[str | None] = None

    @abstractmethod
    def adapt(self, Xs: Any, ys: Any, Xt: Any) -> Adaptation:
        """Source rows, source labels, unlabelled target rows -> how to see both.

        Parameters
        ----------
        Xs : array of shape (n_s, d)
        ys : array of shape (n_s,)
        Xt : array of shape (n_t, d)
            NumPy in, NumPy out; torch in, torch out on the same device.

        Raises
        ------
        DataError
            If a side is empty, widths differ, or a value is not finite.
        """


@dataclass(frozen=True)
class Checked:
    """Checked arguments: float arrays of one namespace and dtype, labels as NumPy codes."""

    xp: ModuleType
    Xs: Any
    Xt: Any
    ys: np.ndarray | None
    classes: np.ndarray
    codes: np.ndarray


def check_domains(Xs: Any, ys: Any, Xt: Any, *, labels: bool = False, who: str = "") -> Checked:
    """Arguments of `adapt`, checked once; nothing is copied that need not be.

    Parameters
    ----------
    labels : bool
        Whether class labels are needed; then `classes` and `codes` (positions) are filled.
    who : str
        Name of the method, for messages.

    Raises
    ------
    DataError
        With the counts and the rule that was broken.
    """
    if not array_api_compat.is_array_api_obj(Xs):
        Xs = np.asarray(Xs)
    if not array_api_compat.is_array_api_obj(Xt):
        Xt = np.asarray(Xt)
    xp = array_api_compat.array_namespace(Xs, Xt)
    if Xs.ndim != 2 or Xt.ndim != 2:
        raise DataError(f"features must be 2-d, found {Xs.ndim}-d and {Xt.ndim}-d", where=who)
    if Xs.shape[0] < 1 or Xt.shape[0] < 1:
        raise DataError(
            f"{Xs.shape[0]} source rows and {Xt.shape[0]} target rows",
            where=who,
            why="an adapter needs both sides",
        )
    if Xs.shape[1] != Xt.shape[1]:
        raise DataError(
            f"source rows have {Xs.shape[1]} features, target rows {Xt.shape[1]}",
            where=who,
            remedy="Use the same features, or a method with fit_domains for unlike spaces",
        )
    dtype = xp.float64
    if Xs.dtype == xp.float32 and Xt.dtype == xp.float32:
        dtype = xp.float32
    Xs, Xt = xp.astype(Xs, dtype, copy=False), xp.astype(Xt, dtype, copy=False)
    for name, X in (("source", Xs), ("target", Xt)):
        if not bool(xp.all(xp.isfinite(X))):
            raise DataError(
                f"the {name} features hold NaN or infinity",
                where=who,
                remedy="Impute them first; an adapter has no rule for missing values",
            )
    y = classes = codes = None
    if ys is not None:
        y = np.asarray(ys.cpu() if hasattr(ys, "cpu") else ys)
        if y.ndim != 1 or len(y) != Xs.shape[0]:
            raise DataError(f"{y.shape} source labels for {Xs.shape[0]} source rows", where=who)
    if labels:
        if y is None:
            raise DataError("the method needs source labels", where=who)
        try:
            classes, codes = np.unique(y, return_inverse=True)
        except TypeError:  # None among names, or numbers and names
            kinds = ", ".join(sorted({type(value).__name__ for value in y}))
            raise DataError(
                f"source labels of several types ({kinds})",
                where=who,
                remedy="Give every source row a label of one type",
            ) from None
        if classes.dtype.kind == "f" and np.isnan(classes).any():
            raise DataError("a source label is NaN", where=who)
    empty = np.empty(0)
    return Checked(
        xp, Xs, Xt, y, empty if classes is None else classes, empty if codes is None else codes
    )


def discover() -> dict[str, type]:
    """name -> class of every method in this folder: `coral` -> `isthmus.adapt.coral.CORAL`.

    A module's method is its public class whose lower-case name is the module's without
    underscores; helper modules (base, maps, weights, kernels, ...) have none.
    """
    return classes_by_file("isthmus.adapt", BaseEstimator)


def find(name: str) -> type:
    """The class of a method by the name of its file: ``linear-monge``, ``linear_monge``.

    Raises
    ------
    UsageError
        If there is none; the nearest names are given.
    """
    return named(name, discover(), what="method", otherwise="See `isthmus methods`")
