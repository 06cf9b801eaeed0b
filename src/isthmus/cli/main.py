"""Layer 9: `isthmus COMMAND`: parse, call, print. A command is loaded only when it is named."""

from __future__ import annotations

import atexit
import contextlib
import difflib
import importlib
import os
import signal
import sys

import click

from isthmus import __version__
from isthmus.cli.common import for_every_command
from isthmus.cli.notes import once

# command -> help line; kept here so that `isthmus --help` imports none of them
COMMANDS = {
    "transfer": "Carry labels from a source to a target and say by how much it helped.",
    "plan": "Print what transfer would do, with estimates, as a file that it accepts.",
    "demo": "Four real cases in two minutes, from data inside the package.",
    "finetune": "Train a network on the source and align it with the target.",
    "report": "Everything a run found on one page: offline, in English or Chinese.",
    "predict": "Predict files or rows with a saved model.",
    "evaluate": "Score a saved model on labelled data, with intervals.",
    "verify": "Replay a saved model's sample inputs and check every digest.",
    "check": "Find what would make the numbers silently wrong, before a run.",
    "diagnose": "Say how far apart two domains are, and in which way.",
    "rank": "Rank backbones, or sources, by how well they suit a target.",
    "methods": "List the domain adaptation methods: what they assume, cost and need.",
    "read": "Show what would be understood of a data set, and change nothing.",
    "eject": "Write a saved model as a plain script that needs no isthmus.",
    "cache": "Look at, verify or prune the feature store.",
    "doctor": "Check Python, libraries, weights, disk and GPU, and say what to install.",
    "completion": "Print the completion script of bash, zsh or fish.",
}


class LazyGroup(click.Group):
    """A group whose commands live in `isthmus.cli.<name>` as `command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"isthmus.cli.{name.replace('-', '_')}")
        command = for_every_command(module.command)
        if ctx.resilient_parsing:  # a shell asks what comes next
            from isthmus.cli.completion import completed

            completed(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in COMMANDS:
            near = difflib.get_close_matches(name, COMMANDS, n=1)
            hint = f" Did you mean `isthmus {near[0]}`?" if near else ""
            raise click.UsageError(f"No command {name!r}.{hint} See `isthmus --help`.", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Give the labelled data you have (source) and the data you must predict on (target); "
    "isthmus carries over what pretrained models and the source know, and says by how much it "
    "helped, or that it declined.",
    epilog="Exit codes: 0 ok, 1 the run failed, 2 the call is wrong, 130 interrupted.",
)
@click.version_option(__version__, prog_name="isthmus")
def cli() -> None:
    """The group itself does nothing."""


def run(args: list[str] | None = None) -> None:
    """Entry point. Exit codes: 0 ok, 1 the run failed, 2 wrong usage, 130 interrupted."""
    words = sys.argv[1:] if args is None else list(args)
    try:
        with once():
            code = cli.main(args=words, prog_name="isthmus", standalone_mode=False)
        if args is None:  # the work is done: Ctrl-C while the interpreter ends undoes nothing
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        sys.exit(code if isinstance(code, int) else 0)
    except (click.exceptions.Abort, KeyboardInterrupt):
        _interrupted(leave=args is None)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except Exception as error:  # a person at a shell never gets a bare trace
        from isthmus.cli.trouble import refuse

        sys.exit(refuse(error, words))


def _interrupted(*, leave: bool) -> None:
    """Say so and end with 130.

    Not by `sys.exit` alone: of commands interrupted while they import a library one in ten ended
    by the signal all the same, after these words, when the interpreter was taken down.
    """
    click.echo(
        "\nInterrupted. What was computed is kept: the same command again resumes.", err=True
    )
    if leave:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        atexit._run_exitfuncs()  # what libraries clean up: worker processes, temporary files
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):  # closed, or nobody reads any more
                stream.flush()
        os._exit(130)
    sys.exit(130)
