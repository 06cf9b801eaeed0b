"""Layer 4: trees as values: read from scikit-learn, rebuilt node by node, averaged in forests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.validation import check_is_fitted

from isthmus.adapt.few_labels import class_codes, few_labels, fitted, numbers
from isthmus.errors import DataError, UsageError, plain_repr
from isthmus.types import Array

KEEP = ("none", "minority", "all")
LEAF = -1
MAX_DEPTH = 500  # trees are rebuilt by recursion
MAX_SAMPLES = 10_000  # source rows that a tree of the default forest draws


@dataclass(frozen=True)
class Tree:
    """A classification tree; children come after their parent, node 0 is the root.

    Parameters
    ----------
    left, right : ndarray of shape (nodes,), int
        Children; -1 in leaves. Rows with ``x[feature] <= threshold`` go left.
    feature : ndarray of shape (nodes,), int
    threshold : ndarray of shape (nodes,)
    shares : ndarray of shape (nodes, n_classes)
        Class shares; of leaves they are the prediction.
    """

    left: Array
    right: Array
    feature: Array
    threshold: Array
    shares: Array

    def leaves(self, X: Array) -> Array:
        """(n,) leaf that each row ends in; `X` in single precision, as scikit-learn splits."""
        at = np.zeros(len(X), dtype=np.intp)
        rows = np.flatnonzero(self.left[at] != LEAF)
        while len(rows):
            node = at[rows]
            low = X[rows, self.feature[node]] <= self.threshold[node]
            at[rows] = np.where(low, self.left[node], self.right[node])
            rows = rows[self.left[at[rows]] != LEAF]
        return at

    def predict_proba(self, X: Array) -> Array:
        """(n, n_classes) class shares of each row's leaf."""
        return np.asarray(self.shares[self.leaves(X)])


class Builder:
    """Collects nodes, parents first; `cut` takes a subtree back."""

    def __init__(self) -> None:
        self.nodes: list[list[Any]] = []

    def leaf(self, shares: Array) -> int:
        self.nodes.append([LEAF, LEAF, 0, 0.0, shares])
        return len(self.nodes) - 1

    def split(self, feature: int, threshold: float, shares: Array) -> int:
        self.nodes.append([LEAF, LEAF, feature, threshold, shares])
        return len(self.nodes) - 1

    def cut(self, node: int) -> None:
        """Take back `node` and everything after it."""
        del self.nodes[node:]

    def graft(self, tree: Tree, node: int = 0, drift: dict[int, float] | None = None) -> int:
        """Append the subtree of `tree` at `node`; thresholds of a feature move by its drift."""
        first = len(self.nodes)
        todo = [(node, -1, 0)]
        while todo:
            old, parent, side = todo.pop()
            at = len(self.nodes)
            if parent >= 0:
                self.nodes[parent][side] = at
            if tree.left[old] == LEAF:
                self.leaf(tree.shares[old])
                continue
            feature = int(tree.feature[old])
            moved = float(tree.threshold[old]) + (drift or {}).get(feature, 0.0)
            self.split(feature, moved, tree.shares[old])
            todo += [(int(tree.right[old]), at, 1), (int(tree.left[old]), at, 0)]
        return first

    def done(self) -> Tree:
        left, right, feature, threshold, shares = zip(*self.nodes, strict=True)
        return Tree(
            np.array(left, dtype=np.intp),
            np.array(right, dtype=np.intp),
            np.array(feature, dtype=np.intp),
            np.array(threshold, dtype=np.float64),
            np.array(shares, dtype=np.float64),
        )


def read(fitted_tree: Any, columns: Array, n_classes: int) -> Tree:
    """A fitted scikit-learn tree as a value.

    Parameters
    ----------
    columns : ndarray of int
        Position of each of the tree's classes among the `n_classes`.
    """
    inner = fitted_tree.tree_
    if inner.max_depth > MAX_DEPTH:
        raise UsageError(
            f"a tree of depth {inner.max_depth}", remedy=f"Set max_depth to {MAX_DEPTH} or less"
        )
    value = inner.value[:, 0, :]
    shares = np.zeros((inner.node_count, n_classes))
    shares[:, columns] = value / value.sum(axis=1, keepdims=True)
    return Tree(
        inner.children_left.copy(),
        inner.children_right.copy(),
        inner.feature.copy(),
        inner.threshold.copy(),
        shares,
    )


@dataclass(frozen=True)
class Target:
    """What a tree is refined with.

    Parameters
    ----------
    X : ndarray of shape (m, d), float32
        Labelled target rows.
    codes : ndarray of shape (m,), int
    prior : ndarray of shape (n_classes,)
        Class shares of the source.
    protected : ndarray of shape (n_classes,), bool
        Classes whose unreached leaves are kept.
    minority : ndarray of shape (n_classes,), bool
        Those of them that a node without their rows does not prove absent.
    """

    X: Array
    codes: Array
    prior: Array
    protected: Array
    minority: Array

    def counts(self, rows: Array) -> Array:
        """(n_classes,) labels of some rows."""
        return np.bincount(self.codes[rows], minlength=len(self.prior)).astype(float)


