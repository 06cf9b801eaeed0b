from __future__ import annotations

import pickle
import sys

import pytest

from isthmus import errors


def test_a_refusal_reads_as_where_what_why_remedy():
    error = errors.DataError("is empty", where="a.csv:3", why="no cells", remedy="Fill it in")
    assert str(error) == "a.csv:3: is empty (no cells). Fill it in"
    assert str(errors.DataError("is empty")) == "is empty"
    assert error.as_dict() == {
        "error": "DataError",
        "what": "is empty",
        "where": "a.csv:3",
        "why": "no cells",
        "remedy": "Fill it in",
    }


LEAVES = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, errors.IsthmusError)
]


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.__name__)
def test_every_refusal_survives_a_process_border(leaf):
    """Worker processes send exceptions as pickles; keyword-only arguments must come along."""
    error = leaf("what", where="here", why="because", remedy="do this")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is leaf
    assert again.as_dict() == error.as_dict()
    assert str(again) == str(error)


def test_the_kinds_can_be_caught_as_what_they_are():
    assert issubclass(errors.DataError, ValueError)
    assert issubclass(errors.UsageError, ValueError)
    assert issubclass(errors.MissingExtraError, ImportError)
    assert issubclass(errors.LicenseError, errors.BackboneError)
    assert all(issubclass(leaf, errors.IsthmusError) for leaf in LEAVES)


def test_need_returns_the_module():
    assert errors.need("json.decoder", extra="x") is sys.modules["json.decoder"]


def test_need_names_the_extra():
    with pytest.raises(errors.MissingExtraError) as caught:
        errors.need("no_such_library.part", extra="image")
    assert "no_such_library" in str(caught.value)
    assert caught.value.remedy == "Install it: pip install 'isthmus[image]'"


def test_need_does_not_hide_a_failure_inside_the_module(tmp_path, monkeypatch):
    (tmp_path / "half_installed.py").write_text("import something_that_it_lacks\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError) as caught:
        errors.need("half_installed", extra="image")
    assert not isinstance(caught.value, errors.IsthmusError)
    assert caught.value.name == "something_that_it_lacks"
