"""Layer 6: what the circular validators share: the way there, the way back, the comparison."""

from __future__ import annotations

import numpy as np

from isthmus.errors import DataError
from isthmus.select.validate.base import Scene, Trial
from isthmus.select.validate.probabilities import asked, of_target
from isthmus.types import Array


def pseudo_labels(scene: Scene, trial: Trial) -> Array:
    """(n_t,) classes that the candidate predicts for the target rows.

    Raises
    ------
    DataError
        If it predicts one class only: nothing can be learned on the way back.
    """
    codes = of_target(scene, trial).argmax(axis=1)
    if len(np.unique(codes)) < 2:
        raise DataError(
            f"all {len(codes)} target rows are predicted as one class",
            where=trial.name,
            why="a circle needs two",
        )
    return codes


def way_back(scene: Scene, trial: Trial, codes: Array, rows: Array | None = None) -> float:
    """Share of source rows that come back to their own class.

    The candidate is fitted from the target rows, with what it predicts for them as their classes,
    to the source rows, and asked for these.

    Parameters
    ----------
    codes : ndarray of shape (n_t,), int
        `pseudo_labels`.
    rows : ndarray of int, optional
        Source rows that make up the domain on the way back, repeats allowed. Default: all, once.
    """
    assert trial.refit is not None
    where = f"{trial.name}, way back"
    Xs, ys = scene.Xs, np.asarray(scene.ys)
    if rows is not None:
        Xs, ys = Xs[rows], ys[rows]
    try:
        predict = trial.refit(scene.Xt, codes, Xs)
    except (ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
        raise DataError("it cannot be fitted", where=where, why=str(error)) from error
    return float((asked(predict, Xs, scene.n_classes, where).argmax(axis=1) == ys).mean())


def matched(codes: Array, prior: Array, order: Array) -> Array:
    """Rows drawn so that their classes have given shares.

    As many rows as there are, largest remainders; rows of a class are taken in turn, so that each
    is taken as often as any other of its class, give or take one.

    Parameters
    ----------
    codes : ndarray of shape (n,), int
    prior : ndarray of shape (K,)
        Wanted shares; classes without a row are left out and the rest scaled up.
    order : ndarray of shape (n,), int
        Random order in which rows are taken.

    Returns
    -------
    ndarray of shape (n,), int
        Positions, ascending.
    """
    have = np.bincount(codes, minlength=len(prior))
    wanted = np.where(have > 0, prior, 0.0)
    if not wanted.sum() > 0:
        raise DataError("no class of the rows has a share")
    wanted = wanted / wanted.sum() * len(codes)
    counts = np.floor(wanted).astype(int)
    rest = np.argsort(counts - wanted, kind="stable")[: len(codes) - counts.sum()]
    counts[rest] += 1
    taken = [
        np.resize(order[codes[order] == code], count) for code, count in enumerate(counts) if count
    ]
    return np.sort(np.concatenate(taken))
