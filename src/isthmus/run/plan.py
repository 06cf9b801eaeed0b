"""Layer 8: what `transfer` would do with the same options, and about what it would cost."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isthmus.backbone import Store, load_backbone
from isthmus.backbone.load import DEFAULTS
from isthmus.backbone.trained import is_network
from isthmus.data.checks import allowed_codes
from isthmus.data.describe import class_counts
from isthmus.data.samples import Samples
from isthmus.run.case import MAX_BAD, Case, posed
from isthmus.run.choice_costs import choice_step, network_steps
from isthmus.run.costs import (
    Step,
    baseline_step,
    documented_degree,
    feature_steps,
    network_step,
    resident,
    route_steps,
    stub,
)
from isthmus.run.label_set import applies, known_setting
from isthmus.run.network_rows import TRAINABLE
from isthmus.run.plan_file import dump_plan, save_plan
from isthmus.run.standings import automatic_route, evidence_folds, model_factory
from isthmus.select.blended import NAME
from isthmus.select.catalogue import documented
from isthmus.select.methods import AUTO, NONE, Wanted, is_automatic, method_routes, shown, wanted
from isthmus.select.routes.base import discover
from isthmus.select.rung import LEAST

logger = logging.getLogger(__name__)

SHOWN = 20  # classes listed with their counts
FACTOR = 3  # how far an estimate may be off, as the plan says


@dataclass(frozen=True)
class Plan:
    """What a run would do; nothing of it has been done.

    Parameters
    ----------
    options : dict
        Arguments of `isthmus.transfer`, with what it would have filled in.
    about : dict
        Data as understood, backbone, evidence, routes with the reason of those left out, steps
        with estimates, their total, notes.
    """

    options: dict[str, Any]
    about: dict[str, Any]

    def yaml(self) -> str:
        """The plan as `isthmus transfer --plan` reads it."""
        return dump_plan(self.options, self.about)

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write it to a file; see `save_plan`."""
        return save_plan(path, self.yaml(), overwrite=overwrite)

    def as_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {"options": self.options, "about": self.about}


def plan(
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
    head: str | None = None,
    method: Any = None,
    deep: bool | None = None,
    network: bool | None = None,
    label_set: str | None = None,
    time: float | None = None,
    seed: int = 0,
    max_bad: float | None = None,
    allow: Any = None,
    no_cache: bool = False,
    track: str | None = None,
    say: Callable[[str], None] = logger.info,
    **reading: Any,
) -> Plan:
    """Read the data, look at the backbone and the routes, time a handful of items, and stop.

    Parameters are those of `isthmus.transfer`; what it refuses is refused here as well. Neither
    the feature store nor any other file is written, and no sealed label is opened.

    Returns
    -------
    Plan

    Raises
    ------
    UsageError, DataError, BackboneError
        As `isthmus.transfer` does.
    """
    call = dict(locals())
    given = {
        name: value
        for name, value in call.items()
        if name not in ("say", "reading", "method", "backbone", "head", "max_bad", "allow")
    }
    bad = MAX_BAD if max_bad is None else max_bad
    options = {name: value for name, value in reading.items() if value is not None}
    allowed = allowed_codes(allow)
    setting = known_setting(label_set)
    automatic, method = is_automatic(method)
    asked = wanted(method, seed=seed)
    case = posed(call, say=say)
    applies(case, setting)
    model = load_backbone(
        backbone,
        modality=case.target.modality,
        weights=weights,
        layer=layer,
        pooling=pooling,
        allow_license=allow_license,
    )
    new_model = model_factory(case, head=head, seed=seed)
    store = None if no_cache else Store()
    steps, width = feature_steps(case, model, store=store, seed=seed)
    sides = 0 if case.source is None else min(len(case.source), len(case.target))
    tempted = time is not None and sides >= LEAST  # a budget, and rows that networks can learn from
    routes, evidence, scored = _routes(
        case, asked, automatic, new_model, width, seed, networks=deep or (deep is None and tempted)
    )
    steps += scored
    if network is None:
        network = tempted and automatic and is_network(model)
    if network and case.target.modality in TRAINABLE:
        steps.append(network_step(case, model, seed=seed))
    steps.append(baseline_step(case, seed=seed))
    filled = {
        "backbone": DEFAULTS[case.target.modality] if backbone is None else backbone,
        "head": head or ("ridge" if case.task == "regression" else "logistic"),
        "method": AUTO if automatic else NONE if method is None else method,
        "routes": AUTO,
        "label_set": setting,
        "max_bad": bad,
        "allow": list(allowed) or None,
    }
    about = {
        "data": _data(case),
        "task": case.task,
        "classes": len(case.classes),
        "backbone": {
            "name": model.name,
            "why": f"the default for {case.target.modality}" if backbone is None else "named",
            "features": width,
        },
        "evidence": evidence,
        "routes": routes,
        "steps": [step.as_dict() for step in steps],
        "total": _total(steps, time),
        "notes": list(case.notes),
    }
    return Plan(_ordered(given, filled, options), about)


