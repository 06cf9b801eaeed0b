"""Layer 9: `isthmus verify DIR`: digests, backbone, and a replay of the saved examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from isthmus.cli.common import emit, format_option


@click.command(name="verify")
@click.argument("folder", metavar="DIR")
@format_option
@click.pass_context
def command(ctx: click.Context, folder: str, fmt: str) -> None:
    """Check every byte of the model in DIR and replay its examples. Changes nothing.

    The exit code is 1, and the file is named, where anything differs. Other versions of libraries
    are listed; they are no failure as long as the examples give the same answers.
    """
    from isthmus.serve.manifest import read_manifest
    from isthmus.serve.verify import verify

    if not Path(folder).is_dir():
        read_manifest(folder)  # refused in its own words: nothing here was ever a model
    report = verify(folder)
    emit(report, fmt, lambda: _text(report))
    if not report["ok"]:
        ctx.exit(1)


def _text(report: dict[str, Any]) -> str:
    lines = []
    for check in report["checks"]:
        what = check["file"] or check["name"]
        lines.append(f"{'ok    ' if check['ok'] else 'FAILED'}  {what}: {check['detail']}")
    for name, (then, now) in report["libraries"].items():
        lines.append(f"note    {name} was {then}, is {now or 'not installed'}")
    bad = [check for check in report["checks"] if not check["ok"]]
    if not bad:
        lines.append(f"{report['folder']} is whole; {report['replayed']} examples replayed")
    else:
        names = ", ".join(dict.fromkeys(check["file"] or check["name"] for check in bad))
        lines.append(f"{report['folder']} must not be used: {names}")
        lines.append(
            "Restore the folder from a copy, or train the model anew: isthmus transfer --out DIR"
        )
    return "\n".join(lines)
