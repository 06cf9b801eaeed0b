"""The folder is the registry: what is in it, once, by name."""

from pathlib import Path

import isthmus.select.validate as folder
from isthmus.select.members import members
from isthmus.select.routes.base import Route
from isthmus.select.validate.base import Validator


def test_every_file_of_the_folder_but_the_helpers_gives_one_member():
    found = members("isthmus.select.validate", Validator)
    assert list(found) == sorted(found)
    files = {path.stem for path in Path(folder.__file__).parent.glob("*.py")}
    assert {type(one).__module__.rpartition(".")[2] for one in found.values()} <= files
    assert len({type(one) for one in found.values()}) == len(found) >= 14


def test_only_finished_classes_of_the_asked_kind_are_members():
    found = members("isthmus.select.routes", Route)
    assert list(found) == ["pooled", "source-only", "target-only"]
    assert members("isthmus.select.routes", Validator) == {}
