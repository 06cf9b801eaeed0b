"""Layer 8: what `isthmus finetune` does: data, a network, a method; checkpoints and a score."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from isthmus import iofs
from isthmus.data.samples import Problem, Samples
from isthmus.errors import DataError, IsthmusError, UsageError
from isthmus.run.case import Case, pose
from isthmus.run.record import RUN, call_digest, claim_folder, mark_running
from isthmus.types import Array

logger = logging.getLogger(__name__)
Progress = Callable[[str, int, int], None]

RESULTS, PREDICTIONS, METRICS, NETWORK = (
    "results.json", "predictions.csv", "metrics.jsonl", "network",
)  # fmt: skip
MAX_PIXELS = 4 << 30  # bytes of decoded images that are held in memory


@dataclass(frozen=True)
class FineTuned:
    """What came of `finetune`.

    Parameters
    ----------
    classifier : FineTunedClassifier
    results : dict
        JSON-ready.
    ids : tuple of str
        Of the target rows, in the order of `predicted` and `proba`.
    """

    classifier: Any
    results: dict[str, Any]
    ids: tuple[str, ...]
    predicted: Array
    proba: Array

    def text(self) -> str:
        """What the command prints."""
        r = self.results
        lines = [
            f"{r['method']} with {r['strategy']}, {r['epochs']} epochs on {r['trained_on']}: "
            f"{r['rows']['source']} source rows, {r['rows']['labelled']} labelled and "
            f"{r['rows']['target']} unlabelled target rows"
        ]
        accuracy = r["score"].get("accuracy")
        if accuracy is not None:
            low, high = 100 * accuracy["low"], 100 * accuracy["high"]
            lines.append(
                f"accuracy on the target: {100 * accuracy['value']:.1f} % [{low:.1f}, {high:.1f}]"
            )
        else:
            lines.append("The target has no labels to score with.")
        lines += [f"note: {note}" for note in r["notes"]]
        return "\n".join(lines)


def finetune(
    source: Any = None,
    target: Any = None,
    *,
    target_labels: Any = None,
    shots: int | str | None = None,
    test: Any = None,
    source_domain: str | None = None,
    target_domain: str | None = None,
    backbone: Any = None,
    weights: str | None = None,
    layer: str | None = None,
    pooling: str | None = None,
    allow_license: bool = False,
    on: str = "features",
    method: str | None = None,
    trade_off: float | None = None,
    strategy: str = "full",
    hidden: tuple[int, ...] = (256,),
    epochs: int = 20,
    batch_size: int = 64,
    lr: float = 1e-3,
    patience: int | None = None,
    augment: str = "none",
    device: str = "cpu",
    workers: int = 0,
    out: str | Path | None = None,
    overwrite: bool = False,
    seed: int = 0,
    max_bad: float | None = None,
    no_cache: bool = False,
    say: Callable[[str], None] = logger.info,
    progress: Progress | None = None,
    **reading: Any,
) -> FineTuned:
    """Train a network on the source, align it with the target if asked, score it once.

    Parameters
    ----------
    source, target, target_labels, shots, test, source_domain, target_domain
        As for `isthmus.transfer`.
    backbone, weights, layer, pooling, allow_license
        The pretrained model.
    on : {"features", "network"}
        ``features``: its features are computed once, a small network is trained on them.
        ``network``: the pretrained network itself is trained (images).
    method : str, optional
        ``dann``, ``mcc``, ``shot``, ...; None or ``none``: labelled rows alone.
    strategy : str
        See `isthmus.fit.deep.strategy`.
    augment : str
        A policy of `isthmus.fit.deep.augment_images.ImageAugment`, with ``on="network"``.
    out : path-like, optional
        Checkpoints, ``metrics.jsonl``, the network (safetensors and JSON), ``results.json``,
        ``predictions.csv``. The same call again goes on where it was interrupted.

    Raises
    ------
    UsageError, DataError, BackboneError
    """
    from isthmus.align.registry import find
    from isthmus.backbone import load_backbone
    from isthmus.evaluate.metrics import as_json, score
    from isthmus.fit.deep.strategy import make_strategy
    from isthmus.fit.finetune import FineTunedClassifier

    skipped = ("overwrite", "say", "progress", "out", "workers")
    call = {name: value for name, value in locals().items() if name not in skipped}
    if on not in ("features", "network"):
        raise UsageError(f"on={on!r}", remedy="Use features or network")
    method = None if method in (None, "none") else method
    if method is not None:
        find(method)  # an unknown name is refused before anything is read
    make_strategy(strategy)
    bad = 0.01 if max_bad is None else max_bad
    options = {name: value for name, value in reading.items() if value is not None}
    folder = claim_folder(out, call, overwrite=overwrite)
    case = pose(
        source,
        target,
        target_labels=target_labels,
        shots=shots,
        test=test,
        source_domain=source_domain,
        target_domain=target_domain,
        seed=seed,
        options={**options, "max_bad": bad},
        say=say,
    )
    if case.task != "classification":
        raise UsageError(f"finetune trains classifiers, and this is {case.task}")
    mark_running(folder, call)
    known: dict[str, Any] = {"weights": weights, "layer": layer, "pooling": pooling}
    if on == "network":
        if case.target.modality != "image":
            raise UsageError(
                f"the network itself can be trained for images, not for {case.target.modality}",
                remedy="Use --on features",
            )
        from isthmus.fit.deep.bodies import backbone_body

        body, model = backbone_body(backbone, allow_license=allow_license, **known)
        parts = _pixels(case, model, bad, progress)
        network: Any = _WithHead(body)
    else:
        model = load_backbone(
            backbone, modality=case.target.modality, allow_license=allow_license, **known
        )
        parts = _features(case, model, no_cache, bad, seed, progress)
        network = None
    X, y, sample_domain, marked = _stacked(parts)
    classifier = FineTunedClassifier(
        network,
        method=method,
        trade_off=trade_off,
        strategy=strategy,
        hidden=hidden,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        patience=patience,
        augment=_augment(augment) if on == "network" else None,
        settings={"workers": workers, "device": device},
        diagnose=True,
        folder=None if folder is None else folder / "checkpoints",
        random_state=seed,
    )
    classifier.fit(X, y, sample_domain=sample_domain, target_labeled=marked)
    proba = classifier.predict_proba(parts["target"][1])
    predicted = classifier.classes_[proba.argmax(axis=1)]
    figures: dict[str, Any] = {}
    if case.sealed is not None and "test" in parts:
        samples, Z = parts["test"]
        assert case.test is not None
        place = {row_id: k for k, row_id in enumerate(case.test.ids)}
        rows = np.array([place[row_id] for row_id in samples.ids])
        own = classifier.predict_proba(Z)
        figures = as_json(
            score(
                case.sealed.take(rows),
                predicted=classifier.classes_[own.argmax(axis=1)],
                proba=own,
                classes=tuple(map(str, classifier.classes_)),
                task="classification",
                groups=samples.groups,
                random_state=seed,
                reason="score of the fine-tuned network",
            )
        )
    results = {
        "method": method or "labelled rows alone",
        "strategy": strategy,
        "epochs": epochs,
        "trained_on": f"{'the network' if on == 'network' else 'features of'} {model.name}",
        "classes": [str(name) for name in classifier.classes_],
        "rows": {
            name: len(parts[name][0]) if name in parts else 0
            for name in ("source", "labelled", "target", "test")
        },
        "score": figures,
        "log": classifier.log_,
        "notes": list(case.notes),
    }
    done = FineTuned(classifier, results, parts["target"][0].ids, predicted, proba)
    if folder is not None:
        _save(folder, done, model, on)
        iofs.write_json(folder / RUN, {"status": "done", "call": call_digest(call)})
        say(f"Saved in {folder}")
    return done


class _WithHead:
    """Builds the network on a pretrained body once the number of classes is known."""

    def __init__(self, body: Any) -> None:
        self.body = body

    def __call__(self, classes: int) -> Any:
        from isthmus.fit.deep.network import Network

        return Network(self.body, classes)


def _features(
    case: Case, model: Any, no_cache: bool, bad: float, seed: int, progress: Progress | None
) -> dict[str, tuple[Samples, Array]]:
    from isthmus.backbone import Store
    from isthmus.run.extract import extract

    store = None if no_cache else Store()
    got = extract(case, model, store=store, max_bad=bad, seed=seed, progress=progress)
    parts = {
        "source": got.source, "labelled": got.labelled, "target": got.target, "test": got.test,
    }  # fmt: skip
    return {
        name: (part.samples, np.asarray(part.X, dtype=np.float32))
        for name, part in parts.items()
        if part is not None
    }


def _pixels(
    case: Case, model: Any, bad: float, progress: Progress | None
) -> dict[str, tuple[Samples, Array]]:
    """Decoded and resized images of every part, uint8 (n, h, w, 3)."""
    from isthmus.data.quarantine import check_bad_share

    found: dict[str, tuple[Samples, Array]] = {}
    problems: list[Problem] = []
    seen = 0
    for name in ("source", "labelled", "target", "test"):
        samples: Samples | None = getattr(case, name)
        if samples is None:
            continue
        if name == "test" and samples.ids == case.target.ids and "target" in found:
            found[name] = found["target"]
            continue
        made, rows = [], []
        for row in range(len(samples)):
            try:
                made.append(np.asarray(model.preprocess(samples.items[row])))
                rows.append(row)
            except IsthmusError as error:
                problems.append(Problem(samples.ids[row], error.what, error.remedy))
            if made and len(made) * made[0].nbytes > MAX_PIXELS:
                raise DataError(
                    f"the images of the {name} do not fit into memory",
                    remedy="Train on features (--on features), or give fewer images",
                )
            if progress is not None:
                progress(name, row + 1, len(samples))
        seen += len(samples)
        if not made:
            raise DataError(f"no image of the {name} could be read", where=samples.origin)
        found[name] = (samples.take(np.array(rows)), np.stack(made))
    check_bad_share(problems, seen, max_bad=bad)
    return found


def _stacked(
    parts: dict[str, tuple[Samples, Array]],
) -> tuple[Array, Array, Array, Array]:
    """X, y, sample_domain, target_labeled of all training rows; several sources are numbered."""
    X, y, domain, marked = [], [], [], []
    for name in ("source", "labelled", "target"):
        if name not in parts:
            continue
        samples, Z = parts[name]
        X.append(Z)
        fill = np.full(len(Z), "", dtype=object)
        y.append(fill if name == "target" else np.asarray(samples.labels, dtype=object))
        ids = np.full(len(Z), -1)
        if name == "source":
            ids = np.zeros(len(Z), dtype=np.int64)
            if samples.domain is not None:
                ids = np.unique(samples.domain.astype(str), return_inverse=True)[1]
        domain.append(ids)
        marked.append(np.full(len(Z), name == "labelled"))
    return (
        np.concatenate(X),
        np.concatenate(y).astype(str),
        np.concatenate(domain).astype(np.int64),
        np.concatenate(marked),
    )


def _augment(policy: str) -> Any:
    if policy == "none":
        return None
    from isthmus.fit.deep.augment_images import ImageAugment

    return ImageAugment(policy)


def _save(folder: Path, done: FineTuned, model: Any, on: str) -> None:
    import pandas as pd

    from isthmus.fit.deep.saved import save_network
    from isthmus.serve.writers import PROBABILITY, frame_to_csv

    classes = [str(name) for name in done.classifier.classes_]
    facts = {
        "on": on,
        "classes": classes,
        "hidden": list(done.classifier.hidden),
        "inputs": int(done.classifier.n_features_in_),
        "backbone": model.reference,
    }
    save_network(folder / NETWORK, done.classifier.network_, facts)
    lines = b"".join(iofs.canonical_json(line) + b"\n" for line in done.results["log"])
    iofs.write_bytes(folder / METRICS, lines)
    columns = {PROBABILITY.format(name): done.proba[:, k] for k, name in enumerate(classes)}
    frame = pd.DataFrame({"id": list(done.ids), "predicted": done.predicted, **columns})
    iofs.write_text(folder / PREDICTIONS, frame_to_csv(frame))
    iofs.write_json(folder / RESULTS, done.results)
