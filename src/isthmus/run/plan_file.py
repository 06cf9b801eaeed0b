"""Layer 8: a plan as an editable YAML file: `isthmus plan` writes it, `transfer --plan` reads."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Collection, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from isthmus import __version__, iofs
from isthmus.data.options import CONTEXT, Options
from isthmus.errors import DataError, UsageError
from isthmus.select.methods import AUTO

SECTIONS = ("isthmus", "options", "about")
OPEN = ("routes", "method")  # `auto` means: as without the key
SEVERAL = ("routes", "method", "allow")  # stay lists: the options may be repeated
LISTS = (*SEVERAL, "features", "source_domain", "target_domain")
MAX_BYTES = 1 << 20
_HEADER = """\
# A plan of `isthmus transfer`, made by `isthmus plan`. Edit `options`, then run
#     isthmus transfer --plan THIS_FILE
# Options on the command line win over this file. Nothing under `about` is read back;
# its times and memory are estimates from a handful of items, good to a factor of about three.
"""


def option_names() -> tuple[str, ...]:
    """The keys that ``options`` of a plan may have: the arguments of `isthmus.transfer`."""
    from isthmus.transfer import transfer

    own = [
        name
        for name, parameter in inspect.signature(transfer).parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD and name not in ("say", "progress")
    ]
    reading = [f.name for f in fields(Options) if f.name not in (*CONTEXT, "max_bad")]
    return (*own, *reading, *(name for name in OPEN if name not in own))


def dump_plan(options: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    """The text of a plan file; keys keep their order.

    Raises
    ------
    UsageError
        If an option is no plain value (data in memory has no place in a file).
    """
    import yaml

    for name, value in options.items():
        if not _plain(value):
            raise UsageError(
                f"{name} is a {type(value).__name__}, which a plan file cannot hold",
                remedy="Give paths and names, or use the plan in Python",
            )

    def text(value: Any) -> str:
        dumped: str = yaml.safe_dump(
            value, sort_keys=False, allow_unicode=True, default_flow_style=False, width=98
        )
        return dumped

    first = text({"isthmus": __version__, "options": dict(options)})
    return f"{_HEADER}{first}\n{text({'about': dict(about)})}"


def load_plan(path: str | Path, *, names: Collection[str] | None = None) -> dict[str, Any]:
    """The options of a plan file, as `isthmus.transfer` takes them.

    ``transfer(**load_plan("plan.yaml"))`` does what the file says. Empty values and ``auto`` are
    left out; a list becomes a comma-separated text where the option wants one.

    Parameters
    ----------
    names : collection of str, optional
        Allowed keys; by default `option_names`.

    Raises
    ------
    UsageError
        On an unknown or repeated key (the nearest name is given), a value that no option can
        hold, or a file that is no YAML mapping.
    DataError
        If the file cannot be read.
    """
    where = str(path)
    names = option_names() if names is None else names
    document = _parse(_text(path), where)
    if not isinstance(document, dict):
        raise UsageError("the plan is no mapping of keys", where=where, remedy=_REMEDY)
    _known(document, SECTIONS, "section", where)
    options = document.get("options")
    if not isinstance(options, dict):
        raise UsageError("the plan has no `options`", where=where, remedy=_REMEDY)
    _known(options, names, "option", where)
    found = {}
    for name, value in options.items():
        if (
            value is None
            or value == ""
            or value == []
            or (name in OPEN and value in (AUTO, [AUTO]))
        ):
            continue
        found[name] = _value(name, value, where)
    return found


_REMEDY = "`isthmus plan --source S --target T --out plan.yaml` writes one"


def _text(path: str | Path) -> str:
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError("the plan is larger than 1 MB", where=str(path), remedy=_REMEDY)
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        why = error.strerror or str(error)
        raise DataError(
            "the plan cannot be read", where=str(path), why=why, remedy=_REMEDY
        ) from None
    except UnicodeDecodeError:
        raise DataError("the plan is not UTF-8 text", where=str(path), remedy=_REMEDY) from None


def _parse(text: str, where: str) -> Any:
    """Plain values only; a key that is given twice is refused, since YAML would drop the first."""
    import yaml

    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        if tree is not None:
            _no_twins(tree, yaml, where)
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
        if isinstance(error, UsageError):
            raise
        mark = getattr(error, "problem_mark", None)
        at = where if mark is None else f"{where}:{mark.line + 1}"
        why = getattr(error, "problem", None) or type(error).__name__
        raise UsageError(
            "the plan is no valid YAML",
            where=at,
            why=str(why),
            remedy="Mend that line, or write the plan anew with `isthmus plan ... --out FILE`",
        ) from None


def _no_twins(tree: Any, yaml: Any, where: str) -> None:
    """Two levels deep: sections and options."""
    if not isinstance(tree, yaml.MappingNode):
        return
    for node in (tree, *(value for _, value in tree.value)):
        if not isinstance(node, yaml.MappingNode):
            continue
        seen: set[str] = set()
        for key, _ in node.value:
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else ""
            if name in seen:
                raise UsageError(
                    f"the key {name!r} is given twice",
                    where=f"{where}:{key.start_mark.line + 1}",
                    remedy="Keep one of them",
                )
            seen.add(name)


def _known(found: Mapping[Any, Any], names: Collection[str], what: str, where: str) -> None:
    for name in found:
        if name in names:
            continue
        near = difflib.get_close_matches(str(name)[:80].replace("-", "_"), names, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise UsageError(
            f"no {what} {str(name)[:80]!r} in a plan",
            where=where,
            remedy=f"{hint}The {what}s are {', '.join(names)}",
        )


def _value(name: str, value: Any, where: str) -> Any:
    """A value as the option takes it."""
    if isinstance(value, list):
        if name not in LISTS or not all(isinstance(v, str | int | float) for v in value):
            raise UsageError(f"{name} cannot be a list", where=where, remedy="Give one value")
        texts = [str(v) for v in value]
        return texts if name in SEVERAL else ",".join(texts)
    if not _plain(value):
        import datetime

        if isinstance(value, datetime.date):  # YAML reads 2024-05-01 as a date; it is a name here
            return value.isoformat()
        raise UsageError(
            f"{name} is a {type(value).__name__}", where=where, remedy="Give one plain value"
        )
    return [value] if name in SEVERAL else value


def _plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(isinstance(v, str | int | float | bool) for v in value)
    return value is None or isinstance(value, str | int | float | bool)


def save_plan(path: str | Path, text: str, *, overwrite: bool = False) -> Path:
    """Write a plan; a file that is there is replaced only where that was said.

    Raises
    ------
    UsageError
        If there is such a file and not `overwrite`, or the path is a folder.
    """
    path = Path(path)
    if path.is_dir():
        raise UsageError("the plan would replace a folder", where=str(path), remedy="Name a file")
    if path.exists() and not overwrite:
        raise UsageError(
            "the file exists", where=str(path), remedy="Name another, or add --overwrite"
        )
    iofs.write_text(path, text)
    return path
