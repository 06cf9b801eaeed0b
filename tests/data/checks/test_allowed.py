"""Errors that a call allows: named by code, refused where there is no such code, never hidden."""

from __future__ import annotations

import pytest

from isthmus.data.checks import Finding, FindingError, allowed_codes, overruled, stop_on_errors
from isthmus.errors import UsageError

DEAD = Finding("ISX018", "error", "dead")
BATCH = Finding("ISX012", "error", "batch", remedy="eval()")
TURNED = Finding("ISX008", "info", "turned")


def test_codes_in_every_spelling():
    assert allowed_codes(None) == allowed_codes([]) == allowed_codes("") == ()
    assert allowed_codes("isx012") == ("ISX012",)
    assert allowed_codes(["ISX018, ISX012", "isx012"]) == ("ISX012", "ISX018")


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("ISX12", "Did you mean 'ISX012'"),
        ("dead feature", "Did you mean ISX018"),
        ("everything", "isthmus check"),
    ],
)
def test_unknown_codes_are_refused(given, hint):
    with pytest.raises(UsageError, match="no check") as caught:
        allowed_codes(["ISX001", given])
    assert hint in str(caught.value) and repr(given) in str(caught.value)


def test_only_what_was_named_is_overridden_and_it_stays_an_error():
    found = overruled([DEAD, BATCH, TURNED], ("ISX012", "ISX008"))
    assert [f.overridden for f in found] == [False, True, False]
    assert [f.severity for f in found] == ["error", "error", "info"]
    with pytest.raises(FindingError, match="ISX018"):
        stop_on_errors(found)
    stop_on_errors(overruled([BATCH, TURNED], ("ISX012",)))


def test_the_refusal_names_the_way_around_it():
    with pytest.raises(FindingError, match=r"eval\(\); to go on .*--allow ISX012$"):
        stop_on_errors([BATCH])
