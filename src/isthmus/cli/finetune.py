"""Layer 9: `isthmus finetune`: train a network and align it with the target."""

from __future__ import annotations

from typing import Any

import click

from isthmus.cli.common import (
    allow_option,
    backbone_options,
    emit,
    format_option,
    reading_options,
)
from isthmus.cli.transfer import Shots
from isthmus.run.recipes import RECIPES, in_words
from isthmus.run.training import MIXES

STRATEGIES = (
    "full", "head-only", "top-k", "gradual", "layerwise", "lp-ft", "lora", "bias-only",
)  # fmt: skip


class Widths(click.ParamType):
    """``1024`` or ``512,256``: widths of dense layers; ``none``."""

    name = "widths"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        parts = [] if value == "none" else [part.strip() for part in str(value).split(",")]
        if not all(part.isdigit() and int(part) > 0 for part in parts):
            self.fail(f"{value!r}: give widths such as 512 or 512,256, or none", param, ctx)
        return tuple(int(part) for part in parts)


class Names(click.ParamType):
    """``l2-sp`` or ``l2-sp,bss``; ``none``."""

    name = "names"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        return tuple(part.strip() for part in str(value).split(",") if part.strip(" ") != "none")


def _presets(function: Any) -> Any:
    """The recipes stand in the help of the command."""
    function.__doc__ += (
        "\n    \b\n    Recipes (--recipe; every option beside it replaces its own):\n"
    )
    function.__doc__ += "\n".join(f"    {line}" for line in in_words().splitlines())
    return function


@click.command(name="finetune")
@click.option("--source", metavar="S", help="Labelled source data (folder, table, ...).")
@click.option("--target", metavar="T", help="The data to predict on.")
@click.option("--target-labels", metavar="FILE", help="Labels of some target rows (id, label).")
@click.option("--shots", type=Shots(), help="Draw K labels a class from the target's own labels.")
@click.option("--test", metavar="X", help="Labelled test data, opened once at the end.")
@click.option("--source-domain", metavar="NAMES", help="Keep these domains of the source.")
@click.option("--target-domain", metavar="NAMES", help="Keep these domains of the target.")
@click.option(
    "--recipe",
    metavar="NAME",
    help="A preset: " + ", ".join(recipe.name for recipe in RECIPES) + "; see above.",
)
@backbone_options
@click.option("--size", type=click.IntRange(16), help="Side of the images in pixels.")
@click.option("--start-from", metavar="FILE", help="A saved dense network: .h5, .keras, ...")
@click.option(
    "--on",
    type=click.Choice(["features", "network"]),
    default="features",
    show_default=True,
    help="Train a small network on cached features, or the pretrained network itself "
    "(images, texts, recordings).",
)
@click.option("--method", metavar="NAME", help="dann, cdan, mcc, shot, tent, ... [default: none]")
@click.option(
    "--trade-off",
    "--lambda",
    "trade_off",
    type=float,
    help="Weight of the method's loss. [default: its own]",
)
@click.option(
    "--strategy",
    type=click.Choice(STRATEGIES),
    default="full",
    show_default=True,
    help="Which weights are trained, and when.",
)
@click.option(
    "--stages",
    type=click.Choice(["joint", "three-step"]),
    default="joint",
    show_default=True,
    help="three-step: the source first, then the labelled target rows alone.",
)
@click.option(
    "--hidden",
    type=Widths(),
    help="Dense layers before the last. [default: 256; none with --on network]",
)
@click.option("--dropout", type=click.FloatRange(0, 0.95), default=0.0, show_default=True)
@click.option(
    "--optimizer", type=click.Choice(["adamw", "adam", "sgd"]), default="adamw", show_default=True
)
@click.option("--epochs", type=click.IntRange(1), default=20, show_default=True)
@click.option("--batch-size", type=click.IntRange(1), default=64, show_default=True)
@click.option("--lr", type=float, default=1e-3, show_default=True, help="Learning rate.")
@click.option("--weight-decay", type=click.FloatRange(0), default=1e-4, show_default=True)
@click.option(
    "--schedule",
    type=click.Choice(["constant", "cosine", "linear", "dann"]),
    default="cosine",
    show_default=True,
    help="Of the learning rate.",
)
@click.option("--warmup", type=click.FloatRange(0, 1), default=0.0, help="Share of the training.")
@click.option("--label-smoothing", type=click.FloatRange(0, 1, max_open=True), default=0.0)
@click.option("--clip", type=float, help="Largest norm of the gradient. [default: none]")
@click.option(
    "--accumulate",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Parts in which a batch is computed, to save memory.",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16"]),
    default="float32",
    show_default=True,
)
@click.option(
    "--ema",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.0,
    help="Decay of the average of the weights that is served, e.g. 0.999. [default: none]",
)
@click.option(
    "--mix",
    type=click.Choice(MIXES),
    default="none",
    show_default=True,
    help="Train on mixtures of two rows; cutmix: images, with --on network.",
)
@click.option(
    "--penalty",
    type=Names(),
    help="Keep near what was pretrained: l2-sp, delta, bss, lwf, rkd, bi-tuning, or several with "
    "commas.",
)
@click.option("--blocks", type=click.IntRange(1), help="Of --strategy top-k. [default: 2]")
@click.option("--rank", type=click.IntRange(1), help="Of --strategy lora. [default: 8]")
@click.option(
    "--domain-norms",
    is_flag=True,
    help="Batch normalisation of each domain, with --method; the target's is served.",
)
@click.option("--patience", type=click.IntRange(1), help="Stop early, by held-out labelled rows.")
@click.option(
    "--keep",
    type=click.Choice(["last", "evidence"]),
    default="last",
    show_default=True,
    help="Weights of the last epoch, or of the one after which near target rows agree most "
    "(no target label is read).",
)
@click.option(
    "--augment",
    type=click.Choice(["none", "light", "standard", "strong", "digits"]),
    default="none",
    show_default=True,
    help="Random versions of the rows, with --on network: crops, masked tokens, noise, ...",
)
@click.option(
    "--against-scratch",
    is_flag=True,
    help="Train the same network from nothing as well, and score both on the same rows.",
)
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")
@click.option("--workers", type=click.IntRange(0), default=0, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--out", metavar="DIR", help="Checkpoints, metric log, network, predictions.")
@click.option("--overwrite", is_flag=True, help="Replace another run's results in DIR.")
@allow_option
@click.option("--no-cache", is_flag=True, help="Neither read nor fill the feature store.")
@reading_options
@format_option
@_presets
def command(fmt: str, **given: Any) -> None:
    """Train a network on the source, align it with the target, and score it once.

    \b
    An interrupted run goes on where it was: give the same command again.
      isthmus finetune --source S --target T --method dann --out run
      isthmus finetune --target photos/ --shots 5 --on network --strategy lp-ft
    """
    from click.core import ParameterSource

    from isthmus.cli.progress import bars
    from isthmus.run.finetune import finetune

    source = click.get_current_context().get_parameter_source
    # only what was typed: a recipe fills in the rest
    given = {k: v for k, v in given.items() if source(k) is not ParameterSource.DEFAULT}

    quiet = fmt == "json"
    with bars(enabled=not quiet) as progress:
        done = finetune(
            say=(lambda text: None) if quiet else progress.say, progress=progress.update, **given
        )
    emit(done.results, fmt, done.text)
