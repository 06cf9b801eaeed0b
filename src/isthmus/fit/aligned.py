"""Layer 5: a small network on features, trained with a method of `isthmus.align`, served by NumPy.

What the loop of `isthmus.fit.deep` trains in seconds is folded into `isthmus.adapt.dense.Dense`
and no longer needs torch: it is saved, ejected and blended like a closed-form method.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from isthmus.adapt.dense import Dense
from isthmus.align.names import Trained, trained
from isthmus.errors import UsageError, need
from isthmus.fit.base import softmax
from isthmus.fit.calibrate import Temperature
from isthmus.registry import named
from isthmus.types import Array, Trouble

BATCH = 64
EPOCHS = 20  # of the log and of SHOT's pseudo-labels; the steps are `steps`
FEWEST, MOST = 300, 1500  # steps of a training
HELD_OUT, ROWS_HELD_OUT = 0.1, 1000  # source rows that choose the temperature
COMPANIONS = {"bsp": ("dann",)}  # a method that adapts nothing alone: what it goes with


class AlignedMLP(ClassifierMixin, BaseEstimator):
    """Dense layers on features, trained on source labels and aligned with the target.

    Parameters
    ----------
    method : str or None, default=None
        Name of a method in `isthmus.align` (``dann``, ``mcc``, ``shot``, ...); None: labelled rows
        alone, the reference of the others.
    hidden : tuple of int, default=(256,)
    dropout : float, default=0.5
        While training, after each hidden layer. Mean Teacher lives on it.
    steps : int, optional
        Updates of `BATCH` rows of each domain. Default: twenty passes over the source rows, at
        least 300 and at most 1,500, so that the time stays within seconds at any size.
    lr, weight_decay : float
    label_smoothing : float, default=0.1
        That of the authors of SHOT.
    settings : dict, optional
        Parameters of the method: ``{"strength": 10.0}``. Others are as its `on_features` says,
        else its defaults.
    random_state : int, default=0

    Attributes
    ----------
    classes_ : ndarray
    dense_ : Dense
        Rows to logits, divided by the temperature.
    info_ : dict
        Steps, temperature, the losses of the last epoch.
    troubles_ : tuple of Trouble

    Notes
    -----
    A tenth of the source rows (of each class; at most 1,000, none below 100 rows) trains nothing:
    it chooses the temperature. A source-free method trains its network on the other rows first.
    """

    needs_labels: ClassVar[bool] = True
    extra: ClassVar[str | None] = "deep"
    answers: ClassVar[tuple[str, ...]] = ("classification",)

    def __init__(
        self,
        method: str | None = None,
        *,
        hidden: tuple[int, ...] = (256,),
        dropout: float = 0.5,
        steps: int | None = None,
        lr: float = 1e-3,
        weight_decay: float = 1e-4,
        label_smoothing: float = 0.1,
        settings: dict[str, Any] | None = None,
        random_state: int = 0,
    ) -> None:
        self.method, self.hidden, self.dropout = method, hidden, dropout
        self.steps, self.lr, self.weight_decay = steps, lr, weight_decay
        self.label_smoothing, self.settings = label_smoothing, settings
        self.random_state = random_state

    @property
    def facts(self) -> Trained | None:
        """What the source of the method says; None without one, a `UsageError` if misspelt."""
        if self.method is None:
            return None
        known = trained()
        return named(
            self.method, known, what="alignment method", otherwise=f"Use one of {', '.join(known)}"
        )

    @property
    def family(self) -> str:
        """``adversarial`` or ``deep``."""
        return "deep" if self.facts is None else self.facts.family

    @property
    def refusal(self) -> str | None:
        """Why it cannot be trained on features at all, or None."""
        if self.facts is not None and self.facts.needs_views:
            return (
                "it compares two views of a row, and a row of features has one (on images: "
                "isthmus finetune --on network --augment, or FineTunedClassifier(augment=...))"
            )
        return None

    def count(self, rows: int) -> int:
        """Updates of a training on this number of source rows."""
        return self.steps or int(np.clip(EPOCHS * rows // BATCH, FEWEST, MOST))

    def fit(self, X: Any, y: Any, *, sample_domain: Any, target_labeled: Any = None) -> AlignedMLP:
        """Train.

        Parameters
        ----------
        X : array of shape (n, d)
            Rows of both domains; `isthmus.data.domains.stack_domains` builds them.
        y : array of shape (n,)
            Read on source rows, and on target rows where `target_labeled` is True.
        sample_domain : array of shape (n,), int
        target_labeled : array of shape (n,), bool, optional
            These rows join the source as a domain of their own, drawn as often as it.

        Raises
        ------
        UsageError, DataError, NonFiniteLossError
        """
        need("torch", extra="deep")
        from isthmus.fit.finetune import FineTunedClassifier

        if self.refusal:
            raise UsageError(f"{self.method}: {self.refusal}")
        X, y = np.asarray(X, dtype=np.float32), np.asarray(y)
        sample_domain = np.asarray(sample_domain)
        source = np.flatnonzero(sample_domain >= 0)
        held = source[_held_out(y[source], self.random_state)]
        kept = np.ones(len(X), dtype=bool)
        kept[held] = False
        total = self.count(len(source))
        epochs = min(EPOCHS, total)
        network = FineTunedClassifier(
            _Builder(X[kept], tuple(self.hidden), self.dropout),
            method=self._method(),
            epochs=epochs,
            batch_size=BATCH,
            lr=self.lr,
            weight_decay=self.weight_decay,
            label_smoothing=self.label_smoothing,
            settings={"steps_per_epoch": -(-total // epochs)},
            random_state=self.random_state,
        )
        network.fit(
            X[kept],
            y[kept],
            sample_domain=sample_domain[kept],
            target_labeled=None if target_labeled is None else np.asarray(target_labeled)[kept],
        )
        self.classes_, self.n_features_in_ = network.classes_, X.shape[1]
        dense, temperature = folded(network.network_), Temperature()
        if len(held):
            temperature.fit(dense(X[held]), np.searchsorted(self.classes_, y[held]))
        else:
            temperature.skip("too few source rows to hold some out")
        self.dense_ = cooled(dense, temperature.T_)
        self.info_: dict[str, Any] = {
            "steps": network.n_iter_,
            "temperature": temperature.T_,
            "temperature_note": temperature.note_,
            "losses": network.log_[-1]["losses"],
        }
        counts = np.bincount(
            np.searchsorted(self.classes_, y[source]), minlength=len(self.classes_)
        )
        found = self.dense_(X[sample_domain < 0]).argmax(axis=1)
        self.troubles_ = _collapsed(found, counts / len(source))
        return self

    def served(self) -> Dense:
        """The network as a value: rows to the scores of `classes_`."""
        check_is_fitted(self)
        return self.dense_

    def decision_function(self, X: Any) -> Array:
        """(n, K) logits."""
        check_is_fitted(self)
        return self.dense_(np.asarray(X, dtype=np.float64))

    def predict_proba(self, X: Any) -> Array:
        """(n, K) probabilities, columns as `classes_`."""
        return softmax(self.decision_function(X))

    def predict(self, X: Any) -> Array:
        """Class of each row."""
        return np.asarray(self.classes_[self.decision_function(X).argmax(axis=1)])

    def _method(self) -> Any:
        """Unbuilt objectives or the procedure, as `FineTunedClassifier` takes them."""
        if self.method is None:
            return None
        from isthmus.align.base import Objective
        from isthmus.align.registry import made

        own = made(self.method, on_features=True, **(self.settings or {}))
        if not isinstance(own, Objective):
            return own
        assert self.facts is not None
        others = COMPANIONS.get(self.facts.module, ())
        return [*(made(name, on_features=True) for name in others), own]


@dataclass(frozen=True)
class _Builder:
    """Makes the network once the number of classes is known.

    Rows are centred and divided by one number: columns keep their proportions, which tell noise
    from signal where they are principal components.
    """

    X: Array
    hidden: tuple[int, ...]
    dropout: float

    def __call__(self, classes: int) -> Any:
        import torch

        from isthmus.fit.deep.bodies import MLP, Standardised
        from isthmus.fit.deep.network import Network

        spread = float(np.sqrt(self.X.var(axis=0, dtype=np.float64).mean())) or 1.0
        mean = torch.from_numpy(self.X.mean(axis=0, dtype=np.float64))
        first = Standardised(mean, torch.full_like(mean, spread))
        body = MLP(self.X.shape[1], self.hidden, dropout=self.dropout, first=first)
        return Network(body, classes)


def folded(network: Any) -> Dense:
    """A trained `isthmus.fit.deep.network.Network` on an MLP, as arrays.

    Raises
    ------
    UsageError
        If a part of it is not dense, ReLU, dropout or the standardisation of columns.
    """
    from torch import nn

    from isthmus.fit.deep.bodies import MLP, Standardised
    from isthmus.fit.deep.chain import dense_of

    if not isinstance(network.body, MLP) or not isinstance(network.bottleneck, nn.Identity):
        raise UsageError("only a network of dense layers has a plain form")
    for part in (*network.body.dense, network.head):
        if not isinstance(part, nn.Linear | nn.ReLU | nn.Dropout | Standardised):
            raise UsageError(f"a {type(part).__name__} has no plain form")
    return dense_of([network.body, network.head])


def cooled(dense: Dense, temperature: float) -> Dense:
    """The same network with its scores divided by a temperature."""
    last = dense.matrices[-1] / np.float32(temperature), dense.offsets[-1] / np.float32(temperature)
    return Dense(dense.centre, (*dense.matrices[:-1], last[0]), (*dense.offsets[:-1], last[1]))


def _held_out(y: Array, seed: int) -> Array:
    """Positions of the rows that choose the temperature: a share of every class."""
    most = min(int(HELD_OUT * len(y)), ROWS_HELD_OUT)
    if most < 10:
        return np.empty(0, dtype=np.intp)
    rng = np.random.default_rng([seed, 17])
    share, found = most / len(y), []
    for name in np.unique(y):
        rows = rng.permutation(np.flatnonzero(y == name))
        found.append(rows[: int(share * len(rows))])  # a class of few rows keeps them all
    return np.sort(np.concatenate(found))


def _collapsed(codes: Array, usual: Array) -> tuple[Trouble, ...]:
    """A target that ended in one class, by the rule of `isthmus.fit.deep.diagnostics`."""
    from isthmus.fit.deep.diagnostics import collapsed

    shares = np.bincount(codes, minlength=len(usual)) / max(len(codes), 1)
    top = int(shares.argmax())
    if not collapsed(shares[top], usual[top], len(usual)):
        return ()
    reason = (
        f"one class takes {100 * shares[top]:.0f} % of the target rows, of the source rows "
        f"{100 * usual[top]:.0f} %"
    )
    return (Trouble("collapse", reason, "Look at the predictions, or use another method"),)
