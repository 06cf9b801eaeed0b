"""A setting that eases from one value to another holds first, then falls in equal factors."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from isthmus.align.cdan import CDAN  # noqa: E402
from isthmus.align.dann import DANN  # noqa: E402
from isthmus.align.easing import eased  # noqa: E402
from isthmus.errors import UsageError  # noqa: E402


def test_it_holds_then_falls_by_equal_factors():
    course = [eased((100.0, 0.01), p, 0.2) for p in np.linspace(0.2, 1.0, 5)]
    assert eased((100.0, 0.01), 0.1, 0.2) == course[0] == 100.0
    np.testing.assert_allclose(course, [100, 10, 1, 0.1, 0.01])
    assert eased(7, 0.9, 0.2) == 7.0
    assert eased((5.0, 1.0), 1.0, 1.0) == 5.0  # it never begins


@pytest.mark.parametrize(
    ("value", "start"), [((1.0, 0.0), 0.0), ((1.0, 2.0, 3.0), 0.0), ((1.0, 2.0), 1.5)]
)
def test_what_is_no_course_is_refused(value, start):
    with pytest.raises(UsageError):
        eased(value, 0.5, start)


@pytest.mark.parametrize("method", [DANN, CDAN])
def test_at_a_point_of_the_course_a_method_is_the_one_with_that_value(method, pair, built):
    progress = 0.7
    moving = built(method(strength=(4.0, 0.5), flat=0.4))
    fixed = {
        "strength": eased((4.0, 0.5), progress, 0.4),
        "penalty": eased(moving.penalty, progress, 0.4),
    }
    still = built(method(**fixed))
    gradients = []
    for objective in (moving, still):
        source, target = pair()
        loss = objective(source, target, progress)
        leaves = [source.features, target.features, *objective.parameters()]
        gradients.append([loss, *torch.autograd.grad(loss, leaves)])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)
