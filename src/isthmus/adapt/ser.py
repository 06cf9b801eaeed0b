"""SER: a source tree grows where the target is mixed and shrinks where it is not."""

from __future__ import annotations

from typing import Any

import numpy as np

from isthmus.adapt.transfer_trees import (
    LEAF,
    Builder,
    Target,
    TransferForest,
    Tree,
    full_tree,
    holds,
    read,
)
from isthmus.types import Array


class SER(TransferForest):
    """Structure expansion and reduction of source trees.

    Every leaf becomes a full tree of the labelled target rows that reach it; then, bottom up, a
    node turns into a leaf where that makes no more errors on its target rows than its subtree
    (Segev, Harel, Mannor, Crammer and El-Yaniv, *Learn on source, refine on target: a model
    transfer learning framework with random forests*, IEEE TPAMI 2017, algorithm 1).

    Parameters
    ----------
    forest : classifier, optional
        A scikit-learn tree or forest of trees. Default: a random forest of 50 trees, each on at
        most 10,000 source rows.
    keep_unreached : {"none", "minority", "all"}, default="all"
        Leaves that no labelled target row reaches. "none": their region falls to the class shares
        of the source in the node above and can be reduced away (the paper), which with few rows
        takes most of the tree. "minority": not where the leaf is of a class with less than half
        of an even share on either side: a few target rows miss such leaves by chance, and the
        reduction then wipes the class out (Minvielle, Atiq, Peignier and Mougeot, *Transfer
        learning on decision tree with class imbalance*, IEEE ICTAI 2019). "all": no unreached
        leaf is touched, whatever its class.
    random_state : int, default=0
        Of forest and expansions.

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
        self, forest: Any = None, *, keep_unreached: str = "all", random_state: int = 0
    ) -> None:
        self.forest, self.keep_unreached = forest, keep_unreached
        self.random_state = random_state

    def fit(self, X: Any, y: Any, *, sample_domain: Any = None, target_labeled: Any = None) -> SER:
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
        self._fit(X, y, sample_domain, target_labeled, [expand_and_reduce])
        return self


def expand_and_reduce(tree: Tree, target: Target, inner: Any) -> Tree:
    """One source tree, refined; `inner` is the scikit-learn tree that it was read from."""
    out = Builder()
    safe = np.asarray(holds(tree, target.protected).any(axis=1))
    sprout = full_tree(inner)
    seed = inner.random_state if isinstance(inner.random_state, int) else 0

    def visit(node: int, rows: Array, above: int) -> tuple[int, float, bool]:
        """New position, errors on the target rows, whether something in it must stay."""
        if len(rows) == 0:
            if safe[node]:
                return out.graft(tree, node), 0.0, True
            return out.leaf(tree.shares[above]), 0.0, False
        counts = target.counts(rows)
        if tree.left[node] == LEAF:
            if np.count_nonzero(counts) == 1:
                return out.leaf(counts / counts.sum()), 0.0, False
            sprout.random_state = seed + node
            grown, errors = expansion(sprout, target, rows)
            return out.graft(grown), errors, False
        at = out.split(int(tree.feature[node]), float(tree.threshold[node]), tree.shares[node])
        low = target.X[rows, tree.feature[node]] <= tree.threshold[node]
        left, left_errors, left_stays = visit(int(tree.left[node]), rows[low], node)
        right, right_errors, right_stays = visit(int(tree.right[node]), rows[~low], node)
        out.nodes[at][:2] = [left, right]
        errors, stays = left_errors + right_errors, left_stays or right_stays
        as_leaf = float(counts.sum() - counts.max())
        if as_leaf <= errors and not stays:
            out.cut(at)
            return out.leaf(counts / counts.sum()), as_leaf, False
        return at, errors, stays

    visit(0, np.arange(len(target.codes)), 0)
    return out.done()


def expansion(sprout: Any, target: Target, rows: Array) -> tuple[Tree, float]:
    """A full tree of the target rows in a leaf, and its errors on them."""
    # hundreds of these a tree: the rows are known to be finite float32
    model = sprout.fit(target.X[rows], target.codes[rows], check_input=False)
    grown = read(model, model.classes_, len(target.prior))
    errors = (grown.predict_proba(target.X[rows]).argmax(axis=1) != target.codes[rows]).sum()
    return grown, float(errors)
