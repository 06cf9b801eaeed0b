"""Layer 9: progress bars on standard error; nothing is drawn where no terminal listens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from isthmus.cli.common import is_quiet


class Bars:
    """One bar per part of the data; `say` prints a line above them."""

    def __init__(self, display: Any, *, silent: bool = False) -> None:
        self._display, self._silent = display, silent
        self._tasks: dict[str, Any] = {}

    def update(self, role: str, done: int, total: int) -> None:
        """Move the bar of `role`, made on first use."""
        if self._display is None:
            return
        if role not in self._tasks:
            self._tasks[role] = self._display.add_task(role, total=total)
        self._display.update(self._tasks[role], completed=done, total=total)

    def say(self, text: str) -> None:
        """A line for a person, on standard error so that standard output holds the result only."""
        if self._silent:
            return
        if self._display is None:
            click.echo(text, err=True)
        else:
            self._display.console.print(text, markup=False, highlight=False)


@contextmanager
def bars(*, enabled: bool) -> Iterator[Bars]:
    """Bars on a terminal, plain lines elsewhere; with `--quiet` neither."""
    import sys

    if is_quiet():
        yield Bars(None, silent=True)
        return
    if not enabled or not sys.stderr.isatty():
        yield Bars(None)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    with Progress(
        TextColumn("{task.description:>16}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as display:
        yield Bars(display)
