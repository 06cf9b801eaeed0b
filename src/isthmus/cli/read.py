"""`isthmus read DATA`: what would be understood of a data set; nothing is changed."""

from __future__ import annotations

from typing import Any

import click

from isthmus.cli.common import emit, format_option, reading_options


@click.command(name="read")
@click.argument("data", metavar="DATA")
@reading_options
@format_option
def command(data: str, fmt: str, **given: Any) -> None:
    """Show what would be understood of DATA, and change nothing.

    \b
    DATA is a folder of images or recordings, or a CSV, TSV, JSONL, Parquet, .txt or .npz file.
    Every guess is printed with its reason and the option that overrules it:
      isthmus read heart.csv
      isthmus read photos/ --split train
      isthmus read reviews.csv --label stars --format json
    """
    from isthmus.data import describe, read, summary

    options = {name: value for name, value in given.items() if value is not None}
    samples = read(data, **options)
    emit(summary(samples) if fmt == "json" else None, fmt, lambda: describe(samples))
