"""`isthmus transfer`: the main job, from the command line."""

from __future__ import annotations

import re
from typing import Any

import click

from isthmus.cli.common import allow_option, emit, format_option, reading_options


class Seconds(click.ParamType):
    """A duration: ``90``, ``90s``, ``5m``, ``1h30m``."""

    name = "duration"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        value = str(value)
        match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?", value.strip())
        if not value.strip() or match is None or not any(match.groups()):
            self.fail(f"{value!r} is not a duration: write 90s, 5m or 1h30m", param, ctx)
        hours, minutes, seconds = (float(part or 0) for part in match.groups())
        return 3600 * hours + 60 * minutes + seconds


class Shots(click.ParamType):
    """A count per class, or ``all``."""

    name = "K|all"

    def convert(self, value: Any, param: Any, ctx: Any) -> int | str:
        value = str(value)
        if value == "all":
            return value
        if not value.isdigit() or int(value) < 1:
            self.fail(f"{value!r}: give a whole number from 1, or 'all'", param, ctx)
        return int(value)


def _use_plan(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    """Options of a plan file become the defaults: what the command line says wins."""
    if value is None:
        return
    from isthmus.run.plan_file import load_plan

    options = load_plan(value)
    renamed = {"time": "time_budget"}
    ctx.default_map = {renamed.get(name, name): given for name, given in options.items()}


@click.command(name="transfer")
@click.option(
    "--plan",
    metavar="FILE",
    is_eager=True,
    expose_value=False,
    callback=_use_plan,
    help="Take the options from a file that isthmus plan wrote; those given here win.",
)
@click.option("--source", metavar="S", help="Labelled source data (folder, table, ...).")
@click.option("--target", metavar="T", help="The data to predict on.")
@click.option("--target-labels", metavar="FILE", help="Labels of some target rows (id, label).")
@click.option("--shots", type=Shots(), help="Draw K labels a class from the target's own labels.")
@click.option("--test", metavar="X", help="Labelled test data, opened once at the end.")
@click.option("--source-domain", metavar="NAMES", help="Keep these domains of the source.")
@click.option("--target-domain", metavar="NAMES", help="Keep these domains of the target.")
@click.option("--backbone", metavar="B", help="Pretrained model, e.g. timm:resnet50.")
@click.option("--weights", metavar="FILE", help="Local weights of the backbone.")
@click.option("--layer", help="Take the features at this layer of the backbone.")
@click.option("--pooling", help="How features are pooled (mean, max, cls, ...).")
@click.option("--allow-license", is_flag=True, help="Accept weights with a restrictive licence.")
@click.option("--head", help="logistic, ridge, nearest-mean or knn. [default: by the task]")
@click.option(
    "--method",
    metavar="NAME",
    multiple=True,
    help="Offer a domain adaptation method as a route; repeatable; 'all'. See isthmus methods.",
)
@click.option(
    "--classes",
    "--label-set",
    "label_set",
    type=click.Choice(["auto", "closed", "partial", "open", "universal"]),
    default="auto",
    show_default=True,
    help="Which classes the target holds: those of the source (closed), fewer (partial), also "
    "others, which are answered 'unknown' (open), or both (universal).",
)
@click.option(
    "--deep/--no-deep",
    default=None,
    help="Let the automatic choice try trained networks, or never. [default: as --time allows]",
)
@click.option(
    "--network/--no-network",
    default=None,
    help="Train the pretrained network itself too, or never. [default: as --time allows]",
)
@click.option("--time", "time_budget", type=Seconds(), help="Time budget, e.g. 5m.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--out", metavar="DIR", help="Where the model and the results go.")
@click.option("--overwrite", is_flag=True, help="Replace another run's results in DIR.")
@click.option(
    "--track",
    type=click.Choice(["mlflow", "tensorboard", "wandb"]),
    help="Log the figures there as well; needs --out. Nothing is tracked unasked.",
)
@allow_option
@click.option("--no-cache", is_flag=True, help="Neither read nor fill the feature store.")
@reading_options
@format_option
def command(
    fmt: str,
    out: str | None,
    time_budget: float | None,
    method: tuple[str, ...],
    allow: tuple[str, ...],
    **given: Any,
) -> None:
    """Carry labels from a source to a target and say by how much it helped.

    \b
    Three cases:
      isthmus transfer --target photos/ --shots 5 --out run        few target labels only
      isthmus transfer --source S --target T --out run             source + unlabelled target
      isthmus transfer --source S --target T --target-labels F     both
      isthmus transfer --source S --target T --method coral        a method chosen by hand
    """
    from isthmus.cli.progress import bars
    from isthmus.transfer import transfer

    quiet = fmt == "json"
    with bars(enabled=not quiet) as progress:
        result = transfer(
            out=out,
            time=time_budget,
            method=list(method) or None,
            allow=list(allow) or None,
            say=(lambda text: None) if quiet else progress.say,
            progress=progress.update,
            **given,
        )
    emit(result.results, fmt, result.text)
