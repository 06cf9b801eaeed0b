"""Layer 9: notes of the library on a terminal: each once a command, none where it is quiet."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator


class _Once(logging.Filter):
    """Lets a message through the first time; repeated passes over the same rows are no news."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        from isthmus.cli.common import is_quiet

        text = record.getMessage()
        if text in self._said or is_quiet():
            return False
        self._said.add(text)
        return True


@contextlib.contextmanager
def once() -> Iterator[None]:
    """While a command runs; programs that set up logging themselves see every record."""
    handler = logging.lastResort
    if handler is None:
        yield
        return
    said = _Once()
    handler.addFilter(said)
    try:
        yield
    finally:
        handler.removeFilter(said)
