"""Layer 9: `isthmus predict DIR FILES...`: names and probabilities as CSV or JSON Lines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from isthmus.cli.common import is_quiet, reading_options

if TYPE_CHECKING:
    import pandas as pd

FORMATS = ("csv", "jsonl", "json", "text")
SHOWN = 20  # rows that --format text shows


@click.command(name="predict")
@click.argument("folder", metavar="DIR")
@click.argument("files", metavar="FILES...", nargs=-1, required=True)
@click.option("--out", metavar="FILE", help="Write there instead of standard output.")
@click.option(
    "--format",
    "fmt",
    type=click.Choice(FORMATS),
    help="Default: the suffix of --out, else csv.",
)
@click.option("--no-proba", is_flag=True, help="Leave out the probabilities of single classes.")
@click.option("--no-cache", is_flag=True, help="Neither read nor fill the feature store.")
@reading_options
@click.pass_context
def command(
    ctx: click.Context,
    folder: str,
    files: tuple[str, ...],
    out: str | None,
    fmt: str | None,
    no_proba: bool,
    no_cache: bool,
    **reading: Any,
) -> None:
    """Predict FILES (photos, recordings, folders, or tables) with the model in DIR.

    Every row of the input is a row of the answer: id, prediction, confidence, p(NAME) for each
    class, and the reason in `error` where a file could not be read. The exit code is 1 if nothing
    could be predicted.

    In CSV a text that a spreadsheet would run as a formula gets a leading apostrophe; JSON keeps
    every name as it is.
    """
    from isthmus.cli.progress import bars
    from isthmus.serve.predictor import load

    form = fmt or _by_suffix(out)
    options = {name: value for name, value in reading.items() if value is not None}
    predictor = load(folder, store=_store(no_cache))
    data: Any = files[0] if len(files) == 1 else [Path(name) for name in files]
    with bars(enabled=form != "json") as progress:
        frame = predictor.predict(
            data, progress=lambda done, total: progress.update("predict", done, total), **options
        )
    if no_proba:
        frame = frame[[name for name in frame.columns if not str(name).startswith("p(")]]
    text = _rendered(frame, form)
    if out is None:
        click.echo(text, nl=not text.endswith("\n"))
    else:
        _write(out, text)
    bad = int(frame["error"].notna().sum())
    if (bad or out is not None) and not is_quiet():
        said = f"{len(frame) - bad:,} of {len(frame):,} rows predicted"
        listed = f"; {bad:,} could not be (see the column error)" if bad else ""
        click.echo(said + listed + (f"; written to {out}" if out else ""), err=True)
    if bad == len(frame):
        ctx.exit(1)


# The labels of what is predicted are never read, and a bad file does not stop the others.
command.params = [p for p in command.params if p.name not in ("label", "task", "domain", "group")]
for _option in command.params:
    if _option.name == "max_bad" and isinstance(_option, click.Option):
        _option.help = "Share of bad rows allowed. [default: 1, bad rows are listed]"


def _by_suffix(out: str | None) -> str:
    suffix = Path(out).suffix.lower() if out else ""
    return {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".txt": "text"}.get(
        suffix, "csv"
    )


def _store(no_cache: bool) -> Any:
    if no_cache:
        return None
    from isthmus.backbone import Store

    return Store()


def _rendered(frame: pd.DataFrame, form: str) -> str:
    from isthmus.serve.writers import frame_to_csv, frame_to_jsonl, records

    if form == "csv":
        return frame_to_csv(frame)
    if form == "jsonl":
        return frame_to_jsonl(frame)
    if form == "json":
        import json

        bad = int(frame["error"].notna().sum())
        value = {"rows": len(frame), "bad": bad, "predictions": records(frame)}
        return json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n"
    return _table(records(frame))


def _table(rows: list[dict[str, Any]]) -> str:
    """The first rows for a person: id, prediction, confidence or the reason."""
    lines = []
    width = max((len(row["id"]) for row in rows[:SHOWN]), default=0)
    for row in rows[:SHOWN]:
        answer = row["prediction"]
        if row["error"] is not None:
            said = f"- ({row['error']})"
        elif isinstance(answer, float):
            said = f"{answer:.6g}"
        else:
            said = str(answer) or "(none)"
        sure = row.get("confidence")
        lines.append(f"{row['id']:<{width}}  {said}" + (f"  {sure:.3f}" if sure else ""))
    if len(rows) > SHOWN:
        lines.append(f"... and {len(rows) - SHOWN:,} more; --out FILE.csv writes them all")
    return "\n".join(lines) + "\n"


def _write(out: str, text: str) -> None:
    from isthmus import iofs
    from isthmus.errors import UsageError

    try:
        iofs.write_text(out, text)
    except OSError as error:
        raise UsageError(
            "the answer cannot be written",
            where=out,
            why=error.strerror or str(error),
            remedy="Give --out a file in a folder that can be written",
        ) from None
