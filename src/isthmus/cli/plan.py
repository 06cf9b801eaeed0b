"""Layer 9: `isthmus plan`: what `isthmus transfer` would do, as a file that can be edited."""

from __future__ import annotations

from typing import Any

import click

from isthmus.cli.common import emit, is_quiet
from isthmus.cli.transfer import command as transfer_command

OWN = ("out", "overwrite", "plan")  # options of the run itself that a plan has no use for


@click.command(name="plan", params=[p for p in transfer_command.params if p.name not in OWN])
@click.option("--out", metavar="FILE", help="Write the plan to this file as well.")
@click.option("--overwrite", is_flag=True, help="Replace FILE if it exists.")
def command(
    fmt: str,
    out: str | None,
    overwrite: bool,
    time_budget: float | None,
    method: tuple[str, ...],
    allow: tuple[str, ...],
    **given: Any,
) -> None:
    """Print what `isthmus transfer` would do with the same options, as YAML; do nothing.

    \b
    What was understood of the data, the backbone, the routes and why others are left out, with
    estimates of time and memory. Edit the options and run the result:
      isthmus plan --source S --target T --out plan.yaml
      isthmus transfer --plan plan.yaml --out run
    """
    from isthmus.cli.progress import bars
    from isthmus.run.plan import plan
    from isthmus.run.plan_file import save_plan

    quiet = fmt == "json"
    with bars(enabled=not quiet) as progress:
        found = plan(
            time=time_budget,
            method=list(method) or None,
            allow=list(allow) or None,
            say=(lambda text: None) if quiet else progress.say,
            **given,
        )
    text = found.yaml()
    if out is not None:
        save_plan(out, text, overwrite=overwrite)
        if not quiet and not is_quiet():
            click.echo(f"Saved in {out}", err=True)
    emit(found.as_dict(), fmt, text.rstrip("\n"))
