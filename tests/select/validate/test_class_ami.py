"""Class-AMI: scikit-learn's figure on clusters that are plain to see; one clustering a scene."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_mutual_info_score

from isthmus.errors import DataError
from isthmus.select.validate.base import Scene, Trial
from isthmus.select.validate.class_ami import ClassAMI


def blobs(n=90, K=3, seed=0):
    rng = np.random.default_rng(seed)
    true = np.arange(n) % K
    return 20 * np.eye(K)[true] + rng.normal(size=(n, K)), true


def scene_of(X, K=3):
    n = len(X)
    P = np.full((n, K), 1 / K)
    return Scene(X, np.zeros(n, int), X, K, np.ones(n), np.zeros((n, 1), int), P)


def test_clusters_far_apart_are_found_whatever_their_names():
    X, true = blobs()
    renamed = np.eye(3)[(true + 1) % 3]
    assert ClassAMI().score(scene_of(X), Trial("t", renamed)) == pytest.approx(1)


def test_errors_cost_what_scikit_learn_says():
    X, true = blobs()
    said = np.where(np.random.default_rng(1).random(90) < 0.3, (true + 1) % 3, true)
    expected = adjusted_mutual_info_score(true, said)
    assert 0.2 < expected < 0.9
    got = ClassAMI().score(scene_of(X), Trial("t", np.eye(3)[said]))
    assert got == pytest.approx(expected)


def test_one_predicted_class_is_zero_and_one_row_many_times_is_refused():
    X, _ = blobs()
    one = np.tile([1.0, 0, 0], (90, 1))
    assert ClassAMI().score(scene_of(X), Trial("t", one)) == pytest.approx(0)
    with pytest.raises(DataError, match="one cluster"):
        ClassAMI().score(scene_of(np.ones((9, 2))), Trial("t", np.eye(3)[np.arange(9) % 3]))


def test_all_candidates_share_one_clustering(monkeypatch):
    from sklearn.cluster import KMeans

    fits, fit = [], KMeans.fit
    monkeypatch.setattr(KMeans, "fit", lambda self, X: fits.append(len(X)) or fit(self, X))
    X, true = blobs()
    scene, validator = scene_of(X), ClassAMI(most=50)
    values = [validator.score(scene, Trial(str(i), np.eye(3)[true])) for i in range(3)]
    assert fits == [50] and values == pytest.approx([1, 1, 1])
    ClassAMI(most=60).score(scene, Trial("t", np.eye(3)[true]))
    assert fits == [50, 60]  # another parameter, another clustering
