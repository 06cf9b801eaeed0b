"""FineTunedClassifier with methods of every kind: what they may see, need and leave behind."""

from __future__ import annotations

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from isthmus.align.domain_batch_norm import DomainBatchNorm, swap_batch_norm  # noqa: E402
from isthmus.align.osbp import OSBP  # noqa: E402
from isthmus.align.shot import SHOT  # noqa: E402
from isthmus.data.domains import stack_domains  # noqa: E402
from isthmus.errors import DataError, UsageError  # noqa: E402
from isthmus.fit.deep import stages  # noqa: E402
from isthmus.fit.deep.minimise import NonFiniteLossError  # noqa: E402
from isthmus.fit.deep.mixing import Mixup  # noqa: E402
from isthmus.fit.deep.network import Network  # noqa: E402
from isthmus.fit.deep.regularize.l2_sp import L2SP  # noqa: E402
from isthmus.fit.finetune import FineTunedClassifier  # noqa: E402


def shifted(n=200, seed=0, shift=1.5, classes=2):
    """Classes along the first column; the target is moved along the second."""
    rng = np.random.default_rng(seed)
    y, t = rng.integers(0, classes, n), rng.integers(0, classes, n)
    Xs = rng.normal(size=(n, 5)) + 3 * np.eye(5)[0] * y[:, None]
    Xt = rng.normal(size=(n, 5)) + 3 * np.eye(5)[0] * t[:, None] + shift * np.eye(5)[1]
    return Xs.astype("f4"), y, Xt.astype("f4"), t


def stacked(**options):
    Xs, ys, Xt, yt = shifted(**options)
    return (*stack_domains(Xs, ys, Xt)[:3], Xt, yt)


def made(method, **options):
    options = {"epochs": 3, "lr": 0.01, "hidden": (16,)} | options
    return FineTunedClassifier(method=method, **options)


@pytest.mark.parametrize("method", ["shot", "nrc"])
def test_a_source_free_stage_is_not_stopped_by_source_rows(method, monkeypatch):
    """Other labels of the held-out source rows, once the source is learned, change nothing."""
    X, y, domain, Xt, _ = stacked()
    answers, watched = [], []
    plain = stages.train

    def train(network, procedure, **given):
        if not procedure.uses_source:
            watched.append(given["watch"])
            assert given.get("source") is None
        return plain(network, procedure, **given)

    monkeypatch.setattr(stages, "train", train)
    for diagnose in (False, True):
        model = made(method, epochs=8, patience=2, diagnose=diagnose)
        model.fit(X, y, sample_domain=domain)
        answers.append(model.predict_proba(Xt))
        assert sum(line["stage"] == "target" for line in model.log_) == 8
        last = model.log_[-1]
        assert "held_out" not in last and "source_accuracy" not in last
        assert ("target_shares" in last) == diagnose
    assert watched[0] is None and watched[1].source is None and watched[1].held_out is None
    np.testing.assert_array_equal(*answers)


def test_held_out_target_rows_may_stop_a_source_free_stage():
    Xs, ys, Xt, yt = shifted()
    known = np.full(len(yt), None, dtype=object)
    known[:60] = yt[:60].astype(str)
    X, y, domain, marked = stack_domains(Xs, ys.astype(str), Xt, known)
    model = made("shot", epochs=30, patience=2)
    model.fit(X, y, sample_domain=domain, target_labeled=marked)
    target = [line for line in model.log_ if line["stage"] == "target"]
    assert len(target) < 30 and all("held_out" in line for line in target)


def noisy(row):
    return row + 0.5 * torch.randn(row.shape)


@pytest.mark.parametrize(
    ("method", "views"), [("fixmatch", {"strong"}), ("mean-teacher", {"strong", "weak"})]
)
def test_the_augmentation_makes_the_views_that_a_method_compares(method, views, monkeypatch):
    X, y, domain, Xt, yt = stacked()
    seen = []
    plain = stages.train

    def train(network, procedure, **given):
        seen.append(given)
        return plain(network, procedure, **given)

    monkeypatch.setattr(stages, "train", train)
    model = made(method, epochs=60, augment=noisy).fit(X, y, sample_domain=domain)
    assert set(seen[0]["target"].views) == views and seen[0]["target"].transform is None
    assert seen[0]["source"].transform is noisy
    assert (model.predict(Xt) == yt).mean() > 0.8
    if method == "fixmatch":
        with pytest.raises(UsageError, match="Give an augmentation"):
            made(method).fit(X, y, sample_domain=domain)


