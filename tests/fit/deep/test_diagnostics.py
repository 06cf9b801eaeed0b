"""Figures of an epoch against known answers; trouble is said in words."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from isthmus.fit.deep.diagnostics import Diagnostics, in_words, score  # noqa: E402
from isthmus.fit.deep.network import Network  # noqa: E402
from isthmus.fit.deep.rows import Rows  # noqa: E402


def fixed(weight):
    """A network whose features are its inputs."""
    head = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        head.weight.copy_(torch.tensor(weight))
    return Network(nn.Identity(), 2, num_features=2, head=head).eval()


def test_known_figures():
    rng = np.random.default_rng(0)
    Xs, y = rng.normal(size=(200, 2)).astype("f4"), np.repeat([0, 1], 100)
    Xs[:, 0] += np.where(y == 0, 5, -5)
    Xs[:10, 0] -= 10  # ten rows of class 0 on the other side
    held = Rows(Xs[:20], y[:20])
    watch = Diagnostics(Rows(Xs, y), Rows(Xs + np.array([0, 20], "f4")), held_out=held,
                        classes=("a", "b"))  # fmt: skip
    found = watch(fixed([[1.0, 0.0], [-1.0, 0.0]]), 0, {"task": 0.1})
    assert found["source_accuracy"] == pytest.approx(0.95)
    assert found["per_class"] == pytest.approx({"a": 0.9, "b": 1.0})
    assert found["target_shares"] == pytest.approx({"a": 0.45, "b": 0.55})
    assert found["target_confidence"] > 0.95
    assert found["a_distance"] == pytest.approx(2, abs=0.05)  # told apart by the second column
    assert found["domain_accuracy"] > 0.98
    assert found["held_out"] == pytest.approx(0.5)
    assert found["words"] == []


def test_collapse_and_domination_in_words():
    said = []
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(100, 2)).astype("f4"), np.arange(100) % 2
    watch = Diagnostics(Rows(X, y), Rows(X), classes=("cat", "dog"), say=said.append)
    losses = {"task": 0.1, "dann_domain_accuracy": 0.99}
    found = watch(fixed([[0.0, 0.0], [0.0, 0.0]]), 0, losses)  # ties: always the first class
    assert any(w.startswith("collapse: 100 % of the target rows are predicted as 'cat'")
               for w in found["words"])  # fmt: skip
    assert any(w.startswith("domination") for w in found["words"])
    watch(fixed([[0.0, 0.0], [0.0, 0.0]]), 1, losses)
    assert len(said) == 2  # once each, not every epoch
    shares = {"target_shares": {"a": 0.7, "b": 0.3}}
    assert not in_words(shares, {}, {"a": 0.7, "b": 0.3})  # as on the source: no collapse


def test_trouble_is_said_when_it_begins_and_logged_while_it_lasts():
    said = []
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(100, 2)).astype("f4"), np.arange(100) % 2
    watch = Diagnostics(Rows(X, y), Rows(X), classes=("cat", "dog"), say=said.append)
    network = fixed([[1.0, 0.0], [-1.0, 0.0]])

    def epoch(number, accuracy):
        found = watch(network, number, {"task": 0.1, "dann_domain_accuracy": accuracy})
        return [word.partition(":")[0] for word in found["words"]]

    # another figure in every epoch is no news
    assert [epoch(k, a) for k, a in enumerate((0.96, 0.97, 0.99))] == [["domination"]] * 3
    assert len(said) == 1 and said[0].startswith("epoch 0: domination") and "96 %" in said[0]
    assert epoch(3, 0.8) == [] and epoch(4, 0.98) == ["domination"]
    assert len(said) == 2 and said[1].startswith("epoch 4: domination")  # it came back
    network = fixed([[0.0, 0.0], [0.0, 0.0]])
    assert epoch(5, 0.98) == ["collapse", "domination"]
    assert len(said) == 3 and said[2].startswith("epoch 5: collapse")  # of another kind


def test_scores():
    logits = np.array([[2.0, 1.0], [0.0, 1.0]])
    assert score(logits, np.array([0, 0]), "classification") == 0.5
    assert score(logits[:, :1], np.array([1.0, 0.0]), "regression") == -0.5
    assert score(logits, np.array([[1, 1], [1, 1]]), "multilabel") == 0.75
