"""Layer 9: what several commands share: the output format and the options of reading."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click

format_option = click.option(
    "--format",
    "fmt",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Text for a person, JSON for a machine.",
)


allow_option = click.option(
    "--allow",
    metavar="CODE",
    multiple=True,
    help="Go on in spite of this check's error (ISX012); repeatable. The report says so.",
)


QUIET = "isthmus.quiet"  # key of the call's `meta`, which all its contexts share


def _note_quiet(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        ctx.meta[QUIET] = True


def is_quiet() -> bool:
    """Whether this call asked for nothing but its result and its errors."""
    ctx = click.get_current_context(silent=True)
    return ctx is not None and bool(ctx.meta.get(QUIET))


def _some_time(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    if value is not None and value <= 0:
        raise click.BadParameter("no time is left: give e.g. 5m, or leave it out", ctx, param)
    return value


def for_every_command(command: click.Command) -> click.Command:
    """`command` with what all of them share: --quiet, --debug, and a sane --seed and --time."""
    if isinstance(command, click.Group):
        for member in command.commands.values():
            for_every_command(member)
        return command
    for param in command.params:
        if param.name == "seed":
            param.type = click.IntRange(0, 2**32 - 1)
        elif param.name == "time_budget" and param.callback is None:
            param.callback = _some_time
    if not any(param.name == "quiet" for param in command.params):
        command.params += [
            click.Option(
                ["-q", "--quiet"],
                is_flag=True,
                expose_value=False,
                callback=_note_quiet,
                help="No progress and no notes: the result and errors only.",
            ),
            # read from the words of the call, since it matters where parsing fails as well
            click.Option(
                ["--debug"],
                is_flag=True,
                expose_value=False,
                help="Show the full trace of an error. [env: ISTHMUS_DEBUG=1]",
            ),
        ]
    return command


def emit(value: Any, fmt: str, text: Callable[[], str] | str) -> None:
    """Print `value` as JSON, or `text` (called only when needed)."""
    if fmt == "json":
        click.echo(json.dumps(value, ensure_ascii=False, sort_keys=True, allow_nan=False))
    else:
        click.echo(text() if callable(text) else text)


def human_size(size: int) -> str:
    """Size in decimal units, as `--max-size` reads them."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


_READING = [
    click.option("--modality", help="image, text, audio, table or features."),
    click.option("--task", help="classification, multilabel or regression."),
    click.option("--label", metavar="COLUMN", help="Column, comparison (num>0) or name pattern."),
    click.option("--domain", metavar="COLUMN", help="Column (or name pattern) of the domain."),
    click.option("--group", metavar="COLUMN", help="Patient, speaker...: never torn apart."),
    click.option("--text", metavar="COLUMN", help="Column that holds the text."),
    click.option("--file", metavar="COLUMN", help="Column that holds file paths."),
    click.option("--features", metavar="COLUMNS", help="Columns to use, comma-separated."),
    click.option("--id", "id", metavar="COLUMN", help="Column that names the rows."),
    click.option("--split", metavar="NAME", help="Keep one split, or the column that holds it."),
    click.option("--encoding", help="Encoding of text files."),
    click.option("--delimiter", help="Of a text table: comma, semicolon, tab, bar or the sign."),
    click.option("--header/--no-header", default=None, help="Whether row one names the columns."),
    click.option("--root", metavar="FOLDER", help="Folder of the files that a table names."),
    click.option("--max-bad", type=float, help="Share of bad rows allowed. [default: 0.01]"),
]


def reading_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of `isthmus.data.read`, one for each guess, under the same names."""
    for option in reversed(_READING):
        function = option(function)
    return function


_BACKBONE = [
    click.option("--backbone", metavar="B", help="Pretrained model, e.g. timm:resnet50."),
    click.option("--weights", metavar="FILE", help="Local weights of the backbone."),
    click.option("--layer", help="Take the features at this layer of the backbone."),
    click.option("--pooling", help="How features are pooled (mean, max, cls, ...)."),
    click.option("--allow-license", is_flag=True, help="Accept weights of a restrictive licence."),
]


def backbone_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Which pretrained model makes the features, and how."""
    for option in reversed(_BACKBONE):
        function = option(function)
    return function
