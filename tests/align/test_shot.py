"""SHOT: no source row comes in, the head stays to the bit, labels are the authors' centroids."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from scipy.spatial.distance import cdist  # noqa: E402
from sklearn.datasets import make_moons  # noqa: E402

from isthmus.align.shot import SHOT, centroid_labels  # noqa: E402
from isthmus.errors import UsageError  # noqa: E402
from isthmus.fit.deep.bodies import MLP  # noqa: E402
from isthmus.fit.deep.loop import train  # noqa: E402
from isthmus.fit.deep.network import Network  # noqa: E402
from isthmus.fit.deep.rows import Batch, Rows  # noqa: E402
from isthmus.fit.deep.settings import Settings  # noqa: E402
from isthmus.fit.deep.stages import adapt  # noqa: E402


def network(seed=0, **options):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Network(MLP(2, (32,), **options), 2, bottleneck=16)


def authors_labels(features, proba):
    """`obtain_label` of the published method, with NumPy and SciPy."""
    rows = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    counted = np.bincount(proba.argmax(1), minlength=proba.shape[1])
    classes = np.flatnonzero(counted)
    weights = proba
    for _ in range(2):
        centres = weights.T @ rows / (1e-8 + weights.sum(0)[:, None])
        found = classes[cdist(rows, centres[classes], "cosine").argmin(1)]
        weights = np.eye(proba.shape[1])[found]
    return found


@pytest.mark.parametrize("seed", range(5))
def test_the_pseudo_labels_are_the_authors(seed):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(60, 5)) + 3 * np.eye(5)[rng.integers(0, 4, 60)]
    logits = 2 * rng.normal(size=(60, 4))
    logits[:, 3] -= 20 * (seed % 2)  # a class that no row is predicted to be
    proba = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    found = centroid_labels(torch.from_numpy(features), torch.from_numpy(proba), rounds=1)
    np.testing.assert_array_equal(found.numpy(), authors_labels(features, proba))


def test_source_rows_cannot_reach_it():
    """Three walls: the loop passes none, the data set is refused, and so is a batch."""
    net, X = network(), np.random.default_rng(0).normal(size=(40, 2)).astype("f4")
    source, target = Rows(X, np.zeros(40, dtype=int)), Rows(X)
    settings = Settings(epochs=1, batch_size=20)
    seen = []

    class Spy(SHOT):
        def begin(self, source, target):
            seen.append(source)
            super().begin(source, target)

        def step(self, source, target, progress, minimise):
            seen.append(source)
            return super().step(source, target, progress, minimise)

    class Poisoned(Rows):
        def batch(self, rows, seeds=None):
            raise AssertionError("a source row was read")

    poisoned = Poisoned(X, np.zeros(40, dtype=int))
    train(net, Spy(), source=poisoned, target=target, settings=settings)
    assert seen == [None] * 3
    with pytest.raises(UsageError, match="must not see source rows"):
        SHOT().begin(source, target)
    batch = Batch(torch.from_numpy(X), torch.zeros(40), torch.arange(40))
    with pytest.raises(UsageError, match="must not see source rows"):
        SHOT().step(batch, batch, 0.0, None)


def test_the_head_stays_to_the_bit_and_is_trainable_afterwards():
    net, X = network(), np.random.default_rng(0).normal(size=(64, 2)).astype("f4")
    net.head = torch.nn.Sequential(torch.nn.BatchNorm1d(16), torch.nn.Linear(16, 2))
    before = {name: v.clone() for name, v in net.state_dict().items()}
    train(net, SHOT(), target=Rows(X), settings=Settings(epochs=2, batch_size=16, lr=0.01))
    for name, value in net.state_dict().items():
        if value.is_floating_point():
            assert torch.equal(value, before[name]) == name.startswith("head."), name
    assert all(p.requires_grad and p.grad is None for p in net.head.parameters())


def test_labels_are_made_before_each_epoch_and_saved_with_the_run(tmp_path):
    net, X = network(), np.random.default_rng(0).normal(size=(64, 2)).astype("f4")
    method, made = SHOT(), []

    class Seen(SHOT):
        def begin_epoch(self, epoch):
            super().begin_epoch(epoch)
            made.append((epoch, self.memory.labels.clone()))

    settings = Settings(epochs=3, batch_size=16, lr=0.05)
    method = Seen()
    train(net, method, target=Rows(X), settings=settings, folder=tmp_path)
    assert [epoch for epoch, _ in made] == [0, 1, 2]
    with torch.no_grad():
        out = network().eval().outputs(torch.from_numpy(X))
    assert torch.equal(made[0][1], centroid_labels(out.features, out.logits.softmax(1)))
    again = Seen()
    train(network(), again, target=Rows(X), settings=settings, folder=tmp_path)
    assert torch.equal(again.memory.labels, method.memory.labels) and len(made) == 3


def test_without_pseudo_labels_it_is_information_maximisation():
    net = network(dropout=0.0)
    x = torch.randn(32, 2, generator=torch.Generator().manual_seed(1))
    losses = []
    method = SHOT(pseudo_weight=0.0, diversity=0.7)
    method.build(net, 2, torch.optim.SGD)
    method.begin(None, Rows(x))
    method.step(None, Batch(x, None, torch.arange(32)), 0.0, lambda loss, _: losses.append(loss))
    p = net.train()(x).softmax(1)
    mean = p.mean(0)
    wanted = -(p * p.log()).sum(1).mean() + 0.7 * (mean * mean.log()).sum()
    torch.testing.assert_close(losses[0], wanted)


def test_it_adapts_two_moons_that_are_turned():
    X, y = make_moons(300, noise=0.1, random_state=0)
    X = (X - X.mean(0)).astype("f4")
    a = np.deg2rad(35)
    Z = X @ np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]], dtype="f4")

    def accuracy(net):
        return float((net(torch.from_numpy(Z)).argmax(1).numpy() == y).mean())

    net, scores = network(), []

    def watch(net, *_):
        return scores.append(accuracy(net)) or {}

    adapt(
        net, SHOT(), source=Rows(X, y), target=Rows(Z), watch=watch, target_watch=watch,
        settings=Settings(epochs=15, batch_size=50, lr=0.01),
    )  # fmt: skip
    source_only, adapted = scores[14], scores[-1]
    assert adapted > source_only + 0.05


def test_values_are_refused():
    with pytest.raises(UsageError, match="classes"):
        SHOT().build(network(), 1, torch.optim.SGD)


def test_a_class_that_a_round_leaves_empty_takes_no_row():
    """Its centroid is 0, nearer by the angle than one that points away."""
    emptied = 0
    for seed in range(2000):
        generator = torch.Generator().manual_seed(seed)
        features = 3 * torch.randn(8, 2, generator=generator)
        proba = (2 * torch.randn(8, 4, generator=generator)).softmax(1)
        first, second = (centroid_labels(features, proba, rounds) for rounds in (0, 1))
        assert set(second.tolist()) <= set(first.tolist())
        emptied += set(first.tolist()) < set(proba.argmax(1).tolist())
    assert emptied > 100
