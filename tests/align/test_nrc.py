"""NRC: neighbours and their affinities against plain loops; no source row comes in."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from isthmus.align.nrc import NRC, agreement, neighbourhoods  # noqa: E402
from isthmus.errors import DataError, UsageError  # noqa: E402
from isthmus.fit.deep.bodies import MLP  # noqa: E402
from isthmus.fit.deep.network import Network  # noqa: E402
from isthmus.fit.deep.rows import Batch, Rows  # noqa: E402
from isthmus.fit.deep.settings import Settings  # noqa: E402
from isthmus.fit.deep.stages import adapt  # noqa: E402


def network(classes=3, width=8):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Network(MLP(4, (width,)), classes)


def plain_neighbours(unit, row, count):
    similar = unit @ unit[row]
    similar[row] = -np.inf
    return np.argsort(-similar)[:count]


def test_neighbours_and_who_is_mutual_against_plain_loops():
    rng = np.random.default_rng(0)
    unit = rng.normal(size=(30, 5))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    rows = np.array([3, 17, 29, 4])
    near, mutual, beyond = neighbourhoods(torch.from_numpy(unit), torch.from_numpy(rows), 4, 3)
    seen = set()
    for i, row in enumerate(rows):
        wanted = plain_neighbours(unit, row, 4)
        np.testing.assert_array_equal(near[i], wanted)
        theirs = [plain_neighbours(unit, other, 3) for other in wanted]
        np.testing.assert_array_equal(beyond[i], np.concatenate(theirs))
        np.testing.assert_array_equal(mutual[i], [row in other for other in theirs])
        seen |= set(mutual[i].tolist())
    assert seen == {True, False}


def test_agreement_is_a_weighted_mean_of_inner_products():
    rng = np.random.default_rng(1)
    p, others, weights = rng.random((6, 3)), rng.random((6, 4, 3)), rng.random((6, 4))
    wanted = np.mean([sum(w * p[i] @ o for w, o in zip(weights[i], others[i])) for i in range(6)])
    found = agreement(*(torch.from_numpy(v) for v in (p, others, weights)))
    np.testing.assert_allclose(found.item(), wanted, rtol=1e-12)


def test_the_loss_of_a_step_against_plain_loops():
    net, found = network(), []
    x = torch.randn(24, 4, generator=torch.Generator().manual_seed(3))
    method = NRC(neighbours=3, further=2, weak=0.2, diversity=0.5)
    method.build(net, 3, torch.optim.SGD)
    method.begin(None, Rows(x))
    method.begin_epoch(0)
    rows = torch.tensor([5, 1, 20, 11])
    method.step(None, Batch(x[rows], None, rows), 0.0, lambda loss, _: found.append(loss))
    with torch.no_grad():
        out = net.outputs(x)
        unit = torch.nn.functional.normalize(out.features, dim=1).double().numpy()
        p = out.logits.softmax(1).double().numpy()
    total = 0.0
    for i in rows.tolist():
        for j in plain_neighbours(unit, i, 3):
            theirs = plain_neighbours(unit, j, 2)
            total -= (1.0 if i in theirs else 0.2) * p[i] @ p[j]
            total -= 0.2 * sum(p[i] @ p[k] for k in theirs)
        total -= p[i] @ p[i]
    mean = p[rows].mean(0)
    wanted = total / 4 + 0.5 * (mean * np.log(mean)).sum()
    np.testing.assert_allclose(found[0].item(), wanted, rtol=1e-5)


def test_source_rows_are_refused_and_few_rows_too():
    x = torch.zeros(10, 4)
    with pytest.raises(UsageError, match="must not see source rows"):
        NRC().begin(Rows(x), Rows(x))
    with pytest.raises(UsageError, match="must not see source rows"):
        NRC().step(Batch(x, x, x), Batch(x, None, x), 0.0, None)
    method = NRC()
    method.build(network(), 3, torch.optim.SGD)
    with pytest.raises(DataError, match="5 target rows"):
        method.begin(None, Rows(x[:4]))


def test_it_adapts_clusters_that_have_moved():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 300)
    X = (0.7 * rng.normal(size=(300, 4)) + 3 * np.eye(3, 4)[y]).astype("f4")
    Z = (X + np.array([1.2, -0.4, 0.0, 0.0])).astype("f4")
    net, scores = network(width=32), []

    def watch(net, *_):
        scores.append(float((net(torch.from_numpy(Z)).argmax(1).numpy() == y).mean()))
        return {}

    adapt(net, NRC(), source=Rows(X, y), target=Rows(Z), watch=watch, target_watch=watch,
          settings=Settings(epochs=20, batch_size=50, lr=5e-3))  # fmt: skip
    assert scores[-1] > scores[19] + 0.02
