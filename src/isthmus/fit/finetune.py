"""Layer 5: the scikit-learn face of deep training: fine-tune and adapt a network by `fit`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from isthmus.data.domains import source_domains, split_domains
from isthmus.errors import UsageError, need
from isthmus.types import Array

_AS_GIVEN: dict[str, Any] = {"allow_nd": True, "dtype": [np.float32, np.uint8]}
HELD_OUT = 0.2  # share of the labelled target rows that early stopping watches


class FineTunedClassifier(ClassifierMixin, BaseEstimator):
    """A network trained on the source, aligned with the target if asked.

    Rows are feature vectors (n, d) or images (n, h, w, c) or (n, 28, 28); rows at predict time
    are target rows.

    Parameters
    ----------
    network : None, str, callable or Network
        None: an MLP on standardised columns, or the small digit network for 28x28 images. A
        name (``timm:resnet18``): that pretrained body with a new head, for images of 0 ... 255.
        A callable gets the number of classes and returns a
        `isthmus.fit.deep.network.Network`; a Network is copied.
    method : None, str, Objective, Procedure, or a list of objectives
        None: labelled rows alone. ``"dann"``, ``"mcc"``, ``"shot"``, ... by file name in
        `isthmus.align`.
    trade_off : float, optional
        Weight of a method given by name; default: its own.
    strategy : str or Plan, default="full"
        ``full``, ``head-only``, ``top-k``, ``gradual``, ``layerwise``, ``lp-ft``, ``lora``,
        ``bias-only``; see `isthmus.fit.deep.strategy`.
    penalties : sequence
        Regularisers (`isthmus.fit.deep.regularize`).
    hidden : sequence of int, default=(256,)
        Of the MLP.
    dropout : float, default=0.0
        Of the MLP.
    epochs : int, default=20
    batch_size : int, default=64
        A smaller data set makes smaller batches.
    lr : float, default=1e-3
    weight_decay : float, default=1e-4
    optimizer : {"adamw", "adam", "sgd"}
    schedule : str, default="cosine"
    label_smoothing : float, default=0.0
    patience : int, optional
        Early stopping on a fifth of the labelled target rows (with fewer than ten of them, or
        without a target, on a fifth of the source rows).
    augment, mix : callable, optional
        See `isthmus.fit.deep.rows.Rows` and `isthmus.fit.deep.mixing`.
    settings : dict, optional
        More of `isthmus.fit.deep.settings.Settings`.
    diagnose : bool, default=False
        Figures of each epoch in `log_`; see `isthmus.fit.deep.diagnostics`.
    folder : path-like, optional
        Checkpoints: an interrupted `fit` goes on there.
    random_state : int, default=0

    Attributes
    ----------
    network_ : Network
    classes_ : ndarray
    log_ : list of dict
        One entry an epoch.
    """

    def __init__(
        self,
        network: Any = None,
        *,
        method: Any = None,
        trade_off: float | None = None,
        strategy: Any = "full",
        penalties: Sequence[Any] = (),
        hidden: Sequence[int] = (256,),
        dropout: float = 0.0,
        epochs: int = 20,
        batch_size: int = 64,
        lr: float = 1e-3,
        weight_decay: float = 1e-4,
        optimizer: str = "adamw",
        schedule: str = "cosine",
        label_smoothing: float = 0.0,
        patience: int | None = None,
        augment: Callable[[Any], Any] | None = None,
        mix: Any = None,
        settings: dict[str, Any] | None = None,
        diagnose: bool = False,
        folder: Any = None,
        random_state: int = 0,
    ) -> None:
        self.network, self.method, self.trade_off = network, method, trade_off
        self.strategy, self.penalties = strategy, penalties
        self.hidden, self.dropout = hidden, dropout
        self.epochs, self.batch_size, self.lr = epochs, batch_size, lr
        self.weight_decay, self.optimizer, self.schedule = weight_decay, optimizer, schedule
        self.label_smoothing, self.patience = label_smoothing, patience
        self.augment, self.mix, self.settings = augment, mix, settings
        self.diagnose, self.folder, self.random_state = diagnose, folder, random_state

    def fit(
        self, X: Any, y: Any, *, sample_domain: Any = None, target_labeled: Any = None
    ) -> FineTunedClassifier:
        """Train.

        Parameters
        ----------
        X : array of shape (n, ...)
            Rows of both domains; `isthmus.data.domains.stack_domains` builds them.
        y : array of shape (n,)
            Read on source rows, and on target rows where `target_labeled` is True.
        sample_domain : array of shape (n,), int, optional
            Source rows >= 0 (several numbers: several sources), target rows < 0. None: all are
            source rows, which is refused where a method needs a target.
        target_labeled : array of shape (n,), bool, optional

        Raises
        ------
        UsageError, DataError
        """
        need("torch", extra="deep")
        from isthmus.fit.deep.lora import merge_lora
        from isthmus.fit.deep.rows import Rows
        from isthmus.fit.deep.stages import adapt
        from isthmus.fit.deep.strategy import make_strategy

        X, y = self._checked_pair(X, y)
        Xt = labelled = None
        domains: Array | None = None
        if sample_domain is None:
            Xs, ys = X, y
            if self.method is not None:
                raise UsageError(
                    "an adaptation method needs sample_domain",
                    why="without it there are no target rows to adapt to",
                    remedy="Build the arrays with stack_domains(Xs, ys, Xt)",
                )
        else:
            parts = split_domains(X, y, sample_domain, target_labeled=target_labeled)
            Xs, ys, Xt = parts.Xs, parts.ys, parts.Xt
            domains = np.unique(source_domains(sample_domain), return_inverse=True)[1]
            if parts.labeled.any():
                labelled = (parts.Xt[parts.labeled], parts.yt)
        every = ys if labelled is None else np.concatenate([ys, labelled[1]])
        self.classes_ = np.unique(every)
        source = Rows(Xs, self._codes(ys), domains, transform=self.augment)
        known = None
        if labelled is not None:
            known = Rows(labelled[0], self._codes(labelled[1]), transform=self.augment)
        target = None if Xt is None else Rows(Xt, transform=self.augment)
        source, known, held_out = self._held_out(source, known)
        self.network_ = self._network(X, len(self.classes_))
        plan = self.strategy
        if isinstance(plan, str):
            plan = None if plan == "full" else make_strategy(plan)
        done = adapt(
            self.network_,
            self._method(),
            source=source,
            target=target,
            labelled=known,
            settings=self._settings(len(source)),
            plan=plan,
            watch=self._watch(source, target, held_out),
            folder=self.folder,
            label_smoothing=self.label_smoothing,
            penalties=tuple(self.penalties),
            mix=self.mix,
        )
        merge_lora(self.network_)  # what is served is a plain network
        self.log_ = done.lines
        self.n_iter_ = sum(stage.steps for stage in done.stages.values())
        return self

    def predict_proba(self, X: Any) -> Array:
        """(n, k) probabilities, columns as `classes_`."""
        from isthmus.fit.deep.diagnostics import softmax

        return softmax(self.decision_logits(X).astype(np.float64))

    def predict(self, X: Any) -> Array:
        """Class of each target row."""
        codes = self.decision_logits(X).argmax(axis=1)
        return np.asarray(self.classes_[codes])

    def decision_logits(self, X: Any) -> Array:
        """(n, k) outputs of the head, before softmax."""
        check_is_fitted(self)
        from isthmus.fit.deep.diagnostics import predict
        from isthmus.fit.deep.rows import Rows

        rows = Rows(self._checked(X))
        device = next(self.network_.parameters()).device
        return predict(self.network_, rows, device=device)[0]

    def _checked(self, X: Any) -> Array:
        """An array of float32 (uint8 stays), finite, of the width that was fitted."""
        checked: Array = validate_data(self, X, reset=False, **_AS_GIVEN)
        return checked

    def _checked_pair(self, X: Any, y: Any) -> tuple[Array, Array]:
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        X, y = validate_data(self, X, y, **_AS_GIVEN)
        check_classification_targets(y)
        return X, y

    def _codes(self, y: Array) -> Array:
        return np.searchsorted(self.classes_, y)

    def _settings(self, rows: int) -> Any:
        from isthmus.fit.deep.settings import Settings

        made = Settings(
            epochs=self.epochs,
            batch_size=min(self.batch_size, rows),
            lr=self.lr,
            weight_decay=self.weight_decay,
            optimizer=self.optimizer,
            schedule=self.schedule,
            patience=self.patience,
            seed=self.random_state,
        )
        return replace(made, **(self.settings or {}))

    def _method(self) -> Any:
        from isthmus.align.base import Objective, Procedure
        from isthmus.align.registry import find

        method = self.method
        if isinstance(method, str):
            options = {} if self.trade_off is None else {"trade_off": self.trade_off}
            method = find(method)(**options)
        if method is None or isinstance(method, Procedure):
            return method
        import copy

        # an objective is a module that `fit` builds: the caller's stays as it is
        return [copy.deepcopy(m) for m in ([method] if isinstance(method, Objective) else method)]

    def _network(self, X: Array, classes: int) -> Any:
        import copy

        import torch

        from isthmus.fit.deep import bodies
        from isthmus.fit.deep.network import Network
        from isthmus.fit.deep.seeds import counter_seed, own_randomness, set_seed

        with own_randomness(torch.device("cpu")):
            set_seed(counter_seed(self.random_state, 100))
            given = self.network
            if isinstance(given, torch.nn.Module):
                return copy.deepcopy(given)
            if isinstance(given, str):
                body, _ = bodies.backbone_body(given, size=int(X.shape[1]))
                return Network(body, classes)
            if callable(given):
                return given(classes)
            if X.ndim == 2:
                first = bodies.Standardised.of(X)
                body = bodies.MLP(X.shape[1], tuple(self.hidden), dropout=self.dropout, first=first)
                return Network(body, classes)
            if X.shape[1:] == (28, 28) or X.shape[1:] == (1, 28, 28):
                return bodies.digit_network(classes)
        raise UsageError(
            f"there is no usual network for rows of shape {X.shape[1:]}",
            remedy="Give one: network='timm:resnet18', or a callable that builds it",
        )

    def _held_out(self, source: Any, known: Any) -> tuple[Any, Any, Any]:
        """Rows for early stopping leave the training: of the target where it has enough."""
        if self.patience is None:
            return source, known, None
        from sklearn.model_selection import train_test_split

        of_target = known is not None and len(known) >= 10
        rows = known if of_target else source
        counts = np.bincount(rows.labels)
        apart = rows.labels if counts[counts > 0].min() >= 2 else None
        size = max(int(HELD_OUT * len(rows)), int((counts > 0).sum()) if apart is not None else 1)
        train, held = train_test_split(
            np.arange(len(rows)), test_size=size, stratify=apart, random_state=self.random_state
        )
        held_out, rest = rows.take(np.sort(held)), rows.take(np.sort(train))
        return (source, rest, held_out) if of_target else (rest, known, held_out)

    def _watch(self, source: Any, target: Any, held_out: Any) -> Any:
        if not self.diagnose and held_out is None:
            return None
        from isthmus.fit.deep.diagnostics import Diagnostics

        names = tuple(str(name) for name in self.classes_)
        if not self.diagnose:
            source = target = None
        place = self._settings(1).place
        return Diagnostics(
            source, target, held_out=held_out, classes=names, device=place, seed=self.random_state
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.non_deterministic = False
        return tags
