"""Layer 9: `isthmus rank`: backbones and sources in order, with how sure each place is."""

from __future__ import annotations

from typing import Any

import click

from isthmus.cli.common import emit, format_option, reading_options


@click.command(name="rank")
@click.option("--target", metavar="T", help="The data to predict on; its labels are used.")
@click.option("--source", metavar="S", multiple=True, help="A labelled candidate; repeatable.")
@click.option("--backbone", metavar="B", multiple=True, help="A pretrained model; repeatable.")
@click.option("--target-domain", metavar="NAMES", help="The target is this domain of the data.")
@click.option(
    "--measure",
    metavar="M",
    help="logme, hscore, gbc, linear_probe, ...; leep, nce, accuracy; sliced-wasserstein, "
    "coral-distance, mmd. [default: logme; leep, or sliced-wasserstein without target labels]",
)
@click.option("--allow-license", is_flag=True, help="Accept weights of a restrictive licence.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--no-cache", is_flag=True, help="Neither read nor fill the feature store.")
@reading_options
@format_option
def command(fmt: str, source: tuple[str, ...], backbone: tuple[str, ...], **given: Any) -> None:
    """Rank backbones, or sources, by how well they suit a target.

    \b
    Each place comes with an interval; all intervals hold together.
      isthmus rank --target photos/ --backbone timm:resnet18 --backbone timm:resnet50
      isthmus rank --target T --source A --source B
      isthmus rank --source heart.csv --label "num>0" --domain hospital --target-domain va
    """
    from isthmus.cli.progress import bars
    from isthmus.run.ranking import rank

    quiet = fmt == "json"
    with bars(enabled=not quiet) as progress:
        found = rank(
            source=list(source),
            backbone=list(backbone),
            say=(lambda text: None) if quiet else progress.say,
            progress=progress.update,
            **given,
        )
    emit(found.as_dict(), fmt, found.text)
