"""SER on trees small enough to check by hand, minority classes, help and failure."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import AdaBoostClassifier, ExtraTreesClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.tree import DecisionTreeClassifier

from isthmus.adapt.ser import SER
from isthmus.data.domains import stack_domains
from isthmus.errors import DataError, UsageError

TREE = DecisionTreeClassifier(random_state=0)
FOREST = RandomForestClassifier(25, random_state=0)


def fitted(model, Xs, ys, Xt, shown):
    X, y, domain, labeled = stack_domains(Xs, ys, Xt, shown)
    return model.fit(X, y, sample_domain=domain, target_labeled=labeled)


def text(tree, node=0):
    """A tree as nested tuples: (feature, threshold, left, right), leaves as their shares."""
    if tree.left[node] == -1:
        return tuple(tree.shares[node].round(3).tolist())
    children = (text(tree, tree.left[node]), text(tree, tree.right[node]))
    return (int(tree.feature[node]), round(float(tree.threshold[node]), 3), *children)


@pytest.fixture
def source():
    """Class b right of 4.5, but a again above 7.5: (0, 4.5, a, (0, 7.5, b, a))."""
    X = np.arange(10.0)[:, None]
    return X, np.array(list("aaaaabbbaa"))


@pytest.mark.parametrize("keep", ["none", "all"])
def test_a_mixed_leaf_is_expanded_and_the_rest_of_the_tree_stays(source, keep):
    """The left leaf (x <= 4.5) meets a target that changes its class at 1.5."""
    Xt, yt = np.array([[0.0], [1], [2], [3], [6], [9]]), np.array(list("aabbba"))
    model = fitted(SER(TREE, keep_unreached=keep), *source, Xt, yt)
    a, b = (1.0, 0.0), (0.0, 1.0)
    assert text(model.source_trees_[0]) == (0, 4.5, a, (0, 7.5, b, a))
    assert text(model.trees_[0]) == (0, 4.5, (0, 1.5, a, b), (0, 7.5, b, a))
    assert "".join(model.predict(Xt)) == "aabbba"


def test_a_node_whose_rows_agree_is_reduced_to_a_leaf(source):
    """Both leaves of the right node are reached, by b alone: the split at 7.5 is of no use."""
    Xt, yt = np.array([[0.0], [6], [9]]), np.array(list("abb"))
    model = fitted(SER(TREE), *source, Xt, yt)
    assert text(model.trees_[0]) == (0, 4.5, (1.0, 0.0), (0.0, 1.0))
    assert "".join(model.predict(np.array([[1.0], [8.0]]))) == "ab"


def test_a_leaf_is_kept_where_it_makes_more_errors_than_the_subtree():
    """Same values, two classes: the expansion cannot part them, the reduction takes it back."""
    X = np.array([[0.0], [1], [2], [3]])
    Xt = np.array([[0.0], [0], [0], [3], [3]])
    model = fitted(SER(TREE), X, np.array(list("aabb")), Xt, np.array(list("aabbb")))
    assert text(model.trees_[0]) == (0, 1.5, (0.667, 0.333), (0.0, 1.0))


def test_what_happens_to_a_leaf_that_no_row_reaches(source):
    Xt, yt = np.array([[0.0], [6]]), np.array(list("ab"))
    want = {
        "all": (0, 4.5, (1.0, 0.0), (0, 7.5, (0.0, 1.0), (1.0, 0.0))),  # x > 7.5 as the source
        "none": (0, 4.5, (1.0, 0.0), (0.0, 1.0)),  # x > 7.5 is reduced away
        "minority": (0, 4.5, (1.0, 0.0), (0.0, 1.0)),  # no class is rare
    }
    for keep, tree in want.items():
        assert text(fitted(SER(TREE, keep_unreached=keep), *source, Xt, yt).trees_[0]) == tree
    # where the reduction does not act, the region falls to the source's shares in the node above
    Xt, yt = np.array([[0.0], [2], [3]]), np.array(list("aab"))
    model = fitted(SER(TREE, keep_unreached="none"), *source, Xt, yt)
    assert text(model.trees_[0]) == (0, 4.5, (0, 2.5, (1.0, 0.0), (0.0, 1.0)), (0.7, 0.3))


def test_a_rare_class_survives_target_rows_that_miss_it():
    """One row in ten is of class c, beyond 8.5; the target rows that come by are a and b."""
    X = np.repeat(np.arange(10.0), 4)[:, None]
    y = np.repeat(list("aaaaabbbbc"), 4)
    Xt, yt = np.array([[1.0], [2], [6], [7]]), np.array(list("aabb"))
    new = np.array([[9.0]])
    kept = {k: fitted(SER(TREE, keep_unreached=k), X, y, Xt, yt) for k in ("none", "minority")}
    assert kept["none"].predict(new)[0] == "b" and kept["minority"].predict(new)[0] == "c"
    assert kept["none"].classes_.tolist() == list("abc")


def shifted(n, shift, seed, noise=0.0, share=None):
    """Class 1 where two columns exceed their thresholds (0.4 and 0.3, moved), or a third 0.9."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(size=(4 * n, 4))
    y = ((X[:, 0] > 0.4 + shift) & (X[:, 1] > 0.3 + shift) | (X[:, 2] > 0.9)).astype(int)
    y = np.where(rng.uniform(size=4 * n) < noise, 1 - y, y)
    if share is not None:
        weight = np.where(y == 1, share / y.mean(), (1 - share) / (1 - y.mean()))
        rows = rng.choice(4 * n, n, p=weight / weight.sum(), replace=False)
        return X[rows], y[rows]
    return X[:n], y[:n]


