"""Layer 8: `isthmus rank`: which backbone suits the labels, which source suits the target."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.backbone import Store, load_backbone
from isthmus.data.samples import FrameItems, Samples
from isthmus.discrepancy.coral_distance import coral_distance
from isthmus.discrepancy.mmd import mmd
from isthmus.discrepancy.wasserstein import sliced_wasserstein
from isthmus.errors import DataError, UsageError
from isthmus.fit.adapted import common_space
from isthmus.fit.features import processor_for
from isthmus.run.case import MAX_BAD, Case, _keep_domain, _read, _same_modality, beside
from isthmus.run.extract import Part, extract
from isthmus.transferability import Ranking, rank_backbones, rank_sources
from isthmus.types import Array

logger = logging.getLogger(__name__)
Say = Callable[[str], None]


def _sliced(zs: Array, zt: Array) -> Any:
    """Few directions: each of a hundred resamples asks again."""
    return sliced_wasserstein(zs, zt, n_projections=50)


def _mmd(zs: Array, zt: Array) -> float:
    """One bandwidth for all sources, so that their figures compare."""
    return mmd(zs, zt, bandwidth=float(np.sqrt(zt.shape[1])))


GAPS: dict[str, Callable[[Any, Any], Any]] = {
    "sliced-wasserstein": _sliced,
    "coral-distance": coral_distance,
    "mmd": _mmd,
}
ON_LABELS = ("leep", "nce", "accuracy")


@dataclass(frozen=True)
class Rankings:
    """One or two rankings.

    Parameters
    ----------
    backbones, sources : Ranking or None
    notes : tuple of str
    """

    backbones: Ranking | None
    sources: Ranking | None
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON form."""
        return {
            "backbones": None if self.backbones is None else self.backbones.as_dict(),
            "sources": None if self.sources is None else self.sources.as_dict(),
            "notes": list(self.notes),
        }

    def text(self) -> str:
        """The page that `isthmus rank` prints."""
        from isthmus.run.ranking_text import table

        lines: list[str] = []
        for title, ranking in (("Backbones", self.backbones), ("Sources", self.sources)):
            if ranking is not None:
                lines += ["", *table(title, ranking)]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def __str__(self) -> str:
        return self.text()


def rank(
    target: Any = None,
    *,
    source: Any = (),
    backbone: Any = (),
    target_domain: str | None = None,
    measure: str | None = None,
    seed: int = 0,
    max_bad: float | None = None,
    no_cache: bool = False,
    allow_license: bool = False,
    say: Say = logger.info,
    progress: Callable[[str, int, int], None] | None = None,
    **reading: Any,
) -> Rankings:
    """Rank backbones, sources, or both; every place has an interval, and all hold together.

    Parameters
    ----------
    target : data set, optional
        What must be predicted. Its labels are used where it has some. Without it, or with
        `target_domain`, the target is that domain of the single source.
    source : data set or list of these, optional
        Labelled candidates. A single one with a domain column gives one candidate a domain.
    backbone : str, object or list of these, optional
        Two or more are ranked on labelled rows (the target's; else the source's). One is used to
        rank sources.
    target_domain : str, optional
    measure : str, optional
        Backbones: "logme" (default), "hscore", "regularized_hscore", "transrate", "gbc",
        "linear_probe". Sources: "leep" (default where the target has classes), "nce",
        "accuracy"; or a gap: "sliced-wasserstein" (default without target labels),
        "coral-distance", "mmd".
    seed, max_bad, no_cache, allow_license, say, progress, **reading
        As for `isthmus.transfer`.

    Returns
    -------
    Rankings

    Raises
    ------
    UsageError
        If there is nothing to rank.
    """
    bad = MAX_BAD if max_bad is None else max_bad
    options = {name: value for name, value in reading.items() if value is not None}
    options["max_bad"] = bad
    run = {"bad": bad, "seed": seed, "no_cache": no_cache, "progress": progress}
    given = _listed(source)
    models = _listed(backbone)
    rows, candidates = _read_all(target, given, target_domain, options, say)
    if len(models) < 2 and len(candidates) < 2:
        raise UsageError(
            "there is nothing to rank",
            why=f"{len(models) or 'no'} backbone and {len(candidates) or 'no'} source were given",
            remedy="Name two backbones (--backbone A --backbone B), two sources, or one source "
            "with a domain column (--domain)",
        )
    notes: list[str] = []
    loaded = [
        load_backbone(one, modality=rows.modality, allow_license=allow_license)
        for one in models or [None]
    ]
    by_backbone = None
    if len(loaded) > 1:
        taught = _taught(rows, candidates, notes)
        wanted = measure if measure not in GAPS and measure not in ON_LABELS else None
        by_backbone = _backbones(loaded, taught, wanted, run, say)
    by_source = None
    if len(candidates) > 1:
        if len(loaded) > 1:
            notes.append(f"Sources are ranked on the features of {loaded[0].name}.")
        wanted = measure if measure in GAPS or measure in ON_LABELS or by_backbone is None else None
        by_source = _sources(loaded[0], rows, candidates, wanted, run, notes)
    return Rankings(by_backbone, by_source, tuple(notes))


