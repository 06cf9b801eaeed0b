"""Layer 5: the penalties of this folder by name, and what a training takes from what a user gives.

Only those that need nothing but the network are here: their teacher is a frozen copy of it, made
before the first step (see `isthmus.fit.deep.regularize.base.Regularizer.build`).
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from isthmus.errors import UsageError, did_you_mean
from isthmus.fit.deep.regularize.base import Regularizer
from isthmus.fit.deep.regularize.bi_tuning import BiTuning
from isthmus.fit.deep.regularize.bss import BSS
from isthmus.fit.deep.regularize.delta import DELTA
from isthmus.fit.deep.regularize.l2_sp import L2SP
from isthmus.fit.deep.regularize.lwf import LwF
from isthmus.fit.deep.regularize.rkd import RKD

PENALTIES: dict[str, Callable[[], Regularizer]] = {
    "bi-tuning": BiTuning,
    "bss": BSS,
    "delta": DELTA,
    "l2-sp": L2SP,
    "lwf": LwF,
    "rkd": RKD,
}
KEEPING = (DELTA, L2SP, LwF, RKD)  # hold a network near what it was before the first step
# methods of this folder that a name alone cannot make -> (why, remedy)
_NOT_BY_NAME = {
    "co-tuning": (
        "it needs the pretrained head and how its classes relate to yours",
        "Give the object: CoTuning(source_head, category_relationship(...))",
    ),
    "stoch-norm": (
        "it is no penalty but a layer in the place of batch normalisation",
        "Change the network: swap_stoch_norm(network)",
    ),
}

Penalty = Callable[..., Any]  # penalty(network, batch) -> scalar tensor
Given = str | Penalty | Sequence[str | Penalty] | None


def make_penalties(given: Given) -> tuple[Penalty, ...]:
    """What a training takes, from what a user gives: names become penalties, objects are copied.

    Parameters
    ----------
    given : None, str, penalty, or a sequence of names and penalties
        Names as of `PENALTIES`, dashes, underscores and case aside. A penalty is a `Regularizer`
        or anything that is called as ``penalty(network, batch)``.

    Returns
    -------
    tuple of penalties
        Unbuilt; empty for None. What was given stays as it is.

    Raises
    ------
    UsageError
        On an unknown name, a name given twice, or what cannot be called so.

    Examples
    --------
    >>> [type(one).__name__ for one in make_penalties(["l2-sp", BSS(k=2)])]
    ['L2SP', 'BSS']
    """
    if given is None:
        return ()
    several = isinstance(given, Sequence) and not isinstance(given, (str, bytes))
    parts: list[Any] = list(given) if several else [given]  # type: ignore[arg-type]
    names = [_squeezed(one) for one in parts if isinstance(one, str)]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(
                f"the penalty {name!r} is given twice",
                where="penalties",
                remedy="Give it once; its weight is set on the object: L2SP(trade_off=0.5)",
            )
    return tuple(_made(one) if isinstance(one, str) else _copied(one) for one in parts)


def _squeezed(name: str) -> str:
    return "".join(c for c in name.casefold() if c.isalnum())


def _made(name: str) -> Regularizer:
    """A penalty by its name, with its own settings."""
    found = {_squeezed(known): kind for known, kind in PENALTIES.items()}.get(_squeezed(name))
    if found is not None:
        return found()
    for known, (why, remedy) in _NOT_BY_NAME.items():
        if _squeezed(known) == _squeezed(name):
            raise UsageError(
                f"{known} is not given by its name", where="penalties", why=why, remedy=remedy
            )
    near = did_you_mean(name, PENALTIES)
    raise UsageError(
        f"no penalty {name!r}",
        where="penalties",
        remedy=f"{near}Use {', '.join(PENALTIES)}",
    )


def _copied(one: Any) -> Penalty:
    """A penalty of its own for this training, or a refusal of what is none."""
    if isinstance(one, type):
        raise UsageError(
            f"{one.__name__} is a class, not a penalty",
            where="penalties",
            remedy=f"Give an object of it: {one.__name__}()",
        )
    if not isinstance(one, Regularizer) and not _takes_two(one):
        raise UsageError(
            f"what is given is no penalty: {type(one).__name__}",
            where="penalties",
            why="a penalty is called as penalty(network, batch) and gives a scalar",
            remedy=f"Use {', '.join(PENALTIES)}, or an object of isthmus.fit.deep.regularize; "
            "alignment methods are given as method=",
        )
    made: Penalty = copy.deepcopy(one)
    return made


def _takes_two(one: Any) -> bool:
    """Whether it can be called with a network and a batch, as far as its signature tells."""
    if not callable(one):
        return False
    try:
        # a module's __call__ takes anything; its forward says what
        signature = inspect.signature(getattr(one, "forward", one))
    except (TypeError, ValueError):
        return True
    try:
        signature.bind(None, None)
    except TypeError:
        return False
    return True
