"""STRUT: thresholds by brute force, trees by hand, the class shares, help and failure."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import balanced_accuracy_score
from sklearn.tree import DecisionTreeClassifier

from isthmus.adapt.strut import STRUT, threshold_for
from isthmus.adapt.transfer_trees import read
from isthmus.data.domains import stack_domains
from isthmus.errors import DataError

TREE = DecisionTreeClassifier(random_state=0)
FOREST = RandomForestClassifier(25, random_state=0)


def fitted(model, Xs, ys, Xt, shown):
    X, y, domain, labeled = stack_domains(Xs, ys, Xt, shown)
    return model.fit(X, y, sample_domain=domain, target_labeled=labeled)


def test_the_threshold_is_the_local_maximum_of_the_gain_with_the_least_divergence():
    rng = np.random.default_rng(0)
    for _ in range(30):
        x = rng.normal(size=25).astype(np.float32)
        codes = rng.integers(0, 3, 25)
        left, right = rng.dirichlet(np.ones(3), size=2)
        values = np.sort(x).astype(float)
        gains, kinds = [], []
        for cut in 0.5 * (values[1:] + values[:-1]):
            sides = [codes[x <= cut], codes[x > cut]]
            shares = [np.bincount(side, minlength=3) / len(side) for side in sides]
            part = np.array([len(side) for side in sides]) / 25
            gains.append(
                entropy(np.bincount(codes)) - sum(p * entropy(s) for p, s in zip(part, shares))
            )
            kinds.append(
                [
                    1
                    - sum(p * jensenshannon(s, q, base=2) ** 2 for p, s, q in zip(part, shares, o))
                    for o in ((left, right), (right, left))
                ]
            )
        gains = np.array([-1, *gains, -1])
        peak = (gains[1:-1] >= gains[:-2] - 1e-9) & (gains[1:-1] >= gains[2:] - 1e-9)
        best = np.where(peak[:, None], kinds, -1)
        threshold, crossed = threshold_for(x, codes, left, right)
        at = np.abs(0.5 * (values[1:] + values[:-1]) - threshold).argmin()
        assert threshold == pytest.approx(0.5 * (values[at] + values[at + 1]))
        assert best[at, int(crossed)] == pytest.approx(best.max(), abs=1e-9)
    assert threshold_for(np.ones(4, np.float32), np.array([0, 1, 0, 1]), left, right) is None


def test_thresholds_move_and_the_structure_stays():
    """By hand: a up to 4.5, b up to 7.5, a; the target has the same three pieces elsewhere."""
    X = np.arange(10.0)[:, None]
    y = np.array(list("aaaaabbbaa"))
    Xt = np.array([[10.0], [11], [12], [20], [21], [30], [31]])
    model = fitted(STRUT(TREE), X, y, Xt, np.array(list("aaabbaa")))
    tree, old = model.trees_[0], model.source_trees_[0]
    np.testing.assert_array_equal(tree.left, old.left)
    np.testing.assert_array_equal(tree.right, old.right)
    np.testing.assert_allclose(old.threshold[old.left >= 0], [4.5, 7.5])
    np.testing.assert_allclose(tree.threshold[tree.left >= 0], [16.0, 25.5])
    assert "".join(model.predict(np.array([[0.0], [17], [26]]))) == "aba"


def test_a_turned_feature_makes_the_subtrees_change_places():
    """The target counts backwards: x becomes 9 - x."""
    X = np.arange(10.0)[:, None]
    y = np.array(list("aaaaabbbcc"))
    model = fitted(STRUT(TREE), X, y, 9 - X, y)
    tree = model.trees_[0]
    assert tree.threshold[0] == 4.5 and tree.left[1] >= 0  # the two classes b and c are now left
    np.testing.assert_array_equal(model.predict(9 - X), y)


def test_source_trees_read_from_scikit_learn_predict_what_they_did():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200, 5)), rng.integers(0, 3, 200)
    forest = RandomForestClassifier(5, random_state=0).fit(X, y)
    new = rng.normal(size=(100, 5))
    trees = [read(inner, np.arange(3), 3) for inner in forest.estimators_]
    mean = sum(tree.predict_proba(new.astype(np.float32)) for tree in trees) / 5
    np.testing.assert_allclose(mean, forest.predict_proba(new))


def shifted(n, shift, seed, noise=0.0, share=None):
    """Class 1 where two columns exceed their thresholds (0.4 and 0.3, moved)."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(size=(4 * n, 4))
    y = ((X[:, 0] > 0.4 + shift) & (X[:, 1] > 0.3 + shift)).astype(int)
    y = np.where(rng.uniform(size=4 * n) < noise, 1 - y, y)
    if share is not None:
        weight = np.where(y == 1, share / y.mean(), (1 - share) / (1 - y.mean()))
        rows = rng.choice(4 * n, n, p=weight / weight.sum(), replace=False)
        return X[rows], y[rows]
    return X[:n], y[:n]


