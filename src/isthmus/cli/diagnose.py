"""Layer 9: `isthmus diagnose SOURCE TARGET`: how far apart, and in which way."""

from __future__ import annotations

from typing import Any

import click

from isthmus.cli.common import backbone_options, emit, format_option, reading_options


@click.command(name="diagnose")
@click.argument("source", metavar="SOURCE")
@click.argument("target", metavar="[TARGET]", required=False)
@click.option("--target-labels", metavar="FILE", help="Labels of some target rows (id, label).")
@click.option("--source-domain", metavar="NAMES", help="Keep these domains of the source.")
@click.option("--target-domain", metavar="NAMES", help="Keep these domains of the target.")
@backbone_options
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--no-cache", is_flag=True, help="Neither read nor fill the feature store.")
@reading_options
@format_option
def command(fmt: str, **given: Any) -> None:
    """Say how far apart SOURCE and TARGET are: gaps, class shares, classes, features.

    \b
    Every figure has a sentence. Labels of the target are read where it has some.
      isthmus diagnose photos_a/ photos_b/
      isthmus diagnose heart.csv --label "num>0" --domain hospital \\
          --source-domain cleveland --target-domain hungary
    """
    from isthmus.cli.progress import bars
    from isthmus.run.diagnosis import diagnose

    quiet = fmt == "json"
    with bars(enabled=not quiet) as progress:
        found = diagnose(
            say=(lambda text: None) if quiet else progress.say, progress=progress.update, **given
        )
    emit(found.findings, fmt, found.text)