def accuracies(models, *, m, noise=0.0, source=None, target=None):
    """Balanced accuracy of source-only and target-only forests and of `models`."""
    out = []
    for seed in range(3):
        Xs, ys = shifted(600, 0.0, seed, noise, source)
        Xt, yt = shifted(800, 0.15, 50 + seed, noise, target)
        alone = RandomForestClassifier(25, random_state=0)
        got = [alone.fit(Xs, ys).predict(Xt[m:]), alone.fit(Xt[:m], yt[:m]).predict(Xt[m:])]
        shown = np.where(np.arange(800) < m, yt, np.nan)
        got += [fitted(model, Xs, ys, Xt, shown).predict(Xt[m:]) for model in models]
        out.append([balanced_accuracy_score(yt[m:], one) for one in got])
    return np.mean(out, axis=0)


def test_helps_where_the_boundaries_moved():
    source, target, both = accuracies([SER(FOREST)], m=60)
    assert both > source + 0.03 and both > target + 0.02


def test_fails_where_a_few_labels_are_wrong():
    """Every labelled row is believed: leaves of pure noise replace those of the source."""
    source, _, both, paper = accuracies(
        [SER(FOREST), SER(FOREST, keep_unreached="none")], m=20, noise=0.1
    )
    assert both < source - 0.01 and paper < both - 0.02


def test_keeping_leaves_pays_where_a_class_is_rare_in_the_target():
    _, _, paper, kept = accuracies(
        [SER(FOREST, keep_unreached=k) for k in ("none", "minority")], m=60, source=0.5, target=0.1
    )
    assert kept > paper + 0.04


def test_without_a_shift_a_full_tree_of_a_pure_source_is_untouched_by_agreeing_rows():
    Xs, ys = shifted(300, 0.0, 0)
    model = fitted(SER(ExtraTreesClassifier(5, random_state=0)), Xs, ys, Xs[:50], ys[:50])
    assert len(model.trees_) == 5
    assert (model.predict(Xs) == ys).mean() > 0.98


def test_what_it_cannot_use_is_refused():
    Xs, ys = shifted(50, 0.0, 0)
    for base in (LogisticRegression(), AdaBoostClassifier(LogisticRegression())):
        with pytest.raises(UsageError, match="trees"):
            fitted(SER(base), Xs, ys, Xs, ys)
    with pytest.raises(UsageError, match="keep_unreached"):
        fitted(SER(keep_unreached="some"), Xs, ys, Xs, ys)
    with pytest.raises(DataError, match="one class"):
        fitted(SER(), Xs, ys, Xs, np.where(ys == 1, 1.0, np.nan))
    with pytest.raises(DataError, match="3 features, fitted on 4"):
        fitted(SER(TREE), Xs, ys, Xs, ys).predict(Xs[:, :3])
