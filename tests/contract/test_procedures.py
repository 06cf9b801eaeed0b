"""The contract of every procedure in `isthmus/align/`, in the loop: the folder is walked."""

from __future__ import annotations

import copy
import json
import math
import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from isthmus.align.base import Procedure  # noqa: E402
from isthmus.align.registry import discover, settings  # noqa: E402
from isthmus.errors import DataError, UsageError  # noqa: E402
from isthmus.fit.deep.loop import train  # noqa: E402
from isthmus.fit.deep.minimise import NonFiniteLossError  # noqa: E402
from isthmus.fit.deep.network import Network  # noqa: E402
from isthmus.fit.deep.rows import Rows  # noqa: E402
from isthmus.fit.deep.settings import Settings  # noqa: E402
from isthmus.fit.deep.surgery import state_of  # noqa: E402

PROCEDURES = {name: cls for name, cls in discover().items() if issubclass(cls, Procedure)}
each = pytest.mark.parametrize("name", sorted(PROCEDURES))


def network(seed=0, classes=3):
    """No batch norm: a batch of one row is allowed. Dropout: chance has a part."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        body = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 6))
        return Network(body, classes, num_features=6)


def rows(n, seed, labels=None, classes=3):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 5)).astype("f4")
    return Rows(X, np.arange(n) % classes if labels is None else labels)


def blurred(row):
    return row + 0.1 * torch.randn_like(row)


def seen(method, target):
    """The target with the views that a method compares."""
    views = dict.fromkeys(method.views, blurred)
    return Rows(target.inputs, target.labels, views=views)


def run(name, *, source=None, target=None, net=None, batches=(8, 8), folder=None, epochs=2):
    method = PROCEDURES[name]()
    net = network() if net is None else net
    source = rows(24, 1) if source is None else source
    target = seen(method, rows(20, 2) if target is None else target)
    with torch.random.fork_rng():
        done = train(
            net, method, source=source, target=target, folder=folder,
            settings=Settings(epochs=epochs, batch_size=batches[0], target_batch_size=batches[1]),
        )  # fmt: skip
    return done, method


def equal(first, second):
    a, b = state_of(first), state_of(second)
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@each
def test_it_moves_the_network_and_logs_finite_numbers(name):
    start = network()
    done, method = run(name)
    assert not equal(done.network, start)
    for line in done.lines:
        assert line["losses"], name
        assert all(math.isfinite(value) for value in line["losses"].values())
    assert any(module is done.network for module in method.modules().values())


@each
@pytest.mark.parametrize("batches", [(1, 1), (1, 9), (12, 1), (3, 20)])
def test_a_batch_of_one_and_unequal_batches(name, batches):
    done, _ = run(name, batches=batches, epochs=1)
    assert all(math.isfinite(v) for v in done.lines[-1]["losses"].values())
    assert all(bool(torch.isfinite(t).all()) for t in state_of(done.network).values())


@each
def test_classes_that_are_missing_in_the_source_or_in_a_batch(name):
    lopsided = rows(24, 1, labels=np.r_[np.zeros(23, int), 1])  # class 2 never, class 1 once
    done, _ = run(name, source=lopsided)
    assert all(bool(torch.isfinite(t).all()) for t in state_of(done.network).values())


@each
def test_labels_of_the_target_are_never_read(name):
    right, wrong = rows(20, 2), rows(20, 2, labels=np.full(20, 2))
    assert equal(run(name, target=right)[0].network, run(name, target=wrong)[0].network)


@each
def test_a_source_free_method_sees_no_source_row(name):
    other = rows(24, 99)
    same = equal(run(name)[0].network, run(name, source=other)[0].network)
    assert same == (not PROCEDURES[name].uses_source)
    if not PROCEDURES[name].uses_source:
        method = PROCEDURES[name]()
        net = network()
        with torch.random.fork_rng():
            method.build(net, 3, lambda parameters: torch.optim.SGD(list(parameters), lr=0.1))
            method.begin(None, seen(method, rows(20, 2)))
            batch = rows(4, 1).batch(np.arange(4))
            with pytest.raises((UsageError, TypeError)):
                method.step(batch, batch, 0.5, lambda *_: True)


@each
def test_what_is_frozen_stays(name):
    net = network()
    net.body[0].requires_grad_(False)
    before = state_of(net.body[0])
    done, _ = run(name, net=net)
    assert all(torch.equal(before[k], t) for k, t in state_of(done.network.body[0]).items())
    assert not equal(done.network, network())


@each
def test_twice_is_the_same_and_a_stopped_run_goes_on(name, tmp_path):
    whole = run(name, folder=tmp_path / "whole")[0].network
    assert equal(whole, run(name)[0].network)

    class Stopped(Exception):
        pass

    def stop(done, total):
        if done == 4:  # within the second epoch, after the checkpoint of the first
            raise Stopped

    for on_step in (stop, None):
        method = PROCEDURES[name]()
        target = seen(method, rows(20, 2))
        net = network(seed=5 if on_step is None else 0)  # its weights come from the checkpoint
        try:
            train(net, method, source=rows(24, 1), target=target, folder=tmp_path / "parts",
                  settings=Settings(epochs=2, batch_size=8, target_batch_size=8),
                  on_step=on_step)  # fmt: skip
        except Stopped:
            continue
    assert equal(whole, net)


@each
def test_a_row_that_is_no_number_is_named(name):
    target = rows(20, 2)
    target.inputs[7, 0] = float("nan")
    words = r"target rows with NaN or infinity: 7\b|1 target rows .*no numbers \(7\)"
    with pytest.raises((NonFiniteLossError, DataError), match=words):
        run(name, target=target)


@each
def test_settings_are_plain_and_make_an_equal_method(name):
    cls = PROCEDURES[name]
    kept = settings(cls())
    again = cls(**json.loads(json.dumps(kept)))
    assert json.dumps(settings(again)) == json.dumps(kept)
    for fresh in (pickle.loads(pickle.dumps(cls())), copy.deepcopy(cls())):
        assert settings(fresh) == kept


@each
def test_one_output_is_taken_or_refused_in_words(name):
    source = rows(24, 1, labels=np.linspace(-1, 1, 24).astype("f4"))
    try:
        done, _ = run(name, source=source, net=network(classes=1))
    except UsageError as error:
        assert "class" in str(error)
    else:
        assert all(math.isfinite(v) for v in done.lines[-1]["losses"].values())
