"""Layer 8: what `isthmus finetune` does: data, a network, a method; checkpoints and a score."""

from __future__ import annotations

import logging
import time as clock
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from isthmus import iofs
from isthmus.backbone import Store, load_backbone
from isthmus.backbone.weights import RANDOM
from isthmus.data.checks import allowed_codes
from isthmus.errors import UsageError
from isthmus.report.displays.training import save_plot
from isthmus.run import from_scratch, saved_start
from isthmus.run.case import MAX_BAD, posed
from isthmus.run.evidence import write_evidence
from isthmus.run.extract import extract
from isthmus.run.fine_tuned import (
    FineTuned,
    asked,
    between,
    epochs_done,
    novel_rows,
    row_counts,
)
from isthmus.run.network_evidence import neighbor_evidence
from isthmus.run.network_rows import TRAINABLE, feature_rows, raw_rows
from isthmus.run.network_served import chosen, proof_of, served_backbone, served_model
from isthmus.run.preflight import vetted
from isthmus.run.recipes import strategy_of, takes_recipe
from isthmus.run.record import Result, call_digest, claim_folder, clear_other, mark_running
from isthmus.run.standings import model_factory
from isthmus.run.training import check_kind, described, training_of
from isthmus.run.validation import apart, labelled_rows

logger = logging.getLogger(__name__)
Progress = Callable[[str, int, int], None]

METRICS, CHECKPOINTS, PLOT = "metrics.jsonl", "checkpoints", "training.png"
FROM_NOTHING = {"audio": "logmel:cnn"}  # what --on network trains where no backbone is named
RANDOM_WEIGHTS = "ISX017"
ELSEWHERE = ("overwrite", "say", "progress", "out", "workers")  # do not change what a run finds


