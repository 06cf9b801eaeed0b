"""Layer 8: how `isthmus finetune` trains, from its options; the impossible is refused first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from isthmus.errors import UsageError

MIXES = ("none", "mixup", "cutmix")
NO_CLASS = "none"


@dataclass(frozen=True)
class Training:
    """Options of a training, as `isthmus.fit.finetune.FineTunedClassifier` takes them.

    Parameters
    ----------
    method : str or None
    strategy : Plan or str
    penalties : tuple
    mix : callable or None
    settings : dict
        More of `isthmus.fit.deep.settings.Settings`.
    """

    method: str | None
    strategy: Any
    penalties: tuple[Any, ...]
    mix: Any
    settings: dict[str, Any]


def training_of(call: Mapping[str, Any]) -> Training:
    """What a call asks for.

    Parameters
    ----------
    call : dict
        Arguments of `isthmus.run.finetune.finetune` by name.

    Raises
    ------
    UsageError
        If it cannot be trained so, whatever the data are.
    """
    from isthmus.align.base import Procedure
    from isthmus.align.registry import ready
    from isthmus.fit.deep.regularize.registry import KEEPING, make_penalties
    from isthmus.fit.deep.settings import Settings
    from isthmus.fit.deep.stages import with_smoothing

    _check_places(call)
    method = None if call["method"] in (None, NO_CLASS) else call["method"]
    if method is None and call["trade_off"] is not None:
        raise UsageError(
            f"--lambda {call['trade_off']} weighs an alignment method, and there is none",
            remedy="Add --method NAME, or leave --lambda out",
        )
    weight = {} if call["trade_off"] is None else {"trade_off": call["trade_off"]}
    made = ready(method, **weight)
    norms = "--domain-norms" if call["domain_norms"] else getattr(made, "name", "")
    bare = call["on"] == "features" and call["start_from"] is None
    if bare and norms in ("--domain-norms", "adabn", "tent"):
        raise UsageError(
            "the small network on features has no batch normalisation",
            why=f"{norms} changes nothing else",
            remedy="Use --on network, or another method (t3a, shot, dann, ...)",
        )
    penalties = make_penalties(tuple(call["penalty"]))
    drawn = [p for p in penalties if isinstance(p, KEEPING)]
    if bare and drawn:
        raise UsageError(
            f"{', '.join(type(p).__name__ for p in drawn)} would keep the small network near its "
            "start",
            why="which is drawn at random: nothing was learned there",
            remedy="Use --on network, --start-from FILE, or --weight-decay",
        )
    mix = _mix(call["mix"])
    if isinstance(made, Procedure) and made.uses_source:
        with_smoothing(made, label_smoothing=call["label_smoothing"], penalties=penalties, mix=mix)
    known = {f.name for f in fields(Settings)}
    settings = {name: value for name, value in call.items() if name in known and name != "keep"}
    Settings(**settings).check()
    _check_steps(call)
    more = {name: settings[name] for name in settings if name not in DIRECT}
    return Training(method, _strategy(call), penalties, mix, more)


# what `FineTunedClassifier` takes by a name of its own
DIRECT = (
    "epochs", "batch_size", "optimizer", "lr", "weight_decay", "schedule", "patience", "seed",
)  # fmt: skip


# told in the record of a run that set them
IF_CHANGED = (
    "trade_off", "patience", "weight_decay", "schedule", "warmup", "label_smoothing", "clip",
    "accumulate", "precision", "ema", "mix", "blocks", "rank", "domain_norms",
)  # fmt: skip


def _check_places(call: Mapping[str, Any]) -> None:
    """What is trained, and what is left of it."""
    on, keep, patience = call["on"], call["keep"], call["patience"]
    if on not in ("features", "network"):
        raise UsageError(f"on={on!r}", remedy="Use features or network")
    if call["augment"] != "none" and on == "features":
        raise UsageError(
            "features cannot be augmented", remedy="Use --on network, or --augment none"
        )
    if call["mix"] == "cutmix" and on == "features":
        raise UsageError(
            "features have no rectangles to cut", remedy="Use --on network, or --mix mixup"
        )
    if keep not in ("last", "evidence") or (keep == "evidence" and patience is not None):
        raise UsageError(
            f"keep={keep!r}" + (" with patience" if patience is not None else ""),
            why="patience keeps the epoch that is best on held-out rows" if patience else "",
            remedy="Use keep last or evidence, or patience alone",
        )
    if not 0 <= call["label_smoothing"] < 1:
        raise UsageError(
            f"label_smoothing={call['label_smoothing']}", remedy="Give a share in [0, 1)"
        )


def _check_steps(call: Mapping[str, Any]) -> None:
    """A batch of few rows is cut to their number, which may not divide; refused while training."""
    size, parts = call["batch_size"], call["accumulate"]
    if size % parts:
        raise UsageError(
            f"--batch-size {size} cannot be cut into {parts} equal parts",
            remedy=f"Use a multiple of {parts}, or another --accumulate",
        )


def _strategy(call: Mapping[str, Any]) -> Any:
    from isthmus.fit.deep.strategy import make_strategy

    name, options = call["strategy"], {}
    for option, value, key, of in (
        ("--blocks", call["blocks"], "k", "top-k"),
        ("--rank", call["rank"], "rank", "lora"),
    ):
        if value is None:
            continue
        if name != of:
            raise UsageError(
                f"{option} {value} is of --strategy {of}",
                why=f"the strategy is {name}",
                remedy=f"Add --strategy {of}, or leave {option} out",
            )
        options[key] = value
    return make_strategy(name, **options)


def _mix(name: str) -> Any:
    from isthmus.fit.deep.mixing import CutMix, Mixup

    if name not in MIXES:
        raise UsageError(f"mix={name!r}", remedy=f"Use {', '.join(MIXES)}")
    kinds: dict[str, Any] = {"mixup": Mixup, "cutmix": CutMix}
    return None if name == "none" else kinds[name]()


def check_kind(call: Mapping[str, Any], kind: str) -> None:
    """Refuse what rows of a kind cannot take, before they are read.

    Raises
    ------
    UsageError
    """
    if call["on"] != "network" or call["mix"] == "none":
        return
    if kind == "text":
        raise UsageError(
            "token ids cannot be mixed",
            why="a mean of two words is no word",
            remedy="Leave --mix out, use --augment, or --on features --mix mixup",
        )
    if call["mix"] == "cutmix" and kind != "image":
        raise UsageError(f"{kind} rows have no rectangles to cut", remedy="Use --mix mixup")


def described(
    call: Mapping[str, Any], plan: Training, changed: Mapping[str, Any]
) -> dict[str, Any]:
    """The settings of a training for its record; of the rest what was `changed` by the call."""
    told = {
        "method": plan.method or "none", "strategy": call["strategy"], "stages": call["stages"],
        "epochs": call["epochs"], "batch_size": call["batch_size"], "lr": call["lr"],
        "optimizer": call["optimizer"], "augment": call["augment"], "dropout": call["dropout"],
        "keep": call["keep"] if call["patience"] is None else "held-out rows",
    }  # fmt: skip
    told |= {name: changed[name] for name in IF_CHANGED if name in changed}
    if call["penalty"]:
        told["penalty"] = ",".join(call["penalty"])
    return told
