"""Layer 8: what the same network is worth without anything that was learned before.

The network of a run, every weight drawn anew, trained on the labelled target rows alone (on the
source rows where the target has no label), everything trained, for as many epochs. Its score stands
beside the run's on the same sealed rows: the difference is what pretraining, source and method
bought together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from isthmus.backbone import load_backbone
from isthmus.backbone.weights import RANDOM
from isthmus.errors import UsageError
from isthmus.run.case import Case
from isthmus.run.extract import Extracted, Part
from isthmus.run.proof import Answer
from isthmus.run.text import figure
from isthmus.run.validation import labelled_rows

NAME = "from scratch"


def check(modality: str, *, tested: bool = True) -> None:
    """Refuse before anything is trained.

    Parameters
    ----------
    modality : str
    tested : bool
        Whether there are sealed rows to compare on.

    Raises
    ------
    UsageError
        If there are none, or the network of that kind cannot be built anew.
    """
    if not tested:
        raise UsageError(
            "there are no test rows to compare with training from scratch on",
            remedy="Give --test, or a target that has labels",
        )
    if modality not in ("image", "table", "features"):
        raise UsageError(
            f"the network of {modality} rows cannot be trained from scratch here",
            why="its pretrained body is not a torch network, or has no other weights",
            remedy="Leave --against-scratch out",
        )


def answer(
    case: Case,
    features: Extracted,
    base: Any,
    classifier: Any,
    *,
    validation: Part | None = None,
    saved: Any = None,
    folder: Any = None,
) -> Answer:
    """Predictions of the network from scratch for the test rows.

    Parameters
    ----------
    case : Case
    features : Extracted
        By the untrained backbone, without the validation rows.
    base : Backbone
        Untrained.
    classifier : FineTunedClassifier
        The run's, trained.
    saved : SavedDense, optional
        The file that the run's network started from.
    folder : path-like, optional
        Of checkpoints.

    Returns
    -------
    predicted : ndarray of shape (n,), object
    proba : ndarray of shape (n, n_classes)
        Columns as ``case.classes``.
    """
    from isthmus.fit.finetune import FineTunedClassifier

    assert features.test is not None
    part = features.labelled or features.source
    assert part is not None
    raw = case.target.modality == "image" and saved is None and hasattr(base, "build")
    options = classifier.get_params(deep=False)
    options |= {
        "network": _network(base, options, saved, raw=raw),
        "method": None, "trade_off": None, "strategy": "full", "stages": "joint",
        "penalties": (), "domain_norms": False, "diagnose": False, "folder": folder,
        "evidence": None,
    }  # fmt: skip
    made = FineTunedClassifier(**options)
    backbone = base if raw else None
    held = None if validation is None else labelled_rows(validation, features, backbone)
    made.fit(*labelled_rows(part, features, backbone), validation=held)
    known = made.predict_proba(labelled_rows(features.test, features, backbone)[0])
    proba = np.zeros((len(known), len(case.classes)))
    names = [str(name) for name in made.classes_]
    proba[:, [case.classes.index(name) for name in names]] = known
    return np.array(case.classes, dtype=object)[proba.argmax(axis=1)], proba


def in_words(results: Mapping[str, Any]) -> list[str]:
    """What the comparison said, and what the source's network was worth before fine-tuning."""
    lines = []
    between = results.get("between") or {}
    if between:
        lines.append(
            f"the source's network on the {between['rows']} labelled target rows, before they "
            f"were trained on: {100 * between['accuracy']:.1f} % "
            f"[{100 * between['low']:.1f}, {100 * between['high']:.1f}]"
        )
    own = results["proof"]["headline"].get(NAME)
    if own is not None:
        gain = results["proof"]["gains"][NAME]
        lines.append(
            f"the same network {NAME}, {_rows(results)} only: {figure(own, 'accuracy')}; "
            f"bought {100 * gain['value']:+z.1f} points "
            f"[{100 * gain['low']:+z.1f}, {100 * gain['high']:+z.1f}]"
        )
    return lines


def _rows(results: Mapping[str, Any]) -> str:
    return "labelled target rows" if results["rows"]["labelled"] else "source rows"


def _network(base: Any, options: dict[str, Any], saved: Any, *, raw: bool) -> Any:
    """Builds it once the number of classes is known; None: the usual MLP of features."""
    seed, dropout = options["random_state"], options["dropout"]
    if saved is not None:
        return lambda classes: saved.network(classes, dropout=dropout, pretrained=False, seed=seed)[
            0
        ]
    if not raw:
        return None
    return lambda classes: build(
        anew(base, seed=seed), classes, hidden=options["hidden"], dropout=dropout
    )


def build(body: Any, classes: int, *, hidden: tuple[int, ...], dropout: float) -> Any:
    """A body with dense layers on top."""
    from isthmus.fit.deep.network import Network
    from isthmus.fit.deep.surgery import make_head

    head = None
    if hidden:
        head = make_head(body.num_features, classes, hidden=hidden, dropout=dropout)
    return Network(body, classes, head=head)


def anew(backbone: Any, *, seed: int) -> Any:
    """A backbone's network as a body, every weight drawn anew.

    By He's rule where each layer knows one; a network with weights of other kinds (class tokens)
    keeps what its library draws.
    """
    from isthmus.fit.deep.bodies import body_of
    from isthmus.fit.deep.surgery import he_initialise

    reference = {k: v for k, v in backbone.reference.items() if k != "weights"}
    custom = reference.pop("custom", False)
    body = body_of(backbone if custom else load_backbone(**reference, weights=RANDOM))
    try:
        return he_initialise(body, seed=seed)
    except UsageError:
        if custom:
            raise
        return body
