"""Layer 9: every error of a command as a message: what, where, why and what mends it."""

from __future__ import annotations

import difflib
import json
import os
import shlex
import sys
import traceback
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import click

from isthmus.errors import IsthmusError, UsageError, understood

USAGE, FAILED = 2, 1
KEPT = 20  # traces; older ones go


def refuse(error: Exception, words: Sequence[str]) -> int:
    """Print an error for a person, or as JSON where the call asked for it; the exit code.

    Parameters
    ----------
    words : sequence of str
        The call, without the program's name.
    """
    if _wants_trace(words):
        click.echo("".join(traceback.format_exception(error)).rstrip(), err=True)
    if isinstance(error, click.ClickException):
        usage = isinstance(error, click.UsageError)
        if isinstance(error, click.NoSuchOption) and error.possibilities:
            # the nearest one; the parser's own list holds everything that begins alike
            near = difflib.get_close_matches(error.option_name, error.possibilities, n=1, cutoff=0)
            error = click.NoSuchOption(error.option_name, possibilities=near, ctx=error.ctx)
        if _wants_json(words):
            _print_json(_of_click(error))
        else:
            error.show()
        return USAGE if usage else FAILED
    known = error if isinstance(error, IsthmusError) else understood(error)
    if known is None:
        known = _unexpected(error, words)
    if _wants_json(words):
        _print_json(known.as_dict())
    else:
        click.echo(f"isthmus: {known}", err=True)
    return USAGE if isinstance(known, UsageError) else FAILED


def _print_json(value: dict[str, Any]) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, sort_keys=True))


def _wants_json(words: Sequence[str]) -> bool:
    """Whether the call asked for JSON; read from its words, for it may not have been parsed."""
    return any(word in ("--format=json", "--format=jsonl") for word in words) or any(
        a == "--format" and b in ("json", "jsonl") for a, b in pairwise(words)
    )


def _wants_trace(words: Sequence[str]) -> bool:
    return "--debug" in words or os.environ.get("ISTHMUS_DEBUG", "") not in ("", "0")


def _of_click(error: click.ClickException) -> dict[str, str]:
    """A refusal of the command line's own parser in the form of the others."""
    ctx = getattr(error, "ctx", None)
    path = "isthmus" if ctx is None else ctx.command_path
    return UsageError(
        error.format_message().rstrip("."), where=path, remedy=f"See `{path} --help`"
    ).as_dict()


def _unexpected(error: Exception, words: Sequence[str]) -> IsthmusError:
    """A failure that nobody foresaw: the short fact, and where the full trace lies."""
    text = " ".join(str(error).split())[:300]
    notes = "; ".join(getattr(error, "__notes__", ()))[:200]
    saved = _save_trace(error, words)
    remedy = (
        f"The full trace is in {saved}. Please report it with that file (it names files of "
        "yours: look it over first) and the output of `isthmus doctor`; --debug shows it here"
        if saved is not None
        else "The same command with --debug shows the full trace: please report it"
    )
    return IsthmusError(
        f"something unforeseen happened: {type(error).__name__}{': ' if text else ''}{text}",
        why=notes or "this is a fault of isthmus or of a library, not of yours",
        remedy=remedy,
    )


def _save_trace(error: Exception, words: Sequence[str]) -> Path | None:
    """Write the trace below the cache; None where even that fails."""
    from isthmus import __version__, iofs
    from isthmus.backbone.store import cache_root

    now = datetime.now()
    try:
        folder = cache_root() / "traces"
        path = folder / f"{now:%Y%m%d-%H%M%S}-{os.getpid()}.txt"
        head = (
            f"isthmus {__version__}, Python {sys.version.split()[0]}, {sys.platform}, {now:%F %T}\n"
            f"isthmus {shlex.join(words)}\n\n"
        )
        iofs.write_text(path, head + "".join(traceback.format_exception(error)))
        iofs.remove(sorted(folder.glob("*.txt"))[:-KEPT])
    except OSError:
        return None
    return path
