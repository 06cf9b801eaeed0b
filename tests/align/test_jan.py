"""JAN multiplies kernels; with one layer it is DAN."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from isthmus.align.dan import DAN  # noqa: E402
from isthmus.align.jan import JAN  # noqa: E402
from isthmus.discrepancy.mmd import median_distance  # noqa: E402


@pytest.mark.parametrize("layer", ["features", "predictions"])
def test_with_one_layer_it_is_dan(pair, layer):
    source, target = pair()
    a = JAN(layers=(layer,))(source, target, 0.0)
    torch.testing.assert_close(a, DAN(layers=(layer,))(source, target, 0.0))


def test_two_layers_against_numpy(pair):
    source, target = pair(7, 4)
    gram = 1.0
    for of in (lambda b: b.features, lambda b: b.logits.softmax(1)):
        z = torch.cat([of(source), of(target)]).detach().numpy()
        squared = ((z[:, None] - z[None]) ** 2).sum(2)
        b = median_distance(z)
        gram = gram * np.mean(
            [np.exp(-squared / (2 * (f * b) ** 2)) for f in (0.25, 0.5, 1, 2, 4)], 0
        )
    wanted = gram[:7, :7].mean() + gram[7:, 7:].mean() - 2 * gram[:7, 7:].mean()
    assert JAN()(source, target, 0.0).item() == pytest.approx(wanted, rel=1e-10)


def test_equal_marginals_with_another_pairing_are_told_apart(pair):
    z = torch.tensor([[0.0], [0.0], [4.0], [4.0]]).double().repeat(5, 1)
    one = torch.tensor([[9.0, 0.0], [9.0, 0.0], [0.0, 9.0], [0.0, 9.0]]).double().repeat(5, 1)
    from isthmus.types import DomainBatch

    same, swapped = DomainBatch(z, one), DomainBatch(z, one.flip(1))
    assert JAN()(same, same, 0.0).item() == pytest.approx(0, abs=1e-12)
    assert JAN()(same, swapped, 0.0).item() > 0.05
    assert DAN(layers=("features", "predictions"))(same, swapped, 0.0).item() < 1e-12
