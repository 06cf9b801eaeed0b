"""Layer 8: the whole house in one function.

Data flows one way: read -> features -> evidence -> verdict -> model -> one look at the sealed
labels -> report and saved model.
"""

from __future__ import annotations

import logging
import sys
import time as clock
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from isthmus.backbone import Store, load_backbone
from isthmus.data.checks import allowed_codes
from isthmus.errors import UsageError
from isthmus.run.case import MAX_BAD, posed
from isthmus.run.evidence import write_evidence
from isthmus.run.label_set import PARTIAL, abstain, applies, known_setting, weigh_classes
from isthmus.run.network_rung import highest
from isthmus.run.next_labels import write_next_labels
from isthmus.run.preflight import vetted
from isthmus.run.proof import prove
from isthmus.run.record import Result, call_digest, claim_folder, mark_running
from isthmus.run.standings import choose, deep_untried, model_factory
from isthmus.run.track import open_tracker, record, tracking
from isthmus.select.methods import is_automatic, method_routes, names, wanted

logger = logging.getLogger(__name__)
# do not change what a run finds; a run that a check stopped goes on once that is allowed
_ELSEWHERE = ("overwrite", "say", "progress", "out", "track", "allow")


def transfer(
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
    out: str | Path | None = None,
    overwrite: bool = False,
    track: str | None = None,
    seed: int = 0,
    max_bad: float | None = None,
    allow: Any = None,
    no_cache: bool = False,
    say: Callable[[str], None] = logger.info,
    progress: Callable[[str, int, int], None] | None = None,
    **reading: Any,
) -> Result:
    """Carry what pretrained models and the source know over to the target, and prove it.

    Parameters
    ----------
    source : path, frame, arrays, Dataset or Samples, optional
        Labelled rows of the source domain. Without it the labelled target rows train alone.
    target : the same kinds
        Rows to predict. Its own labels train (no source), are sealed for the final score (with a
        source), or are split by `shots`.
    target_labels : path, dict, Series, frame or data set, optional
        Labels of some target rows, as a table of ids and labels, or labelled rows of their own.
    shots : int or "all", optional
        Draw this many labels a class from the target's own; the rest is sealed for the score.
    test : data set, optional
        Labelled target rows, opened once, after everything is decided.
    source_domain, target_domain : str, optional
        Comma-separated names of the domains to keep.
    backbone : str or object, optional
        What `load_backbone` takes; by default the offline one of the modality.
    weights, layer, pooling, allow_license
        Passed to `load_backbone`.
    head : str, optional
        ``logistic``, ``ridge``, ``nearest-mean`` or ``knn``; by default logistic, and ridge for
        regression.
    method : str, method object, or list of these, optional
        Domain adaptation methods to offer as routes beside the others, by hand: ``"coral"``,
        ``["coral", "kmm"]``, ``CORAL(reg=0.1)``, or ``"all"`` that apply. With labelled target
        rows one serves if it beats the other routes; without, a single one that was named serves
        unproven, and the verdict says so. Default, ``"auto"``: without labelled target rows the
        automatic choice blends its candidates where a gain is to be expected; ``"none"`` turns
        that off. A method of `isthmus.align` (``"dann"``, ``"shot"``, ...) trains a small network
        on the features.
    deep : bool, optional
        Whether the automatic choice tries such networks too. Default: where `time` leaves room
        and the diagnosis asks for it; the result says why or why not.
    network : bool, optional
        Whether the pretrained network itself is trained, on source labels and unlabelled target
        rows, and the choice made again on its features; the better of the two serves, by the
        labelled target rows or the expectation of the choice. Default: where `time` leaves room
        and the domains are told apart.
    label_set : {"auto", "closed", "partial", "open", "universal"}, optional
        Which classes the target holds (``--classes``). ``partial``: not all of the source's; rows
        of those that seem absent are weighed down. ``open``: others as well; strange rows are
        answered "unknown". ``universal``: both. ``auto``, the default, acts as ``closed`` and
        says where another setting seems to fit.
    time : float, optional
        Budget in seconds. The source is sampled and routes are left unscored where it ends; the
        result says so. Without it every row and route is used, and the run is repeatable.
    out : path, optional
        Folder for the saved model, ``results.json`` and ``predictions.csv``.
    overwrite : bool, default=False
        Replace what another run left in `out`.
    track : {"mlflow", "tensorboard", "wandb"}, optional
        Log the figures of the run there as well; needs `out`. Nothing is tracked unasked.
    seed : int, default=0
        Seed of folds, draws and bootstrap.
    max_bad : float, default=0.01
        Share of bad rows above which the run stops.
    allow : str or list of str, optional
        Codes of checks whose errors do not stop the run, e.g. ``"ISX012"``. What was overridden
        stands in the results and in the report.
    no_cache : bool, default=False
        Neither read nor fill the feature store.
    say, progress : callable, optional
        Receive lines for a person, and (part, done, total).
    **reading
        Options of `isthmus.data.read`: ``label``, ``task``, ``domain``, ...

    Returns
    -------
    Result
        Leaderboard, verdict, metrics with intervals; ``result.text()`` is what the command prints.

    Raises
    ------
    UsageError, DataError, BackboneError
        With what, where, why and the remedy. Nothing of `out` is changed then.
    """
    call = {k: v for k, v in locals().items() if k not in _ELSEWHERE}
    start = clock.monotonic()
    bad = MAX_BAD if max_bad is None else max_bad
    options = {name: value for name, value in reading.items() if value is not None}
    allowed = allowed_codes(allow)
    setting = known_setting(label_set)
    if network and setting in PARTIAL:
        raise UsageError(
            "the network is not trained where classes may be missing",
            why="source rows of such classes are weighed down before",
            remedy="Leave --network or --classes out",
        )
    automatic, method = is_automatic(method)
    asked = wanted(method, seed=seed)
    settings = dict(
        shots=shots,
        head=head,
        method=names(asked.methods) or None,
        deep=deep,
        network=network,
        label_set=None if setting == "auto" else setting,
        seed=seed,
        time=time,
        max_bad=bad,
        allow=",".join(allowed) or None,
        **options,
    )
    folder = claim_folder(out, call, overwrite=overwrite)
    open_tracker(track, folder)  # a tracker that is not there is refused before the work
    case = posed(call, say=say)
    applies(case, setting)
    methods, left_out = method_routes(
        asked,
        task=case.task,
        source=case.source is not None,
        labelled=case.labelled is not None,
        sources=case.source_domains,
    )
    model = load_backbone(
        backbone,
        modality=case.target.modality,
        weights=weights,
        layer=layer,
        pooling=pooling,
        allow_license=allow_license,
    )
    mark_running(folder, call)
    say(f"--- backbone\n{model.name}, {case.target.modality} features")
    store = None if no_cache else Store()
    features, found = vetted(
        case,
        model,
        store=store,
        max_bad=bad,
        seed=seed,
        allowed=allowed,
        deadline=None if time is None else start + 0.7 * time,
        progress=progress,
    )
    new_model = model_factory(case, head=head, seed=seed)
    until = None if time is None else start + time
    features, classes = weigh_classes(case, features, new_model, setting, seed=seed, deadline=until)
    choice = choose(
        case,
        features,
        new_model,
        seed=seed,
        methods=methods,
        automatic=automatic,
        deep=deep,
        deadline=until,
    )
    higher = highest(
        case,
        features,
        model,
        choice,
        new_model,
        network=False if setting in PARTIAL else network,
        deep=deep,
        seed=seed,
        deadline=until,
        progress=progress,
    )
    features, choice = higher.features, higher.choice
    choice, classes = abstain(features, choice, new_model, classes, seed=seed)
    proof = prove(case, features, choice, head=head, seed=seed, others=higher.others)
    result = Result.build(
        case,
        features,
        choice,
        proof,
        settings=settings,
        call=call_digest(call),
        seconds=clock.monotonic() - start,
        notes=[
            *left_out,
            *choice.notes,
            *deep_untried(case, choice, deep=deep, automatic=automatic),
            *classes.notes,
        ],
        network=None if higher.rung is None else higher.rung.as_dict(),
        label_set=classes.as_dict(),
        findings=found,
    )
    if folder is not None:
        result.save(folder)
        said = write_next_labels(folder, case, features, choice, new_model, seed=seed)
        spent = clock.monotonic() - start
        write_evidence(
            folder,
            case,
            features,
            choice,
            proof,
            new_model,
            call=call | {"allow": allowed or None},
            seed=seed,
            spent=spent,
        )
        with tracking(track, folder, settings) as tracker:
            record(tracker, result.results, folder)
        say(f"Saved in {folder}{'. ' if said else ''}{said}")
    return result


class _CallableModule(ModuleType):
    """`isthmus.transfer` is this module once anybody imports it: keep it callable as well."""

    def __call__(self, *args: Any, **kwargs: Any) -> Result:
        return transfer(*args, **kwargs)


sys.modules[__name__].__class__ = _CallableModule
