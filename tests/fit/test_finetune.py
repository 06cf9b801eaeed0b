"""FineTunedClassifier: scikit-learn's contract, target labels, source-free methods, resume."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.utils.estimator_checks import estimator_checks_generator

torch = pytest.importorskip("torch")

from isthmus.align.base import Procedure  # noqa: E402
from isthmus.align.dann import DANN  # noqa: E402
from isthmus.align.registry import made  # noqa: E402
from isthmus.data.domains import stack_domains  # noqa: E402
from isthmus.errors import DataError, UsageError  # noqa: E402
from isthmus.fit.finetune import FineTunedClassifier  # noqa: E402


def cases():
    small = FineTunedClassifier(hidden=(16,), epochs=30, batch_size=32, lr=0.01)
    for each, check in estimator_checks_generator(small, legacy=True):
        name = getattr(check, "func", check).__name__
        yield pytest.param(each, check, id=name)


@pytest.mark.parametrize(("estimator", "check"), list(cases()))
@pytest.mark.filterwarnings("default")
def test_scikit_learn_contract(estimator, check):
    check(clone(estimator))


def shifted(n=300, seed=0, shift=1.5):
    """Two classes along the first column; the target is moved along the second."""
    rng = np.random.default_rng(seed)
    y, t = rng.integers(0, 2, n), rng.integers(0, 2, n)
    Xs = rng.normal(size=(n, 5)) + 3 * np.eye(5)[0] * y[:, None]
    Xt = rng.normal(size=(n, 5)) + 3 * np.eye(5)[0] * t[:, None] + shift * np.eye(5)[1]
    return Xs.astype("f4"), np.array(["no", "yes"])[y], Xt.astype("f4"), np.array(["no", "yes"])[t]


def test_no_target_label_is_read_unless_it_is_marked():
    Xs, ys, Xt, _ = shifted()
    X, y, domain, _ = stack_domains(Xs, ys, Xt)
    wrong = y.copy()
    wrong[domain < 0] = np.random.default_rng(1).choice(["no", "yes"], int((domain < 0).sum()))
    made = [
        FineTunedClassifier(method="dann", epochs=2).fit(X, labels, sample_domain=domain)
        for labels in (y, wrong)
    ]
    a, b = (m.predict_proba(Xt) for m in made)
    np.testing.assert_array_equal(a, b)
    marked = np.zeros(len(y), dtype=bool)
    marked[-20:] = True
    c = FineTunedClassifier(method="dann", epochs=2)
    c.fit(X, wrong, sample_domain=domain, target_labeled=marked)
    assert not np.array_equal(a, c.predict_proba(Xt))


def test_an_objective_of_the_caller_is_left_as_it_was_and_gives_what_its_name_gives():
    Xs, ys, Xt, _ = shifted()
    X, y, domain, _ = stack_domains(Xs, ys, Xt)
    own = made("dann", on_features=True)
    a = FineTunedClassifier(method=own, epochs=2).fit(X, y, sample_domain=domain)
    b = FineTunedClassifier(method="dann", epochs=2).fit(X, y, sample_domain=domain)
    np.testing.assert_array_equal(a.predict_proba(Xt), b.predict_proba(Xt))
    assert not list(own.parameters())


@pytest.mark.parametrize(
    ("size", "hidden", "rate"), [((5,), (128, 128), 5.0), ((28, 28), (500, 500), 1.0)]
)
def test_a_method_by_name_suits_the_network(size, hidden, rate, monkeypatch):
    found = []
    monkeypatch.setattr(DANN, "build", lambda self, *a, _build=DANN.build: (
        found.append((self.hidden, self.rate)), _build(self, *a)
    ))  # fmt: skip
    X = np.random.default_rng(0).normal(size=(32, *size)).astype("f4")
    y, domain = np.arange(32) % 2, np.repeat([1, -2], 16)
    FineTunedClassifier(method="dann", epochs=1).fit(X, y, sample_domain=domain)
    assert found == [(hidden, rate)]


def test_a_method_without_a_target_is_refused():
    Xs, ys, _, _ = shifted()
    with pytest.raises(UsageError, match="sample_domain"):
        FineTunedClassifier(method="dann").fit(Xs, ys)


class Entropy(Procedure):
    """A source-free method: the entropy of target predictions, and a note of what it saw."""

    uses_source = False
    seen: ClassVar[list] = []  # of all copies

    def build(self, network, num_classes, optimizer):
        self.network, self.optimizer = network, optimizer(network.parameters())

    def modules(self):
        return {"network": self.network}

    def optimizers(self):
        return {"main": self.optimizer}

    def begin(self, source, target):
        self.seen.append((source, target.labels))

    def step(self, source, target, progress, minimise):
        self.seen.append((source, target.labels))
        p = self.network(target.inputs).softmax(1)
        loss = -(p * p.clamp_min(1e-9).log()).sum(1).mean()
        minimise(loss, (self.optimizer,))
        return {"entropy": loss.detach()}


def test_a_source_free_method_follows_the_source_training_and_sees_no_source_row():
    Xs, ys, Xt, yt = shifted()
    X, y, domain, _ = stack_domains(Xs, ys, Xt)
    method = Entropy()
    model = FineTunedClassifier(method=method, epochs=4, lr=0.01)
    method.seen.clear()
    model.fit(X, y, sample_domain=domain)
    assert method.seen and all(pair == (None, None) for pair in method.seen)
    assert not vars(method)  # the caller's stays as it is
    assert [line["stage"] for line in model.log_] == ["source"] * 4 + ["target"] * 4
    assert (model.predict(Xt) == yt).mean() > 0.85


def test_early_stopping_watches_labelled_target_rows():
    Xs, ys, Xt, yt = shifted()
    known = np.full(len(yt), None, dtype=object)
    known[:40] = yt[:40]
    X, y, domain, marked = stack_domains(Xs, ys, Xt, known)
    model = FineTunedClassifier(epochs=60, patience=2, lr=0.01)
    model.fit(X, y, sample_domain=domain, target_labeled=marked)
    assert len(model.log_) < 60
    scores = [line["held_out"] for line in model.log_]
    assert max(scores) == scores[-3]  # two epochs without a better one, then the end


def test_images_and_a_network_of_ones_own():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 64)
    X = rng.integers(0, 50, size=(64, 8, 8, 1), dtype=np.uint8)
    X[y == 1, 2:5] += 150

    class Flat(torch.nn.Module):
        num_features = 16

        def __init__(self):
            super().__init__()
            self.dense = torch.nn.Linear(64, 16)

        def forward(self, pixels):
            return self.dense(pixels.float().flatten(1) / 255).relu()

    from isthmus.fit.deep.network import Network

    made = FineTunedClassifier(lambda k: Network(Flat(), k), epochs=15, batch_size=16, lr=0.01)
    assert (made.fit(X, y).predict(X) == y).mean() > 0.95
    with pytest.raises(UsageError, match="no usual network"):
        FineTunedClassifier().fit(X, y)


def test_three_steps_see_the_target_last_and_say_what_the_source_was_worth(tmp_path):
    Xs, ys, Xt, yt = shifted()
    known = np.arange(40)
    X, y, domain, marked = stack_domains(
        Xs, ys, Xt, np.where(np.isin(np.arange(len(Xt)), known), yt, None)
    )
    model = FineTunedClassifier(stages="three-step", hidden=(16,), epochs=4, lr=0.01)
    model.fit(X, y, sample_domain=domain, target_labeled=marked)
    assert [line["stage"] for line in model.log_] == ["source"] * 4 + ["target"] * 4
    alone = FineTunedClassifier(hidden=(16,), epochs=4, lr=0.01).fit(Xs, ys)
    # the scale of the columns is that of all rows there, so the two are near but not equal
    assert model.between_["rows"] == 40
    assert abs(model.between_["accuracy"] - (alone.predict(Xt[known]) == yt[known]).mean()) < 0.1
    twice = []
    for _ in range(2):  # the second time both stages are read back
        again = clone(model).set_params(folder=tmp_path / "run")
        again.fit(X, y, sample_domain=domain, target_labeled=marked)
        assert again.between_ == model.between_
        twice.append(again.predict_proba(Xt))
    np.testing.assert_array_equal(twice[0], twice[1])
    np.testing.assert_array_equal(twice[0], model.predict_proba(Xt))
    with pytest.raises(UsageError, match="labelled target rows"):
        model.fit(X, y, sample_domain=domain)
    with pytest.raises(UsageError, match="joint or three-step"):
        FineTunedClassifier(stages="two").fit(Xs, ys)


def test_validation_rows_are_watched_and_not_trained_on():
    Xs, ys, Xt, yt = shifted()
    plain = FineTunedClassifier(hidden=(16,), epochs=3).fit(Xs, ys)
    watched = FineTunedClassifier(hidden=(16,), epochs=3).fit(Xs, ys, validation=(Xt, yt))
    np.testing.assert_array_equal(plain.predict_proba(Xt), watched.predict_proba(Xt))
    assert "held_out" not in plain.log_[-1] if plain.log_ else True
    last = watched.log_[-1]
    assert last["held_out"] == pytest.approx((watched.predict(Xt) == yt).mean())
    right = watched.predict_proba(Xt)[np.arange(len(yt)), (yt == "yes").astype(int)]
    assert last["held_out_loss"] == pytest.approx(-np.log(right).mean(), rel=1e-4)
    with pytest.raises(DataError, match="maybe"):
        FineTunedClassifier(epochs=1).fit(Xs, ys, validation=(Xt[:1], ["maybe"]))


def test_labelled_target_rows_alone_take_the_place_of_a_source():
    _, _, Xt, yt = shifted()
    marked = np.arange(len(Xt)) < 60
    given = np.where(marked, yt, "")
    model = FineTunedClassifier(hidden=(16,), epochs=5).fit(
        Xt, given, sample_domain=np.full(len(Xt), -1), target_labeled=marked
    )
    alone = FineTunedClassifier(hidden=(16,), epochs=5).fit(Xt[marked], yt[marked])
    assert model.classes_.tolist() == ["no", "yes"]
    assert (model.predict(Xt) == alone.predict(Xt)).mean() > 0.9