_ORDER = (
    *("source", "target", "target_labels", "shots", "test", "source_domain", "target_domain"),
    *("backbone", "weights", "layer", "pooling", "allow_license", "head", "method", "routes"),
    "label_set",
    *("deep", "network", "time", "seed", "max_bad", "allow", "no_cache", "track"),
)


def _ordered(
    given: dict[str, Any], filled: dict[str, Any], reading: dict[str, Any]
) -> dict[str, Any]:
    """Options in the order of the command's help; what is not used is there to be filled in."""
    every = {**given, **filled}
    found = {}
    for name in _ORDER:
        value = every[name]
        unused = ("weights", "layer", "pooling", "deep", "network", "allow", "track")
        if name in unused and value is None:
            continue
        if name in ("allow_license", "no_cache") and not value:
            continue
        found[name] = str(value) if isinstance(value, Path) else value
    return {**found, "out": None, **reading}


def _routes(
    case: Case,
    asked: Wanted,
    automatic: bool,
    new_model: Any,
    width: int,
    seed: int,
    *,
    networks: Any = False,
) -> tuple[list[dict[str, Any]], str, list[Step]]:
    """Every route, whether it can run and why not; how the evidence is made; what it costs.

    `networks`: whether the automatic choice may try trained ones.
    """
    methods, _ = method_routes(
        asked,
        task=case.task,
        source=case.source is not None,
        labelled=case.labelled is not None,
        sources=case.source_domains,
    )
    domains, own = stub(case), discover()
    folds, evidence = evidence_folds(case, domains, own, seed)
    listed = []
    for route in [*own, *methods]:
        refusal = route.refuses(domains)
        listed.append({"route": route.name, "offered": refusal is None, "why": refusal or ""})
    offered = {route.name for route in methods}
    if asked.everything:
        listed += [
            {"route": name, "offered": False, "why": _why(method, case)}
            for name, method in asked.methods
            if name not in offered
        ]
    words = documented()
    degrees = {shown(name): documented_degree(row.get("cost", "")) for name, row in words.items()}
    timed = route_steps(
        case, [*own, *methods], domains, folds, new_model, width, degrees=degrees, seed=seed
    )
    if automatic:
        auto, notes = automatic_route(case, domains, folds, seed=seed)
        why = "the automatic choice" if auto is not None else " ".join(notes)
        listed.append({"route": NAME, "offered": auto is not None, "why": why})
        if auto is not None:
            made = case, domains, folds, new_model, width
            timed.append(choice_step(*made, seed=seed))
            timed += network_steps(*made, seed=seed) if networks else []
    for entry in listed:
        entry["why"] = entry["why"] or ("named" if entry["route"] in offered else "always offered")
    return listed, evidence, timed


def _why(method: Any, case: Case) -> str:
    from isthmus.select.methods import why_not

    reason = why_not(
        method,
        task=case.task,
        source=case.source is not None,
        labelled=case.labelled is not None,
    )
    return reason or ""


def _data(case: Case) -> dict[str, Any]:
    parts = {
        "source": case.source,
        "labelled target": case.labelled,
        "target": case.target,
        "test (labels sealed)": case.test,
    }
    seen: set[str] = set()  # parts of one data set were understood alike: said once
    found = {}
    for role, part in parts.items():
        if part is not None:
            found[role] = _understood(part, guesses=part.origin not in seen)
            seen.add(part.origin)
    return found


def _understood(part: Samples, *, guesses: bool) -> dict[str, Any]:
    """Rows, classes, and every guess with its reason and the option that overrules it."""
    found: dict[str, Any] = {"rows": len(part), "kind": part.modality}
    counts = class_counts(part)
    if counts:
        found["classes"] = dict(list(counts.items())[:SHOWN])
        if len(counts) > SHOWN:
            found["more classes"] = len(counts) - SHOWN
    if part.quarantine:
        found["set aside"] = len(part.quarantine)
    said = {}
    for name, entry in part.understood.items():
        if guesses and isinstance(entry, dict) and entry.get("why"):
            option = str(entry.get("option", ""))
            hint = f" [{option}]" if option.startswith("--") else ""
            said[name] = f"{_short(entry.get('value'))} ({entry['why']}){hint}"
    if said:
        found["understood"] = said
    return found


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _total(steps: list[Step], budget: float | None) -> dict[str, Any]:
    seconds = sum(step.seconds for step in steps)
    kept = sum(step.memory for step in steps if step.name.startswith("features"))
    working = max((s.memory for s in steps if not s.name.startswith("features")), default=0.0)
    found: dict[str, Any] = {
        "seconds": float(f"{seconds:.2g}"),
        "memory_mb": float(f"{resident() + kept + working:.2g}"),
        "estimate": f"good to a factor of about {FACTOR}",
    }
    if budget is not None and seconds > budget:
        found["budget"] = (
            f"the time budget of {budget:g} s will probably cut the source to a random sample and "
            "leave routes unscored"
        )
    return found