@pytest.mark.parametrize("method", ["mcd", "adda", "mean-teacher", "fixmatch"])
def test_a_procedure_smooths_labels_and_refuses_what_it_cannot_do(method):
    X, y, domain, Xt, _ = stacked()
    epochs = 60 if method == "mean-teacher" else 8  # the teacher lags behind
    smooth, sharp = (
        made(method, label_smoothing=value, augment=noisy, epochs=epochs).fit(
            X, y, sample_domain=domain
        )
        for value in (0.4, 0.0)
    )
    a, b = (one.predict_proba(Xt).max(axis=1).mean() for one in (smooth, sharp))
    assert a < b - 0.02
    for options in ({"penalties": (L2SP(),)}, {"mix": Mixup()}):
        with pytest.raises(UsageError, match=r"does not take (penalties|mix)"):
            made(method, augment=noisy, **options).fit(X, y, sample_domain=domain)


def test_what_the_caller_gives_stays_unbuilt():
    X, y, domain, *_ = stacked()
    own = SHOT(diversity=0.5)
    before = copy.deepcopy(vars(own))
    made(own).fit(X, y, sample_domain=domain)
    assert vars(own) == before


def test_several_by_name_and_their_weights():
    X, y, domain, *_ = stacked()
    model = made(["dann", "bsp"], epochs=1).fit(X, y, sample_domain=domain)
    assert [type(one).__name__ for one in model.objectives_] == ["DANN", "BSP"]
    assert {"dann", "bsp"} <= set(model.log_[0]["losses"])
    for method, why in ((["dann", "mcd"], "MCD cannot be one of several"), ("danm", "dann")):
        with pytest.raises(UsageError, match=why):
            made(method).fit(X, y, sample_domain=domain)
    for method in ("shot", "adda"):
        with pytest.raises(UsageError, match="has no setting 'trade_off'"):
            made(method, trade_off=0.5).fit(X, y, sample_domain=domain)
    with pytest.raises(UsageError, match="cannot be set from outside"):
        made(OSBP(), trade_off=0.5).fit(X, y, sample_domain=domain)
    with pytest.raises(UsageError, match="trade_off=-1"):
        made("mcc", trade_off=-1.0).fit(X, y, sample_domain=domain)


@pytest.mark.parametrize("method", ["shot", "mcd"])
def test_nothing_left_to_move_is_said(method):
    X, y, domain, *_ = stacked()
    with pytest.raises(UsageError, match="no weights below its head"):
        made(method, network=linear).fit(X, y, sample_domain=domain)
    if method == "shot":
        with pytest.raises(UsageError, match="nothing to train"):
            made(method, strategy="head-only").fit(X, y, sample_domain=domain)


class Flat(nn.Module):
    num_features = 5

    def forward(self, x):
        return x


def linear(classes):
    return Network(Flat(), classes)


class Normed(nn.Module):
    """A body with batch norm: one domain's statistics are not the other's."""

    def __init__(self, num_domains=2):
        super().__init__()
        self.first, self.num_features = nn.Linear(5, 8), 8
        self.norm = DomainBatchNorm(nn.BatchNorm1d(8), num_domains=num_domains)

    def forward(self, x):
        return torch.relu(self.norm(self.first(x)))


def test_each_domain_trains_its_own_normalisation_and_the_targets_is_served():
    X, y, domain, Xt, yt = stacked(shift=6.0)
    model = FineTunedClassifier(
        lambda k: Network(Normed(), k), method="deep-coral", epochs=15, lr=0.01, diagnose=True
    )
    model.fit(X, y, sample_domain=domain)
    assert isinstance(model.network_.body.norm, nn.BatchNorm1d)  # the target's alone is left
    assert (model.predict(Xt) == yt).mean() > 0.9
    assert model.log_[-1]["source_accuracy"] > 0.9  # looked at with the source's own
    with torch.no_grad():
        hidden = model.network_.body.first(torch.from_numpy(Xt))
    apart = (model.network_.body.norm.running_mean - hidden.mean(0)).abs().max()
    assert apart < 0.3 * (hidden.mean(0) - model.network_.body.first.bias).abs().max()