def test_recovers_thresholds_that_moved():
    Xs, ys = shifted(2000, 0.0, 0)
    Xt, yt = shifted(300, 0.2, 1)
    model = fitted(STRUT(DecisionTreeClassifier(max_depth=2, random_state=0)), Xs, ys, Xt, yt)
    tree = model.trees_[0]
    inner = tree.left >= 0
    found = dict(zip(tree.feature[inner].tolist(), tree.threshold[inner].tolist()))
    assert found == {0: pytest.approx(0.6, abs=0.02), 1: pytest.approx(0.5, abs=0.02)}
    new, truth = shifted(1000, 0.2, 2)
    assert model.score(new, truth) > 0.97


def accuracies(models, *, m, noise=0.0, source=None, target=None):
    """Balanced accuracy of source-only and target-only forests and of `models`."""
    out = []
    for seed in range(4):
        Xs, ys = shifted(600, 0.0, seed, noise, source)
        Xt, yt = shifted(800, 0.15, 50 + seed, noise, target)
        alone = RandomForestClassifier(25, random_state=0)
        got = [alone.fit(Xs, ys).predict(Xt[m:]), alone.fit(Xt[:m], yt[:m]).predict(Xt[m:])]
        shown = np.where(np.arange(800) < m, yt, np.nan)
        got += [fitted(model, Xs, ys, Xt, shown).predict(Xt[m:]) for model in models]
        out.append([balanced_accuracy_score(yt[m:], one) for one in got])
    return np.mean(out, axis=0)


def test_helps_where_the_boundaries_moved():
    source, target, both = accuracies([STRUT(FOREST)], m=40)
    assert both > source + 0.03 and both > target + 0.02


def test_fails_with_a_handful_of_noisy_labels():
    source, _, both = accuracies([STRUT(FOREST)], m=20, noise=0.1)
    assert both < source - 0.02


def test_a_change_of_the_class_shares_is_not_taken_for_a_moved_boundary():
    """Class 1 is rare in the source and not in the target: the paper's divergence is misled."""
    _, _, paper, corrected = accuracies(
        [
            STRUT(FOREST, adapt_prior=False, keep_unreached="none"),
            STRUT(FOREST, keep_unreached="none"),
        ],
        m=60,
        source=0.1,
        target=0.4,
    )
    assert corrected > paper + 0.05


def test_a_rare_class_survives_target_rows_that_miss_it():
    """Class c beyond 8.5 is rare; the target is moved by 10 and shows a and b alone."""
    X = np.repeat(np.arange(10.0), 4)[:, None]
    y = np.repeat(list("aaaaabbbbc"), 4)
    Xt = np.array([[11.0], [12], [14], [15], [17], [18]])
    shown = np.array(list("aaabbb"))
    gone = fitted(STRUT(TREE, keep_unreached="none"), X, y, Xt, shown)
    kept = fitted(STRUT(TREE), X, y, Xt, shown)
    assert gone.predict(np.array([[19.0]]))[0] == "b"
    # the kept threshold 8.5 moved along with 4.5, which became 14.5
    np.testing.assert_allclose(
        np.sort(kept.trees_[0].threshold[kept.trees_[0].left >= 0]), [14.5, 18.5]
    )
    assert "".join(kept.predict(np.array([[12.0], [17.0], [19.0]]))) == "abc"


def test_one_class_of_labels_is_refused():
    Xs, ys = shifted(50, 0.0, 0)
    with pytest.raises(DataError, match="one class"):
        fitted(STRUT(), Xs, ys, Xs, np.where(ys == 1, 1.0, np.nan))