def _read_all(
    target: Any, given: list[Any], target_domain: str | None, options: dict[str, Any], say: Say
) -> tuple[Samples, dict[str, Samples]]:
    """The target, and the candidates by name."""
    if target is None and len(given) == 1 and target_domain is not None:
        target = given[0]
    if target is None and not given:
        raise UsageError(
            "no data were given", remedy="Give --target T, and --source S for each candidate"
        )
    candidates: dict[str, Samples] = {}
    for one in given:
        samples = _read("source", one, None, options, say)
        parts = _by_domain(samples, target_domain) if len(given) == 1 else {}
        if len(parts) > 1:
            candidates = parts
            break
        name = Path(samples.origin).name or f"source {len(candidates) + 1}"
        while name in candidates:
            name += "'"
        candidates[name] = samples
    if target is None:
        if len(candidates) != 1:
            raise UsageError(
                "no target was given",
                why="sources are ranked for a target",
                remedy="Give --target T, or --target-domain NAME",
            )
        return next(iter(candidates.values())), {}
    lenient = options
    if given:
        options = beside(next(iter(candidates.values())), options)
        lenient = {**options, "optional": ("label", "domain", "group", "split")}
    rows = _read("target", target, target_domain, lenient, say)
    _same_modality(rows, *candidates.values())
    return rows, {name: part.take(part.labelled) for name, part in candidates.items()}


def _by_domain(samples: Samples, target_domain: str | None) -> dict[str, Samples]:
    """One candidate a domain, those of the target left out."""
    if samples.domain is None:
        return {}
    kept = {name.strip() for name in (target_domain or "").split(",")}
    names = sorted({str(name) for name in samples.domain} - kept)
    return {name: _keep_domain(samples, name, "source") for name in names}


def _taught(rows: Samples, candidates: dict[str, Samples], notes: list[str]) -> Samples:
    """Labelled rows that backbones are judged on: the target's, else those of a source."""
    if rows.labelled.sum() >= 10:
        return rows.take(rows.labelled)
    for name, part in candidates.items():
        if part.labelled.any():
            notes.append(
                f"The target has under 10 labels: backbones are judged on the labels of {name}."
            )
            return part.take(part.labelled)
    raise DataError(
        "backbones are judged on labels, and there are none",
        where=rows.origin,
        remedy="Name the label column with --label, or give a labelled --source",
    )


