"""Layer 9: `isthmus report DIR`: everything a run found, on one page."""

from __future__ import annotations

import click

from isthmus.cli.common import emit, format_option


@click.command(name="report")
@click.argument("folder", metavar="DIR")
@click.option("--out", metavar="FILE", help="The HTML file. [default: DIR/report.html]")
@click.option("--lang", default="en", show_default=True, metavar="en|zh", help="Language.")
@format_option
def command(folder: str, out: str | None, lang: str, fmt: str) -> None:
    """Write one HTML file that says what the run in DIR found, and how far it can be trusted.

    \b
    The file loads nothing from elsewhere and opens anywhere. It holds excerpts of the data
    (small pictures, snippets, short clips): share it as you would share them.
      isthmus transfer --source labelled/ --target new/ --out run/
      isthmus report run/
      isthmus report run/ --lang zh --out report-zh.html
    """
    from isthmus.report import write_card, write_report

    found = write_report(folder, out=out, lang=lang)
    card = write_card(folder)
    emit(
        found.as_dict() | {"card": str(card) if card else None},
        fmt,
        f"{found.headline}. {found.file} ({found.bytes / 1e6:.1f} MB, "
        f"{found.rows:,} rows, {found.media:,} excerpts)"
        + (f"\nModel card: {card}" if card else ""),
    )