def holds(tree: Tree, classes: Array) -> Array:
    """(nodes, n_classes) whether a subtree has a leaf of each class, of some classes (mask)."""
    found = np.eye(len(classes), dtype=bool)[tree.shares.argmax(axis=1)] & classes
    found &= (tree.left == LEAF)[:, None]
    for node in np.flatnonzero(tree.left != LEAF)[::-1]:  # children come after their parent
        found[node] = found[tree.left[node]] | found[tree.right[node]]
    return np.asarray(found)


def protected_classes(keep: str, source: Array, target: Array) -> tuple[Array, Array]:
    """`protected` and `minority` of `Target`, from the class shares of both sides.

    A minority has less than half of an even share on one side.

    >>> protected_classes("minority", np.array([0.9, 0.1]), np.array([0.5, 0.5]))
    (array([False,  True]), array([False,  True]))
    """
    rare = np.minimum(source, target) < 0.5 / len(source)
    minority = rare if keep != "none" else np.zeros_like(rare)
    return (np.ones_like(rare) if keep == "all" else minority), minority


Refine = Callable[[Tree, Target, Any], Tree]


class TransferForest(ClassifierMixin, BaseEstimator):
    """Fits trees to the source and refines each with labelled target rows; a base class.

    A class on top has the parameters `forest`, `keep_unreached` and `random_state` and calls
    `_fit` with the refinements that its forest is made of.
    """

    forest: Any
    keep_unreached: str
    random_state: int

    family: ClassVar[str] = "model"
    needs_labels: ClassVar[bool] = True
    needs_target_labels: ClassVar[bool] = True
    answers: ClassVar[tuple[str, ...]] = ("classification",)
    numpy_only = "the trees are scikit-learn's"
    order_matters = True  # the default forest draws source rows by their position

    def _fit(
        self, X: Any, y: Any, sample_domain: Any, target_labeled: Any, refinements: list[Refine]
    ) -> None:
        who = type(self).__name__
        if self.keep_unreached not in KEEP:
            raise UsageError(
                f"keep_unreached={self.keep_unreached!r}",
                where=who,
                remedy=f"Use {', '.join(KEEP)}",
            )
        given = few_labels(X, y, sample_domain, target_labeled, who=who)
        classes, source, target = class_codes(given, who)
        if len(np.unique(target)) < 2:
            raise DataError(
                f"the labelled target rows have the one class {plain_repr(given.yk[0])}",
                where=who,
                why="every tree would become that class",
                remedy="Label a row of another class",
            )
        base = self.forest if self.forest is not None else default_forest(len(source))
        model, self.troubles_ = fitted(base, given.Xs, source, seed=self.random_state)
        grown = list(getattr(model, "estimators_", [model]))
        if not all(hasattr(tree, "tree_") for tree in grown):
            raise UsageError(
                f"{type(model).__name__} is not made of classification trees",
                where=who,
                remedy="Use DecisionTreeClassifier, RandomForestClassifier, ExtraTreesClassifier",
            )
        prior = np.bincount(source, minlength=len(classes)) / len(source)
        shown = np.bincount(target, minlength=len(classes)) / len(target)
        protected = protected_classes(self.keep_unreached, prior, shown)
        refined = Target(single(given.Xk), target, prior, *protected)
        columns = np.asarray(model.classes_)
        trees = [read(tree, columns, len(classes)) for tree in grown]
        self.trees_ = [
            refine(tree, refined, inner)
            for refine in refinements
            for tree, inner in zip(trees, grown, strict=True)
        ]
        self.classes_, self.source_trees_ = classes, trees
        self.n_features_in_ = given.Xs.shape[1]

    def served(self) -> Any:
        """The trees as a value."""
        from isthmus.adapt.fitted_forms import Forest

        check_is_fitted(self)
        return Forest(tuple(self.trees_), int(self.n_features_in_))

    def predict_proba(self, X: Any) -> Array:
        """(n, k) mean over the trees of the class shares in each row's leaf."""
        check_is_fitted(self)
        X = numbers(X, type(self).__name__)
        if X.shape[1] != self.n_features_in_:
            raise DataError(
                f"{X.shape[1]} features, fitted on {self.n_features_in_}",
                where=type(self).__name__,
            )
        X = single(X)
        total = np.zeros((len(X), len(self.classes_)))
        for tree in self.trees_:
            total += tree.predict_proba(X)
        return total / len(self.trees_)

    def predict(self, X: Any) -> Array:
        """Most probable class of each target row."""
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])


def single(X: Any) -> Array:
    """Dense rows in single precision, in which scikit-learn's trees compare."""
    return np.asarray(X.toarray() if sparse.issparse(X) else X, dtype=np.float32)


def default_forest(n_source: int) -> Any:
    """50 trees (Segev et al. 2017), each on at most 10,000 drawn source rows."""
    from sklearn.ensemble import RandomForestClassifier

    many = n_source > MAX_SAMPLES
    return RandomForestClassifier(
        n_estimators=50, max_samples=MAX_SAMPLES if many else None, n_jobs=-1 if many else None
    )


def full_tree(inner: Any) -> Any:
    """An unfitted tree with the parameters of `inner`, without limits of size."""
    tree = clone(inner)
    return tree.set_params(
        max_depth=None,
        max_leaf_nodes=None,
        min_samples_leaf=1,
        min_samples_split=2,
        min_impurity_decrease=0.0,
    )
