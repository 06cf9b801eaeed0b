"""`isthmus demo`: four real cases from the data inside the package."""

from __future__ import annotations

import time
from typing import Any

import click

from isthmus.cli.common import emit, format_option, is_quiet


@click.command(name="demo")
@click.option("--case", "only", metavar="NAME", help="Run one case only (signs, reviews, ...).")
@click.option("--out", metavar="DIR", help="Keep the saved models and results below DIR.")
@format_option
def command(only: str | None, out: str | None, fmt: str) -> None:
    """Four real cases in two minutes: what transfer bought over no transfer, and where nothing."""
    from pathlib import Path

    from isthmus.cli.progress import bars
    from isthmus.demo.cases import CASES, find
    from isthmus.run.text import render
    from isthmus.transfer import transfer

    start = time.monotonic()
    found: dict[str, Any] = {}
    for case in CASES if only is None else (find(only),):
        told = fmt == "text" and not is_quiet()
        if told:
            click.echo(f"\n=== {case.name}\n{case.story}\n$ {case.command}")
        folder = None if out is None else Path(out) / case.name.replace(" ", "_")
        with bars(enabled=fmt == "text") as progress:
            result = transfer(**case.call, out=folder, progress=progress.update)
        found[case.name] = result.results
        if told:
            click.echo(render(result.results, result.run))
    emit(found, fmt, lambda: summary(found, time.monotonic() - start))


def summary(found: dict[str, Any], seconds: float) -> str:
    """One line a case: the outcome sentence."""
    lines = [f"\n=== In short ({seconds:.0f} s)"]
    lines += [f"{name}: {results['proof']['outcome']}" for name, results in found.items()]
    return "\n".join(lines)
