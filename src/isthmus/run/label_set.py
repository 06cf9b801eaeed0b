"""Layer 8: targets whose classes are not those of the source: `--classes partial`, `open`, ...

Before the choice, source rows of classes that the target seems to lack are thinned; after it, the
model that was chosen learns to abstain.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from isthmus.errors import DataError, UsageError, did_you_mean
from isthmus.fit.open_set import check_names
from isthmus.run.case import Case
from isthmus.run.extract import Extracted
from isthmus.run.standings import Choice
from isthmus.select.absent import absent_classes, thinned
from isthmus.select.bench import Bench
from isthmus.select.blended import blend
from isthmus.select.novelty import abstaining
from isthmus.select.routes.base import ModelFactory
from isthmus.types import Interval

logger = logging.getLogger(__name__)

SETTINGS = ("auto", "closed", "partial", "open", "universal")
PARTIAL, OPEN = ("partial", "universal"), ("open", "universal")
KEY = "label_set"  # in results.json


@dataclass(frozen=True)
class LabelSet:
    """What was done about classes of one side only.

    Parameters
    ----------
    setting : str
        One of `SETTINGS`.
    partial, open : dict
        JSON-ready figures; empty where not asked for.
    notes : tuple of str
    """

    setting: str
    partial: dict[str, Any] = field(default_factory=dict)
    open: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {"setting": self.setting, "partial": self.partial, "open": self.open}


def known_setting(name: str | None) -> str:
    """The setting of that name, before any work.

    Raises
    ------
    UsageError
        If there is none.
    """
    word = "auto" if name is None else str(name).lower()
    if word not in SETTINGS:
        raise UsageError(
            f"no setting of the classes is called {name!r}",
            remedy=did_you_mean(word, SETTINGS) + f"Known: {', '.join(SETTINGS)}",
        )
    return word


def applies(case: Case, setting: str) -> None:
    """Refuse a setting that this case has no place for.

    Raises
    ------
    UsageError
        With the reason.
    """
    if setting not in (*PARTIAL, *OPEN):
        return
    why = None
    if case.task != "classification":
        why = f"this task is {case.task}, whose classes are not one a row"
    elif case.source is None:
        why = "there is no source whose classes could be others than the target's"
    elif setting in OPEN:
        check_names(case.classes)
    if why is not None:
        raise UsageError(f"--classes {setting} cannot be used here", why=why)


def weigh_classes(
    case: Case,
    features: Extracted,
    new_model: ModelFactory,
    setting: str,
    *,
    seed: int,
    deadline: float | None = None,
) -> tuple[Extracted, LabelSet]:
    """The source with fewer rows of classes that the target seems to lack.

    A first choice on all rows says which these are; the one that counts follows on what is left.

    Raises
    ------
    DataError
        If there are too few target rows to say.
    """
    found = LabelSet(setting)
    if setting not in PARTIAL:
        return features, found
    assert features.source is not None and features.source.samples.labels is not None
    domains = features.domains(whole=True)
    assert domains.source is not None
    if len(domains.Xt) < 10:
        raise DataError(
            f"{len(domains.Xt)} target rows are too few to say which classes they lack",
            where="classes",
            remedy="Use --classes closed",
        )
    first = blend(replace(domains, target=None), new_model, seed=seed, deadline=deadline)
    bench = Bench(domains, new_model)
    codes = bench.codes
    sure = () if domains.target is None else bench.codes_of(domains.target).tolist()
    gone = absent_classes(first.model.predict_proba(domains.Xt), codes, present=sure)
    names = [case.classes[c] for c in gone.absent]
    kept = thinned(codes, gone.weights, random_state=seed)
    figures = {
        "absent": names,
        "share_of_source_rows": round(gone.share, 6),
        "source_rows": len(codes),
        "source_rows_kept": len(kept),
        "weights": {
            name: round(float(w), 4) for name, w in zip(case.classes, gone.weights, strict=True)
        },
        "ratio": {
            name: round(float(r), 4) for name, r in zip(case.classes, gone.ratio, strict=True)
        },
    }
    notes = ("No class of the source seems to be absent from the target; all rows count in full.",)
    if names:
        notes = (
            f"{len(names)} of {len(case.classes)} classes are estimated absent from the target "
            f"({', '.join(names)}): {len(codes) - len(kept)} of their {100 * gone.share:.0f} % of "
            "the source rows were left out, so that they weigh less; they stay possible answers.",
        )
    source = features.source.take(kept)
    return replace(features, source=source), replace(found, partial=figures, notes=notes)


def abstain(
    features: Extracted, choice: Choice, new_model: ModelFactory, found: LabelSet, *, seed: int
) -> tuple[Choice, LabelSet]:
    """The choice with a model that abstains on rows of no known class."""
    if found.setting not in OPEN:
        return choice, found
    domains = features.domains(whole=True)
    made = abstaining(choice.model, domains, new_model, random_state=seed)
    share = _share(choice)
    figures = {
        "refused": round(made.refused, 6),
        "expected_loss": round(made.lost, 6),
        "false_refusal": None if np.isnan(made.false_refusal) else round(made.false_refusal, 6),
        "novel_share": share.as_dict(),
        "rule": made.rule,
    }
    note = (
        f"{100 * made.refused:.1f} % of the target rows are answered unknown: {made.rule}; the "
        f"same threshold would refuse {100 * made.false_refusal:.1f} % of held-out source rows."
    )
    models = {**choice.models, choice.verdict.decision: made.model}
    told = replace(found, open=figures, notes=(*found.notes, note))
    return replace(choice, models=models), told


def _share(choice: Choice) -> Interval:
    """Share of novel rows where the choice could tell, else all that is possible."""
    seen = getattr(choice.blend, "classes", None) or {}
    told = seen.get("novel")
    if told:
        return Interval(told["value"], told["low"], told["high"], told["level"], told["how"])
    return Interval(0.0, 0.0, 1.0, 0.9, "no sign of novel classes; without one it cannot be told")
