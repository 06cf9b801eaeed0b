"""Networks as ONNX: what the plain exporter cannot write goes to the other one in silence."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from isthmus.backbone.export import _traced  # noqa: E402


@pytest.mark.parametrize(("size", "plain"), [(16, True), (13, False)])
def test_windows_of_different_sizes_are_left_to_the_other_exporter(size, plain, capfd):
    """VGG on photos of another size: the plain exporter would print the whole graph."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(7), nn.Flatten()).eval()
    found = _traced(net, (torch.zeros(1, 3, size, size),))
    assert (found is not None) == plain
    assert capfd.readouterr().out == ""
    assert not net[1]._forward_hooks
    if found is not None:
        session = pytest.importorskip("onnxruntime").InferenceSession(found)
        x = np.random.default_rng(0).normal(size=(1, 3, size, size)).astype("f4")
        (made,) = session.run(None, {"input_0": x})
        np.testing.assert_allclose(made, net(torch.from_numpy(x)).detach(), atol=1e-5)
