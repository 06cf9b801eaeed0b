"""Names and facts are read from the source: they are those of the classes, without torch."""

from __future__ import annotations

import doctest
import inspect
import subprocess
import sys

import pytest

from isthmus.align import names
from isthmus.align.names import trained


def test_no_torch_is_imported():
    code = "import sys; from isthmus.align.names import trained; trained(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "isthmus.align.names" in done.stdout.split() and "torch" not in done.stdout.split()


def test_they_are_the_methods_of_the_registry():
    pytest.importorskip("torch")
    from isthmus.align.registry import discover, settings

    known = discover()
    assert set(trained()) == set(known)
    for name, kind in known.items():
        facts = trained()[name]
        assert (facts.class_name, facts.module) == (kind.__name__, name)
        assert facts.text == inspect.cleandoc(kind.__doc__ or "")
        assert facts.parameters == settings(kind())
        for attribute in ("family", "needs_views", "uses_source"):
            assert getattr(facts, attribute) == getattr(
                kind, attribute, names.Trained.__dataclass_fields__[attribute].default
            )


def test_known_facts():
    assert trained()["dann"].family == "adversarial" and trained()["mcc"].family == "deep"
    assert not trained()["shot"].uses_source and trained()["fixmatch"].needs_views


def test_docstrings_run():
    assert doctest.testmod(names).failed == 0
