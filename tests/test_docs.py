"""The documents speak of things that exist: import paths, files, and examples that run."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
METHODS = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`(isthmus\.[a-z0-9_.]+)`", METHODS))))
def test_every_import_path_of_the_methods_page_exists(path):
    importlib.import_module(path)


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda p: p.name)
def test_links_of_every_page_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize(
    "name",
    ["evaluate.sealed", "evaluate.shots", "data.labels", "data.paths", "fit.folds", "types"],
)
def test_examples_in_docstrings_run(name):
    module = importlib.import_module(f"isthmus.{name}")
    failed, _ = doctest.testmod(module)
    assert failed == 0
