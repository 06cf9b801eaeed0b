"""Layer 6: the methods of `isthmus.adapt` and `isthmus.align` as routes, chosen by hand.

An adapter is fitted once for all folds of the evidence: it sees every target row and no target
label, so the folds differ in the head alone. A method that is an estimator itself reads labelled
target rows and is fitted anew in every fold; so is a trained one, which is a small network on the
features (`isthmus.fit.aligned`).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sklearn.base import BaseEstimator, is_regressor

from isthmus.adapt.base import Adapter, discover
from isthmus.adapt.multi_source import MultiSource
from isthmus.align.names import AFTER_TRAINING, run_names
from isthmus.errors import UsageError
from isthmus.fit.adapted import Space, Spaces, adapt, fit_adapter, fit_method
from isthmus.fit.aligned import AlignedMLP
from isthmus.registry import named
from isthmus.select.routes.base import Domains, ModelFactory, Route
from isthmus.select.routes.pooled import Pooled, joint_groups
from isthmus.select.several_sources import SeveralSources
from isthmus.types import Adaptation, Task

if TYPE_CHECKING:
    from isthmus.fit.model import FeatureModel

ALL, AUTO, NONE = "all", "auto", "none"
LIBRARY = {"transport": "ot", "deep": "torch"}  # extra -> what it is imported as


@dataclass(frozen=True)
class Wanted:
    """The methods that a call names.

    Parameters
    ----------
    methods : tuple of (name, unfitted method)
    everything : bool
        ``all`` was named: methods that do not apply are left out instead of refused.
    """

    methods: tuple[tuple[str, Any], ...] = ()
    everything: bool = False


def is_automatic(method: Any) -> tuple[bool, Any]:
    """Whether the choice is automatic, and what is left of the argument.

    ``None`` and ``"auto"`` are; ``"none"`` is not, and names no method either.
    """
    word = method.lower() if isinstance(method, str) else method
    if isinstance(word, list | tuple) and len(word) == 1 and isinstance(word[0], str):
        word = word[0].lower()
    if word is None or word in ([], (), AUTO):
        return True, None
    return False, None if isinstance(word, str) and word == NONE else method


def wanted(method: Any = None, *, seed: int = 0) -> Wanted:
    """Read what a call names, before any other work.

    Parameters
    ----------
    method : str, method object, or a list of these, optional
        Names as `isthmus methods` lists them; ``"all"``: every method that is not trained; or
        objects such as ``CORAL(reg=0.1)`` and ``AlignedMLP("dann", steps=500)``.
    seed : int, default=0
        `random_state` of methods that are named.

    Raises
    ------
    UsageError
        If there is no such method (the nearest names are given), one is named twice, or an
        object is none of this package.
    """
    given = [method] if isinstance(method, str) or hasattr(method, "get_params") else method
    found: dict[str, Any] = {}
    everything = False
    for item in given or ():
        if isinstance(item, str) and item.lower() == ALL:
            everything = True
            continue
        name, value = _one(item, seed)
        if name in found:
            raise UsageError(f"the method {name} is named twice", remedy="Name it once")
        found[name] = value
    if everything:
        for key, kind in discover().items():
            found.setdefault(shown(key), _seeded(kind(), seed))
    return Wanted(tuple(found.items()), everything)


def find(name: str) -> Any:
    """What a name stands for: a class of `isthmus.adapt`, or an unfitted `AlignedMLP`.

    Raises
    ------
    UsageError
        If there is none of that name; the nearest names are given.
    """
    if (after := name.lower()) in AFTER_TRAINING:
        raise UsageError(
            f"{after} is no method of a run",
            why="it comes after the training of a network",
            remedy=f"Use isthmus finetune --method {after}",
        )
    known: dict[str, Any] = {**discover(), **deep()}
    return named(name, known, what="method", otherwise="See `isthmus methods`")


def deep() -> dict[str, AlignedMLP]:
    """name in a run -> unfitted network of every trained method; no torch is imported."""
    return {name: AlignedMLP(module) for name, module in run_names(discover()).items()}


def name_of(network: AlignedMLP) -> str:
    """The name in a run of a network that is trained with a method."""
    module = str(network.method).replace("-", "_")
    return next(name for name, own in run_names(discover()).items() if own == module)


def why_not(
    kind: Any,
    *,
    task: Task | None = None,
    source: bool = True,
    labelled: bool | None = None,
    sources: int | None = None,
) -> str | None:
    """Why a method cannot be a route, or None.

    Parameters
    ----------
    kind : method of `isthmus.adapt` or its class, or `AlignedMLP`
    task : str, optional
        None: in general.
    source, labelled : bool
        Whether there are labelled source rows, labelled target rows (None: may be).
    sources : int, optional
        Source domains that can be told apart; None: may be any number.
    """
    if getattr(kind, "unlike_spaces", False):
        return (
            "it is for domains with different features; a run puts both through one backbone "
            "(in Python: fit_domains)"
        )
    if isinstance(kind, AlignedMLP) and kind.refusal:
        return kind.refusal
    kind = kind if isinstance(kind, type) else type(kind)
    adapter = issubclass(kind, Adapter)
    several = issubclass(kind, MultiSource)
    if not adapter and not several and not hasattr(kind, "served"):
        return (
            "it is a model of its own whose fitted form cannot be saved without pickle "
            f"(in Python: {kind.__module__}.{kind.__name__})"
        )
    extra = getattr(kind, "extra", None)
    if extra and importlib.util.find_spec(LIBRARY[extra]) is None:
        return f"its library is not installed (pip install 'isthmus[{extra}]')"
    if not source:
        return "there are no labelled source rows to carry over"
    if labelled is False and getattr(kind, "needs_target_labels", False):
        return "it needs some labelled target rows (--shots K or --target-labels FILE)"
    if several and sources is not None and sources < 2:
        return "the source has no domains to tell apart (--domain COLUMN, or domain folders)"
    if task is None:
        return None
    if adapter:
        if getattr(kind, "needs_labels", False) and task != "classification":
            which = "numbers" if task == "regression" else "several labels a row"
            return f"it uses the classes of the source rows, and these rows have {which}"
        return None
    answers = getattr(kind, "answers", None)
    if answers is None:
        answers = ("regression",) if is_regressor(kind()) else ("classification",)
    if task not in answers:
        return f"it is for {' and '.join(answers)}, and this task is {task}"
    return None


def method_routes(
    asked: Wanted, *, task: Task, source: bool, labelled: bool, sources: int | None = None
) -> tuple[list[Route], list[str]]:
    """The routes that a call asks for, and notes on those that `all` leaves out.

    Raises
    ------
    UsageError
        If a method that was named does not apply; it says why.
    """
    routes: list[Route] = []
    left_out: list[str] = []
    spaces = Spaces()
    for name, method in asked.methods:
        reason = why_not(method, task=task, source=source, labelled=labelled, sources=sources)
        if reason is None:
            routes.append(route_of(name, method, spaces))
        elif asked.everything:
            left_out.append(f"Method {name} is left out: {reason}.")
        else:
            raise UsageError(
                f"the method {name} cannot be used here",
                why=reason,
                remedy="`isthmus methods` says what each method needs",
            )
    return routes, left_out


def route_of(name: str, method: Any, spaces: Spaces | None = None) -> Route:
    """The route of one unfitted method."""
    if isinstance(method, MultiSource):
        return SeveralSources(name, method, spaces)
    return MethodRoute(name, method, spaces)


class MethodRoute(Route):
    """A method of `isthmus.adapt`, then the head that all routes share; or a trained network.

    Both domains are seen in one space (`isthmus.fit.adapted`). Labelled target rows, where there
    are some, are pooled in with the weight that they have in the route `pooled`.

    Parameters
    ----------
    name : str
    method : Adapter, or estimator with `served`
        Unfitted.
    spaces : Spaces, optional
        Shared by the methods of a run; they have the same processing.
    """

    by_hand = True
    uses = frozenset({"source", "target"})

    def __init__(self, name: str, method: Any, spaces: Spaces | None = None) -> None:
        self.name, self.method, self.spaces = name, method, spaces or Spaces()
        self._found: tuple[Space, Adaptation] | None = None

    def refuses(self, domains: Domains) -> str | None:
        """Labelled target rows are welcome, but few methods need them."""
        return why_not(
            self.method,
            source=domains.source is not None,
            labelled=domains.target is not None,
        )

    def fit(self, domains: Domains, new_model: ModelFactory) -> FeatureModel:
        source, target = domains.source, domains.target
        assert source is not None
        if target is not None and target.one_class() is not None:
            target = None  # they would only make that class more likely
        model = new_model()
        space, found = self._look(domains, model)
        known = None if target is None else (target.X, target.y)
        if found is None:
            at = None if target is None else target.at
            return fit_method(
                model, space, self.method, source.y, known=known, at=at, groups=source.groups
            )
        weight, groups = 1.0, source.groups
        if target is not None:
            weight = Pooled().row_weight(len(source), len(target))
            groups = joint_groups(source.groups, target.groups, len(source), len(target))
        return fit_adapter(
            model, space, found, source.y, known=known, target_weight=weight, groups=groups
        )

    def _look(self, domains: Domains, model: FeatureModel) -> tuple[Space, Adaptation | None]:
        """The space and, for an adapter, what it found; the same in every fold."""
        assert domains.source is not None
        space = self.spaces.of(model.processor, domains.source.X, domains.Xt)
        if not isinstance(self.method, Adapter):
            return space, None
        if self._found is None or self._found[0] is not space:
            self._found = space, adapt(self.method, space, domains.source.y, task=model.task)
        return space, self._found[1]

    def forget(self) -> None:
        """Let go of the adapted rows: a run holds those of one method at a time."""
        self._found = None


def shown(name: str) -> str:
    """A method's name as it is typed and printed: ``linear-monge``."""
    return name.replace("_", "-")


def _one(item: Any, seed: int) -> tuple[str, Any]:
    if isinstance(item, str):
        found = find(item)
        if isinstance(found, AlignedMLP):
            return shown(name_of(found)), _seeded(found, seed)
        return shown(found.__module__.rpartition(".")[2]), _seeded(found(), seed)
    if isinstance(item, AlignedMLP) and item.method is not None:
        return shown(name_of(item)), item
    for key, kind in discover().items():
        if type(item) is kind:
            return shown(key), item
    raise UsageError(
        f"{type(item).__name__} is no method of isthmus.adapt or isthmus.align",
        why="a run saves its model without pickle, which works for the methods of this package",
        remedy="Use DomainAdaptedClassifier(adapter, estimator) for others",
    )


def _seeded(method: BaseEstimator, seed: int) -> BaseEstimator:
    if "random_state" in method.get_params(deep=False):
        method.set_params(random_state=seed)
    return method


def names(asked: Iterable[tuple[str, Any]]) -> str:
    """Comma-separated names, for the record of a run."""
    return ", ".join(name for name, _ in asked)