def test_several_sources_have_a_normalisation_each():
    X, y, domain, Xt, yt = stacked(shift=3.0)
    domain = np.where(domain < 0, -1, np.arange(len(domain)) % 2)
    for count, fits in ((3, True), (2, False)):
        model = FineTunedClassifier(
            lambda k, count=count: Network(Normed(count), k), method="mcc", epochs=10, lr=0.01
        )
        if fits:
            assert (model.fit(X, y, sample_domain=domain).predict(Xt) == yt).mean() > 0.9
        else:
            with pytest.raises(UsageError, match="num_domains=3"):
                model.fit(X, y, sample_domain=domain)


@pytest.mark.parametrize("method", [None, "shot", "mcd"])
def test_normalisation_of_each_domain_needs_both_in_every_step(method):
    X, y, domain, *_ = stacked()
    net = swap_batch_norm(Network(nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8)), 2,
                                  num_features=8))  # fmt: skip
    with pytest.raises(UsageError, match="batch normalisation of each domain"):
        FineTunedClassifier(net, method=method).fit(X, y, sample_domain=domain)


def test_osbp_tells_rows_of_no_known_class():
    rng = np.random.default_rng(0)
    centres = 4 * np.eye(5)[:3]
    ys, yt = rng.integers(0, 2, 300), rng.integers(0, 3, 300)  # the third class is new
    Xs, Xt = ((centres[y] + 0.5 * rng.normal(size=(300, 5))).astype("f4") for y in (ys, yt))
    X, y, domain, _ = stack_domains(Xs, ys, Xt)
    model = made("osbp", epochs=60, hidden=(32,)).fit(X, y, sample_domain=domain)
    novelty = model.novelty(Xt)
    assert novelty.shape == (300,) and novelty.min() >= 0 and novelty.max() <= 1
    assert (novelty[yt == 2] > 0.5).mean() > 0.8 and (novelty[yt < 2] > 0.5).mean() < 0.2
    with pytest.raises(UsageError, match="osbp"):
        made("mcc", epochs=1).fit(X, y, sample_domain=domain).novelty(Xt)


def test_without_a_method_no_unlabelled_row_is_read():
    X, y, domain, Xt, _ = stacked()
    other = X.copy()
    other[domain < 0] *= 100
    a, b = (made(None).fit(rows, y, sample_domain=domain).predict_proba(Xt) for rows in (X, other))
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", [str, int])
def test_labels_that_are_not_read_may_be_anything(kind):
    X, y, domain, *_ = stacked()
    y = y.astype(kind).astype(object)
    y[domain < 0] = [None, float("nan")] * (int((domain < 0).sum()) // 2)
    model = made("mcc").fit(X, y, sample_domain=domain)
    assert model.classes_.tolist() == [kind(0), kind(1)]
    y[0] = None
    with pytest.raises((ValueError, TypeError)):
        made("mcc").fit(X, y, sample_domain=domain)


def test_penalties_of_the_caller_stay_as_they_are():
    X, y, domain, Xt, _ = stacked()
    own = L2SP()
    model = made(None, penalties=(own,))
    answers = [model.fit(X, y, sample_domain=domain).predict_proba(Xt) for _ in range(2)]
    np.testing.assert_array_equal(*answers)
    assert not hasattr(own, "start") and not list(own.parameters() if hasattr(own, "parameters")
                                                  else ())  # fmt: skip


def test_a_network_of_other_classes_is_refused_and_bytes_are_digits():
    X, y, *_ = stacked()
    with pytest.raises(UsageError, match="answers 5 classes, the labels have 2"):
        FineTunedClassifier(lambda k: linear(5)).fit(X, y)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (40, 28, 28), dtype=np.uint8)
    found = [
        FineTunedClassifier(epochs=1).fit(rows, y[:40]).predict_proba(rows)
        for rows in (images, images.astype("f4") / 255)
    ]
    np.testing.assert_allclose(*found, atol=1e-5)


def test_settings_as_scikit_learn_has_them(tmp_path):
    X, y, domain, Xt, _ = stacked()
    seeds = {made(None, random_state=None, epochs=1).fit(X[:40], y[:40]).seed_ for _ in range(3)}
    assert len(seeds) == 3
    a, b = (made(None, hidden=h).fit(X[:200], y[:200]).predict_proba(Xt) for h in (16, (16,)))
    np.testing.assert_array_equal(a, b)
    with pytest.raises(UsageError, match=r"no setting 'lrr'.*weight_decay"):
        made(None, settings={"lrr": 1}).fit(X[:200], y[:200])
    model = made("mcc", evidence=lambda P: P.max(axis=1).mean(dtype=np.float32), folder=tmp_path)
    model.fit(X, y, sample_domain=domain)
    assert isinstance(model.log_[-1]["evidence"], float)


