"""The epoch that is kept without labels: agreement of near rows, on a graph that stays."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from isthmus.errors import UsageError
from isthmus.run.network_evidence import NeighborEvidence, neighbor_evidence


def clusters(n=30, seed=0):
    rng = np.random.default_rng(seed)
    codes = np.arange(3 * n) % 3
    return np.eye(3)[codes] * 6 + rng.normal(size=(3 * n, 3)), codes


def test_predictions_that_follow_the_clusters_are_best():
    X, codes = clusters()
    part = SimpleNamespace(X=X)
    evidence = neighbor_evidence(SimpleNamespace(source=part, labelled=None, target=part), seed=0)
    right, shuffled = np.eye(3)[codes], np.eye(3)[np.random.default_rng(1).permutation(codes)]
    assert evidence(right) > 0.95 > 0.3 > evidence(shuffled)
    mixed = np.where(np.arange(90)[:, None] < 45, right, shuffled)
    assert evidence(shuffled) < evidence(mixed) < evidence(right)
    assert evidence(np.tile([0.8, 0.1, 0.1], (90, 1))) is None  # collapse is no agreement


def test_labelled_target_rows_come_first_as_in_training():
    X, _ = clusters()
    known, target = SimpleNamespace(X=X[:10]), SimpleNamespace(X=X[10:])
    with_source = SimpleNamespace(source=target, labelled=known, target=target)
    assert len(neighbor_evidence(with_source, seed=0).rows) == 90
    alone = SimpleNamespace(source=None, labelled=known, target=target)
    assert len(neighbor_evidence(alone, seed=0).rows) == 80


def test_the_weights_of_the_best_epoch_are_kept():
    torch = pytest.importorskip("torch")
    from isthmus.fit.finetune import FineTunedClassifier

    X, codes = clusters()
    stack = np.concatenate([X, X + 0.5]).astype(np.float32)
    y, domain = np.concatenate([codes, codes]), np.repeat([0, -1], 90)
    seen = []

    def evidence(P):  # made up: the second of five epochs is the best
        seen.append(P)
        return {1: 1.0, 3: None}.get(len(seen) - 1, 0.5 - 0.1 * len(seen))

    kept = FineTunedClassifier(epochs=5, evidence=evidence, random_state=1)
    kept.fit(stack, y, sample_domain=domain)
    assert [line["evidence"] for line in kept.log_][1] == 1.0 and len(kept.log_) == 5
    np.testing.assert_allclose(kept.predict_proba(stack[90:]), seen[1], atol=1e-6)
    last = FineTunedClassifier(epochs=5, random_state=1).fit(stack, y, sample_domain=domain)
    np.testing.assert_allclose(last.predict_proba(stack[90:]), seen[4], atol=1e-6)
    assert not np.allclose(seen[1], seen[4], atol=1e-3) and torch is not None


def test_two_ways_to_choose_are_refused(tmp_path):
    pytest.importorskip("torch")
    from isthmus.run.finetune import finetune

    with pytest.raises(UsageError, match="with patience"):
        finetune(keep="evidence", patience=3)
    with pytest.raises(UsageError, match="keep='first'"):
        finetune(keep="first")
    assert NeighborEvidence(np.arange(2), np.array([[1], [0]]))(np.eye(2)) == pytest.approx(-1.0)
