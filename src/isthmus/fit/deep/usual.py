"""The network of a training from what a user gives: a module, a name, a callable, or nothing."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from isthmus.errors import UsageError
from isthmus.fit.deep import bodies
from isthmus.fit.deep.network import Network
from isthmus.fit.deep.seeds import counter_seed, own_randomness, set_seed
from isthmus.types import Array

BUILD = 100  # tag of the seed


def network_for(
    given: Any,
    X: Array,
    classes: int,
    *,
    seen: Array,
    hidden: int | Sequence[int],
    dropout: float,
    seed: int,
) -> Any:
    """The network of `isthmus.fit.finetune.FineTunedClassifier`.

    Parameters
    ----------
    given : None, str, callable or module
    X : array of shape (n, ...)
    seen : array of shape (m, d)
        Rows of features that the columns are standardised by.

    Raises
    ------
    UsageError
        If nothing is given, and rows of that shape have no usual network.
    """
    with own_randomness(torch.device("cpu")):
        set_seed(counter_seed(seed, BUILD))
        if isinstance(given, torch.nn.Module):
            return copy.deepcopy(given)
        if isinstance(given, str):
            body, _ = bodies.backbone_body(given, size=int(X.shape[1]))
            return Network(body, classes)
        if callable(given):
            return given(classes)
        if X.ndim == 2:
            widths = tuple(np.atleast_1d(hidden))
            first = bodies.Standardised.of(seen)
            return Network(bodies.MLP(X.shape[1], widths, dropout=dropout, first=first), classes)
        if X.shape[1:] == (28, 28) or X.shape[1:] == (1, 28, 28):
            return bodies.digit_network(classes)
    raise UsageError(
        f"there is no usual network for rows of shape {X.shape[1:]}",
        remedy="Give one: network='timm:resnet18', or a callable that builds it",
    )


def check_classes(network: Any, classes: int) -> None:
    """Refuse a network whose head has another number of outputs.

    Raises
    ------
    UsageError
    """
    given = getattr(network, "num_classes", classes)
    if given != classes:
        raise UsageError(
            f"the network answers {given} classes, the labels have {classes}",
            remedy=f"Give it a head of {classes} outputs: network=lambda k: Network(body, k)",
        )
