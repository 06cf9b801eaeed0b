"""Every estimator: the contract, then each against a truth that is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isthmus.select.estimate.agreement import AgreementLine
from isthmus.select.estimate.atc import thresholded
from isthmus.select.estimate.base import Estimate, Estimator, ask, discover, estimates, held_out
from isthmus.select.estimate.transport import transported
from isthmus.select.estimate.weighted import Weighted
from isthmus.select.validate.base import Scene, Trial

NAMES = {
    "agreement", "agreement-change", "agreement-line", "atc-mc", "atc-ne", "confidence",
    "confidence-weighted", "consistency", "doc", "held-out", "prior-shift", "transport",
    "weighted",
}  # fmt: skip
EACH = sorted(discover().items())


def calibrated(n, rng, sharp=2.0, K=3):
    """Probabilities and labels drawn from them: a classifier calibrated by construction."""
    z = sharp * rng.normal(size=(n, K))
    P = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    y = (P.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    return P, np.minimum(y, K - 1)


def scene_of(y, Q, *, K=3, weights=None, d=2):
    n, m = len(y), len(Q)
    weights = np.ones(n) if weights is None else weights
    return Scene(np.zeros((n, d)), y, np.zeros((m, d)), K, weights, np.zeros((m, 1), dtype=int), Q)


@pytest.fixture(scope="module")
def plain():
    """Source and target of one calibrated classifier, and noisy copies of it."""
    rng = np.random.default_rng(0)
    P, y = calibrated(4000, rng)
    Q, yt = calibrated(4000, rng)
    first = Trial("first", Q, P)
    others = []
    for i in range(5):
        moved = [np.log(p) + (0.4 + 0.3 * i) * rng.normal(size=p.shape) for p in (P, Q)]
        moved = [np.exp(z) / np.exp(z).sum(axis=1, keepdims=True) for z in moved]
        others.append(Trial(f"other{i}", moved[1], moved[0]))
    return scene_of(y, Q), first, others, float((Q.argmax(axis=1) == yt).mean())


def test_all_are_found():
    assert set(discover()) == NAMES
    assert all(isinstance(one, Estimator) for one in discover().values())


@pytest.mark.parametrize("name, one", EACH)
def test_without_a_shift_every_estimate_is_near_the_truth(name, one, plain):
    scene, trial, others, truth = plain
    found = ask(one, scene, trial, others=others)
    assert found.reason == ""
    # agreement with worse candidates is lower than accuracy or higher: it has no such promise
    # and without features there is no neighbourhood to speak of
    near = {"agreement": 0.15, "consistency": 1.0}.get(name, 0.03)
    assert abs(found.value - truth) < near


@pytest.mark.parametrize("name, one", EACH)
def test_contract(name, one, plain):
    scene, trial, others, _ = plain
    assert one.name == name
    before = trial.target_proba.copy(), trial.source_proba.copy()
    a, b = (ask(one, scene, trial, others=others) for _ in range(2))
    assert a == b
    assert 0 <= a.value <= 1
    assert np.array_equal(before[0], trial.target_proba)
    assert np.array_equal(before[1], trial.source_proba)
    order = np.random.default_rng(1).permutation(len(trial.target_proba))

    def shuffled(t):
        return replace(t, target_proba=t.target_proba[order])

    where = np.argsort(order)
    mixed = replace(
        scene, consensus=scene.consensus[order], neighbors=where[scene.neighbors[order]]
    )
    c = ask(one, mixed, shuffled(trial), others=[shuffled(o) for o in others])
    assert c.value == pytest.approx(a.value, abs=1e-9)


@pytest.mark.parametrize("name, one", EACH)
def test_a_part_that_is_missing_is_a_reason(name, one, plain):
    scene, trial, others, _ = plain
    bare = replace(trial, source_proba=None)
    found = ask(one, scene, bare, others=others)
    if "source_proba" in one.needs:
        assert found == Estimate(None, "first has no source_proba")
    else:
        assert found.value is not None


@pytest.mark.parametrize("name, one", [(n, o) for n, o in EACH if "source_proba" in o.needs])
def test_rows_without_source_answers_are_left_out(name, one, plain):
    scene, trial, others, truth = plain
    P = trial.source_proba.copy()
    P[::2] = np.nan
    found = ask(one, scene, replace(trial, source_proba=P), others=others)
    if name in ("agreement-line", "consistency"):
        return  # the first compares all rows of both, the second has no features here
    assert abs(found.value - truth) < 0.05
    P[9:] = np.nan
    assert ask(one, scene, replace(trial, source_proba=P), others=others).value is None


@pytest.mark.parametrize("name", ["confidence", "confidence-weighted", "doc"])
def test_a_calibrated_classifier_on_harder_rows(name):
    """Confidence falls as accuracy does: estimates follow, the held-out accuracy does not."""
    rng = np.random.default_rng(2)
    P, y = calibrated(6000, rng, sharp=3.0)
    Q, yt = calibrated(6000, rng, sharp=1.2)
    truth = (Q.argmax(axis=1) == yt).mean()
    scene, trial = scene_of(y, Q), Trial("t", Q, P)
    assert ask(discover()["held-out"], scene, trial).value - truth > 0.15
    assert abs(ask(discover()[name], scene, trial).value - truth) < 0.03


@pytest.mark.parametrize("name", ["atc-mc", "atc-ne"])
def test_atc_is_exact_where_a_threshold_decides(name):
    """Rows are right just when they are sure, in both domains, two classes."""
    rng = np.random.default_rng(2)
    top = [0.5 + 0.5 * rng.beta(*ab, size=5000) for ab in ((4, 2), (2, 3))]
    P, Q = (np.column_stack([p, 1 - p]) for p in top)
    y = (top[0] < 0.75).astype(int)
    truth = (top[1] >= 0.75).mean()
    scene, trial = scene_of(y, Q, K=2), Trial("t", Q, P)
    assert (y == 0).mean() - truth > 0.2
    assert abs(ask(discover()[name], scene, trial).value - truth) < 0.005


def test_transport_by_hand():
    """Three of four rows lean to class 0; shares of a half make one give way, the cheapest."""
    P = np.array([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.1, 0.9]])
    assert transported(P, np.array([0.5, 0.5])) == pytest.approx(
        (0.9 + 0.8 + 0.4 + 0.9) / 4, abs=1e-3
    )
    assert transported(P, np.array([0.75, 0.25])) == pytest.approx(P.max(axis=1).mean(), abs=1e-3)
    assert transported(P, np.array([1.0, 0.0])) == pytest.approx(P[:, 0].mean(), abs=2e-3)


def test_transport_is_a_linear_programme():
    from scipy.optimize import linprog

    rng = np.random.default_rng(8)
    P, q = rng.dirichlet(np.ones(4), size=30), np.array([0.1, 0.2, 0.3, 0.4])
    rows, columns = np.kron(np.eye(30), np.ones(4)), np.kron(np.ones(30), np.eye(4))
    found = linprog(-P.ravel(), A_eq=np.vstack([rows, columns]), b_eq=np.r_[np.full(30, 1 / 30), q])
    assert transported(P, q) == pytest.approx(-found.fun, abs=2e-3)


def test_consistency_sees_a_scrambled_target():
    """Source predictions follow two clusters; on the target a third of them are scrambled."""
    rng = np.random.default_rng(9)
    y = np.arange(600) % 2
    Xs, Xt = (rng.normal(size=(600, 2)) + 8 * y[:, None] for _ in range(2))
    said = np.where(rng.random(600) < 1 / 3, rng.integers(0, 2, 600), y)
    near = np.argsort(((Xt[:, None] - Xt[None]) ** 2).sum(axis=2), axis=1)[:, 1:6]
    Q = np.eye(2)[said]
    scene = Scene(Xs, y, Xt, 2, np.ones(600), near, Q)
    one = discover()["consistency"]
    good = ask(one, scene, Trial("t", np.eye(2)[y], np.eye(2)[y]))
    assert good.value == pytest.approx(1.0)
    bad = ask(one, scene, Trial("t", Q, np.eye(2)[y]))
    share = (said == y).mean()
    assert bad.value == pytest.approx(share**2 + (1 - share) ** 2, abs=0.03)


def test_confidence_is_tempered_on_the_source():
    rng = np.random.default_rng(3)
    P, y = calibrated(5000, rng)
    Q, yt = calibrated(5000, rng)
    hot = [p**3 / (p**3).sum(axis=1, keepdims=True) for p in (P, Q)]  # three times too sure
    truth = (Q.argmax(axis=1) == yt).mean()
    assert hot[1].max(axis=1).mean() - truth > 0.1
    found = ask(discover()["confidence"], scene_of(y, hot[1]), Trial("t", hot[1], hot[0]))
    assert abs(found.value - truth) < 0.02


def test_atc_threshold_by_hand():
    score = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    right = np.array([False, True, False, True, True])
    value, t = thresholded(score, right, np.array([0.25, 0.3, 0.35, 0.9]))
    assert t == 0.3  # two of five are wrong: two rows lie below
    assert value == 0.75
    # two wrong, all source rows tie: three of five of the ties count
    value, _ = thresholded(np.full(5, 0.7), right, np.full(4, 0.7))
    assert value == pytest.approx(0.6)
    assert thresholded(score, np.ones(5, bool), np.array([0.05, 0.2]))[0] == 0.5
    assert thresholded(score, np.zeros(5, bool), np.array([0.05, 0.6]))[0] == 0.5


def test_weighted_is_right_under_covariate_shift():
    """Accuracy depends on one binary feature whose share moves from 1/4 to 3/4."""
    rng = np.random.default_rng(4)
    n = 20000
    easy = rng.random(n) < 0.25
    right = rng.random(n) < np.where(easy, 0.95, 0.6)
    y = np.zeros(n, dtype=int)
    P = np.where(right[:, None], [0.9, 0.1], [0.1, 0.9])
    weights = np.where(easy, 3.0, 1 / 3)
    scene = scene_of(y, P, K=2, weights=weights)
    found = Weighted().estimate(scene, Trial("t", P, P))
    assert abs(found.value - (0.75 * 0.95 + 0.25 * 0.6)) < 0.01
    size = weights.sum() ** 2 / (weights**2).sum()
    assert found.info["effective_rows"] == pytest.approx(size)
    assert 0.001 < found.info["standard_error"] < 0.01


def test_weighted_refuses_a_handful_of_effective_rows():
    P = np.tile([0.9, 0.1], (100, 1))
    weights = np.full(100, 1e-6)
    weights[:3] = 1
    scene = scene_of(np.zeros(100, dtype=int), P, K=2, weights=weights)
    found = ask(Weighted(), scene, Trial("t", P, P))
    assert found.value is None and "3.0 effective source rows" in found.reason


def test_prior_shift_under_label_shift():
    rng = np.random.default_rng(5)
    n, recall = 20000, np.array([0.95, 0.6])

    def draw(share):
        y = (rng.random(n) < share).astype(int)
        right = rng.random(n) < recall[y]
        said = np.where(right, y, 1 - y)
        return y, np.where(said[:, None] == np.arange(2), 0.9, 0.1)

    ys, P = draw(0.3)
    yt, Q = draw(0.7)
    truth = (Q.argmax(axis=1) == yt).mean()
    found = ask(discover()["prior-shift"], scene_of(ys, Q, K=2), Trial("t", Q, P))
    assert abs(found.value - truth) < 0.02
    assert found.info["moved"] == pytest.approx(0.4, abs=0.05)
    still = ask(discover()["held-out"], scene_of(ys, Q, K=2), Trial("t", Q, P))
    assert still.value - truth > 0.1


def test_agreement_by_hand():
    hot = np.eye(2)
    a, b, c = hot[[0, 0, 1, 1]], hot[[0, 0, 0, 1]], hot[[1, 0, 1, 1]]
    scene = scene_of(np.zeros(4, dtype=int), np.tile([0.7, 0.3], (4, 1)), K=2)
    one = discover()["agreement"]
    both = [Trial("b", b), Trial("c", c)]
    assert ask(one, scene, Trial("a", a), others=both).value == pytest.approx(0.75)
    assert ask(one, scene, Trial("a", a)).value == pytest.approx((0.7 + 0.7 + 0.3 + 0.3) / 4)


def test_agreement_line_recovers_accuracies_on_a_line():
    """Candidates that share the row's difficulty; the target is harder. Not quite a line."""
    rng = np.random.default_rng(6)
    n, m = 20000, 8
    skill = np.linspace(0.6, 2.2, m)

    def votes(hard):
        base = rng.normal(size=n)
        noise = rng.normal(size=(m, n))
        right = skill[:, None] - hard + 0.8 * base + 0.6 * noise > 0
        return np.eye(2)[np.where(right, 0, 1)], right.mean(axis=1)

    P, _ = votes(0.0)
    Q, truth = votes(0.7)
    trials = [Trial(f"t{i}", Q[i], P[i]) for i in range(m)]
    scene = scene_of(np.zeros(n, dtype=int), Q.mean(axis=0), K=2)
    for i in (0, 4):
        others = [t for t in trials if t is not trials[i]]
        found = AgreementLine().estimate(scene, trials[i], others=others)
        assert found.info["r2"] > 0.85
        here = (P[i].argmax(axis=1) == 0).mean()
        assert abs(found.value - truth[i]) < 0.6 * (here - truth[i])
    few = ask(AgreementLine(), scene, trials[0], others=trials[1:3])
    assert few.value is None and "a line needs 4" in few.reason


def test_estimates_gives_a_table_and_failures_do_not_stop_it(plain):
    scene, first, others, _ = plain

    class Broken(Estimator):
        name = "broken"

        def estimate(self, scene, trial, *, others=()):
            return Estimate(float("nan"))

    table = estimates(scene, [first, *others], {"broken": Broken(), **discover()})
    assert set(table) == {"first", *(o.name for o in others)}
    assert table["first"]["broken"].value is None
    assert "not a finite number" in table["first"]["broken"].reason
    assert table["first"]["held-out"].value is not None
    assert len(held_out(scene, first)[1]) == 4000
