"""The loop against a hand-written one, accumulation, bad losses, procedures with several steps."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from isthmus import iofs  # noqa: E402
from isthmus.align.adda import ADDA  # noqa: E402
from isthmus.align.base import Objective, Procedure  # noqa: E402
from isthmus.align.mcd import MCD  # noqa: E402
from isthmus.align.mean_teacher import MeanTeacher  # noqa: E402
from isthmus.align.nrc import NRC  # noqa: E402
from isthmus.errors import IsthmusError, UsageError  # noqa: E402
from isthmus.fit.deep.bodies import MLP  # noqa: E402
from isthmus.fit.deep.loop import train  # noqa: E402
from isthmus.fit.deep.minimise import NonFiniteLossError  # noqa: E402
from isthmus.fit.deep.network import Network  # noqa: E402
from isthmus.fit.deep.rows import Rows  # noqa: E402
from isthmus.fit.deep.samplers import Shuffled  # noqa: E402
from isthmus.fit.deep.schedule import cosine  # noqa: E402
from isthmus.fit.deep.settings import Settings  # noqa: E402
from isthmus.fit.deep.stages import three_steps  # noqa: E402
from isthmus.fit.deep.strategy import make_strategy  # noqa: E402
from isthmus.fit.deep.surgery import state_of  # noqa: E402
from isthmus.fit.deep.task_alignment import TaskAlignment  # noqa: E402


def data(n=96, d=6, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)).astype("f4")
    return X, (X[:, 0] + X[:, 1] > 0).astype(int)


def mlp(seed=0, classes=2, **options):
    torch.manual_seed(seed)
    return Network(MLP(6, (8,), **options), classes)


class Gap(Objective):
    """Squared distance of the mean features: additive over nothing, so it needs the whole batch."""

    def __init__(self, trade_off=1.0):
        super().__init__()
        self.trade_off = trade_off

    def forward(self, source, target, progress):
        return (source.features.mean(0) - target.features.mean(0)).square().sum()


def test_an_objectives_own_weights_have_its_rate_and_no_other_weights_have():
    """One step of plain descent, no momentum: a weight moves by its rate times its gradient."""

    class Own(Gap):
        def build(self, num_features, num_classes):
            self.scale = nn.Parameter(torch.ones(num_features))
            self.offset = nn.Parameter(torch.zeros(1, num_features))

        def forward(self, source, target, progress):
            gap = source.features.mean(0) - target.features.mean(0)
            return (self.scale * gap + self.offset).square().sum()

    X, y = data()
    moved = {}
    for rate in (1.0, 4.0):
        own, net = Own(), mlp()
        own.rate = rate
        settings = Settings(
            epochs=1, steps_per_epoch=1, batch_size=96, lr=0.01, optimizer="sgd", momentum=0.0,
            weight_decay=0.0, schedule="constant",
        )  # fmt: skip
        train(net, TaskAlignment([own]), source=Rows(X, y), target=Rows(X + 1), settings=settings)
        moved[rate] = own.scale.detach() - 1, own.offset.detach(), state_of(net)
    for slow, fast in zip(moved[1.0][:2], moved[4.0][:2], strict=True):
        assert slow.abs().max() > 1e-4
        torch.testing.assert_close(fast, 4 * slow)
    torch.testing.assert_close(moved[4.0][2], moved[1.0][2], rtol=0, atol=0)


def test_the_loop_is_the_loop_one_would_write_by_hand():
    X, y = data()
    settings = Settings(epochs=2, batch_size=32, lr=0.01, seed=7, optimizer="sgd")
    net = mlp()
    done = train(net, TaskAlignment([Gap(0.5)]), source=Rows(X, y), target=Rows(X + 1),
                 settings=settings)  # fmt: skip
    own = mlp()
    decayed = [p for p in own.parameters() if p.ndim > 1]
    plain = [p for p in own.parameters() if p.ndim == 1]
    groups = [{"params": decayed, "weight_decay": 1e-4}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=1, momentum=0.9, nesterov=True)
    orders = [Shuffled(96, seed=7, tag=tag) for tag in (1, 2)]
    losses = []
    for step in range(6):
        a, b = (torch.from_numpy(order.rows(32 * step, 32)) for order in orders)
        xs, xt, ys = torch.from_numpy(X)[a], torch.from_numpy(X + 1)[b], torch.from_numpy(y)[a]
        zs, zt = own.features(xs), own.features(xt)
        task = nn.functional.cross_entropy(own.head(zs), ys)
        loss = task + 0.5 * (zs.mean(0) - zt.mean(0)).square().sum()
        optimizer.zero_grad()
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * cosine((step + 0.5) / 6)
        optimizer.step()
        losses.append(float(task.detach()))
    for name, tensor in net.state_dict().items():
        torch.testing.assert_close(tensor, own.state_dict()[name], atol=1e-6, rtol=1e-5)
    means = [line["losses"]["task"] for line in done.lines]
    np.testing.assert_allclose(means, [np.mean(losses[:3]), np.mean(losses[3:])], rtol=1e-5)


def test_nothing_of_the_callers_random_state_or_data_is_touched():
    X, y = data()
    torch.manual_seed(11)
    before, kept = torch.get_rng_state(), (X.copy(), y.copy())
    net = mlp(dropout=0.5)
    torch.set_rng_state(before)
    train(net, TaskAlignment(), source=Rows(X, y), settings=Settings(epochs=1))
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(X, kept[0])
    np.testing.assert_array_equal(y, kept[1])
    assert not net.training


def test_accumulated_parts_give_the_step_of_the_whole_batch():
    X, y = data()
    found = []
    for parts in (1, 4):
        net = mlp()
        train(net, TaskAlignment(), source=Rows(X, y),
              settings=Settings(epochs=2, batch_size=32, accumulate=parts, clip=0.5))  # fmt: skip
        found.append(state_of(net))
    for name, tensor in found[0].items():
        torch.testing.assert_close(tensor, found[1][name], atol=1e-6, rtol=1e-5)
    with pytest.raises(UsageError, match="multiple of 5"):
        train(mlp(), TaskAlignment(), source=Rows(X, y), settings=Settings(accumulate=5))


def test_a_loss_that_is_no_number_names_the_rows():
    X, y = data()
    X[17, 3] = np.nan
    with pytest.raises(NonFiniteLossError, match=r"step 0 \(epoch 0\).*NaN or infinity: 17\)"):
        train(mlp(), TaskAlignment(), source=Rows(X, y), settings=Settings(batch_size=96))
    X[17, 3] = 0
    with pytest.raises(NonFiniteLossError, match=r"source rows: .*learning rate"):
        train(mlp(), TaskAlignment(), source=Rows(X, y),
              settings=Settings(lr=1e30, optimizer="sgd", epochs=5))  # fmt: skip


def test_weights_average_and_bfloat16_and_channels_last_run():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 3, 8, 8)).astype("f4"), np.arange(40) % 2
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net = Network(body, 2, num_features=4)
    start = state_of(net)
    settings = Settings(epochs=1, batch_size=20, precision="bfloat16", channels_last=True, ema=0.99)
    own = []
    train(net, TaskAlignment(), source=Rows(X, y), settings=settings,
          on_step=lambda done, total: own.append(state_of(net)))  # fmt: skip
    assert body[0].weight.is_contiguous(memory_format=torch.channels_last)
    want = start["head.weight"]
    for step, state in enumerate(own):
        decay = min(0.99, (1 + step) / (10 + step))
        want = decay * want + (1 - decay) * state["head.weight"]
    torch.testing.assert_close(net.head.weight, want)


class Alternating(Procedure):
    """Two heads and a body, moved in turn, as MCD does: for the rules of `minimise`."""

    def build(self, network, num_classes, optimizer):
        self.network, self.second = network, nn.Linear(network.num_features, num_classes)
        self.body = optimizer(network.body.parameters())
        self.heads = optimizer([{"params": self.second.parameters(), "lr_scale": 0.5},
                                {"params": network.head.parameters()}])  # fmt: skip
        self.memory = nn.Module()
        self.epochs, self.grads = [], []

    def begin(self, source, target):
        self.memory.register_buffer("seen", torch.zeros(len(target), dtype=torch.int64))

    def begin_epoch(self, epoch):
        self.epochs.append(epoch)

    def modules(self):
        return {"network": self.network, "second": self.second, "memory": self.memory}

    def optimizers(self):
        return {"body": self.body, "heads": self.heads}

    def step(self, source, target, progress, minimise):
        assert target.labels is None
        self.memory.seen[target.rows] += 1
        before = self.network.body.dense[0].weight.detach().clone()
        out = self.network.outputs(target.inputs)
        gap = (out.logits - self.second(out.features)).abs().mean()
        minimise(-gap, (self.heads,))
        assert torch.equal(before, self.network.body.dense[0].weight)
        self.grads.append(self.network.body.dense[0].weight.grad)
        out = self.network.outputs(target.inputs)
        gap = (out.logits - self.second(out.features)).abs().mean()
        task = nn.functional.cross_entropy(self.network(source.inputs), source.labels)
        minimise(gap + task, (self.body, self.heads))
        return {"gap": gap.detach(), "task": float(task.detach())}


def test_a_procedure_moves_only_what_it_names_and_its_memory_survives(tmp_path):
    X, y = data()
    settings = Settings(epochs=2, batch_size=32, checkpoint_every=1)

    class Stop(Exception):
        pass

    def stop(done, total):
        if done == 5:
            raise Stop

    def call(method, folder, on_step=None):
        net = mlp()
        train(net, method, source=Rows(X, y), target=Rows(X[:64] + 1), settings=settings,
              folder=folder, on_step=on_step)  # fmt: skip
        return state_of(net), state_of(method.memory), state_of(method.second)

    whole = Alternating()
    want = call(whole, None)
    assert whole.epochs == [0, 1] and all(grad is None for grad in whole.grads)
    assert int(whole.memory.seen.sum()) == 6 * 32
    rates = [group["lr"] for group in whole.heads.param_groups]
    assert min(rates) == pytest.approx(max(rates) / 2)
    with pytest.raises(Stop):
        call(Alternating(), tmp_path / "run", stop)
    again = Alternating()
    got = call(again, tmp_path / "run")
    assert again.epochs == []  # the second epoch had begun
    for a, b in zip(want, got, strict=True):
        assert all(torch.equal(t, b[n]) for n, t in a.items())
    with pytest.raises(UsageError, match="more than once"):
        train(mlp(), Alternating(), source=Rows(X, y), target=Rows(X),
              settings=Settings(accumulate=2))  # fmt: skip


def test_another_runs_folder_and_a_damaged_checkpoint_are_refused(tmp_path):
    X, y = data()

    def call(**changed):
        return train(mlp(), TaskAlignment(), source=Rows(X, y), folder=tmp_path,
                     settings=Settings(**{"epochs": 1, **changed}))  # fmt: skip

    first = call()
    assert call().lines == first.lines and call(workers=2).steps == first.steps
    with pytest.raises(UsageError, match=r"another run.*settings"):
        call(lr=0.5)
    kept = X[0].copy()
    X[0] += 1
    with pytest.raises(UsageError, match="source"):
        call()
    X[0] = kept
    file = next(tmp_path.glob("step-*.safetensors"))
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1
    file.write_bytes(bytes(raw))
    with pytest.raises(IsthmusError, match=r"digest|SHA"):
        call()


def test_layers_and_closures_are_part_of_a_run_and_start_weights_are_not(tmp_path):
    X, y = data()

    def noise(strength, *, share=0.5):
        return lambda row: row + strength * share * torch.randn_like(row)

    def call(network=None, change=None):
        network = mlp() if network is None else network
        return train(network, TaskAlignment(), source=Rows(X, y, transform=change or noise(0.1)),
                     folder=tmp_path, settings=Settings(epochs=1))  # fmt: skip

    first = call()
    other = mlp()
    with torch.no_grad():
        other.head.weight.zero_()
    assert call(other).lines == first.lines  # a network that is drawn anew goes on
    assert torch.equal(other.head.weight, first.network.head.weight)
    with pytest.raises(UsageError, match=r"another run.*source"):
        call(change=noise(0.2))
    with pytest.raises(UsageError, match=r"another run.*source"):
        call(change=lambda row: row)
    slower = mlp()
    slower.body.add_module("dropout", torch.nn.Dropout(0.3))
    with pytest.raises(UsageError, match=r"another run.*layers"):
        call(slower)


def test_the_log_is_json_lines_and_ends_with_the_checkpoint(tmp_path):
    X, y = data()
    done = train(mlp(), TaskAlignment(), source=Rows(X, y), folder=tmp_path,
                 settings=Settings(epochs=3),
                 watch=lambda net, *_: {"odd": float("nan"), "training": net.training})  # fmt: skip
    lines = [iofs.parse_json(t) for t in (tmp_path / "metrics.jsonl").read_bytes().splitlines()]
    assert lines == done.lines and [line["epoch"] for line in lines] == [0, 1, 2]
    assert lines[0]["odd"] is None and lines[0]["training"] is False


def test_rows_without_labels_and_empty_calls_are_refused():
    X, y = data()
    with pytest.raises(IsthmusError, match="no labels"):
        train(mlp(), TaskAlignment(), source=Rows(X))
    with pytest.raises(IsthmusError, match="no rows"):
        train(mlp(), TaskAlignment())
    with pytest.raises(UsageError, match="Wrap it"):
        train(nn.Linear(6, 2), TaskAlignment(), source=Rows(X, y))


def test_three_steps_in_one_call(tmp_path):
    X, y = data(200)
    Z, t = data(100, seed=1)
    Z = Z[:, [2, 3, 0, 1, 4, 5]]  # the target has its columns in another order
    net = mlp()
    settings = Settings(epochs=20, batch_size=20, lr=0.02)
    longer = Settings(epochs=40, batch_size=20, lr=0.02)

    def score(network):
        with torch.no_grad():
            return {"accuracy": float((network(torch.from_numpy(Z)).argmax(1).numpy() == t).mean())}

    done, between = three_steps(
        net, source=Rows(X, y), labelled=Rows(Z, t), settings=settings, score=score,
        target_settings=longer, folder=tmp_path,
    )  # fmt: skip
    assert list(done.stages) == ["source", "target"]
    assert between["accuracy"] < 0.75 < 0.9 < score(net)["accuracy"]
    assert {line["stage"] for line in done.lines} == {"source", "target"}
    assert (tmp_path / "target" / "checkpoint.json").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"clip": -1.0}, {"clip": 0.0}, {"steps_per_epoch": -1}, {"patience": 0}, {"lr": np.inf},
        {"lr": np.nan}, {"weight_decay": -1.0}, {"warmup": 2.0}, {"momentum": -0.1},
        {"workers": -1}, {"checkpoint_every": 0}, {"device": "gpu"}, {"device": "meta"},
    ],
)  # fmt: skip
def test_settings_that_mean_nothing_are_refused(wrong):
    X, y = data()
    with pytest.raises(UsageError, match=next(iter(wrong))):
        train(mlp(), TaskAlignment(), source=Rows(X, y), settings=Settings(**wrong))


def test_a_method_without_target_rows_is_refused():
    X, y = data()
    for procedure, name in ((TaskAlignment([Gap()]), "Gap"), (MeanTeacher(), "MeanTeacher")):
        with pytest.raises(UsageError, match=f"{name} cannot be trained without target rows"):
            train(mlp(), procedure, source=Rows(X, y))


def test_losses_are_means_over_the_steps_that_logged_them():
    """ADDA changes what it does in mid-epoch."""
    X, y = data()
    seen = []

    class Seen(ADDA):
        def step(self, *given):
            seen.append(super().step(*given))
            return seen[-1]

    settings = Settings(epochs=3, batch_size=24)
    done = train(mlp(), Seen(), source=Rows(X, y), target=Rows(X + 1), settings=settings)
    steps = [{name: float(value) for name, value in log.items()} for log in seen[4:8]]
    for name, value in done.lines[1]["losses"].items():
        logged = [log[name] for log in steps if name in log]
        assert len(logged) == 2 and value == pytest.approx(np.mean(logged), rel=1e-6)


@pytest.mark.parametrize("procedure", [NRC, ADDA, MeanTeacher, MCD])
def test_losses_stay_in_single_precision_under_bfloat16(procedure):
    X, y = data()
    seen = []

    class Seen(procedure):
        def step(self, *given):
            seen.append(super().step(*given))
            return seen[-1]

    settings = Settings(epochs=2, batch_size=24, precision="bfloat16")
    source = Rows(X, y) if procedure.uses_source else None
    train(mlp(), Seen(), source=source, target=Rows(X + 1), settings=settings)
    assert {value.dtype for log in seen for value in log.values()} == {torch.float32}


def test_a_teacher_follows_once_an_update_however_many_parts_it_has():
    X, y = data()
    found = []
    for parts in (1, 4):
        method = MeanTeacher(decay=0.9)
        train(mlp(), method, source=Rows(X, y), target=Rows(X + 1),
              settings=Settings(epochs=2, batch_size=24, accumulate=parts, lr=0.01))  # fmt: skip
        assert int(method.teacher.n_averaged) == 9
        found.append(state_of(method.teacher.module))
    for name, tensor in found[0].items():
        torch.testing.assert_close(tensor, found[1][name], atol=1e-4, rtol=1e-3)


def test_an_average_copies_buffers_that_are_no_statistics():
    """Masks of minus infinity: their average with themselves would be no number."""
    X, y = data()
    net = mlp()
    net.body.register_buffer("mask", torch.full((3,), float("-inf")))
    train(net, TaskAlignment(), source=Rows(X, y), settings=Settings(epochs=2, ema=0.9))
    assert torch.equal(net.body.mask, torch.full((3,), float("-inf")))


def test_lp_ft_needs_an_epoch_for_each_part():
    X, y = data()
    with pytest.raises(UsageError, match="two epochs"):
        train(mlp(), TaskAlignment(), source=Rows(X, y), settings=Settings(epochs=1),
              plan=make_strategy("lp-ft"))  # fmt: skip


class _Overflows(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * float("nan")


def test_weights_that_are_no_number_under_a_finite_loss_stop_the_run(tmp_path):
    class Broken(Gap):
        def forward(self, source, target, progress):
            return _Overflows.apply(super().forward(source, target, progress))

    X, y = data()
    with pytest.raises(
        NonFiniteLossError, match=r"after epoch 0: the weights are no longer finite"
    ):
        train(mlp(), TaskAlignment([Broken()]), source=Rows(X, y), target=Rows(X + 1),
              settings=Settings(epochs=2, batch_size=96), folder=tmp_path)  # fmt: skip
    assert not list(tmp_path.glob("step-*"))
