"""MIX: the mean of SER and STRUT on the same source trees, and what it is for."""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from isthmus.adapt.mix import MIX
from isthmus.adapt.ser import SER
from isthmus.adapt.strut import STRUT
from isthmus.data.domains import stack_domains

FOREST = RandomForestClassifier(10, random_state=0)


def moved(n, shift, seed, noise=0.0):
    """Class 1 where two columns exceed 0.4 and 0.3, both moved."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(size=(n, 4))
    y = ((X[:, 0] > 0.4 + shift) & (X[:, 1] > 0.3 + shift)).astype(int)
    return X, np.where(rng.uniform(size=n) < noise, 1 - y, y)


def fitted(model, Xs, ys, Xt, shown):
    X, y, domain, labeled = stack_domains(Xs, ys, Xt, shown)
    return model.fit(X, y, sample_domain=domain, target_labeled=labeled)


def test_it_is_the_mean_of_both_forests():
    Xs, ys = moved(300, 0.0, 0)
    Xt, yt = moved(200, 0.15, 1)
    shown = np.where(np.arange(200) < 40, yt, np.nan)
    for keep in ("none", "all"):
        ser, strut, mix = (
            fitted(cls(FOREST, keep_unreached=keep), Xs, ys, Xt, shown) for cls in (SER, STRUT, MIX)
        )
        want = 0.5 * (ser.predict_proba(Xt) + strut.predict_proba(Xt))
        np.testing.assert_allclose(mix.predict_proba(Xt), want)
    assert len(mix.trees_) == 20 and len(mix.source_trees_) == 10
    plain = fitted(MIX(FOREST, adapt_prior=False), Xs, ys, Xt, shown)
    assert np.abs(plain.predict_proba(Xt) - mix.predict_proba(Xt)).max() > 0


def accuracies(m, noise, shift):
    out = []
    for seed in range(4):
        Xs, ys = moved(600, 0.0, seed, noise)
        Xt, yt = moved(m + 800, shift, 50 + seed, noise)
        shown = np.where(np.arange(m + 800) < m, yt, np.nan)
        alone = RandomForestClassifier(10, random_state=0)
        got = [alone.fit(Xs, ys).score(Xt[m:], yt[m:])]
        got.append(alone.fit(Xt[:m], yt[:m]).score(Xt[m:], yt[m:]))
        got.append(fitted(MIX(FOREST), Xs, ys, Xt, shown).score(Xt[m:], yt[m:]))
        out.append(got)
    return np.mean(out, axis=0)


def test_helps_where_the_boundaries_moved():
    source, target, both = accuracies(m=40, noise=0.0, shift=0.15)
    assert both > source + 0.03 and both > target + 0.02


def test_fails_with_a_handful_of_noisy_labels_where_nothing_moved():
    source, _, both = accuracies(m=8, noise=0.15, shift=0.0)
    assert both < source - 0.02
