"""Layer 8: `isthmus.diagnose`: two data sets -> features -> how far apart, in plain language."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.backbone import Store, load_backbone
from isthmus.data.samples import Samples
from isthmus.errors import UsageError
from isthmus.evaluate.intervals import mean_interval
from isthmus.fit.adapted import common_space
from isthmus.fit.folds import folds as make_folds
from isthmus.run.case import MAX_BAD, Case, _classes, _read, _same_modality, beside, short_origin
from isthmus.run.extract import Extracted, Part, extract
from isthmus.run.held_out_sources import held_out_sources
from isthmus.run.labelfile import attach_labels
from isthmus.run.standings import N_SPLITS, UNITS, model_factory
from isthmus.select import readings
from isthmus.select.diagnose import diagnose_features
from isthmus.select.evidence import can_fold, row_scores
from isthmus.select.routes.base import Labelled
from isthmus.types import Array, Task

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Diagnosis:
    """What is known of two domains.

    Parameters
    ----------
    findings : dict
        Everything, JSON-ready: ``gaps``, ``prior``, ``per_class``, ``drift``, ``source_model``,
        ``held_out_sources`` (each source domain in turn as the target), ``summary``, ``notes``.
    """

    findings: dict[str, Any]

    def text(self) -> str:
        """The page that `isthmus diagnose` prints."""
        from isthmus.run.diagnosis_text import render

        return render(self.findings)

    def __str__(self) -> str:
        return self.text()


def diagnose(
    source: Any = None,
    target: Any = None,
    *,
    target_labels: Any = None,
    source_domain: str | None = None,
    target_domain: str | None = None,
    backbone: Any = None,
    weights: Any = None,
    layer: str | None = None,
    pooling: str | None = None,
    allow_license: bool = False,
    seed: int = 0,
    max_bad: float | None = None,
    no_cache: bool = False,
    say: Callable[[str], None] = logger.info,
    progress: Callable[[str, int, int], None] | None = None,
    **reading: Any,
) -> Diagnosis:
    """How far apart are source and target, and in which way?

    Gap measures with what chance would give, the shift of the class shares (from the target's
    labels where it has some, else estimated), how far each class moved, and which features
    drifted. Labels of the target are read openly: this is a look at the data, not a proof.

    Parameters
    ----------
    source, target : path, frame, arrays, Dataset or Samples
        As for `isthmus.transfer`; the source may lack labels.
    target_labels : path, dict, Series or frame, optional
        Table of ids and labels for target rows.
    source_domain, target_domain : str, optional
        Comma-separated names of the domains to keep; without `target` both come from `source`.
    backbone, weights, layer, pooling, allow_license
        As for `isthmus.transfer`; features come from the same store.
    seed : int, default=0
    max_bad, no_cache, say, progress, **reading
        As for `isthmus.transfer`.

    Returns
    -------
    Diagnosis

    Raises
    ------
    UsageError, DataError, BackboneError
        With what, where, why and the remedy.
    """
    bad = MAX_BAD if max_bad is None else max_bad
    options = {name: value for name, value in reading.items() if value is not None}
    options["max_bad"] = bad
    first, rows = read_pair(source, target, source_domain, target_domain, options, say)
    if target_labels is not None:
        rows = _with_labels(rows, target_labels)
    case, task = _case(first, rows)
    model = load_backbone(
        backbone,
        modality=rows.modality,
        weights=weights,
        layer=layer,
        pooling=pooling,
        allow_license=allow_license,
    )
    say(f"--- backbone\n{model.name}, {rows.modality} features")
    features = extract(
        case,
        model,
        store=None if no_cache else Store(),
        max_bad=bad,
        seed=seed,
        progress=progress,
    )
    here, there = features.source, features.target
    assert here is not None
    new_model = model_factory(case, head=None, seed=seed)
    space = common_space(new_model().processor, here.X, there.X)
    yt = None if rows.labels is None else rows.labels[there.rows]
    found = diagnose_features(
        space,
        Xs=here.X,
        Xt=there.X,
        task=task,
        ys=here.samples.labels if task is not None else None,
        yt=yt if rows.task == task else None,
        groups_s=here.samples.groups,
        groups_t=there.samples.groups,
        names=_names(features),
        random_state=seed,
    )
    found["source_model"] = _source_model(case, here, there, yt, rows, new_model, seed)
    found["held_out_sources"] = held_out_sources(here, task=task, new_model=new_model, seed=seed)
    found["summary"] = readings.summary(found)
    return Diagnosis(
        {
            "modality": rows.modality,
            "task": task,
            "backbone": features.backbone.name,
            "source": {"rows": len(here.X), "origin": _origin(first, source_domain)},
            "target": {
                "rows": len(there.X),
                "origin": _origin(rows, target_domain),
                "labelled": int(rows.labelled.sum()) if rows.task == task else 0,
            },
            "set_aside": [p.as_dict() for p in features.problems],
            **found,
        }
    )


def read_pair(
    source: Any,
    target: Any,
    source_domain: str | None,
    target_domain: str | None,
    options: dict[str, Any],
    say: Callable[[str], None],
) -> tuple[Samples, Samples]:
    """Both data sets as `isthmus.transfer` would read them.

    Raises
    ------
    UsageError
        If one of them is missing.
    """
    if target is None and target_domain is not None:
        target = source
    if source is None and source_domain is not None:
        source = target
    if source is None or target is None:
        raise UsageError(
            "two domains are needed",
            remedy="Give SOURCE and TARGET, or one data set with --source-domain and "
            "--target-domain",
        )
    first = _read("source", source, source_domain, options, say)
    lenient = {**beside(first, options), "optional": ("label", "domain", "group", "split")}
    rows = _read("target", target, target_domain, lenient, say)
    _same_modality(first, rows)
    return first, rows


def _case(first: Samples, rows: Samples) -> tuple[Case, Task | None]:
    """The pair as a case without a test; the task is that of the source's labels."""
    task = first.task if first.labelled.any() else None
    if task is not None:
        first = first.take(first.labelled)
    known = rows.take(rows.labelled) if rows.task == task and rows.labelled.any() else None
    classes = () if task is None else _classes(task, first, known)
    case = Case(
        task or "classification", classes, first, None, rows.without_labels(), None, None, ()
    )
    return case, task


