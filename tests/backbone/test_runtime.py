"""The runtime: torch's numbers from a cached file, damage noticed, slower paths said aloud."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from isthmus.backbone import runtime
from isthmus.errors import BackboneError


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A cache that holds `Net`, made once: exporting takes seconds."""
    root = tmp_path_factory.mktemp("exported")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ISTHMUS_CACHE", str(root))
        forward = runtime.compile_module(Net, X[:2], fingerprint=KEY, rows=1)
    return root, forward


@pytest.fixture
def cached(exported, own_cache, tmp_path):
    """That cache, in a copy of this test's own."""
    shutil.copytree(exported[0], tmp_path / "cache")
    return exported[1]


KEY = "a" * 64


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.body = nn.Sequential(
                nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(),
                nn.LazyLinear(5),
            )  # fmt: skip
            self.body.eval()(torch.zeros(2, 3, 8, 8))
        self.train()  # as a user would hand it over: the runtime must freeze it

    def forward(self, x):
        return self.body(x)


X = np.random.default_rng(0).normal(size=(6, 3, 8, 8)).astype(np.float32)


def reference(x=X):
    with torch.no_grad():
        return Net().eval()(torch.from_numpy(x)).numpy()


def never():
    raise AssertionError("the network was built although it is cached")


def test_same_numbers_as_torch_then_from_the_cache(capfd):
    first = runtime.compile_module(Net, X[:2], fingerprint=KEY, rows=1)
    assert first.engine == "onnxruntime" and first.parity < 1e-4
    np.testing.assert_allclose(first(X), reference(), atol=1e-5)
    again = runtime.compile_module(never, X[:2], fingerprint=KEY, rows=1)
    assert np.array_equal(again(X), first(X))
    assert again.parity == first.parity
    assert runtime.recorded_width(KEY) == 5
    assert runtime.recorded_width("b" * 64) is None
    printed = capfd.readouterr()
    assert printed.out == "" and printed.err == ""


def test_a_row_does_not_depend_on_its_batch_mates_or_on_threads(cached, monkeypatch):
    forward = cached
    whole = forward(X)
    order = np.random.default_rng(1).permutation(len(X))
    assert np.array_equal(forward(X[order]), whole[order])
    for i in range(len(X)):
        assert np.array_equal(forward(X[i : i + 1])[0], whole[i])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    single = runtime.compile_module(never, X[:2], fingerprint=KEY, rows=1)
    assert np.array_equal(single(X), whole)


def test_a_damaged_file_is_never_used(cached):
    file = runtime.record_path(KEY).with_suffix(".onnx")
    good = file.read_bytes()
    assert isinstance(runtime._read_cached(KEY, 1), runtime.Forward)
    for place in np.random.default_rng(0).integers(0, len(good), 50).tolist():
        bad = bytearray(good)
        bad[place] ^= 1 << place % 8
        file.write_bytes(bytes(bad))
        assert runtime._read_cached(KEY, 1) is None
        file.write_bytes(good[:place])
        assert runtime._read_cached(KEY, 1) is None
    file.unlink()
    assert runtime._read_cached(KEY, 1) is None


def test_a_damaged_file_is_made_anew(cached, caplog):
    file = runtime.record_path(KEY).with_suffix(".onnx")
    file.write_bytes(file.read_bytes()[:-7])
    with caplog.at_level(logging.WARNING):
        forward = runtime.compile_module(Net, X[:2], fingerprint=KEY, rows=1)
    assert "made anew" in caplog.text
    np.testing.assert_allclose(forward(X), reference(), atol=1e-5)
    runtime.compile_module(never, X[:2], fingerprint=KEY, rows=1)


def test_every_flipped_byte_of_the_record_is_noticed(cached):
    record = runtime.record_path(KEY)
    good = record.read_bytes()
    meaning = json.loads(good)
    for place in range(len(good)):
        bad = bytearray(good)
        bad[place] ^= 1
        record.write_bytes(bytes(bad))
        try:
            unchanged = json.loads(bytes(bad)) == meaning  # a blank became another blank
        except ValueError:
            unchanged = False
        assert (runtime._read_record(record) is None) != unchanged, place


def test_another_number_of_rows_is_not_mixed_up(cached):
    whole = runtime.compile_module(Net, X, fingerprint=KEY)
    np.testing.assert_allclose(whole(X), reference(), atol=1e-5)


def test_lengths_that_vary():
    class Text(nn.Module):
        def forward(self, ids, mask):
            one = torch.nn.functional.one_hot(ids, 10).float() * mask[..., None]
            return one.sum(1) / mask.sum(1, keepdim=True)

    def some(n, length):
        ids = np.random.default_rng(n).integers(0, 10, (n, length))
        return ids, np.ones((n, length), np.float32)

    forward = runtime.compile_module(
        Text, some(4, 7), fingerprint="c" * 64, dynamic={0: "batch", 1: "length"},
        checks=[some(2, 12)],
    )  # fmt: skip
    assert forward.engine == "onnxruntime", forward.why
    ids, mask = some(3, 5)
    expected = np.stack([np.bincount(row, minlength=10) / 5 for row in ids])
    np.testing.assert_allclose(forward(ids, mask), expected, atol=1e-6)


