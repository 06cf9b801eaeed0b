"""Layer 8: the last rung of the choice: the pretrained network itself, aligned with the target.

What the closed-form candidates and the small networks do to fixed features is compared with what
they do to the features of a network that was trained further: a low-rank update of the body, on
source labels and unlabelled target rows. No label of the target is read in that training, so that
labelled target rows still judge both, on the same folds; without them the learned table does.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from isthmus.backbone import embed
from isthmus.discrepancy.a_distance import a_distance
from isthmus.errors import IsthmusError, UsageError
from isthmus.evaluate.intervals import cv_difference
from isthmus.run.case import Case
from isthmus.run.extract import Extracted, Part
from isthmus.run.network_rows import TRAINABLE, Progress, raw_rows
from isthmus.run.network_served import served_backbone
from isthmus.run.proof import Answer, answer_of
from isthmus.run.standings import N_SPLITS, Choice, choose
from isthmus.select.bench import Bench, some
from isthmus.select.blended import Blend
from isthmus.select.descriptors import Surroundings
from isthmus.select.prior import choice_prior
from isthmus.select.routes.base import Domains, ModelFactory
from isthmus.select.rung import LEAST, SHARE, nameless
from isthmus.types import Array

EPOCHS, BATCH, RATE = 3, 32, 1e-3  # of a low-rank update: docs/signs.md
METHOD, STRATEGY = "mcc", "lora"
COMPARED = 2000  # rows a side that the two choices are compared on
SMALLEST = 30.0  # seconds below which the network is not even built
BEFORE = "features as they were"


@dataclass(frozen=True)
class NetworkRung:
    """What became of the network.

    Parameters
    ----------
    tried, taken : bool
    why : str
        In words, for a person.
    figures : dict of str to float
        Both expectations, or the paired difference.
    """

    tried: bool
    taken: bool
    why: str
    figures: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """JSON form."""
        figures = {name: round(value, 4) for name, value in self.figures.items()}
        return {"tried": self.tried, "taken": self.taken, "why": self.why, "figures": figures}


@dataclass(frozen=True)
class Higher:
    """What serves, whether or not the network was trained.

    Parameters
    ----------
    features : Extracted
        Of the backbone that serves.
    choice : Choice
    rung : NetworkRung or None
        None: nobody asked, and there is no time budget that would.
    others : dict of str to Answer
        What would have served without the network, on the test rows.
    """

    features: Extracted
    choice: Choice
    rung: NetworkRung | None = None
    others: dict[str, Answer] | None = None


def highest(
    case: Case,
    features: Extracted,
    backbone: Any,
    choice: Choice,
    new_model: ModelFactory,
    *,
    network: bool | None,
    deep: bool | None = None,
    seed: int = 0,
    deadline: float | None = None,
    progress: Progress | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Higher:
    """The choice on the features as they are, or on those of the aligned network.

    Parameters
    ----------
    backbone : Backbone
        What made `features`.
    choice : Choice
        On these features.
    network : bool or None
        True: whatever the diagnosis and the time say; False: never; None: where there is a time
        budget that leaves room and the domains are told apart.
    deadline : float, optional
        Value of `clock`.

    Raises
    ------
    UsageError
        If the network was asked for and cannot be trained.
    """
    unchanged = Higher(features, choice)
    if network is False or (network is None and deadline is None):
        return unchanged

    def left_out(why: str) -> Higher:
        if network:
            raise UsageError(
                "the network cannot be trained in this run", why=why, remedy="Leave --network out"
            )
        return replace(unchanged, rung=NetworkRung(False, False, f"not tried: {why}", {}))

    reason = _impossible(case, features, choice)
    if reason is not None:
        return left_out(reason)
    told = "asked for"
    try:
        if not network:
            assert deadline is not None
            reason, told = _unasked(features, seed, deadline - clock())
            if reason is not None:
                return left_out(reason)
        trainer = _Trainer(features, backbone, seed, progress)
        if not network:
            assert deadline is not None
            needed, room = trainer.seconds(clock), SHARE * (deadline - clock())
            if needed > room:
                return left_out(f"about {needed:.0f} s of training, and {room:.0f} s are to spare")
        moved = trainer.adapted()
    except IsthmusError as error:
        return left_out(str(error))
    second = choose(case, moved, new_model, seed=seed, automatic=True, deep=deep, deadline=deadline)
    taken, words, figures = compared(features, choice, moved, second, new_model, seed=seed)
    how = f"{EPOCHS} epochs of {STRATEGY} with {METHOD}"
    rung = NetworkRung(True, taken, f"tried ({told}; {how}): {words}", figures)
    if not taken:
        return replace(unchanged, rung=rung)
    others: dict[str, Answer] = {}
    if features.test is not None:
        others[BEFORE] = answer_of(choice.model, features.test.X)
    return Higher(moved, second, rung, others)


def compared(
    features: Extracted,
    choice: Choice,
    moved: Extracted,
    second: Choice,
    new_model: ModelFactory,
    *,
    seed: int = 0,
) -> tuple[bool, str, dict[str, float]]:
    """Whether the second choice serves, why, and the figures.

    With labelled target rows: the paired difference of what serves, over the folds; it must lie
    above 0. Without: the learned table's expectation of answers like these, less its caution, as
    in the blend; the second's must be higher by the gain below which a run declines.
    """
    folds = [
        next(e for e in one.evidence if e.route == one.verdict.decision) for one in (choice, second)
    ]
    a, b = (e.fold_scores for e in folds)
    if a is not None and b is not None:
        gap = cv_difference(b - a, test_fraction=1 / N_SPLITS)
        figures = {"difference": gap.value, "low": gap.low, "high": gap.high}
        points = f"{100 * gap.value:+z.1f} points [{100 * gap.low:+z.1f}, {100 * gap.high:+z.1f}]"
        taken = gap.low > 0
        how = "its features serve" if taken else "the features as they were serve"
        return taken, f"{points} on the labelled target rows; {how}", figures
    if not isinstance(choice.blend, Blend):
        return False, "without labelled folds or a blend the two cannot be compared", {}
    before, after = features.domains(whole=True), moved.domains(whole=True)
    assert before.source is not None
    rng = np.random.default_rng(seed)
    own = some(len(before.source), COMPARED, rng)
    rows = some(len(before.Xt), COMPARED, rng)
    bench = Bench(Domains(before.source.take(own), None, before.Xt[rows]), new_model)
    answers = [
        choice.model.predict_proba(before.Xt[rows]),
        second.model.predict_proba(after.Xt[rows]),
    ]
    source = choice.models["source-only"].predict_proba(before.Xt[rows])
    prior = choice_prior()
    around, middle = Surroundings(bench, random_state=seed), np.mean([source, *answers], axis=0)
    table = nameless(around, answers, middle, source, choice.blend.task, prior)
    gain, downside = prior.expected(table, ["before", "after"])
    worth = gain - prior.caution * downside
    figures = {"expected_before": float(gain[0]), "expected_after": float(gain[1])}
    taken = bool(worth[1] > worth[0] + prior.least)
    plain, trained = (f"{100 * value:+z.1f}" for value in gain)
    told = f"{trained} points expected over source-only, {plain} without it"
    how = "its features serve" if taken else "the features as they were serve"
    return taken, f"{told}; {how}", figures


def _impossible(case: Case, features: Extracted, choice: Choice) -> str | None:
    """Why there is nothing to train or to compare, whatever the user asks."""
    if case.task != "classification" or features.source is None:
        return "it is trained on labelled source rows, for classification"
    if case.target.modality not in TRAINABLE:
        return f"{case.target.modality} rows have no pretrained network"
    if importlib.util.find_spec("torch") is None:
        return "torch is not installed (pip install 'isthmus[deep]')"
    if choice.blend is None:
        return "the automatic choice is off"
    if choice.route.by_hand:
        return "a method that was named serves"
    return None


def _unasked(features: Extracted, seed: int, left: float) -> tuple[str | None, str]:
    """Why not, or what speaks for it; cheap things first."""
    assert features.source is not None
    sides = np.asarray(features.source.X), np.asarray(features.target.X)
    n, m = map(len, sides)
    if left < SMALLEST:
        return f"{max(left, 0):.0f} s are left", ""
    if min(n, m) < LEAST:
        return f"{n:,} source and {m:,} target rows, and networks need {LEAST} a side", ""
    auc = a_distance(*sides, random_state=seed, max_rows=1000).auc
    figure = f"domain AUC {auc.value:.2f} [{auc.low:.2f}, {auc.high:.2f}]"
    if auc.low <= 0.5:
        return f"the domains are not told apart ({figure})", ""
    return None, figure


class _Trainer:
    """The network on the rows of a run, and the features after its training."""

    def __init__(
        self, features: Extracted, backbone: Any, seed: int, progress: Progress | None
    ) -> None:
        from isthmus.fit.deep.bodies import body_of

        self.features, self.backbone, self.seed = features, backbone, seed
        self.body = body_of(backbone)
        # labelled target rows stay out: they judge what comes of it
        self.rows = raw_rows(replace(features, labelled=None), backbone, progress)

    def seconds(self, clock: Callable[[], float]) -> float:
        """About how long training and the new features take, from one small batch."""
        import torch

        batch = torch.from_numpy(self.rows.X[:BATCH])
        with torch.no_grad():
            self.body.eval()(batch)
            start = clock()
            self.body(batch)
        each = (clock() - start) / len(batch)
        return each * len(self.rows.X) * (3 * EPOCHS + 1)  # backwards costs twice as much

    def adapted(self) -> Extracted:
        """All parts through the trained network."""
        from isthmus.fit.finetune import FineTunedClassifier
        from isthmus.run.from_scratch import build

        classifier = FineTunedClassifier(
            lambda classes: build(self.body, classes, hidden=(), dropout=0.0),
            method=METHOD,
            strategy=STRATEGY,
            epochs=EPOCHS,
            batch_size=BATCH,
            lr=RATE,
            random_state=self.seed,
        )
        classifier.fit(
            self.rows.X,
            self.rows.y,
            sample_domain=self.rows.sample_domain,
            target_labeled=self.rows.target_labeled,
        )
        trained = served_backbone(self.backbone, classifier.network_.cpu(), length=self.rows.length)
        return through(self.features, trained)


def through(features: Extracted, backbone: Any) -> Extracted:
    """The same rows with the features of another backbone; the store is not asked."""
    done: dict[int, Part] = {}

    def anew(part: Part | None) -> Part | None:
        if part is None:
            return None
        if id(part.samples) not in done:
            got = embed(backbone, part.samples, store=None)
            X: Array = got.features
            kept = part if len(got.rows) == len(part.rows) else part.take(got.rows)
            done[id(part.samples)] = replace(kept, X=X)
        return done[id(part.samples)]

    target = anew(features.target)
    assert target is not None
    return replace(
        features,
        source=anew(features.source),
        labelled=anew(features.labelled),
        target=target,
        test=anew(features.test),
        backbone=backbone,
    )
