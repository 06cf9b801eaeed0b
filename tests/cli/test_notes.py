"""Notes of the library: once a command, none with --quiet, and nothing left behind."""

from __future__ import annotations

import logging

import click
import pytest

from isthmus.cli import main
from isthmus.cli.common import for_every_command
from isthmus.cli.notes import once


@pytest.fixture
def bare():
    """A logger with no handler above it, as all are where nobody set logging up."""
    return logging.Logger("isthmus.test_notes")


def test_each_note_once_and_again_in_the_next_command(bare, capsys):
    for _ in range(2):
        with once():
            for _ in range(3):
                bare.warning("oldpeak: %d missing", 56)
            bare.warning("fbs: 8 missing")
            bare.info("no news")
    assert capsys.readouterr().err.splitlines() == ["oldpeak: 56 missing", "fbs: 8 missing"] * 2
    assert not logging.lastResort.filters


@pytest.mark.parametrize(("words", "count"), [([], 1), (["--quiet"], 0)])
def test_commands_use_it(bare, capsys, monkeypatch, words, count):
    @click.command()
    def noisy():
        bare.warning("again")
        bare.warning("again")

    monkeypatch.setattr(main, "cli", for_every_command(noisy))
    with pytest.raises(SystemExit):
        main.run(words)
    assert capsys.readouterr().err.count("again") == count


def test_the_filter_goes_when_a_command_fails():
    with pytest.raises(KeyError), once():
        raise KeyError("x")
    assert not logging.lastResort.filters
