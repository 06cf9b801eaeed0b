"""Layer 9: `isthmus finetune`: train a network and align it with the target."""

from __future__ import annotations

from typing import Any

import click

from isthmus.cli.common import backbone_options, emit, format_option, reading_options
from isthmus.cli.transfer import Shots

STRATEGIES = (
    "full", "head-only", "top-k", "gradual", "layerwise", "lp-ft", "lora", "bias-only",
)  # fmt: skip


@click.command(name="finetune")
@click.option("--source", metavar="S", help="Labelled source data (folder, table, ...).")
@click.option("--target", metavar="T", help="The data to predict on.")
@click.option("--target-labels", metavar="FILE", help="Labels of some target rows (id, label).")
@click.option("--shots", type=Shots(), help="Draw K labels a class from the target's own labels.")
@click.option("--test", metavar="X", help="Labelled test data, opened once at the end.")
@click.option("--source-domain", metavar="NAMES", help="Keep these domains of the source.")
@click.option("--target-domain", metavar="NAMES", help="Keep these domains of the target.")
@backbone_options
@click.option(
    "--on",
    type=click.Choice(["features", "network"]),
    default="features",
    show_default=True,
    help="Train a small network on cached features, or the pretrained network itself (images).",
)
@click.option("--method", metavar="NAME", help="dann, cdan, mcc, shot, ... [default: none]")
@click.option("--trade-off", type=float, help="Weight of the method. [default: its own]")
@click.option(
    "--strategy",
    type=click.Choice(STRATEGIES),
    default="full",
    show_default=True,
    help="Which weights are trained, and when.",
)
@click.option("--epochs", type=click.IntRange(1), default=20, show_default=True)
@click.option("--batch-size", type=click.IntRange(1), default=64, show_default=True)
@click.option("--lr", type=float, default=1e-3, show_default=True, help="Learning rate.")
@click.option("--patience", type=click.IntRange(1), help="Stop early, by held-out labelled rows.")
@click.option(
    "--augment",
    type=click.Choice(["none", "light", "standard", "strong", "digits"]),
    default="none",
    show_default=True,
    help="Random versions of the images, with --on network.",
)
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")
@click.option("--workers", type=click.IntRange(0), default=0, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--out", metavar="DIR", help="Checkpoints, metric log, network, predictions.")
@click.option("--overwrite", is_flag=True, help="Replace another run's results in DIR.")
@click.option("--no-cache", is_flag=True, help="Neither read nor fill the feature store.")
@reading_options
@format_option
def command(fmt: str, **given: Any) -> None:
    """Train a network on the source, align it with the target, and score it once.

    \b
    An interrupted run goes on where it was: give the same command again.
      isthmus finetune --source S --target T --method dann --out run
      isthmus finetune --target photos/ --shots 5 --on network --strategy lp-ft
    """
    from isthmus.cli.progress import bars
    from isthmus.run.finetune import finetune

    quiet = fmt == "json"
    with bars(enabled=not quiet) as progress:
        done = finetune(
            say=(lambda text: None) if quiet else progress.say, progress=progress.update, **given
        )
    emit(done.results, fmt, done.text)
