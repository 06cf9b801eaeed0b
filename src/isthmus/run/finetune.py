"""Layer 8: what `isthmus finetune` does: data, a network, a method; checkpoints and a score."""

from __future__ import annotations

import logging
import time as clock
from collections.abc import Callable
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
from isthmus.run.fine_tuned import FineTuned, asked, epochs_done, row_counts
from isthmus.run.network_evidence import neighbor_evidence
from isthmus.run.network_rows import TRAINABLE, feature_rows, raw_rows
from isthmus.run.network_served import chosen, proof_of, served_backbone, served_model
from isthmus.run.preflight import vetted
from isthmus.run.recipes import takes_recipe
from isthmus.run.record import Result, call_digest, claim_folder, clear_other, mark_running
from isthmus.run.standings import model_factory
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
    from isthmus.align.registry import ready
    from isthmus.fit.deep.settings import Settings
    from isthmus.fit.deep.strategy import make_strategy
    from isthmus.fit.finetune import FineTunedClassifier

    start = clock.monotonic()
    if on not in ("features", "network"):
        raise UsageError(f"on={on!r}", remedy="Use features or network")
    if augment != "none" and on == "features":
        raise UsageError(
            "features cannot be augmented", remedy="Use --on network, or --augment none"
        )
    if keep not in ("last", "evidence") or (keep == "evidence" and patience is not None):
        raise UsageError(
            f"keep={keep!r}" + (" with patience" if patience is not None else ""),
            why="patience keeps the epoch that is best on held-out rows" if patience else "",
            remedy="Use keep last or evidence, or patience alone",
        )
    method = None if method in (None, "none") else method
    # what cannot be trained is refused before anything is read
    weight: dict[str, Any] = {} if trade_off is None else {"trade_off": trade_off}
    if method is None and weight:
        raise UsageError(
            f"--lambda {trade_off} weighs an alignment method, and there is none",
            remedy="Add --method NAME, or leave --lambda out",
        )
    ready(method, **weight)
    make_strategy(strategy)
    Settings(
        epochs=epochs, batch_size=batch_size, lr=lr, optimizer=optimizer, patience=patience,
        workers=workers, device=device,
    ).check()  # fmt: skip
    bad, allowed = MAX_BAD if max_bad is None else max_bad, allowed_codes(allow)
    options = {name: value for name, value in reading.items() if value is not None}
    folder = claim_folder(out, call, overwrite=overwrite)
    clear_other(folder, call, CHECKPOINTS)
    case = posed(call, say=say)
    if case.task != "classification":
        raise UsageError(f"finetune trains classifiers, and this is {case.task}")
    kind = case.target.modality
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
        method=method,
        trade_off=trade_off,
        strategy=strategy,
        stages=stages,
        hidden=hidden,
        dropout=dropout,
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer,
        lr=lr,
        patience=patience,
        augment=None if network is None else _augment(augment, model),
        settings={"workers": workers, "device": device},
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
    name = f"{method or 'labelled rows alone'} with {strategy}"
    choice = chosen(served, features, method=name, seconds=spent)
    proof = proof_of(case, features, choice, seed=seed, others=others)
    settings = {
        "command": "finetune", "on": on, "method": method or "none", "strategy": strategy,
        "epochs": epochs, "batch_size": batch_size, "lr": lr, "augment": augment, "seed": seed,
        "keep": keep if patience is None else "held-out rows", "recipe": recipe,
        "stages": stages, "hidden": ",".join(map(str, hidden)) or "none", "dropout": dropout,
        "optimizer": optimizer,
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
        notes=(watching,) if watching else (),
    )
    result.results.update(
        {
            "method": method or "labelled rows alone",
            "strategy": strategy,
            "epochs": epochs,
            "trained_on": f"{'the network' if on == 'network' else 'features of'} {model.name}",
            "epochs_done": epochs_done(classifier.log_),
            "rows": row_counts(features, taught),
            "score": result.results["proof"]["metrics"],
            "log": classifier.log_,
            "recipe": recipe,
            "between": classifier.between_,
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
