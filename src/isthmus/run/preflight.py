"""Layer 8: before the numbers: what would make them silently wrong, found by cheap probes.

`preflight` is what a run calls, `check` is the same on its own, with the labels of the target
open and the extraction included.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isthmus import iofs
from isthmus.backbone import Store, load_backbone
from isthmus.data.checks.allowed import overruled
from isthmus.data.checks.finding import Finding, ordered, render, stop_on_errors
from isthmus.data.checks.refusals import cause_of, from_problems, named
from isthmus.data.checks.registry import run_all
from isthmus.data.checks.view import RawView
from isthmus.data.samples import Problem
from isthmus.errors import IsthmusError
from isthmus.run.case import MAX_BAD, Case, posed
from isthmus.run.checks.view import ModelView
from isthmus.run.extract import Extracted, extract
from isthmus.run.suspects import Suspects, suspects_of
from isthmus.types import Array

logger = logging.getLogger(__name__)
RAW, MODEL = "isthmus.data.checks", "isthmus.run.checks"
FINDINGS, SUSPECTS = "findings.json", "suspects.csv"


def preflight(
    case: Case,
    backbone: Any = None,
    features: Extracted | None = None,
    *,
    store: Store | None = None,
    max_bad: float = 0.01,
    seed: int = 0,
    truth: Array | None = None,
    known: Sequence[Finding] | None = None,
    seconds: dict[str, float] | None = None,
) -> list[Finding]:
    """What is wrong with a run before it computes a score.

    Parameters
    ----------
    case : Case
    backbone : Backbone or FrameBackbone, optional
        Without it only the raw data are looked at.
    features : Extracted, optional
        Without it the checks that need features are left out. Call once before the extraction
        (errors stop early) and once after it, with the first answer as `known`.
    store : Store, optional
    max_bad : float, default=0.01
    seed : int, default=0
    truth : ndarray, optional
        Labels of the scored rows; a run must not give them.
    known : sequence of Finding, optional
        What the call before the extraction found; those checks are not repeated then.
    seconds : dict, optional
        Receives the time of each check.

    Returns
    -------
    list of Finding
        Errors first. Nothing is raised; see `isthmus.data.checks.stop_on_errors`.
    """
    view = raw_view(case, truth=truth, max_bad=max_bad, seed=seed)
    early = features is None or known is None
    found = list(known or ())
    if early:
        found += run_all(RAW, view, seconds=seconds)
    if backbone is not None:
        model = ModelView(view, backbone, features, store)
        if early:
            found += run_all(MODEL, model, late=False, seconds=seconds)
        if features is not None:
            found += run_all(MODEL, model, late=True, seconds=seconds)
    if features is not None:
        found += from_problems(_untold(features.problems, found), features.seen)
    return ordered(_causes(found))


def _untold(problems: Sequence[Problem], found: Sequence[Finding]) -> list[Problem]:
    """Rows set aside of which no finding of their cause speaks yet.

    Lines of two files of one name have one name: each telling is for one of them.
    """
    told = Counter((f.code, row) for f in found for row in f.rows)
    fresh = []
    for problem in problems:
        known = (cause_of(problem), problem.where)
        if told[known]:
            told[known] -= 1
        else:
            fresh.append(problem)
    return fresh


def vetted(
    case: Case,
    backbone: Any,
    *,
    store: Store | None,
    max_bad: float,
    seed: int,
    allowed: Sequence[str] = (),
    said: Sequence[str] = (),
    deadline: float | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[Extracted, list[Finding]]:
    """Features of a run, checked before they are computed and after it.

    Parameters
    ----------
    allowed : sequence of str
        Codes whose errors stop nothing (`isthmus.data.checks.overruled`).
    said : sequence of str
        Codes of the first checks that the run has spoken of in words of its own.
    deadline, progress
        Of the extraction.

    Raises
    ------
    FindingError
        On an error that is not allowed.
    """
    look: dict[str, Any] = {"store": store, "max_bad": max_bad, "seed": seed}
    early = [f for f in preflight(case, backbone, **look) if f.code not in said]
    stop_on_errors(early := overruled(early, allowed))
    features = extract(case, backbone, **look, deadline=deadline, progress=progress)
    found = overruled(preflight(case, backbone, features, known=early, **look), allowed)
    stop_on_errors(found)
    return features, found


def raw_view(
    case: Case, *, truth: Array | None = None, max_bad: float = 0.01, seed: int = 0
) -> RawView:
    """The raw parts of a case."""
    return RawView(
        case.source,
        case.labelled,
        case.target,
        case.test,
        truth,
        case.unlabelled_source,
        max_bad,
        seed,
    )


# What a cause explains: features that change by themselves cannot be computed again either.
_EXPLAINS = {
    "ISX011": {"ISX025", "ISX026", "ISX020"},
    "ISX012": {"ISX025", "ISX026"},
    "ISX013": {"ISX025", "ISX026", "ISX020"},
    "ISX018": {"ISX023"},
    "ISX025": {"ISX023"},
    "ISX026": {"ISX023"},
}


def _causes(found: list[Finding]) -> list[Finding]:
    """Without what is only the consequence of another finding."""
    explained: set[str] = set()
    for f in found:
        explained |= _EXPLAINS.get(f.code, set())
    return [f for f in found if f.code not in explained]


@dataclass(frozen=True)
class Checked:
    """What `check` found.

    Parameters
    ----------
    findings : list of Finding
    suspects : Suspects
        Single rows worth a look; empty where no features could be made.
    seconds : dict of str to float
        Time of each check.
    """

    findings: list[Finding]
    suspects: Suspects
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether no finding is an error."""
        return all(f.severity != "error" for f in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """JSON form with stable keys."""
        return {
            "ok": self.ok,
            "findings": [f.as_dict() for f in self.findings],
            "suspects": self.suspects.counts(),
        }

    def text(self) -> str:
        """For a terminal."""
        return render(self.findings)

    def save(self, folder: str | Path) -> Path:
        """``findings.json`` and ``suspects.csv`` (kind, part, id, label, score, ...)."""
        folder = Path(folder)
        iofs.write_text(folder / SUSPECTS, self.suspects.csv())
        iofs.write_json(folder / FINDINGS, self.as_dict())
        return folder


def check(
    source: Any = None,
    target: Any = None,
    *,
    target_labels: Any = None,
    shots: int | str | None = None,
    test: Any = None,
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
) -> Checked:
    """Look for silent failures in data and backbone; nothing is trained and nothing scored.

    Labels of the target are read openly, so that classes and their order can be compared: this
    is a look at the data, not a proof. Refusals of the readers become findings.

    Parameters
    ----------
    source, target, target_labels, shots, test, source_domain, target_domain
        As for `isthmus.transfer`.
    backbone, weights, layer, pooling, allow_license, seed, max_bad, no_cache, say, progress
        As for `isthmus.transfer`; features come from the same store.
    **reading
        Options of `isthmus.data.read`.

    Returns
    -------
    Checked

    Raises
    ------
    UsageError, DataError, BackboneError
        Where the call cannot be understood at all: wrong path, unknown column.
    """
    call = dict(locals())
    bad = MAX_BAD if max_bad is None else max_bad
    found: list[Finding] = []
    seconds: dict[str, float] = {}
    empty = Suspects()
    try:
        case = posed(call, say=say)
    except IsthmusError as error:
        return Checked([_or_raise(error)], empty)
    truth = None
    if case.sealed is not None:
        truth = case.sealed.open("isthmus check: a look at the classes")
    common: dict[str, Any] = {"max_bad": bad, "seed": seed, "truth": truth, "seconds": seconds}
    store = None if no_cache else Store()
    try:
        model = load_backbone(
            backbone,
            modality=case.target.modality,
            weights=weights,
            layer=layer,
            pooling=pooling,
            allow_license=allow_license,
        )
        found = preflight(case, model, store=store, **common)
        features = extract(case, model, store=store, max_bad=1.0, seed=seed, progress=progress)
    except IsthmusError as error:
        if not found:
            found = preflight(case, **common)
        return Checked(ordered([*found, _or_raise(error)]), empty, seconds)
    found = preflight(case, model, features, store=store, known=found, **common)
    found = _limits(found, features, bad)
    suspects = suspects_of(features, seed=seed, columns=case.target.modality in _COLUMNS)
    return Checked(ordered([*found, *suspects.findings()]), suspects, seconds)


_COLUMNS = ("table", "features")


def _or_raise(error: IsthmusError) -> Finding:
    found = named(error)
    if found is None:
        raise error
    return found


def _limits(found: list[Finding], features: Extracted, bad: float) -> list[Finding]:
    """More bad rows than are allowed stop a run: then the finding is an error."""
    from dataclasses import replace

    share = len(features.problems) / max(features.seen, 1)
    if share <= bad:
        return found
    rows = {p.where for p in features.problems}
    return [replace(f, severity="error") if rows & set(f.rows) else f for f in found]