class Odd(nn.Module):
    """Python code on values: no exporter can follow it, torch runs it."""

    def forward(self, x):
        return x.flatten(1)[:, : 3 + int(float(x.sum()) > 1e9)] * 2


def test_torch_takes_over_where_export_fails_and_it_is_recorded(caplog):
    with caplog.at_level(logging.WARNING):
        forward = runtime.compile_module(Odd, X, fingerprint="d" * 64)
    assert forward.engine == "torch" and forward.why
    assert "torch is used" in caplog.text
    np.testing.assert_allclose(forward(X), X.reshape(6, -1)[:, :3] * 2)
    caplog.clear()
    again = runtime.compile_module(Odd, X, fingerprint="d" * 64)
    assert again.engine == "torch" and again.why == forward.why
    assert not caplog.text  # the export is not tried a second time
    assert runtime.recorded_width("d" * 64) == 3


def test_torch_takes_over_where_the_numbers_differ(monkeypatch):
    true = runtime._ort_call

    def wrong(raw, rows):
        call = true(raw, rows)
        return lambda *arrays: call(*arrays) * 1.001

    monkeypatch.setattr(runtime, "_ort_call", wrong)
    forward = runtime.compile_module(Net, X[:2], fingerprint="e" * 64, rows=1)
    assert forward.engine == "torch" and "differ" in forward.why
    np.testing.assert_allclose(forward(X), reference(), atol=1e-5)


def test_a_network_that_drifts_is_refused():
    class Drifting(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("seen", torch.zeros(1))

        def forward(self, x):
            self.seen += 1
            return x.flatten(1) + self.seen

    with pytest.raises(BackboneError, match="'seen'"):
        runtime.compile_module(Drifting, X, fingerprint="f" * 64)


def test_batch_norm_is_frozen_bit_for_bit():
    net = Net()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    runtime.compile_module(lambda: net, X, fingerprint="g" * 64)(X)
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not net.training and not any(p.requires_grad for p in net.parameters())


def test_features_that_are_not_finite_are_refused():
    class Broken(nn.Module):
        def forward(self, x):
            return torch.log(-x.abs().flatten(1))

    with pytest.raises(BackboneError, match="not finite"):
        runtime.compile_module(Broken, X, fingerprint="h" * 64)


def test_several_writers_at_once():
    with ThreadPoolExecutor(3) as pool:
        made = list(
            pool.map(
                lambda _: runtime.compile_module(Net, X[:2], fingerprint=KEY, rows=1), range(3)
            )
        )
    for forward in made:
        assert np.array_equal(forward(X), made[0](X))
    assert not list(runtime.record_path(KEY).parent.glob(".*.part"))


def test_the_cache_needs_no_torch(cached):
    code = (
        "import sys, numpy as np\n"
        "from isthmus.backbone import runtime\n"
        "f = runtime.compile_module(None, np.zeros((2, 3, 8, 8), 'f4'), fingerprint='a' * 64, "
        "rows=1)\n"
        "f(np.ones((3, 3, 8, 8), 'f4'))\n"
        "assert 'torch' not in sys.modules and 'timm' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_by_rows_pads_splits_and_computes_equal_parts_once():
    calls = []

    def call(x):
        calls.append(x.shape)
        return x.sum((1, 2), keepdims=False)[:, None].astype(np.float32)

    run = runtime.by_rows(call, 2)
    x = np.arange(5 * 2 * 2).reshape(5, 2, 2)
    assert np.array_equal(run(x)[:, 0], x.sum((1, 2)))
    assert calls == [(2, 2, 2)] * 3
    calls.clear()
    again = run(np.concatenate([x[:2]] * 4))
    assert len(calls) == 1 and np.array_equal(again[:, 0], np.tile(x[:2].sum((1, 2)), 4))


def test_errors_of_a_part_reach_the_caller():
    def call(x):
        if x[0, 0] == 3:
            raise ValueError("part 3")
        return x

    with pytest.raises(ValueError, match="part 3"):
        runtime.by_rows(call, 1)(np.arange(8.0)[:, None])


def test_session_refuses_what_is_no_model(tmp_path):
    file = tmp_path / "x.onnx"
    file.write_bytes(b"not a model")
    with pytest.raises(BackboneError, match="cannot load"):
        runtime.session(file)


def test_devices(monkeypatch):
    assert runtime.resolve_device("cpu") == "cpu"
    assert runtime.precision("cpu") == "float32" and runtime.precision("cuda:1") == "autocast"
    with pytest.raises(BackboneError, match="unknown device"):
        runtime.resolve_device("tpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackboneError, match="not available"):
        runtime.resolve_device("cuda")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert runtime.cpu_threads() == 3
