"""What goes on inside a training, each epoch, in figures and in words; no target label is read.

Labels of held-out *training* rows of the target may be given (for early stopping): they are rows
that the caller chose to train with, never test rows.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from scipy.special import log_softmax

from isthmus.align.domain_batch_norm import domains_of, in_domain, source_domain
from isthmus.discrepancy.a_distance import a_distance
from isthmus.errors import DataError
from isthmus.fit.deep.network import Network
from isthmus.fit.deep.regularize.registry import PENALTIES
from isthmus.fit.deep.rows import Rows
from isthmus.fit.deep.seeds import stream
from isthmus.types import Array, Task

logger = logging.getLogger(__name__)

MAX_ROWS = 1000
# A class prediction takes more than this share of the target, and this often its source share.
COLLAPSE, COLLAPSE_RATIO = 0.6, 3.0
NEAR_CHANCE, EASY = 0.58, 0.95  # domain accuracy of the method's own discriminator


@torch.no_grad()
def predict(
    network: Network,
    rows: Rows,
    *,
    device: torch.device,
    size: int = 256,
    features: bool = False,
    of_source: bool = False,
) -> tuple[Array, Array]:
    """(n, k) logits and (n, d) features (empty unless asked for), in the network's mode.

    With `of_source` layers of batch norm that belong to a domain are those of the rows' sources.
    """
    logits, seen = [], []
    domains = domains_of(network) if of_source else 0
    for batch in rows.in_order(size):
        batch = batch.to(device)
        at = source_domain(batch.domains, domains) if domains else None
        with nullcontext() if at is None else in_domain(network, at):
            out = network.outputs(batch.inputs)
        logits.append(out.logits.cpu().numpy())
        if features:
            seen.append(out.features.flatten(1).cpu().numpy())
    return np.concatenate(logits), np.concatenate(seen) if seen else np.empty((len(rows), 0))


def softmax(logits: Array) -> Array:
    """Rows of probabilities."""
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


class Diagnostics:
    """``watch`` of `isthmus.fit.deep.loop.train`: figures of an epoch, and warnings in words.

    Parameters
    ----------
    source, target : Rows, optional
        At most `max_rows` of each are looked at, drawn once.
    held_out : Rows, optional
        Labelled rows for early stopping.
    evidence : callable, optional
        ``evidence(P) -> float or None`` of the probabilities (n, k) of *all* target rows: higher is
        better, no label is needed. Which one is the caller's choice (`isthmus.select.validate`).
    classes : sequence of str
        Names of the classes, for the log.
    task : str
    every : int, default=1
        The A-distance is computed in every n-th epoch.
    device : torch.device
    seed : int
    say : callable, optional
        Gets a warning in the epoch in which trouble of its kind begins, and again where it comes
        back after having gone; the entry of every epoch holds the words. Default: the log.
    """

    def __init__(
        self,
        source: Rows | None = None,
        target: Rows | None = None,
        *,
        held_out: Rows | None = None,
        evidence: Callable[[Array], float | None] | None = None,
        classes: tuple[str, ...] = (),
        task: Task = "classification",
        every: int = 1,
        max_rows: int = MAX_ROWS,
        device: torch.device | None = None,
        seed: int = 0,
        say: Callable[[str], None] = logger.warning,
    ) -> None:
        self.evidence, self._every_target = evidence, target
        self.source, self.target = (_some(rows, max_rows, seed) for rows in (source, target))
        self.held_out, self.classes, self.task, self.every = held_out, classes, task, every
        self.device, self.seed, self.say = device or torch.device("cpu"), seed, say
        self._said: set[str] = set()

    def __call__(self, network: Network, epoch: int, losses: Mapping[str, float]) -> dict[str, Any]:
        """The entry of an epoch.

        Returns
        -------
        dict
            ``source_accuracy`` and ``per_class`` (by name), ``target_confidence`` (mean largest
            probability: the estimate of the accuracy that an epoch can afford, 14 points off on
            average and 7 too high on 24 real trainings), ``target_shares`` (of the predicted
            classes), ``a_distance`` and
            ``domain_accuracy`` of the features (a logistic regression, cross-validated),
            ``held_out`` (accuracy, or minus the squared error) and ``held_out_loss``
            (cross-entropy), ``evidence``, ``words``.
        """
        found: dict[str, Any] = {}
        wanted = self.source is not None and self.target is not None and epoch % self.every == 0
        zs = zt = None
        if self.source is not None:
            logits, zs = self._see(network, self.source, wanted, of_source=True)
            found |= self._source(logits, self.source)
        if self.target is not None:
            logits, zt = self._see(network, self.target, wanted)
            if self.task == "classification":
                P = softmax(logits)
                shares = np.bincount(P.argmax(1), minlength=P.shape[1]) / len(P)
                found["target_confidence"] = float(P.max(axis=1).mean())
                found["target_shares"] = self._named(shares)
        if wanted and zs is not None and zt is not None:
            found |= self._distance(zs, zt)
        if self.held_out is not None:
            logits, _ = self._see(network, self.held_out, False)
            found["held_out"] = score(logits, self.held_out.labels, self.task)
            if self.task == "classification" and self.held_out.labels is not None:
                found["held_out_loss"] = cross_entropy(logits, self.held_out.labels)
        if self.evidence is not None and self._every_target is not None:
            logits, _ = self._see(network, self._every_target, False)
            found["evidence"] = self.evidence(softmax(logits.astype(np.float64)))
        words = in_words(found, losses, self._source_shares())
        for kind, text in words.items():
            if kind not in self._said:  # the text holds figures, which differ in every epoch
                self.say(f"epoch {epoch}: {text}")
        self._said = set(words)
        return {**found, "words": list(words.values())}

    def _see(
        self, network: Network, rows: Rows, features: bool, *, of_source: bool = False
    ) -> tuple[Array, Array]:
        return predict(network, rows, device=self.device, features=features, of_source=of_source)

    def _named(self, values: Array) -> dict[str, float]:
        names = self.classes or tuple(map(str, range(len(values))))
        return {name: float(value) for name, value in zip(names, values, strict=True)}

    def _source(self, logits: Array, rows: Rows) -> dict[str, Any]:
        if rows.labels is None:
            return {}
        if self.task != "classification":
            return {"source_score": score(logits, rows.labels, self.task)}
        right = logits.argmax(1) == rows.labels
        per = [
            float(right[rows.labels == k].mean()) if (rows.labels == k).any() else float("nan")
            for k in range(logits.shape[1])
        ]
        return {"source_accuracy": float(right.mean()), "per_class": self._named(np.array(per))}

    def _source_shares(self) -> dict[str, float]:
        rows = self.source
        if rows is None or rows.labels is None or self.task != "classification":
            return {}
        count = len(self.classes) or int(rows.labels.max()) + 1
        return self._named(np.bincount(rows.labels, minlength=count) / len(rows.labels))

    def _distance(self, zs: Array, zt: Array) -> dict[str, float]:
        try:
            found = a_distance(zs, zt, folds=2, random_state=self.seed)
        except DataError as error:  # too few rows, or features that are no numbers
            logger.info("no A-distance: %s", error)
            return {}
        return {
            "a_distance": found.value.value,
            "domain_accuracy": 1 - found.error.value,
        }


def collapsed(share: float, usual: float, classes: int) -> bool:
    """Whether predictions ended in one class, from its share of the target and of the source."""
    return share > COLLAPSE and share > min(COLLAPSE_RATIO * max(usual, 1 / classes), 0.97)


def cross_entropy(logits: Array, labels: Array) -> float:
    """Mean of ``-log p`` of the right class, in nats."""
    logs = log_softmax(logits, axis=1)
    return float(-logs[np.arange(len(labels)), labels].mean())


def score(logits: Array, labels: Any, task: Task) -> float:
    """Accuracy, share of right label decisions, or minus the mean squared error."""
    if task == "regression":
        return -float(np.mean((logits[:, 0] - labels) ** 2))
    if task == "multilabel":
        return float(np.mean((logits > 0) == (np.asarray(labels) > 0.5)))
    return float(np.mean(logits.argmax(1) == labels))


def in_words(
    found: Mapping[str, Any], losses: Mapping[str, float], source_shares: Mapping[str, float]
) -> dict[str, str]:
    """What the figures of an epoch mean, where they mean trouble: by its kind."""
    words: dict[str, str] = {}
    shares: Mapping[str, float] = found.get("target_shares") or {}
    if len(shares) > 1:
        name = max(shares, key=lambda key: shares[key])
        if collapsed(shares[name], source_shares.get(name, 0.0), len(shares)):
            words["collapse"] = (
                f"collapse: {100 * shares[name]:.0f} % of the target rows are predicted as "
                f"{name!r}, {100 * source_shares.get(name, 0.0):.0f} % of the source rows are; "
                + (
                    "lower the weight of the alignment, or use a method that keeps classes apart"
                    if set(losses) - {"task", *(name.replace("-", "") for name in PENALTIES)}
                    else "train longer, or look at the source: nothing was aligned"
                )
            )
    own = [v for key, v in losses.items() if key.endswith("domain_accuracy")]
    if own and max(own) > EASY:
        words["domination"] = (
            f"domination: the discriminator tells the domains apart on {100 * max(own):.0f} % of "
            "the rows, so the features are not aligned; raise the weight, or lower its learning "
            "rate"
        )
    if own and max(own) < NEAR_CHANCE and found.get("a_distance", 0.0) > 1.5:
        words["stopped"] = (
            f"the discriminator is at chance ({100 * max(own):.0f} %) while the features still "
            f"differ (A-distance {found['a_distance']:.2f}): it has stopped learning"
        )
    per_class = [v for v in (found.get("per_class") or {}).values() if v == v]
    if own and per_class and min(per_class) < 0.1 and found.get("source_accuracy", 0.0) > 0.5:
        lost = [k for k, v in found["per_class"].items() if v == v and v < 0.1]
        words["lost"] = f"source classes are being lost to the alignment: {', '.join(lost)}"
    return words


def _some(rows: Rows | None, most: int, seed: int) -> Rows | None:
    if rows is None or len(rows) <= most:
        return rows
    return rows.take(np.sort(stream(seed, 9).choice(len(rows), most, replace=False)))
