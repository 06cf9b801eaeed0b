"""Penalties by name: every form that is given becomes a tuple of own, unbuilt penalties."""

from __future__ import annotations

import doctest

import pytest

torch = pytest.importorskip("torch")

from isthmus.align.dann import DANN  # noqa: E402
from isthmus.errors import UsageError  # noqa: E402
from isthmus.fit.deep.regularize import registry  # noqa: E402
from isthmus.fit.deep.regularize.bss import BSS  # noqa: E402
from isthmus.fit.deep.regularize.l2_sp import L2SP  # noqa: E402
from isthmus.fit.deep.regularize.registry import PENALTIES, make_penalties  # noqa: E402


def test_every_form_becomes_a_tuple_and_objects_are_copied():
    assert make_penalties(None) == make_penalties(()) == ()
    assert [type(one) for one in make_penalties("L2_SP")] == [L2SP]
    own = BSS(k=3)
    for given in (own, [own], (own,)):
        (made,) = make_penalties(given)
        assert made is not own and made.k == 3
    mixed = make_penalties(["l2-sp", own, lambda network, batch: batch.logits.sum() * 0])
    assert len(mixed) == 3 and isinstance(mixed, tuple)
    assert doctest.testmod(registry).failed == 0


@pytest.mark.parametrize("name", sorted(PENALTIES))
def test_each_name_makes_a_penalty_that_needs_the_network_alone(name, network, inputs, see, built):
    (penalty,) = make_penalties(name)
    assert type(penalty).__name__.casefold() == name.replace("-", "")
    assert torch.isfinite(built(penalty, network)(network, see(network, inputs)))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("l2", r"no penalty 'l2'.*l2-sp"),
        (["bss", "deltaa"], r"no penalty 'deltaa'. Did you mean 'delta'\?"),
        ("co-tuning", r"needs the pretrained head.*CoTuning\("),
        ("stochnorm", r"layer.*swap_stoch_norm"),
        (["bss", "BSS"], "twice"),
        (L2SP, r"class.*L2SP\(\)"),
        (3, "no penalty: int"),
        ({"l2-sp": 1}, "no penalty: dict"),
        ([None], "no penalty: NoneType"),
        (b"l2-sp", "no penalty: bytes"),
        (torch.nn.Linear(2, 2), r"no penalty: Linear.*penalty\(network, batch\)"),
        (DANN(), "no penalty: DANN.*method="),
    ],
)
def test_what_is_no_penalty_is_refused_by_name_or_type(given, said):
    with pytest.raises(UsageError, match=said):
        make_penalties(given)
