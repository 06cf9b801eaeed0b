"""The trained methods of this folder by name, read from their source: no torch is imported.

Listing methods, refusing a misspelt one and planning a run must work, and be quick, where torch
is not installed. `isthmus.align.registry` imports the classes themselves; both find the same.
"""

from __future__ import annotations

import ast
from collections.abc import Container
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

BASES = ("Objective", "Procedure")
AFTER_TRAINING = ("adabn", "t3a", "tent")  # of `isthmus.align.after_training`


@dataclass(frozen=True)
class Trained:
    """What the source of a method says of it.

    Parameters
    ----------
    module : str
        Its file: ``deep_coral``.
    class_name : str
    text : str
        The docstring.
    parameters : dict
        Name -> default.
    family : str
        ``adversarial`` or ``deep``.
    needs_views : bool
        Whether it needs two views of a row, which features do not have.
    uses_source : bool
        Whether its adaptation sees source rows (else: the network that they trained).
    """

    module: str
    class_name: str
    text: str
    parameters: dict[str, Any] = field(default_factory=dict)
    family: str = "deep"
    needs_views: bool = False
    uses_source: bool = True


@cache
def trained() -> dict[str, Trained]:
    """module -> facts of every method in this folder, as `isthmus.align.registry.discover`.

    >>> trained()["deep_coral"].class_name
    'DeepCORAL'
    """
    found = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if not isinstance(node, ast.ClassDef):
                continue
            bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
            if node.name.lower() == path.stem.replace("_", "") and bases & set(BASES):
                found[path.stem] = _facts(path.stem, node)
    return found


def run_names(taken: Container[str]) -> dict[str, str]:
    """Name in a run -> module: where a method on features has the name, it is ``deep_NAME``.

    Parameters
    ----------
    taken : container of str
        Modules of the methods on features.
    """
    return {f"deep_{name}" if name in taken else name: name for name in trained()}


def _facts(module: str, node: ast.ClassDef) -> Trained:
    said: dict[str, Any] = {}
    parameters: dict[str, Any] = {}
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            pairs = zip(item.args.kwonlyargs, item.args.kw_defaults, strict=True)
            parameters = {arg.arg: ast.literal_eval(value) for arg, value in pairs if value}
        if isinstance(item, ast.Assign):
            _read(said, item.targets[0], item.value)
        elif isinstance(item, ast.AnnAssign):
            _read(said, item.target, item.value)
    return Trained(module, node.name, ast.get_docstring(node) or "", parameters, **said)


def _read(said: dict[str, Any], name: ast.expr, value: ast.expr | None) -> None:
    """Keep what a class attribute says, where it is one of the facts."""
    facts = ("family", "needs_views", "uses_source")
    if isinstance(name, ast.Name) and name.id in facts and value is not None:
        said[name.id] = ast.literal_eval(value)
