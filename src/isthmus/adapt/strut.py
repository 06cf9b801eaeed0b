"""STRUT: a source tree keeps its structure, the thresholds are chosen anew for the target."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from isthmus.adapt.transfer_trees import LEAF, Builder, Target, TransferForest, Tree, holds
from isthmus.types import Array


class STRUT(TransferForest):
    """Structure transfer: source trees with thresholds for the target.

    From the root down, the threshold of a node becomes one of the local maxima of the information
    gain on the labelled target rows that arrive there: the one at which the class shares of the
    two sides are nearest to those of the source, with the largest divergence gain
    ``1 - sum_side |rows on side| / |rows| JSD(target shares, source shares)``; where exchanged
    sides gain more, the two subtrees change places. A node with fewer than two rows or one class
    becomes a leaf; leaves take the shares of their target rows (Segev, Harel, Mannor, Crammer and
    El-Yaniv, *Learn on source, refine on target: a model transfer learning framework with random
    forests*, IEEE TPAMI 2017, algorithms 2 and 3).

    Parameters
    ----------
    forest : classifier, optional
        A scikit-learn tree or forest of trees. Default: a random forest of 50 trees, each on at
        most 10,000 source rows.
    adapt_prior : bool, default=True
        Reweigh the source shares to the class shares of the labelled target rows before they are
        compared: otherwise a threshold answers for a shift of the classes that it did not cause
        (Minvielle, Atiq, Peignier and Mougeot, *Transfer learning on decision tree with class
        imbalance*, IEEE ICTAI 2019). False: the paper of 2017.
    keep_unreached : {"none", "minority", "all"}, default="all"
        Subtrees that no labelled target row reaches. "none": their region falls to the class
        shares of the target rows in the node above (the paper). "minority": a subtree stays where
        it has a leaf of a class with less than half of an even share on either side and no row of
        that class arrives, although others may. "all": that, and every subtree that no row
        reaches. Thresholds in what stays move as the last one above on their feature did.
    random_state : int, default=0
        Of the forest.

    Attributes
    ----------
    classes_ : ndarray
    trees_, source_trees_ : list of Tree
        After and before.
    troubles_ : tuple of Trouble

    Notes
    -----
    NumPy only. Source rows are needed for the source trees alone.
    """

    def __init__(
        self,
        forest: Any = None,
        *,
        adapt_prior: bool = True,
        keep_unreached: str = "all",
        random_state: int = 0,
    ) -> None:
        self.forest, self.adapt_prior = forest, adapt_prior
        self.keep_unreached, self.random_state = keep_unreached, random_state

    def fit(
        self, X: Any, y: Any, *, sample_domain: Any = None, target_labeled: Any = None
    ) -> STRUT:
        """Fit on source rows and on target rows whose label may be used.

        Parameters
        ----------
        X : array of shape (n, d)
        y : array of shape (n,)
        sample_domain : array of shape (n,), int
            Source rows >= 0, target rows < 0.
        target_labeled : array of shape (n,), bool
            Rows of at least two classes.

        Raises
        ------
        DataError
            If a domain is empty, no target row is labelled, a value is missing, or the labelled
            target rows are of one class.
        UsageError
            If `forest` is not made of trees.
        """
        refine = partial(transfer_structure, adapt_prior=self.adapt_prior)
        self._fit(X, y, sample_domain, target_labeled, [refine])
        return self


def transfer_structure(tree: Tree, target: Target, inner: Any, *, adapt_prior: bool = True) -> Tree:
    """One source tree with new thresholds and leaves."""
    out = Builder()
    everything = np.arange(len(target.codes))
    ratio = np.ones(len(target.prior))
    if adapt_prior:
        ratio = target.counts(everything) / len(everything) / np.maximum(target.prior, 1e-12)
    said = tree.shares * ratio
    total = said.sum(axis=1, keepdims=True)
    # no class of the node occurs in the target: nothing to compare with but the source itself
    said = np.where(total > 0, said / np.where(total > 0, total, 1), tree.shares)
    safe = holds(tree, target.protected)

    def visit(node: int, rows: Array, above: Array, drift: dict[int, float]) -> int:
        if len(rows) == 0:
            return out.graft(tree, node, drift) if safe[node].any() else out.leaf(above)
        counts = target.counts(rows)
        shares = counts / counts.sum()
        if len(rows) < 2 or np.count_nonzero(counts) == 1:
            missed = safe[node] & (counts == 0) & target.minority
            return out.graft(tree, node, drift) if missed.any() else out.leaf(shares)
        if tree.left[node] == LEAF:
            return out.leaf(shares)
        left, right = int(tree.left[node]), int(tree.right[node])
        feature = int(tree.feature[node])
        found = threshold_for(target.X[rows, feature], target.codes[rows], said[left], said[right])
        if found is None:
            return out.leaf(shares)
        threshold, swapped = found
        if swapped:
            left, right = right, left
        at = out.split(feature, threshold, shares)
        low = target.X[rows, feature] <= threshold
        moved = drift | {feature: threshold - float(tree.threshold[node])}
        out.nodes[at][0] = visit(left, rows[low], shares, moved)
        out.nodes[at][1] = visit(right, rows[~low], shares, moved)
        return at

    visit(0, everything, tree.shares[0], {})
    return out.done()


def threshold_for(x: Array, codes: Array, left: Array, right: Array) -> tuple[float, bool] | None:
    """Threshold on one feature and whether the sides change places; None if `x` is constant.

    Parameters
    ----------
    x : ndarray of shape (m,), float32
    codes : ndarray of shape (m,), int
    left, right : ndarray of shape (n_classes,)
        Class shares of the source's two sides.
    """
    order = np.argsort(x, kind="stable")
    x = x[order]
    cut = np.flatnonzero(x[1:] > x[:-1])  # last row of the left side
    if len(cut) == 0:
        return None
    below = np.cumsum(np.eye(len(left))[codes[order]], axis=0)
    low, high = below[cut], below[-1] - below[cut]
    n_low, n_high = low.sum(axis=1), high.sum(axis=1)
    low, high = low / n_low[:, None], high / n_high[:, None]
    part = n_low / len(x)
    gain = -(part * entropy(low) + (1 - part) * entropy(high))  # up to a constant
    fence = np.concatenate([[-np.inf], gain, [-np.inf]])
    slack = 1e-12
    local = (gain >= fence[:-2] - slack) & (gain >= fence[2:] - slack)
    straight = 1 - part * divergence(low, left) - (1 - part) * divergence(high, right)
    crossed = 1 - part * divergence(low, right) - (1 - part) * divergence(high, left)
    best = np.where(local, np.maximum(straight, crossed), -np.inf)
    # equal gains (thresholds within one run of a class): the middle one, whatever the row order
    ties = np.flatnonzero(best >= best.max() - slack)
    at = ties[len(ties) // 2]
    value = 0.5 * (float(x[cut[at]]) + float(x[cut[at] + 1]))
    return value, bool(crossed[at] > straight[at] + slack)


def entropy(shares: Array) -> Array:
    """(n,) in bits."""
    logs = np.log2(np.where(shares > 0, shares, 1.0))
    return np.asarray(-(shares * logs).sum(axis=1))


def divergence(shares: Array, other: Array) -> Array:
    """(n,) Jensen-Shannon divergence in bits, 0 to 1, of each row of shares and `other`.

    >>> divergence(np.array([[1.0, 0.0], [0.5, 0.5]]), np.array([0.0, 1.0]))
    array([1.        , 0.31127812])
    """
    middle = 0.5 * (shares + other)
    return np.asarray(
        entropy(middle) - 0.5 * (entropy(shares) + entropy(np.asarray(other)[None, :]))
    )
