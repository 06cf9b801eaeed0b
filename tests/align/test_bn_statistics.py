"""AdaBN: the statistics of a layer become those of the target, and nothing else changes."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch")

from isthmus.align.bn_statistics import adapt_bn_statistics  # noqa: E402
from isthmus.align.domain_batch_norm import in_domain, swap_batch_norm  # noqa: E402
from isthmus.errors import UsageError  # noqa: E402
from isthmus.fit.deep.freeze import freeze, hold_statistics  # noqa: E402


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.BatchNorm1d(3),
        torch.nn.Linear(3, 4),
        torch.nn.BatchNorm1d(4),
        torch.nn.Dropout(0.5),
        torch.nn.Linear(4, 2),
    ).eval()


def test_one_batch_gives_its_mean_and_variance_layer_by_layer():
    with torch.random.fork_rng():
        model, x = network(), 3 * torch.randn(64, 3) + 1
    assert adapt_bn_statistics(model, [x]) == 2
    torch.testing.assert_close(model[0].running_mean, x.mean(0))
    torch.testing.assert_close(model[0].running_var, x.var(0))
    inner = model[1]((x - x.mean(0)) / (x.var(0, correction=0) + 1e-5).sqrt())
    torch.testing.assert_close(model[2].running_mean, inner.mean(0))


def test_all_rows_count_however_they_are_batched_and_the_source_can_be_kept():
    with torch.random.fork_rng():
        model = network()
        rows = torch.cat([torch.randn(32, 3), torch.randn(20, 3) + 2])
    adapt_bn_statistics(model, iter([rows[:32], rows[32:50], rows[50:]]), keep=0.25)
    torch.testing.assert_close(model[0].running_mean, 0.75 * rows.mean(0))
    torch.testing.assert_close(model[0].running_var, 0.25 + 0.75 * rows.var(0))


@pytest.mark.parametrize("hold", [freeze, hold_statistics])
def test_frozen_layers_are_adapted_too(hold):
    with torch.random.fork_rng():
        model, x = network(), 3 * torch.randn(64, 3) + 1
    wanted = copy.deepcopy(model)
    hold(model)
    assert adapt_bn_statistics(model, [x]) == adapt_bn_statistics(wanted, [x]) == 2
    assert all(torch.equal(a, b) for a, b in zip(model.buffers(), wanted.buffers(), strict=True))
    model.train()
    assert not model[0].training  # still frozen


def test_layers_that_no_row_passes_stay_as_they_are():
    """The source's side of a domain-specific norm, or an auxiliary head."""
    with torch.random.fork_rng():
        model, x = swap_batch_norm(network()), 3 * torch.randn(64, 3) + 1
    before = copy.deepcopy(model.state_dict())
    with in_domain(model, 1):
        assert adapt_bn_statistics(model, [x]) == 2
    after = model.state_dict()
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    assert moved == {f"{k}.layers.1.running_{what}" for k in (0, 2) for what in ("mean", "var")}


def test_a_stream_that_breaks_leaves_everything_as_it_was():
    with torch.random.fork_rng():
        model, x = network(), torch.randn(33, 3)
    before = copy.deepcopy(model.state_dict())

    def broken():
        yield x
        raise OSError("gone")

    for stream, error in (([], UsageError), (x.split(32), UsageError), (broken(), OSError)):
        with pytest.raises(error):
            adapt_bn_statistics(model, stream)
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        assert not any(m.training for m in model.modules())
        assert model[0].track_running_stats and not model[0]._forward_pre_hooks
    with pytest.raises(UsageError, match="target batch 1 has a single row"):
        adapt_bn_statistics(model, x.split(32))


def test_weights_modes_and_momenta_are_as_before():
    with torch.random.fork_rng():
        model, x = network(), torch.randn(16, 3)
    model[3].train()
    before = {name: p.clone() for name, p in model.named_parameters()}
    adapt_bn_statistics(model, [x])
    for name, p in model.named_parameters():
        assert torch.equal(p, before[name]) and p.grad is None
    assert [m.training for m in model] == [False, False, False, True, False]
    assert model[0].momentum == 0.1


def test_it_repairs_a_shift_of_location_and_scale():
    """The textbook case: the target is the source times 3 plus 5; then AdaBN undoes it."""
    with torch.random.fork_rng():
        model, x = network(), torch.randn(400, 3)
    adapt_bn_statistics(model, [x])
    wanted = model(x)
    adapt_bn_statistics(model, [3 * x + 5])
    torch.testing.assert_close(model(3 * x + 5), wanted, rtol=1e-3, atol=1e-3)


def test_misuse_is_refused():
    with pytest.raises(UsageError, match="no batch normalisation"):
        adapt_bn_statistics(torch.nn.Linear(2, 2), [torch.zeros(2, 2)])
    with pytest.raises(UsageError, match="no target batch"):
        adapt_bn_statistics(network(), [])
    with pytest.raises(UsageError, match="share"):
        adapt_bn_statistics(network(), [torch.zeros(2, 3)], keep=2)