def _backbones(
    loaded: Sequence[Any], rows: Samples, measure: str | None, run: dict[str, Any], say: Say
) -> Ranking:
    if rows.task == "multilabel":
        raise DataError("backbones are ranked on one label a row", remedy="Use --label")
    parts: dict[str, Part] = {}
    for model in loaded:
        say(f"--- backbone\n{model.name}")
        parts[_fresh(parts, model.name)] = _features(model, rows, None, run)[1]
    common = set.intersection(*(set(part.rows.tolist()) for part in parts.values()))
    features, labels, groups = {}, None, None
    for name, part in parts.items():
        keep = np.isin(part.rows, np.array(sorted(common)))
        features[name] = np.asarray(part.X[keep], dtype=np.float64)
        labels, groups = part.samples.labels, part.samples.groups
        labels = None if labels is None else labels[keep]
        groups = None if groups is None else groups[keep]
    task = "regression" if rows.task == "regression" else "classification"
    return rank_backbones(
        features,
        labels,
        measure=measure or "logme",
        task=task,
        groups=groups,
        random_state=run["seed"],
    )


def _sources(
    model: Any,
    rows: Samples,
    candidates: dict[str, Samples],
    measure: str | None,
    run: dict[str, Any],
    notes: list[str],
) -> Ranking:
    known = rows.labelled
    classes = {part.task for part in candidates.values()} == {"classification"}
    by_labels = classes and rows.task == "classification" and known.sum() >= 10
    if measure is None:
        measure = "leep" if by_labels else "sliced-wasserstein"
    if measure in ON_LABELS and not by_labels:
        raise UsageError(
            f"--measure {measure} needs classes on at least 10 target rows",
            remedy=f"Use a gap instead: {', '.join(GAPS)}",
        )
    if measure not in ON_LABELS and measure not in GAPS:
        known_names = ", ".join((*ON_LABELS, *GAPS))
        raise UsageError(f"no measure {measure!r} of sources", remedy=f"Use {known_names}")
    parts, there = _together(model, rows, candidates, run)
    processor = processor_for(rows.modality)
    space = common_space(processor, np.concatenate([p.X for p in parts.values()]), there.X)
    sides = {name: (space.rows(part.X), part.samples.labels) for name, part in parts.items()}
    target = space.Xt
    if measure in GAPS:
        if by_labels:
            notes.append("The target's labels are not used by a gap.")
        return replace(
            rank_sources(
                sides,
                target,
                gap=GAPS[measure],
                groups=there.samples.groups,
                random_state=run["seed"],
            ),
            measure=measure,
        )
    assert rows.labels is not None
    labels = rows.labels[there.rows]
    kept = np.array([value is not None for value in labels], dtype=bool)
    groups = there.samples.groups
    return rank_sources(
        sides,
        target[kept],
        labels[kept].astype(str),
        measure=measure,
        groups=None if groups is None else groups[kept],
        random_state=run["seed"],
    )


def _together(
    model: Any, rows: Samples, candidates: dict[str, Samples], run: dict[str, Any]
) -> tuple[dict[str, Part], Part]:
    """Features of every candidate and of the target; a table's encoder sees all candidates."""
    if isinstance(rows.items, FrameItems):
        import pandas as pd

        frames = [p.items.frame for p in candidates.values() if isinstance(p.items, FrameItems)]
        model = model.fit(pd.concat(frames, ignore_index=True))
        model = _Fitted(model)
    parts = {}
    there: Part | None = None
    for name, samples in candidates.items():
        there, parts[name] = _features(model, rows, samples, run)
    assert there is not None
    return parts, there


class _Fitted:
    """A table encoder that is not to be fitted again."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def fit(self, frame: Any) -> Any:
        return self._model


def _features(
    model: Any, rows: Samples, source: Samples | None, run: dict[str, Any]
) -> tuple[Part, Part]:
    """(target, source) through the backbone; without a source the target is both."""
    plain = rows.without_labels()
    case = Case("classification", (), source or rows, None, plain, None, None, ())
    found = extract(
        case,
        model,
        store=None if run["no_cache"] else Store(),
        max_bad=run["bad"],
        seed=run["seed"],
        progress=run["progress"],
    )
    assert found.source is not None
    return found.target, found.source


def _listed(value: Any) -> list[Any]:
    """A list of candidates; one path, frame or pair of arrays is a single one."""
    if value is None:
        return []
    return list(value) if isinstance(value, list) or value == () else [value]


def _fresh(known: dict[str, Any], name: str) -> str:
    while name in known:
        name += "'"
    return name