def _with_labels(rows: Samples, labels: Any) -> Samples:
    marked = attach_labels(rows, labels)
    if marked.extra is not None:
        raise UsageError(
            "--target-labels holds labelled rows of its own",
            why="diagnose compares one target with one source",
            remedy="Give these rows as the target",
        )
    hidden = marked.samples
    if hidden.labels is None or hidden.task == "multilabel":
        return hidden
    kept = hidden.labels.copy()
    kept[~marked.chosen] = np.nan if hidden.task == "regression" else None
    return replace(hidden, labels=kept)


def _source_model(
    case: Case, here: Part, there: Part, yt: Array | None, rows: Samples, new_model: Any, seed: int
) -> dict[str, Any] | None:
    """Accuracy of source-only on held-out source rows and on labelled target rows."""
    known = rows.labelled[there.rows]
    if case.task != "classification" or len(case.classes) < 2 or yt is None or known.sum() < 5:
        return None
    source = Labelled(here.X, here.samples.labels, here.samples.groups)  # type: ignore[arg-type]
    if rows.task != case.task or not can_fold(source, task=case.task):
        return None
    scores = np.zeros(len(source))
    for train, test in make_folds(
        source.y, task=case.task, groups=source.groups, n_splits=N_SPLITS, random_state=seed
    ):
        part = source.take(train)
        model = new_model().fit(part.X, part.y, groups=part.groups)
        scores[test] = row_scores(source.y[test], model.predict(source.X[test]), case.task)
    model = new_model().fit(source.X, source.y, groups=source.groups)
    away = row_scores(yt[known], model.predict(there.X[known]), case.task)
    home = mean_interval(scores, groups=source.groups, random_state=seed)
    groups = there.samples.groups
    abroad = mean_interval(
        away, groups=None if groups is None else groups[known], random_state=seed
    )
    unit = UNITS[case.task]
    return {
        "metric": unit,
        "source": home.as_dict(),
        "target": abroad.as_dict(),
        "reading": readings.accuracy_loss(home, abroad, unit),
    }


def _names(features: Extracted) -> list[str] | None:
    """Names of the features, where the backbone has some."""
    names = getattr(features.backbone, "features", None)
    fits = isinstance(names, list) and len(names) == features.target.X.shape[1]
    return list(map(str, names)) if fits and names is not None else None


def _origin(samples: Samples, domain: str | None) -> str:
    name = short_origin(samples) or Path(samples.origin).name
    return f"{name} ({domain})" if domain else name
