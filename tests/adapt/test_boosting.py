"""The examples in the docstrings of what the methods for a few labelled target rows share."""

from __future__ import annotations

import doctest
import importlib

import pytest


@pytest.mark.parametrize(
    "name", ["boosting", "feda", "strut", "transfer_trees", "two_stage_trada_boost_r2"]
)
def test_examples_in_docstrings_run(name):
    module = importlib.import_module(f"isthmus.adapt.{name}")
    failed, tried = doctest.testmod(module)
    assert failed == 0 and tried > 0
