"""T3A against a reference that keeps its supports in plain lists."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from isthmus.align.t3a import T3A  # noqa: E402
from isthmus.errors import UsageError  # noqa: E402


class Reference:
    """The paper's algorithm row by row, with Python lists."""

    def __init__(self, weight, bias, keep):
        self.weight, self.bias, self.keep = weight, bias, keep
        self.supports = [[] for _ in weight]
        for row in weight:
            self.add(row)

    def add(self, z):
        scores = self.weight @ z + self.bias
        p = np.exp(scores - scores.max())
        p = p / p.sum()
        label = int(p.argmax())
        entropy = float(-(p * np.log(p)).sum())
        self.supports[label].append((entropy, z / np.linalg.norm(z)))

    def __call__(self, batch):
        for z in batch:
            self.add(z)
        logits = []
        for k, kept in enumerate(self.supports):
            self.supports[k] = sorted(kept, key=lambda s: s[0])[: self.keep]
            centre = np.sum([s[1] for s in self.supports[k]], axis=0)
            logits.append(batch @ (centre / np.linalg.norm(centre)))
        return np.stack(logits, axis=1)


@pytest.mark.parametrize("keep", [1, 3, None])
def test_it_follows_the_reference_over_a_stream(keep):
    rng = np.random.default_rng(0)
    weight, bias = 2 * np.eye(4, 6) + 0.1 * rng.normal(size=(4, 6)), 0.1 * rng.normal(size=4)
    ours = T3A(torch.from_numpy(weight), torch.from_numpy(bias), keep=keep)
    theirs = Reference(weight, bias, keep)
    for _ in range(5):
        batch = rng.normal(size=(11, 6))
        got = ours(torch.from_numpy(batch)).numpy()
        np.testing.assert_allclose(got, theirs(batch), rtol=1e-10, atol=1e-12)
    if keep:
        assert len(ours.labels) <= 4 * keep
    ours.reset()
    assert len(ours.labels) == 4


def test_it_repairs_features_that_moved():
    """A head for two blobs, and a target whose blobs are turned by 40 degrees."""
    rng = np.random.default_rng(0)
    y = np.arange(400) % 2
    x = np.array([[3.0, 0.5], [0.5, 3.0]])[y] + 0.6 * rng.normal(size=(400, 2))
    a = np.deg2rad(40)
    x = x @ np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
    weight = np.array([[1.0, -1.0], [-1.0, 1.0]])
    plain = ((x @ weight.T).argmax(1) == y).mean()
    t3a = T3A(torch.from_numpy(weight), keep=None)
    t3a(torch.from_numpy(x))
    after = (t3a(torch.from_numpy(x)).argmax(1).numpy() == y).mean()
    assert plain < 0.9 and after > plain + 0.05


def test_misuse_is_refused():
    with pytest.raises(UsageError, match="shape"):
        T3A(torch.zeros(3))
    with pytest.raises(UsageError, match="keep"):
        T3A(torch.zeros(3, 2), keep=0)
