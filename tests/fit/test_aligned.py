"""Networks on features: what serves is what was trained, methods help where they should."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone

torch = pytest.importorskip("torch")

from isthmus.data.domains import stack_domains  # noqa: E402
from isthmus.errors import UsageError  # noqa: E402
from isthmus.fit.aligned import AlignedMLP, cooled, folded  # noqa: E402
from isthmus.fit.deep.bodies import MLP, Standardised  # noqa: E402
from isthmus.fit.deep.network import Network  # noqa: E402


def blobs(n, shift=0.0, seed=0, d=6):
    """Three classes; the target moves by about the distance between them."""
    rng = np.random.default_rng(seed)
    codes = np.arange(n) % 3
    return rng.normal(size=(n, d)) + 4 * np.eye(d)[codes] + shift, codes


SHIFT = np.array([3.0, -3.0, 0, 0, 2, 0])


def pair(labelled=0):
    (Xs, ys), (Xt, yt) = blobs(240), blobs(120, SHIFT, 1)
    known = np.full(len(yt), None, dtype=object)
    known[:labelled] = yt[:labelled]
    X, y, domain, marked = stack_domains(Xs, ys.astype(object), Xt, known)
    return X, y.astype(int), domain, marked, Xt, yt


def test_what_serves_equals_torch():
    torch_state = torch.random.get_rng_state()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        mean, scale = 100 * torch.randn(7), torch.rand(7) + 0.1
        body = MLP(7, (9, 8), dropout=0.3, first=Standardised(mean, scale))
        net = Network(body, 4).eval()
        rows = mean + scale * torch.randn(20, 7)
    with torch.no_grad():
        wanted = net(rows).numpy()
    dense = folded(net)
    np.testing.assert_allclose(dense(rows.numpy()), wanted, atol=1e-5)
    np.testing.assert_allclose(cooled(dense, 2.5)(rows.numpy()), wanted / 2.5, atol=1e-5)
    assert torch.equal(torch.random.get_rng_state(), torch_state)


def test_parts_that_numpy_does_not_serve_are_refused():
    with pytest.raises(UsageError, match="BatchNorm1d"):
        folded(Network(MLP(3, (4,), norm=True), 2))
    with pytest.raises(UsageError, match="dense layers"):
        folded(Network(torch.nn.Linear(3, 4), 2))


def test_alignment_helps_where_the_source_fails():
    X, y, domain, _, Xt, yt = pair()
    alone = AlignedMLP(steps=100).fit(X, y, sample_domain=domain)
    aligned = AlignedMLP("shot", steps=100).fit(X, y, sample_domain=domain)
    low, high = ((model.predict(Xt) == yt).mean() for model in (alone, aligned))
    assert high > low + 0.1, (low, high)


def test_target_labels_teach_and_placeholders_do_not():
    X, y, domain, marked, Xt, yt = pair(labelled=30)
    few = AlignedMLP("dann", steps=60).fit(X, y, sample_domain=domain, target_labeled=marked)
    assert (few.predict(Xt[30:]) == yt[30:]).mean() > 0.8
    lied = y.copy()
    lied[domain < 0] = 0
    plain, same = (
        AlignedMLP("dann", steps=20).fit(X, labels, sample_domain=domain) for labels in (y, lied)
    )
    np.testing.assert_array_equal(plain.predict_proba(Xt), same.predict_proba(Xt))


def test_it_repeats_and_the_callers_randomness_stays():
    X, y, domain, *_ = pair()
    before = torch.random.get_rng_state()
    model = AlignedMLP("cdan", steps=12, random_state=3)
    first = model.fit(X, y, sample_domain=domain).predict_proba(X)
    np.testing.assert_array_equal(
        clone(model).fit(X, y, sample_domain=domain).predict_proba(X), first
    )
    assert torch.equal(torch.random.get_rng_state(), before)
    other = clone(model).set_params(random_state=4).fit(X, y, sample_domain=domain)
    assert np.abs(other.predict_proba(X) - first).max() > 1e-4


def test_the_temperature_comes_from_rows_that_trained_nothing():
    X, y, domain, *_ = pair()
    noisy = y.copy()
    rng = np.random.default_rng(0)
    noisy[domain >= 0] = np.where(
        rng.random((domain >= 0).sum()) < 0.4,
        rng.integers(0, 3, (domain >= 0).sum()),
        y[domain >= 0],
    )
    model = AlignedMLP(steps=250, dropout=0.0, label_smoothing=0.0)
    model.fit(X, noisy, sample_domain=domain)
    assert model.info_["temperature"] > 1.3  # it learned the noise by heart
    few = AlignedMLP(steps=5).fit(X[200:], y[200:], sample_domain=domain[200:])
    assert few.info_["temperature"] == 1.0 and "too few" in few.info_["temperature_note"]


def test_settings_go_before_those_for_features_and_those_before_the_defaults():
    chosen = AlignedMLP("cdan", settings={"rate": 2.0})._method()[0]
    assert (chosen.rate, chosen.random_size, chosen.strength) == (2.0, 256, 2.0)


def test_steps_are_bounded():
    model = AlignedMLP()
    assert [model.count(n) for n in (10, 2000, 10**6)] == [300, 625, 1500]
    assert AlignedMLP(steps=7).count(10**6) == 7


def test_a_method_that_needs_views_says_so():
    X, y, domain, *_ = pair()
    with pytest.raises(UsageError, match="two views"):
        AlignedMLP("fixmatch").fit(X, y, sample_domain=domain)
    assert AlignedMLP("dann").refusal is None and AlignedMLP().refusal is None


def test_a_target_that_ends_in_one_class_is_told():
    (Xs, ys), (Xt, _) = blobs(150), blobs(90, np.array([9.0, -9, -9, 0, 0, 0]), 1)
    X, y, domain, _ = stack_domains(Xs, ys, Xt)
    model = AlignedMLP(steps=100).fit(X, y, sample_domain=domain)
    assert [t.code for t in model.troubles_] == ["collapse"]
    assert "of the source rows 33 %" in model.troubles_[0].reason
