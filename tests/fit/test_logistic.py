"""Logistic head: scikit-learn's solution, its own path, and honest words where folds fail."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV

from isthmus.errors import BundleError, DataError, UsageError
from isthmus.fit import LogisticHead
from isthmus.fit.logistic import fit_each
from isthmus.fit.path import DEFAULT_GRID_POINT


def blobs(n, d, K, seed=0, spread=0.5, dtype=np.float64):
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(K, d)) * spread
    y = np.arange(n) % K
    X = means[y] + rng.normal(size=(n, d)) * np.linspace(0.2, 2.0, d) + 3.0
    return X.astype(dtype), y


@pytest.mark.parametrize(
    ("n", "d", "K", "C"),
    [
        (400, 20, 3, 1.0),
        (400, 20, 2, 10.0),
        (60, 150, 4, 0.1),  # more features than rows
        (60, 150, 2, 50.0),
        (900, 60, 6, 1e-3),
    ],
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_solution_is_that_of_scikit_learn(n, d, K, C, dtype):
    X, y = blobs(n, d, K, dtype=dtype)
    ours = LogisticHead(C=C).fit(X, y)
    wide = X.astype(np.float64)
    # Newton steps on centred rows: the intercept is free, so only its value changes.
    peer = LogisticRegression(C=C, tol=1e-10, max_iter=10_000, solver="newton-cg")
    peer.fit(wide - wide.mean(axis=0), y)
    gap = np.linalg.norm(ours.coef_ - peer.coef_) / np.linalg.norm(peer.coef_)
    assert ours.converged_ and gap < 1e-3
    expected = peer.predict_proba(wide - wide.mean(axis=0))
    assert np.abs(ours.predict_proba(X) - expected).max() < 1e-4


def test_many_rows_take_the_float32_road_to_the_same_solution():
    X, y = blobs(40_000, 110, 4, dtype=np.float32)  # beyond what is done in float64 throughout
    ours = LogisticHead(C=0.01).fit(X, y)
    wide = X.astype(np.float64) - X.mean(axis=0, dtype=np.float64)
    peer = LogisticRegression(C=0.01, tol=1e-9, max_iter=10_000, solver="newton-cg").fit(wide, y)
    gap = np.linalg.norm(ours.coef_ - peer.coef_) / np.linalg.norm(peer.coef_)
    assert gap < 1e-3
    assert np.abs(ours.predict_proba(X) - peer.predict_proba(wide)).max() < 1e-4


@pytest.mark.parametrize("K", [2, 5])
def test_path_agrees_with_the_peer_on_the_same_folds(K):
    X, y = blobs(600, 40, K, spread=0.25)
    X -= X.mean(axis=0)
    grid = np.logspace(-4, 2, 7)
    rng = np.random.default_rng(0)
    fold = rng.permutation(np.arange(600) % 4)
    pairs = [(np.flatnonzero(fold != f), np.flatnonzero(fold == f)) for f in range(4)]
    ours = LogisticHead(C=grid, cv=pairs).fit(X, y)
    peer = LogisticRegressionCV(
        Cs=grid,
        cv=pairs,
        scoring="neg_log_loss",
        max_iter=1000,
        tol=1e-7,
        solver="newton-cg",
        l1_ratios=(0.0,),
        use_legacy_attributes=False,
    ).fit(X, y)
    assert pytest.approx(np.ravel(peer.C_)[0]) == ours.C_
    peer_scores = np.asarray(peer.scores_).reshape(4, -1)
    for C, scores in ours.cv_scores_.items():
        i = int(np.argmin(np.abs(np.log(grid / C))))
        # Up to the winner every model is solved well; losers after it only roughly.
        if ours.C_ >= C:
            assert np.allclose(scores, peer_scores[:, i], atol=3e-3)
        else:
            assert np.mean(scores) < np.mean(ours.cv_scores_[ours.C_])


def test_path_is_left_after_two_losses_and_names_its_reason():
    X, y = blobs(300, 80, 3, spread=0.1)
    head = LogisticHead().fit(X, y)
    means = [np.mean(v) for v in head.cv_scores_.values()]
    assert len(means) < 13
    assert int(np.argmax(means)) == len(means) - 3
    assert "cross-validation over 15 folds" in head.C_how_
    assert min(head.cv_scores_) < head.C_ < max(head.cv_scores_)


def test_held_out_logits_are_those_of_models_that_never_saw_the_row():
    X, y = blobs(600, 30, 3, spread=0.3)
    head = LogisticHead(C=[0.01, 0.02]).fit(X, y)
    assert head.oof_rows_.all()
    from isthmus.fit.folds import folds

    for train, test in folds(y, task="classification"):
        fold = LogisticHead(C=head.C_).fit(X[train], y[train])
        got, want = head.oof_logits_[test], fold.logits(X[test])
        got = got - got.mean(axis=1, keepdims=True)
        assert np.abs(got - (want - want.mean(axis=1, keepdims=True))).max() < 0.08


def test_groups_are_kept_whole_and_change_the_choice():
    # Each group is a cluster with one random label: rows of a group give the label away.
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(30), 10)
    y = rng.integers(0, 2, 30)[groups]
    X = rng.normal(size=(30, 40))[groups] * 3 + 0.1 * rng.normal(size=(300, 40))
    leaky, honest = LogisticHead().fit(X, y), LogisticHead().fit(X, y, groups=groups)
    best = [max(np.mean(v) for v in h.cv_scores_.values()) for h in (leaky, honest)]
    assert best[0] > -0.1  # it looks almost solved ...
    assert best[1] < -0.6  # ... and is a coin toss
    assert honest.C_ < leaky.C_ / 10


def test_sample_weights_are_repeated_rows():
    X, y = blobs(120, 10, 3)
    w = np.random.default_rng(0).integers(0, 4, 120)
    weighted = LogisticHead(C=0.7, tol=1e-8).fit(X, y, sample_weight=w)
    rows = np.repeat(np.arange(120), w)
    repeated = LogisticHead(C=0.7, tol=1e-8).fit(X[rows], y[rows])
    assert np.allclose(weighted.predict_proba(X), repeated.predict_proba(X), atol=1e-6)


def test_balanced_weights_are_those_of_scikit_learn():
    X, y = blobs(400, 10, 3, spread=0.2)
    y = np.where(np.arange(400) < 300, 0, y)
    ours = LogisticHead(C=0.5, class_weight="balanced").fit(X, y)
    peer = LogisticRegression(C=0.5, class_weight="balanced", tol=1e-9, max_iter=5000).fit(X, y)
    assert np.abs(ours.predict_proba(X) - peer.predict_proba(X)).max() < 1e-4


@pytest.mark.parametrize("K", [2, 4])
def test_one_row_a_class_takes_the_stated_default(K):
    X, y = blobs(K, 30, K)
    head = LogisticHead().fit(X, y)
    total = np.mean(np.sum((X - X.mean(axis=0)) ** 2, axis=1))
    assert pytest.approx(DEFAULT_GRID_POINT / total) == head.C_
    assert "fewer than two classes have two rows" in head.C_how_
    assert list(head.predict(X)) == list(y)


def test_single_row_classes_take_part_but_are_not_scored():
    X, y = blobs(60, 12, 3, spread=1.0)
    X, y = np.vstack([X, [[9.0] * 12]]), np.append(y, 7)
    head = LogisticHead().fit(X, y)
    assert "cross-validation" in head.C_how_
    assert list(head.classes_) == [0, 1, 2, 7]
    assert not head.oof_rows_[60] and head.oof_rows_[:60].all()


def test_one_group_is_a_reason_not_an_error():
    X, y = blobs(40, 5, 2)
    head = LogisticHead().fit(X, y, groups=["a"] * 40)
    assert "one group" in head.C_how_


def test_same_seed_same_bits_and_row_order_changes_little():
    X, y = blobs(300, 20, 3, spread=0.3)
    first, again = LogisticHead().fit(X, y), LogisticHead().fit(X, y)
    assert first.coef_.tobytes() == again.coef_.tobytes()
    order = np.random.default_rng(1).permutation(300)
    fixed = LogisticHead(C=first.C_).fit(X, y)
    mixed = LogisticHead(C=first.C_).fit(X[order], y[order])
    assert np.abs(fixed.predict_proba(X) - mixed.predict_proba(X)).max() < 1e-4


def test_scale_of_the_features_does_not_matter_to_the_automatic_path():
    X, y = blobs(300, 20, 3, spread=0.3)
    one, big = LogisticHead().fit(X, y), LogisticHead().fit(1000 * X, y)
    assert pytest.approx(1e6 * big.C_) == one.C_
    assert np.abs(one.predict_proba(X) - big.predict_proba(1000 * X)).max() < 1e-3


def test_large_offset_and_constant_columns_do_no_harm():
    X, y = blobs(300, 10, 3)
    plain = LogisticHead(C=1.0).fit(X, y)
    moved = np.column_stack([X + 1e4, np.full(300, 7.0)])
    shifted = LogisticHead(C=1.0).fit(moved, y)
    assert np.abs(plain.predict_proba(X) - shifted.predict_proba(moved)).max() < 1e-4
    nothing = LogisticHead().fit(np.ones((30, 4)), np.arange(30) % 3)
    assert np.allclose(nothing.predict_proba(np.ones((1, 4))), 1 / 3)


def test_accuracy_scoring_and_one_standard_error():
    X, y = blobs(300, 40, 3, spread=0.25)
    loss, simple = LogisticHead().fit(X, y), LogisticHead(one_se=True).fit(X, y)
    assert simple.C_ <= loss.C_ and "one standard error" in simple.C_how_
    right = LogisticHead(scoring="accuracy").fit(X, y)
    values = np.array(list(right.cv_scores_.values()))
    assert ((values >= 0) & (values <= 1)).all()


def test_state_gives_the_same_bits():
    X, y = blobs(200, 12, 4, dtype=np.float32)
    names = np.array(["ant", "bee", "cat", "10"], dtype=object)[y]
    head = LogisticHead().fit(X, names)
    tensors, meta = head.to_state()
    import json

    again = LogisticHead.from_state(tensors, json.loads(json.dumps(meta, allow_nan=False)))
    assert again.predict_proba(X).tobytes() == head.predict_proba(X).tobytes()
    assert list(again.predict(X)) == list(head.predict(X))
    assert again.C_how_ == head.C_how_


def test_damaged_states_are_refused():
    X, y = blobs(50, 5, 3)
    tensors, meta = LogisticHead(C=1.0).fit(X, y).to_state()
    with pytest.raises(BundleError, match="expected"):
        LogisticHead.from_state({**tensors, "coef_": tensors["coef_"][:2]}, meta)
    with pytest.raises(BundleError):
        LogisticHead.from_state({"coef_": tensors["coef_"]}, meta)
    with pytest.raises(BundleError, match="not finite"):
        LogisticHead.from_state({**tensors, "coef_": tensors["coef_"] * np.nan}, meta)
    with pytest.raises(BundleError, match="RidgeHead"):
        LogisticHead.from_state(tensors, {**meta, "kind": "RidgeHead"})


def test_refusals():
    X, y = blobs(30, 4, 3)
    with pytest.raises(DataError, match="NaN"):
        LogisticHead().fit(np.where(X > 5, np.nan, X), y)
    with pytest.raises(DataError, match="only one class"):
        LogisticHead().fit(X, np.zeros(30))
    for bad in ("auto", -1.0, [0.1, 0.0], [], [np.inf]):
        with pytest.raises(UsageError):
            LogisticHead(C=bad).fit(X, y)
    with pytest.raises(UsageError):
        LogisticHead(scoring="f1").fit(X, y)
    with pytest.raises(UsageError, match="classes without rows"):
        LogisticHead(class_weight={9: 1.0}).fit(X, y)
    with pytest.raises(DataError):
        LogisticHead().fit(X, y, sample_weight=-np.ones(30))
    with pytest.raises(DataError, match="groups"):
        LogisticHead().fit(X, y, groups=[1, 2])


@pytest.mark.parametrize(("n", "d", "K"), [(300, 20, 4), (300, 20, 2), (50, 120, 3)])
def test_heads_fitted_together_are_those_fitted_alone(n, d, K):
    X, y = blobs(n, d, K)
    names = np.array([f"c{k}" for k in range(K)])[y]
    rng = np.random.default_rng(1)
    weights = rng.uniform(0.5, 3, (6, n))
    weights[rng.random((6, n)) < 0.2] = 0
    if K > 2:
        weights[4, y == 1] = 0  # one that never sees a class
    heads = fit_each(X, names, weights, C=0.5)
    for head, own in zip(heads, weights, strict=True):
        alone = LogisticHead(C=0.5).fit(X, names, sample_weight=own)
        np.testing.assert_array_equal(head.classes_, alone.classes_)
        gap = np.linalg.norm(head.coef_ - alone.coef_) / np.linalg.norm(alone.coef_)
        assert head.converged_ and gap < 1e-3
        np.testing.assert_allclose(head.predict_proba(X), alone.predict_proba(X), atol=2e-3)
    with pytest.raises(DataError, match="one class"):
        fit_each(X, names, weights * (y == 0), C=0.5)
