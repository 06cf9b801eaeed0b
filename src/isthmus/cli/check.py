"""Layer 9: `isthmus check SOURCE TARGET`: what would make the numbers silently wrong."""

from __future__ import annotations

import sys
from typing import Any

import click

from isthmus.cli.common import backbone_options, emit, format_option, reading_options


@click.command(name="check")
@click.argument("source", metavar="SOURCE")
@click.argument("target", metavar="[TARGET]", required=False)
@click.option("--target-labels", metavar="FILE", help="Labels of some target rows (id, label).")
@click.option("--test", metavar="X", help="Labelled test data.")
@click.option("--source-domain", metavar="NAMES", help="Keep these domains of the source.")
@click.option("--target-domain", metavar="NAMES", help="Keep these domains of the target.")
@backbone_options
@click.option("--out", metavar="DIR", help="Write findings.json and suspects.csv there.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--no-cache", is_flag=True, help="Neither read nor fill the feature store.")
@reading_options
@format_option
def command(source: str, target: str | None, out: str | None, fmt: str, **given: Any) -> None:
    """Look for silent failures in SOURCE and TARGET before anything is trained.

    \b
    Every finding has a stable code (ISX001 ...), evidence and a remedy. Exit code 1 if one is an
    error. With SOURCE alone, it is looked at as the target whose labels train.
      isthmus check photos_a/ photos_b/
      isthmus check heart.csv --label "num>0" --domain hospital \\
          --source-domain cleveland --target-domain hungary --out checked/
    """
    from isthmus.cli.progress import bars
    from isthmus.run.preflight import check

    first: str | None = source
    if target is None and given.get("target_domain") is None:
        first, target = None, source
    quiet = fmt == "json"
    with bars(enabled=not quiet) as progress:
        found = check(
            first,
            target,
            say=(lambda text: None) if quiet else progress.say,
            progress=progress.update,
            **given,
        )
    if out is not None:
        found.save(out)
    emit(found.as_dict(), fmt, found.text)
    if not found.ok:
        sys.exit(1)
