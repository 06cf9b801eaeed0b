"""A folder of methods is its own registry: one class a file, found whatever the spelling."""

import pytest

from isthmus.adapt.base import Adapter
from isthmus.errors import UsageError
from isthmus.registry import classes_by_file, named


def test_files_with_a_class_of_their_name_are_methods_and_helpers_are_none():
    found = classes_by_file("isthmus.adapt", Adapter)
    assert found["coral"].__name__ == "CORAL" and list(found) == sorted(found)
    assert not {"base", "maps", "weights"} & set(found)
    assert classes_by_file("isthmus.adapt", Exception) == {}


@pytest.mark.parametrize("name", ["two-parts", "two_parts", "TwoParts"])
def test_spelling_does_not_matter(name):
    assert named(name, {"two_parts": int, "one": str}, what="thing", otherwise="-") is int


def test_an_unknown_name_is_refused_with_the_nearest_or_with_the_list():
    known = {"coral": int}
    with pytest.raises(UsageError, match=r"no thing 'corl'.*Did you mean coral\?"):
        named("corl", known, what="thing", otherwise="See the list")
    with pytest.raises(UsageError, match="See the list"):
        named("xyz", known, what="thing", otherwise="See the list")