@takes_recipe
def finetune(
    source: Any = None,
    target: Any = None,
    *,
    target_labels: Any = None,
    shots: int | str | None = None,
    test: Any = None,
    source_domain: str | None = None,
    target_domain: str | None = None,
    recipe: str | None = None,
    backbone: Any = None,
    weights: str | None = None,
    layer: str | None = None,
    pooling: str | None = None,
    size: int | None = None,
    allow_license: bool = False,
    start_from: str | Path | None = None,
    on: str = "features",
    method: str | None = None,
    trade_off: float | None = None,
    strategy: str = "full",
    stages: str = "joint",
    hidden: tuple[int, ...] | None = None,
    dropout: float = 0.0,
    epochs: int = 20,
    batch_size: int = 64,
    optimizer: str = "adamw",
    lr: float = 1e-3,
    weight_decay: float = 1e-4,
    schedule: str = "cosine",
    warmup: float = 0.0,
    label_smoothing: float = 0.0,
    clip: float | None = None,
    accumulate: int = 1,
    precision: str = "float32",
    ema: float = 0.0,
    mix: str = "none",
    penalty: tuple[str, ...] = (),
    blocks: int | None = None,
    rank: int | None = None,
    domain_norms: bool = False,
    patience: int | None = None,
    keep: str = "last",
    augment: str = "none",
    against_scratch: bool = False,
    device: str = "cpu",
    workers: int = 0,
    out: str | Path | None = None,
    overwrite: bool = False,
    seed: int = 0,
    max_bad: float | None = None,
    allow: Any = None,
    no_cache: bool = False,
    say: Callable[[str], None] = logger.info,
    progress: Progress | None = None,
    **reading: Any,
) -> FineTuned:
    """Train a network on the source, align it with the target if asked, score it once.

    Parameters
    ----------
    source, target, target_labels, shots, test, source_domain, target_domain, max_bad, allow
        As for `isthmus.transfer`; so are the checks at the start.
    recipe : str, optional
        A preset of the arguments below (`isthmus.run.recipes`); what is given beside it counts.
    backbone, weights, layer, pooling, size, allow_license
        The pretrained model.
    start_from : path-like, optional
        A saved dense network (``.h5``, ``.keras``, ``.safetensors``, ``.pt``) whose layers and
        weights the small network starts from, with ``on="features"``. Of images it sees the grey
        values (``pixels:28`` for 784 inputs) unless a backbone is named.
    on : {"features", "network"}
        ``features``: its features are computed once, a small network is trained on them.
        ``network``: the pretrained network itself is trained (images, texts, recordings). For
        recordings without a named backbone it is a small network that starts from nothing.
    method : str, optional
        ``dann``, ``mcc``, ``shot``, ...; None or ``none``: labelled rows alone.
    strategy : str
        See `isthmus.fit.deep.strategy`.
    stages : {"joint", "three-step"}
        See `isthmus.fit.finetune.FineTunedClassifier`.
    weight_decay, schedule, warmup, clip, accumulate, precision, ema
        As of `isthmus.fit.deep.settings.Settings`.
    mix : {"none", "mixup", "cutmix"}
        Rows that are mixtures of two; CutMix of images, with ``on="network"``.
    penalty : tuple of str
        Regularisers by name (`isthmus.fit.deep.regularize.registry`).
    blocks : int, optional
        How many blocks ``strategy="top-k"`` trains, counted from the head; default 2.
    rank : int, optional
        Of ``strategy="lora"``; default 8.
    domain_norms : bool, default=False
        Batch normalisation of each domain, with a method.
    hidden : tuple of int, optional
        Dense layers before the last one; default (256,) on features, none on a network.
    dropout : float
        After each of them.
    against_scratch : bool, default=False
        Train the same network from nothing as well, on the labelled target rows alone, and
        score both on the same rows; see `isthmus.run.from_scratch`.
    keep : {"last", "evidence"}
        Without `patience`: the weights of the last epoch, or those of the epoch after which near
        target rows agree most; no label of the target is read.
    augment : str
        A policy of `isthmus.fit.deep.augment.make_augment`, with ``on="network"``.
    out : path-like, optional
        The folder becomes a saved model, for `isthmus.load`, ``isthmus predict`` and
        ``isthmus report``; with checkpoints and ``metrics.jsonl``. The same call again goes on
        where it was interrupted.

    Raises
    ------
    UsageError, DataError, BackboneError
    """
    call = {name: value for name, value in locals().items() if name not in ELSEWHERE}
    from isthmus.fit.finetune import FineTunedClassifier

    start = clock.monotonic()
    plan = training_of(call)  # what cannot be trained is refused before anything is read
    bad, allowed = MAX_BAD if max_bad is None else max_bad, allowed_codes(allow)
    options = {name: value for name, value in reading.items() if value is not None}
    folder = claim_folder(out, call, overwrite=overwrite)
    clear_other(folder, call, CHECKPOINTS)
    case = posed(call, say=say)
    if case.task != "classification":
        raise UsageError(f"finetune trains classifiers, and this is {case.task}")
    kind = case.target.modality
    check_kind(call, kind)
    if against_scratch:
        from_scratch.check(kind, tested=case.test is not None)
    saved = None
    if start_from is not None:
        saved, backbone = saved_start.read(start_from, backbone, kind, on)
    if on == "network" and kind not in TRAINABLE:
        raise UsageError(
            f"a network of {kind} rows has no pretrained body to train",
            remedy="Use --on features",
        )
    bare = on == "network" and backbone is None and kind in FROM_NOTHING
    if bare:
        backbone, weights = FROM_NOTHING[kind], "random"
        say(f"--- network\n{backbone}, trained from nothing: no backbone was named")
    strategy, thawed = strategy_of(recipe, strategy, pretrained=not bare)
    if thawed:
        say(thawed)
        plan = training_of(call | {"strategy": strategy})
    model: Any = load_backbone(
        backbone,
        modality=kind,
        weights=weights,
        layer=layer,
        pooling=pooling,
        size=size,
        allow_license=allow_license,
    )
    hidden = hidden if hidden is not None else () if on == "network" else (256,)
    network = _on(model, hidden, dropout, weights, seed) if on == "network" else None
    mark_running(folder, call)
    store = None if no_cache else Store()
    look: dict[str, Any] = {"store": store, "max_bad": bad, "seed": seed}
    spoken = (RANDOM_WEIGHTS,) if bare else ()  # said above, in plain words
    features, found = vetted(case, model, **look, allowed=allowed, said=spoken, progress=progress)
    base, (taught, watched) = model, apart(features)
    rows = feature_rows(taught) if network is None else raw_rows(taught, model, progress)
    classifier = FineTunedClassifier(
        network
        if saved is None
        else saved_start.builder(saved, rows.X.shape[1], dropout=dropout, seed=seed, say=say),
        method=plan.method,
        trade_off=trade_off,
        strategy=plan.strategy,
        penalties=plan.penalties,
        domain_norms=domain_norms,
        stages=stages,
        hidden=hidden,
        dropout=dropout,
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer,
        lr=lr,
        weight_decay=weight_decay,
        schedule=schedule,
        label_smoothing=label_smoothing,
        patience=patience,
        mix=plan.mix,
        augment=None if network is None else _augment(augment, model),
        settings=plan.settings,
        evidence=None if keep == "last" else neighbor_evidence(taught, seed=seed),
        diagnose=True,
        folder=None if folder is None else folder / CHECKPOINTS,
        random_state=seed,
    )
    held, watching = None, ""
    if watched is not None:
        raw = None if network is None else model
        held = labelled_rows(watched, taught, raw, length=rows.length)
        watching = f"{len(held[1])} validation rows are watched and not trained on."
        say(watching)
    classifier.fit(
        rows.X,
        rows.y,
        sample_domain=rows.sample_domain,
        target_labeled=rows.target_labeled,
        validation=held,
        ids=rows.ids,
        on_step=None if progress is None else partial(progress, "training"),
    )
    others = {}
    if against_scratch:
        say(f"--- {from_scratch.NAME}\nthe same network on labelled rows alone")
        others[from_scratch.NAME] = from_scratch.answer(
            case,
            taught,
            base,
            classifier,
            validation=watched,
            saved=saved,
            folder=None if folder is None else folder / CHECKPOINTS / "scratch",
        )
    spent = clock.monotonic() - start
    trained = classifier.network_.cpu()
    known = [str(name) for name in classifier.classes_]
    served = served_model(trained, case.classes, known, body=network is None)
    if network is not None:
        model = served_backbone(model, trained, length=rows.length)
        features = extract(case, model, **look | {"store": None}, progress=progress)
    name = f"{plan.method or 'labelled rows alone'} with {strategy}"
    choice = chosen(served, features, method=name, seconds=spent)
    proof = proof_of(case, features, choice, seed=seed, others=others)
    settings = {
        "command": "finetune", "on": on, 
        **described(call | {"strategy": strategy}, plan, asked(call, finetune)),
        "recipe": recipe, "seed": seed,
        "hidden": ",".join(map(str, hidden)) or "none",
        "max_bad": bad, "allow": ",".join(allowed) or None, **options,
    }  # fmt: skip
    result = Result.build(
        case,
        features,
        choice,
        proof,
        settings=settings,
        call=call_digest(call),
        seconds=clock.monotonic() - start,
        findings=found,
        notes=tuple(note for note in (thawed, watching, novel_rows(classifier, rows)) if note),
    )
    result.results.update(
        {
            "method": plan.method or "labelled rows alone",
            "strategy": strategy,
            "epochs": epochs,
            "trained_on": f"{'the network' if on == 'network' else 'features of'} {model.name}",
            "epochs_done": epochs_done(classifier.log_),
            "rows": row_counts(features, taught),
            "score": result.results["proof"]["metrics"],
            "log": classifier.log_,
            "recipe": recipe,
            "between": between(classifier),
        }
    )
    proba = served.predict_proba(features.target.X)
    done = FineTuned(
        classifier,
        result,
        features.target.samples.ids,
        served.predict(features.target.X),
        np.asarray(proba),
    )
    if folder is not None:
        lines = b"".join(iofs.canonical_json(line) + b"\n" for line in classifier.log_)
        iofs.write_bytes(folder / METRICS, lines)
        save_plot(folder / PLOT, classifier.log_)
        result.save(folder)
        new_model = model_factory(case, head=None, seed=seed)
        write_evidence(
            folder,
            case,
            features,
            choice,
            proof,
            new_model,
            call=asked(call, finetune),
            seed=seed,
            spent=spent,
        )
        say(f"Saved in {folder}")
    return done


def _on(model: Any, hidden: tuple[int, ...], dropout: float, weights: str | None, seed: int) -> Any:
    """Builds the network on a pretrained body once the number of classes is known."""
    from isthmus.fit.deep.bodies import body_of

    if weights == RANDOM and model.modality == "image":
        body = from_scratch.anew(model, seed=seed)  # drawn as a network that is to be trained
    else:
        body = body_of(model)
    return lambda classes: from_scratch.build(body, classes, hidden=hidden, dropout=dropout)


def _augment(policy: str, model: Any) -> Any:
    from isthmus.fit.deep.augment import make_augment

    return make_augment(policy, model)
