"""The list of methods says what docs/methods.md and the classes say, and nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from isthmus.adapt.base import Adapter, discover
from isthmus.align.names import trained
from isthmus.errors import UsageError
from isthmus.select.catalogue import FAMILIES, catalogue, one, page
from isthmus.select.methods import why_not

ROOT = Path(__file__).parents[2]


def rows_of_the_page():
    """Import path -> cells, read here in another way than the catalogue does."""
    text = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    found = {}
    for title, start in (("Domain adaptation on features", "adapt"), ("Deep alignment", "align")):
        section = text.split(f"## {title}")[1].split("\n## ")[0]
        for line in section.splitlines():
            if line.startswith("|") and f"`isthmus.{start}." in line:
                cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
                found[cells[1].strip("`")] = cells
    return found


def test_it_reads_the_page_of_the_documentation():
    assert page() == ROOT / "docs" / "methods.md"


def test_every_method_is_listed_with_the_words_of_its_row():
    rows, listed = rows_of_the_page(), catalogue()
    assert {m.import_path for m in listed} == {
        *(f"isthmus.adapt.{name}" for name in discover()),
        *(f"isthmus.align.{name}" for name in trained()),
    }
    assert len({m.name for m in listed}) == len(listed)
    for m in listed:
        title, _, assumption, cost, fails, paper = rows[m.import_path]
        if m.kind == "network":
            cost = f"training of a small network; a step: {cost}"
        assert (m.title, m.assumption, m.cost) == (title.strip("`"), assumption, cost)
        assert (m.fails, m.paper) == (fails, paper)
        assert m.assumption and m.cost and m.paper


def test_facts_are_those_of_the_class():
    for name, kind in discover().items():
        m = one(name)
        assert m.route == (why_not(kind) is None) and bool(m.reason) == (not m.route)
        assert ("source labels" in m.needs) == bool(getattr(kind, "needs_labels", False))
        assert (m.kind == "adapter") == issubclass(kind, Adapter)
        assert set(m.parameters) == set(kind().get_params(deep=False))


def test_trained_methods_say_what_they_are():
    dann, shot = one("dann"), one("SHOT")
    assert (dann.kind, dann.family, dann.route) == ("network", "adversarial", True)
    assert dann.needs == ("source labels", "the extra 'deep'")
    assert dann.parameters["opposed"] == "target"
    assert shot.family == "deep" and "Source hypothesis transfer" in shot.text
    assert not one("fixmatch").route and "two views" in one("fixmatch").reason
    # a name that both folders have: the closed-form method keeps it
    assert one("self-training").import_path == "isthmus.adapt.self_training"
    assert one("deep-self-training").import_path == "isthmus.align.self_training"
    assert {m.name for m in catalogue("adversarial")} >= {"dann", "cdan", "mcd", "wdgrl"}


def test_known_methods():
    coral = one("coral")
    assert coral.family == "feature" and coral.route and coral.torch and coral.needs == ()
    assert coral.parameters == {"reg": 1.0, "mean": True}
    assert "Correlation alignment" in coral.text
    assert "target labels" in one("balanced-weights").needs
    assert one("jdot-regressor").kind == "regressor" and one("jdot").kind == "classifier"
    assert "the extra 'transport'" in one("emd-transport").needs
    assert "fit_domains" in one("gromov_wasserstein").reason


def test_families_filter_and_order():
    families = [m.family for m in catalogue()]
    order = [family for family in FAMILIES if family in families]
    assert list(dict.fromkeys(families)) == order
    assert {m.family for m in catalogue("transport")} == {"transport"}
    with pytest.raises(UsageError, match=r"no family 'trans'.*transport"):
        catalogue("trans")


def test_it_is_plain_json():
    text = json.dumps([m.as_dict() for m in catalogue()], allow_nan=False)
    assert not re.search(r"<[a-z]+ ", text)
