"""Layer 6: what a route is: features of two domains in, one fitted model for the target out.

**To add a route: one file in this folder with one subclass of `Route`, its test file, and a row in
docs/methods.md.** `discover` finds it; nothing is registered by hand.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from isthmus.select.members import members
from isthmus.types import Array

if TYPE_CHECKING:
    from isthmus.fit.blend import Model
    from isthmus.fit.model import FeatureModel


@dataclass(frozen=True)
class Labelled:
    """Rows with labels: features, names (or numbers), and groups that must not be torn apart.

    Parameters
    ----------
    X : ndarray of shape (n, num_features), float32
    y : ndarray of shape (n,) or (n, k)
        Class names, numbers, or a boolean matrix for multi-label.
    groups : ndarray of shape (n,), optional
    at : ndarray of shape (n,), int, optional
        Labelled target rows: their positions in `Domains.Xt`.
    domain : ndarray of shape (n,), optional
        Source rows: the name of the domain of each.
    """

    X: Array
    y: Array
    groups: Array | None = None
    at: Array | None = None
    domain: Array | None = None

    def __len__(self) -> int:
        return len(self.X)

    def one_class(self) -> str | None:
        """The class of all rows where they have a single one: no model can learn from them."""
        if self.y.ndim != 1 or self.y.dtype.kind not in "OUS":
            return None  # numbers, or several labels a row
        names = set(self.y.tolist())
        return str(names.pop()) if len(names) == 1 else None

    def take(self, rows: Array) -> Labelled:
        """The given rows, in that order."""
        return Labelled(
            self.X[rows],
            self.y[rows],
            None if self.groups is None else self.groups[rows],
            None if self.at is None else self.at[rows],
            None if self.domain is None else self.domain[rows],
        )


@dataclass(frozen=True)
class Domains:
    """All that a route may see. Sealed target labels are not in here, by construction.

    Parameters
    ----------
    source : Labelled or None
        Labelled source rows.
    target : Labelled or None
        The few labelled target rows.
    Xt : ndarray of shape (n_t, num_features)
        All target rows, without labels; those of `target` are among them where `at` says so.
    """

    source: Labelled | None
    target: Labelled | None
    Xt: Array

    def with_target(self, rows: Array) -> Domains:
        """The same domains with only these labelled target rows: one fold of the evidence."""
        assert self.target is not None
        return replace(self, target=self.target.take(rows))


ModelFactory = Callable[[], "FeatureModel"]


class Route(ABC):
    """One way from labelled rows to a model of the target domain."""

    name: str
    uses: frozenset[str]  # subset of {"source", "target"}: the labels that it needs
    by_hand: ClassVar[bool] = False  # offered only where the user names it

    def refuses(self, domains: Domains) -> str | None:
        """Why this route cannot run on these domains, or None if it can."""
        for role in sorted(self.uses):
            if getattr(domains, role) is None:
                return f"there are no labelled {role} rows"
        for role in sorted(self.uses):
            if role == "source" and len(self.uses) > 1:
                continue  # the target's labels may bring the other classes
            name = getattr(domains, role).one_class()
            if name is not None:
                return f"all labelled {role} rows are {name!r}: they do not say where it ends"
        return None

    @abstractmethod
    def fit(self, domains: Domains, new_model: ModelFactory) -> Model:
        """Fit a fresh model on what the route uses; `domains` is not modified."""

    def forget(self) -> None:  # noqa: B027
        """Let go of what was kept from one fit to the next; most routes keep nothing."""


def discover() -> list[Route]:
    """One instance of every route in this folder, in the order of their names."""
    return list(members("isthmus.select.routes", Route).values())
