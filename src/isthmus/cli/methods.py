"""Layer 9: `isthmus methods [NAME]`: what there is, what it assumes and costs, where it fails."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import click

from isthmus.cli.common import emit, format_option

if TYPE_CHECKING:
    from isthmus.select.catalogue import Method

WIDTH = 100


@click.command(name="methods")
@click.argument("name", required=False, metavar="[NAME]")
@click.option(
    "--family",
    help="Keep one: instance, label-shift, feature, transport, relation, model, multi-source, "
    "adversarial or deep.",
)
@format_option
def command(name: str | None, family: str | None, fmt: str) -> None:
    """List the domain adaptation methods, or show one in full.

    \b
    A star marks what `isthmus transfer --method NAME` takes:
      isthmus methods --family transport
      isthmus methods coral
    """
    from isthmus.select.catalogue import catalogue, one

    if name is not None:
        method = one(name)
        emit(method.as_dict(), fmt, lambda: _full(method))
        return
    found = catalogue(family)
    emit([m.as_dict() for m in found], fmt, lambda: _list(found))


def _list(methods: list[Method]) -> str:
    from isthmus.align.names import AFTER_TRAINING
    from isthmus.select.catalogue import FAMILIES

    width = max((len(m.name) for m in methods), default=0) + 4
    lines: list[str] = []
    last = ""
    for m in methods:
        if m.family != last:
            lines += [""] if lines else []
            lines.append(f"{FAMILIES.get(m.family, m.family)} (--family {m.family})")
            last = m.family
        head = f"{'*' if m.route else ' '} {m.name}".ljust(width)
        lines += _wrapped(
            head, f"assumes {m.assumption}" if m.assumption else "(no row yet)", width
        )
        lines += _wrapped(" " * width, f"cost {m.cost}", width)
        if m.needs:
            lines += _wrapped(" " * width, f"needs {', '.join(m.needs)}", width)
    routes = sum(m.route for m in methods)
    lines += ["", f"{len(methods)} methods; * = isthmus transfer --method NAME ({routes})."]
    after = ", ".join(AFTER_TRAINING)
    lines.append(f"After a training: {after} (isthmus finetune --method NAME).")
    lines.append("isthmus methods NAME shows one in full, with when it fails and its parameters.")
    return "\n".join(lines)


def _full(m: Method) -> str:
    lines = [f"{m.name}: {m.title} ({m.kind}, {m.family})", ""]
    facts = (
        ("assumes", m.assumption),
        ("cost", m.cost),
        ("fails", m.fails),
        ("paper", m.paper),
        ("needs", ", ".join(m.needs) or "features of both domains only"),
        ("torch", _torch(m)),
        ("run", f"isthmus transfer --method {m.name}" if m.route else f"no route: {m.reason}"),
        ("Python", f"from {m.import_path} import {m.class_name}"),
    )
    for title, words in facts:
        if words:
            lines += _wrapped(f"{title:<9}", words, 9)
    return "\n".join([*lines, "", m.text])


def _torch(m: Method) -> str:
    if m.kind == "network":
        return "trains with it (20 passes, 300 to 1,500 steps); serves with NumPy alone"
    return "tensors in, tensors out" if m.torch else "runs on NumPy"


def _wrapped(head: str, words: str, indent: int) -> list[str]:
    """A first line that begins with `head`, and further ones below its text."""
    return textwrap.wrap(
        words,
        WIDTH,
        initial_indent=head,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
