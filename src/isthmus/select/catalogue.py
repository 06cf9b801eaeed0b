"""Layer 6: every method of `isthmus.adapt` and `isthmus.align`: what it assumes, costs and needs.

The words are the rows of docs/methods.md, which travels inside the package; what can be asked of
the class (needs, parameters, whether a run can use it) is asked of the class.
"""

from __future__ import annotations

import inspect
import math
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sklearn.base import is_classifier, is_regressor

import isthmus
from isthmus.adapt.base import Adapter, discover
from isthmus.errors import DataError, UsageError
from isthmus.fit.aligned import AlignedMLP
from isthmus.select.methods import deep, find, name_of, shown, why_not

PAGE = "methods.md"
SECTION, TRAINED = "## Domain adaptation on features", "## Deep alignment"
FAMILIES = {
    "instance": "Instance-based",
    "label-shift": "Label shift",
    "feature": "Feature-based",
    "transport": "Optimal transport",
    "relation": "Relation-based",
    "model": "Model-based",
    "multi-source": "Multi-source",
    "adversarial": "Trained network, adversarial",
    "deep": "Trained network",
}
_ROW = re.compile(
    r"\| *(?P<title>[^|]+?) *\| *`isthmus\.(?:adapt|align)\.(?P<name>\w+)` *\|(?P<rest>.*)\|"
)


@dataclass(frozen=True)
class Method:
    """One method, ready for printing.

    Parameters
    ----------
    name : str
        As `--method` takes it.
    title, assumption, cost, fails, paper : str
        The row of docs/methods.md; of a trained method the cost is that of a step.
    family : str
        A key of `FAMILIES`.
    kind : str
        ``adapter``, ``classifier``, ``regressor``, ``estimator``, or ``network``: trained by a
        method of `isthmus.align`.
    needs : tuple of str
        ``source labels``, ``target labels``, an extra of this package.
    torch : bool
        Whether torch tensors come back as torch tensors.
    route : bool
        Whether `isthmus transfer --method NAME` knows it; `reason` says why not.
    import_path, class_name : str
    parameters : dict
        Name -> default.
    text : str
        The docstring.
    """

    name: str
    title: str
    family: str
    kind: str
    assumption: str
    cost: str
    fails: str
    paper: str
    needs: tuple[str, ...]
    torch: bool
    route: bool
    reason: str
    import_path: str
    class_name: str
    parameters: dict[str, Any]
    text: str

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON form."""
        return asdict(self) | {"parameters": {k: _plain(v) for k, v in self.parameters.items()}}


def catalogue(family: str | None = None) -> list[Method]:
    """All methods, by family and name.

    Parameters
    ----------
    family : str, optional
        Keep one family.

    Raises
    ------
    UsageError
        If there is no such family.
    """
    if family is not None and family not in FAMILIES:
        raise UsageError(f"no family {family!r}", remedy=f"Use {', '.join(FAMILIES)}")
    rows = documented()
    found = [_method(name, kind, rows.get(name, {})) for name, kind in discover().items()]
    rows = documented(TRAINED)
    found += [_network(name, net, rows.get(str(net.method), {})) for name, net in deep().items()]
    order = list(FAMILIES)
    found.sort(key=lambda m: (order.index(m.family) if m.family in order else 99, m.name))
    return [m for m in found if family in (None, m.family)]


def one(name: str) -> Method:
    """A single method.

    Raises
    ------
    UsageError
        If there is none of that name; the nearest names are given.
    """
    kind = find(name)
    if isinstance(kind, AlignedMLP):
        return _network(name_of(kind), kind, documented(TRAINED).get(str(kind.method), {}))
    key = kind.__module__.rpartition(".")[2]
    return _method(key, kind, documented().get(key, {}))


def documented(section: str = SECTION) -> dict[str, dict[str, str]]:
    """Module name -> title, assumption, cost, fails, paper, heading: docs/methods.md as it is.

    Parameters
    ----------
    section : str
        `SECTION` (the methods of `isthmus.adapt`) or `TRAINED` (those of `isthmus.align`).
    """
    text = page().read_text(encoding="utf-8")
    start = text.find(section)
    if start < 0:
        raise DataError(f"no section {section!r}", where=PAGE)
    end = text.find("\n## ", start + 1)
    heading, found = "", {}
    for line in text[start : end if end > 0 else None].splitlines():
        if line.startswith("### "):
            heading = line[4:].strip()
        match = _ROW.match(line.strip())
        if match:
            cells = [cell.strip() for cell in match["rest"].split("|")]
            words = dict(zip(("assumption", "cost", "fails", "paper"), cells, strict=False))
            found[match["name"]] = {"title": match["title"].strip("`"), "heading": heading, **words}
    return found


def page() -> Path:
    """The methods page: inside an installed package, or of the checkout that it runs from.

    Raises
    ------
    DataError
        If neither is there.
    """
    inside = Path(isthmus.__file__).parent
    for path in (inside / PAGE, inside.parents[1] / "docs" / PAGE):
        if path.is_file():
            return path
    raise DataError(f"{PAGE} is missing", where=str(inside), remedy="Install the package anew")


def _method(name: str, kind: Any, row: dict[str, str]) -> Method:
    adapter = issubclass(kind, Adapter)
    what = "adapter" if adapter else "estimator"
    if not adapter and is_regressor(kind()):
        what = "regressor"
    elif not adapter and is_classifier(kind()):
        what = "classifier"
    needs = []
    if getattr(kind, "needs_labels", False):
        needs.append("source labels")
    if getattr(kind, "needs_target_labels", False):
        needs.append("target labels")
    if getattr(kind, "extra", None):
        needs.append(f"the extra {kind.extra!r}")
    reason = why_not(kind)
    signature = inspect.signature(kind.__init__).parameters
    return Method(
        name=shown(name),
        title=row.get("title", kind.__name__),
        family=getattr(kind, "family", "feature"),
        kind=what,
        assumption=row.get("assumption", ""),
        cost=row.get("cost", ""),
        fails=row.get("fails", ""),
        paper=row.get("paper", ""),
        needs=tuple(needs),
        torch=adapter and not getattr(kind, "numpy_only", False),
        route=reason is None,
        reason=reason or "",
        import_path=f"isthmus.adapt.{name}",
        class_name=kind.__name__,
        parameters={k: p.default for k, p in signature.items() if k != "self"},
        text=inspect.getdoc(kind) or "",
    )


def _network(name: str, net: AlignedMLP, row: dict[str, str]) -> Method:
    """A trained method; nothing of torch is imported to describe it."""
    facts = net.facts
    assert facts is not None
    reason = why_not(net)
    cost = row.get("cost", "")
    return Method(
        name=shown(name),
        title=row.get("title", facts.class_name),
        family=facts.family,
        kind="network",
        assumption=row.get("assumption", ""),
        cost=f"training of a small network; a step: {cost}" if cost else "",
        fails=row.get("fails", ""),
        paper=row.get("paper", ""),
        needs=("source labels", f"the extra {net.extra!r}"),
        torch=False,
        route=reason is None,
        reason=reason or "",
        import_path=f"isthmus.align.{facts.module}",
        class_name=facts.class_name,
        parameters=dict(facts.parameters),
        text=facts.text,
    )


def _plain(value: Any) -> Any:
    fine = value is None or isinstance(value, bool | int | str)
    return value if fine or (isinstance(value, float) and math.isfinite(value)) else str(value)
