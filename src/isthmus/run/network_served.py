"""Layer 8: a trained network as what every run leaves: a backbone, a model on its features.

The body, where it was trained, is a backbone with weights of its own; the dense layers after it
are the head of a `FeatureModel`. So a network is saved, served, checked and reported like any
other model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isthmus.fit.mapped import Mapped
from isthmus.fit.model import FeatureModel
from isthmus.fit.scores import ScoreHead
from isthmus.run.case import Case
from isthmus.run.extract import Extracted
from isthmus.run.proof import Answer, Proof, prove
from isthmus.run.standings import Choice
from isthmus.select.guard import Standing
from isthmus.select.routes.base import Domains, ModelFactory, Route
from isthmus.types import Verdict

NAME = "fine-tuned network"


class Trained(Route):
    """The one route of such a run; it is not fitted again, so it is measured on a test set only.

    Parameters
    ----------
    method : str
        In words, for the leaderboard.
    model : FeatureModel
    """

    name, uses, by_hand = NAME, frozenset[str](), True

    def __init__(self, method: str, model: FeatureModel) -> None:
        self.method, self.model = method, model

    def fit(self, domains: Domains, new_model: ModelFactory) -> FeatureModel:
        """The trained model, whatever the rows."""
        return self.model


def served_backbone(base: Any, network: Any, *, length: int | None = None) -> Any:
    """The trained body as a backbone."""
    from isthmus.backbone.trained import trained
    from isthmus.fit.deep.chain import state_arrays

    return trained(base, state_arrays(network.body.network), length=length)


def served_model(
    network: Any, classes: tuple[str, ...], known: list[str], *, body: bool
) -> FeatureModel:
    """The dense layers as a model of features.

    Parameters
    ----------
    network : Network
    classes : tuple of str
        Of the case; the probability columns.
    known : list of str
        Those of the network's outputs, in their order.
    body : bool
        Whether the body is a part of the model: it was trained on features.

    Raises
    ------
    UsageError
        If a layer cannot be served without torch.
    """
    from isthmus.fit.deep.chain import dense_of

    dense = dense_of([*([network.body] if body else []), network.bottleneck, network.head])
    front = Mapped.of(None, dense, len(dense.centre))
    model = FeatureModel(task="classification", classes=classes)
    model.head_ = ScoreHead.of(front.n_features_out_, [classes.index(name) for name in known])
    model.processor_, model.n_features_in_ = front, front.n_features_in_
    model.temperature_, model.log_ratio_ = None, None
    model.calibration_ = "none: a network is as sure as its training left it"
    model.unseen_ = tuple(name for name in classes if name not in known)
    return model


def chosen(model: FeatureModel, features: Extracted, *, method: str, seconds: float) -> Choice:
    """The only route, as the leaderboard has it."""
    why = "it is trained once: its figure is that of the test set"
    verdict = Verdict(
        NAME,
        f"The network that was trained serves: {method}.",
        "It was asked for by name; nothing else was compared before the test.",
        {"rule": "by name"},
    )
    return Choice(
        [Standing(NAME, "unscored", why, by_hand=True)],
        verdict,
        {NAME: model},
        "none: a network is trained once, not once a fold",
        {NAME: seconds},
        [Trained(method, model)],
        features.domains(),
    )


def proof_of(
    case: Case,
    features: Extracted,
    choice: Choice,
    *,
    seed: int,
    others: Mapping[str, Answer] | None = None,
) -> Proof:
    """The score on the sealed labels, `others` beside it; without a test set there is none."""
    if case.sealed is not None and features.test is not None:
        return prove(case, features, choice, head=None, seed=seed, others=others)
    return Proof(
        "none",
        "There is no test set, and a network is not trained once a fold.",
        "Nothing could be measured: give --test, or a target that has labels.",
        "accuracy",
    )
