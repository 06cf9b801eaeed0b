"""Layer 5: the scikit-learn face of deep training: fine-tune and adapt a network by `fit`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from isthmus.errors import DataError, UsageError, need
from isthmus.types import Array


class FineTunedClassifier(ClassifierMixin, BaseEstimator):
    """A network trained on the source, aligned with the target if asked.

    Rows are feature vectors (n, d), images (n, h, w, c) or (n, 28, 28), or texts as token ids and
    their mask (n, 2, L) in int64; rows at predict time are target rows.

    Parameters
    ----------
    network : None, str, callable or Network
        None: an MLP on standardised columns, or the small digit network for 28x28 images. A
        name (``timm:resnet18``): that pretrained body with a new head, for images of 0 ... 255.
        A callable gets the number of classes and returns a
        `isthmus.fit.deep.network.Network`; a Network is copied.
    method : None, str, Objective, Procedure, or a list of names and objectives
        None: labelled rows alone. ``"dann"``, ``"mcc"``, ``"shot"``, ... by file name in
        `isthmus.align`, with the settings for features where the network is an MLP. What is given
        is copied. ``"adabn"``, ``"tent"``, ``"t3a"``: labelled rows alone, then the target rows
        meet the trained network (`isthmus.align.after_training`).
    trade_off : float, optional
        Weight of a method given by its name; default: its own.
    strategy : str or Plan, default="full"
        ``full``, ``head-only``, ``top-k``, ``gradual``, ``layerwise``, ``lp-ft``, ``lora``,
        ``bias-only``; see `isthmus.fit.deep.strategy`.
    penalties : str, penalty, or sequence of them
        Regularisers by name (``"l2-sp"``, ``"bss"``, ...) or made
        (`isthmus.fit.deep.regularize`).
    domain_norms : bool, default=False
        Batch normalisation of each domain while an objective aligns them; the target's is left
        (`isthmus.align.domain_batch_norm`).
    hidden : int or sequence of int, default=(256,)
        Of the MLP. One layer can bend little, so that a method neither gains nor loses much; two,
        ``(64, 64)``, give it room: two moons turned by 35 degrees +9 to +13 points over
        source-only, halves of one table with other class shares -2 to -33 (docs/log.md).
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
    stages : {"joint", "three-step"}, default="joint"
        ``joint``: source rows and labelled target rows train together. ``three-step``: train on
        the source, see what it is worth on the labelled target rows, then go on with those rows
        alone at a tenth of the rate; see `isthmus.fit.deep.stages.three_steps`.
    augment, mix : callable, optional
        See `isthmus.fit.deep.rows.Rows` and `isthmus.fit.deep.mixing`. `augment` also makes the
        views of target rows that ``"fixmatch"`` and ``"mean-teacher"`` compare.
    settings : dict, optional
        More of `isthmus.fit.deep.settings.Settings`.
    evidence : callable, optional
        ``evidence(P) -> float or None`` of the probabilities of all unlabelled target rows, label
        free: the weights of the epoch with the most are kept. Default: the last ones.
    diagnose : bool, default=False
        Figures of each epoch in `log_`; see `isthmus.fit.deep.diagnostics`.
    folder : path-like, optional
        Checkpoints: an interrupted `fit` goes on there.
    random_state : int or None, default=0
        None: another seed in every `fit`.

    Attributes
    ----------
    network_ : Network
        With `isthmus.align.domain_batch_norm`: what is left is the target's.
    objectives_ : list of Objective
        As they were trained; empty without any.
    seed_ : int
    classes_ : ndarray
    log_ : list of dict
        One entry an epoch.
    between_ : dict
        With three steps: ``accuracy`` of the source's network on the labelled target rows.
    """

    def __init__(
        self,
        network: Any = None,
        *,
        method: Any = None,
        trade_off: float | None = None,
        strategy: Any = "full",
        penalties: Any = (),
        domain_norms: bool = False,
        hidden: int | Sequence[int] = (256,),
        dropout: float = 0.0,
        epochs: int = 20,
        batch_size: int = 64,
        lr: float = 1e-3,
        weight_decay: float = 1e-4,
        optimizer: str = "adamw",
        schedule: str = "cosine",
        label_smoothing: float = 0.0,
        patience: int | None = None,
        stages: str = "joint",
        augment: Callable[[Any], Any] | None = None,
        mix: Any = None,
        settings: dict[str, Any] | None = None,
        evidence: Callable[[Array], float | None] | None = None,
        diagnose: bool = False,
        folder: Any = None,
        random_state: int | None = 0,
    ) -> None:
        self.network, self.method, self.trade_off = network, method, trade_off
        self.strategy, self.penalties, self.domain_norms = strategy, penalties, domain_norms
        self.hidden, self.dropout = hidden, dropout
        self.epochs, self.batch_size, self.lr = epochs, batch_size, lr
        self.weight_decay, self.optimizer, self.schedule = weight_decay, optimizer, schedule
        self.label_smoothing, self.patience, self.stages = label_smoothing, patience, stages
        self.augment, self.mix, self.settings = augment, mix, settings
        self.evidence = evidence
        self.diagnose, self.folder, self.random_state = diagnose, folder, random_state

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        sample_domain: Any = None,
        target_labeled: Any = None,
        validation: tuple[Any, Any] | None = None,
        ids: Any = None,
        on_step: Callable[[int, int], None] | None = None,
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
            source rows, which is refused where a method needs a target. Without source rows the
            labelled target rows take their place.
        target_labeled : array of shape (n,), bool, optional
        validation : (array, array), optional
            Rows and labels that are watched each epoch and not trained on. With `patience` they
            decide when to stop; otherwise they only appear in `log_`.
        ids : array of shape (n,), optional
            What messages call the rows; default their positions in `X`.
        on_step : callable, optional
            ``on_step(done, total)`` after each step of a stage.

        Raises
        ------
        UsageError, DataError
        """
        need("torch", extra="deep")
        from isthmus.align.domain_batch_norm import domains_of, merge_batch_norm, swap_batch_norm
        from isthmus.fit.deep.held_out import hold_out
        from isthmus.fit.deep.lora import merge_lora
        from isthmus.fit.deep.regularize.registry import make_penalties
        from isthmus.fit.deep.sides import readable_labels, sides_of, stacked_inputs
        from isthmus.fit.deep.strategy import make_strategy
        from isthmus.fit.deep.usual import check_classes, network_for

        X, y = self._checked_pair(X, readable_labels(y, sample_domain, target_labeled))
        if sample_domain is None and self.method is not None:
            raise UsageError(
                "an adaptation method needs sample_domain",
                why="without it there are no target rows to adapt to",
                remedy="Build the arrays with stack_domains(Xs, ys, Xt)",
            )
        named = None if ids is None else np.asarray(ids, dtype=object)
        if named is not None and named.shape != (len(X),):
            raise DataError(f"ids of shape {named.shape} for {len(X)} rows")
        sides = sides_of(X, y, sample_domain, target_labeled, augment=self.augment, ids=named)
        self.classes_ = sides.classes
        source: Any
        source, known, target = sides.source, sides.known, sides.target
        drawn = np.random.default_rng().integers(2**31) if self.random_state is None else None
        self.seed_ = int(self.random_state if drawn is None else drawn)  # type: ignore[arg-type]
        held_out = None if validation is None else self._validation(*validation)
        of_source = False  # whether the held-out rows are
        if held_out is None and self.patience is not None:
            source, known, held_out = hold_out(source, known, seed=self.seed_)
            of_source = known is sides.known and not sides.source_is_target
        # without a method no unlabelled row is read
        plain = X.ndim == 2 and self.method is None
        seen = stacked_inputs(sides.source, sides.known) if plain else X
        self.network_ = network_for(
            self.network,
            X,
            len(self.classes_),
            seen=seen,
            hidden=self.hidden,
            dropout=self.dropout,
            seed=self.seed_,
        )
        check_classes(self.network_, len(self.classes_))
        if self.domain_norms and not domains_of(self.network_):
            domains = 1 if source.domains is None else len(np.unique(source.domains))
            swap_batch_norm(self.network_, num_domains=domains + 1)
        method = self._method()
        self.objectives_ = method if isinstance(method, list) else []
        names = getattr(method, "views", ())
        if names and self.augment is not None and target is not None:
            # the views are changed, the rows themselves are not
            target = replace(target, transform=None, views=dict.fromkeys(names, self.augment))
        plan = self.strategy
        if isinstance(plan, str):
            plan = None if plan == "full" else make_strategy(plan)
        done = self._trained(
            method,
            source,
            target,
            known,
            plan=plan,
            watch=self._watch(source, target, held_out),
            target_watch=self._watch(None, target, None if of_source else held_out),
            folder=self.folder,
            label_smoothing=self.label_smoothing,
            penalties=make_penalties(self.penalties),
            mix=self.mix,
            on_step=on_step,
        )
        merge_lora(self.network_)  # what is served is a plain network
        if count := domains_of(self.network_):
            merge_batch_norm(self.network_, count - 1)
        self.log_ = done.lines
        self.n_iter_ = sum(stage.steps for stage in done.stages.values())
        return self

    def _trained(
        self, method: Any, source: Any, target: Any, known: Any, target_watch: Any, **options: Any
    ) -> Any:
        """All stages, one after the other."""
        from isthmus.fit.deep.diagnostics import predict, score
        from isthmus.fit.deep.stages import adapt, three_steps

        settings, self.between_ = self._settings(len(source)), {}
        if self.stages == "joint":
            return adapt(
                self.network_,
                method,
                source=source,
                target=target,
                labelled=known,
                settings=settings,
                target_watch=target_watch,
                **options,
            )
        if self.stages != "three-step":
            raise UsageError(f"stages={self.stages!r}", remedy="Use joint or three-step")
        if known is None or self.method is not None:
            lacks = "there are none" if known is None else f"the method is {self.method!r}"
            raise UsageError(
                "three steps need a source, labelled target rows and no adaptation method",
                why=f"the third step is trained on the labelled target rows alone; {lacks}",
                remedy="Use stages='joint', or "
                + ("label some target rows" if known is None else "leave the method out"),
            )

        def worth(network: Any) -> dict[str, float]:
            logits, _ = predict(network, known, device=settings.place)
            right = score(logits, known.labels, "classification")
            return {"accuracy": right, "rows": len(known)}

        done, between = three_steps(
            self.network_,
            source=source,
            labelled=known,
            settings=settings,
            target_settings=replace(
                settings, lr=settings.lr / 10, batch_size=min(settings.batch_size, len(known))
            ),
            score=worth,
            **options,
        )
        self.between_ = dict(between)
        return done

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

    def novelty(self, X: Any) -> Array:
        """(n,) 0 ... 1, above one half: of no class of the source; needs ``method="osbp"``.

        Raises
        ------
        UsageError
            If no objective knows of such rows.
        """
        check_is_fitted(self)
        knowing = [o for o in self.objectives_ if hasattr(o, "unknown")]
        if not knowing:
            raise UsageError(
                f"method={self.method!r} knows of no class but the source's",
                remedy="Use method='osbp', or isthmus transfer --classes open",
            )
        from isthmus.fit.deep.diagnostics import predict
        from isthmus.fit.deep.rows import Rows

        device = next(self.network_.parameters()).device
        rows = Rows(self._checked(X))
        _, features = predict(self.network_, rows, device=device, features=True)
        import torch

        found: Array = knowing[0].unknown(torch.from_numpy(features).to(device)).cpu().numpy()
        return found

    def _checked(self, X: Any) -> Array:
        """An array of float32 (uint8 stays), finite, of the width that was fitted."""
        checked: Array = validate_data(self, X, reset=False, **_as_given(X))
        return checked

    def _checked_pair(self, X: Any, y: Any) -> tuple[Array, Array]:
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        X, y = validate_data(self, X, y, **_as_given(X))
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
            keep="last" if self.evidence is None else "evidence",
            seed=self.seed_,
        )
        more = self.settings or {}
        if strange := sorted(set(more) - {f.name for f in fields(made)}):
            raise UsageError(
                f"no setting {strange[0]!r}",
                remedy=f"It has {', '.join(f.name for f in fields(made))}",
            )
        made = replace(made, **more)
        even = made.batch_size - made.batch_size % max(1, made.accumulate)
        if "batch_size" not in more and made.batch_size == rows and even:
            made = replace(made, batch_size=even)  # few rows: as many as the parts divide
        return made

    def _method(self) -> Any:
        from isthmus.align.registry import ready
        from isthmus.fit.deep.bodies import MLP

        options = {} if self.trade_off is None else {"trade_off": self.trade_off}
        small = isinstance(self.network_.body, MLP)
        return ready(self.method, on_features=small, **options)

    def _validation(self, X: Any, y: Any) -> Any:
        from isthmus.fit.deep.rows import Rows

        y = np.asarray(y)
        strange = sorted(set(y.tolist()) - set(self.classes_.tolist()))
        if strange:
            raise DataError(
                f"the validation rows have classes that no training row has: {strange[:5]}",
                remedy="Leave those rows out, or train on some of them",
            )
        return Rows(self._checked(X), self._codes(y))

    def _watch(self, source: Any, target: Any, held_out: Any) -> Any:
        if not self.diagnose and held_out is None and self.evidence is None:
            return None
        from isthmus.fit.deep.diagnostics import Diagnostics

        return Diagnostics(
            source if self.diagnose else None,
            target if self.diagnose or self.evidence is not None else None,
            held_out=held_out,
            evidence=self.evidence,
            classes=tuple(str(name) for name in self.classes_),
            device=self._settings(1).place,
            seed=self.seed_,
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.non_deterministic = False
        return tags


def _as_given(X: Any) -> dict[str, Any]:
    """How rows are checked: float32, but pixels stay uint8 and token ids int64."""
    tokens = getattr(X, "ndim", 0) == 3 and getattr(X, "dtype", None) == np.int64
    return {"allow_nd": True, "dtype": np.int64 if tokens else [np.float32, np.uint8]}