def test_marks_of_another_length_are_refused():
    X, y, domain, *_ = stacked()
    for marks in (np.zeros(3, bool), np.zeros(len(X), int)):
        with pytest.raises(DataError, match="one boolean for each of the 400 rows"):
            made(None).fit(X, y, sample_domain=domain, target_labeled=marks)
    with pytest.raises(DataError, match="one boolean for each of the 400 rows"):
        made(None).fit(X, y, sample_domain=np.full(len(X), -1), target_labeled=np.ones(3, bool))
    with pytest.raises(DataError, match=r"ids of shape \(1,\) for 400 rows"):
        made(None).fit(X, y, ids=["a"])
    with pytest.raises(UsageError, match=r"T3A.*classes"):
        made("t3a").fit(X, np.zeros(len(X)), sample_domain=domain)


def test_a_bad_row_is_called_what_the_caller_calls_it():
    """Rows that were held out, joined and drawn anew keep their names."""
    X, y, domain, *_ = stacked()
    marked = np.zeros(len(X), dtype=bool)
    marked[200:240] = True
    ids = np.array([f"row-{k}" for k in range(len(X))], dtype=object)

    class Bad(L2SP):
        """A penalty that is no number once a certain row came."""

        def forward(self, network, batch):
            hit = (batch.inputs[:, 4] == 77).any()
            return super().forward(network, batch) + (torch.nan if hit else 0.0)

    def identity(classes):
        return Network(nn.Linear(5, 8), classes, num_features=8)

    for row in (150, 230):  # a source row, and a labelled target row
        Z = X.copy()
        Z[row, 4] = 77
        with pytest.raises(NonFiniteLossError, match=rf"source rows: .*row-{row}\b"):
            FineTunedClassifier(
                identity, penalties=[Bad()], patience=2, epochs=3, batch_size=32
            ).fit(Z, y, sample_domain=domain, target_labeled=marked, ids=ids)
        with pytest.raises(NonFiniteLossError, match=rf"source rows: (.*, )?{row}\b"):
            FineTunedClassifier(
                identity, penalties=[Bad()], patience=2, epochs=3, batch_size=32
            ).fit(Z, y, sample_domain=domain, target_labeled=marked)


def test_one_row_and_batch_normalisation():
    X, y, domain, *_ = stacked()
    marked = np.zeros(len(X), dtype=bool)
    marked[200] = True

    def normed(classes):
        body = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8))
        return Network(body, classes, num_features=8)

    three = {"stages": "three-step", "epochs": 2}
    with pytest.raises(DataError, match=r"one row cannot train batch normalisation.*lp-ft"):
        FineTunedClassifier(normed, **three).fit(X, y, sample_domain=domain, target_labeled=marked)
    model = FineTunedClassifier(normed, strategy="lp-ft", **three)
    model.fit(X, y, sample_domain=domain, target_labeled=marked)
    assert model.between_["rows"] == 1 and 0 <= model.between_["accuracy"] <= 1


def test_norms_of_each_domain_by_name():
    X, y, domain, Xt, yt = stacked(shift=4.0)
    domain = np.where(domain < 0, -1, np.arange(len(domain)) % 2)  # two sources

    def normed(classes):
        body = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU())
        return Network(body, classes, num_features=8)

    model = FineTunedClassifier(normed, method="mcc", domain_norms=True, lr=0.01)
    model.fit(X, y, sample_domain=domain)
    assert isinstance(model.network_.body[1], nn.BatchNorm1d)
    inner = model.network_.body[0](torch.from_numpy(Xt)).detach()
    assert torch.allclose(model.network_.body[1].running_mean, inner.mean(0), atol=0.5)
    assert np.mean(model.predict(Xt) == yt) > 0.8
    with pytest.raises(UsageError, match="cannot train batch normalisation of each domain"):
        FineTunedClassifier(normed, domain_norms=True, epochs=1).fit(X, y, sample_domain=domain)


def test_few_rows_make_batches_that_the_parts_divide():
    X, y, *_ = stacked()
    model = made(None, epochs=1, batch_size=64, settings={"accumulate": 4})
    model.fit(X[:30], y[:30])
    assert model.n_iter_ == 2  # 28 rows and the rest
