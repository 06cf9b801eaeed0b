"""What readers and backbones refuse, under its code: the real refusals, no copies of them."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.data import audio, images
from isthmus.data.checks.refusals import code_of, from_problems, named
from isthmus.data.samples import Problem
from isthmus.errors import DataError, IsthmusError, UsageError


def refused(call, *args, **options) -> IsthmusError:
    with pytest.raises(IsthmusError) as caught:
        call(*args, **options)
    return caught.value


@pytest.mark.parametrize(
    ("code", "make"),
    [
        ("ISX005", lambda: refused(images.decode, np.full((8, 8, 3), 200.5, np.float32))),
        ("ISX006", lambda: refused(images.decode, np.zeros((3, 40, 50), np.uint8))),
        ("ISX027", lambda: refused(images.decode, np.full((8, 8, 3), np.nan, np.float32))),
        ("ISX010", lambda: refused(images.decode, b"\xff\xd8\xff\xe0half a file")),
        ("ISX021", lambda: refused(audio.decode, np.zeros(100), rate=8000)),
        ("ISX005", lambda: refused(audio.decode, (np.full(99, 300.0), 8000), rate=8000)),
        (
            "ISX021",
            lambda: refused(
                audio.decode, (np.outer([1, -1], np.sin(np.arange(99.0))), 8000), rate=8000
            ),
        ),
    ],
)
def test_refusals_have_their_codes(code, make):
    found = named(make())
    assert found is not None and (found.code, found.severity) == (code, "error")


def test_wrong_calls_are_no_findings():
    assert named(UsageError("no column 'x'")) is None
    assert named(DataError("no such file or folder", where="a")) is None
    assert code_of("") is None


def test_problems_by_cause():
    problems = [
        Problem("a.jpg", "the image is truncated", "Restore it", "cat"),
        Problem("b.jpg", "the image is truncated", "Restore it", "cat"),
        Problem("c.jpg", "the image is damaged", "Restore it", "cat"),
        Problem("d", "its features are NaN or infinite", "Look", "dog"),
    ]
    found = {f.code: f for f in from_problems(problems, 100)}
    assert set(found) == {"ISX010", "ISX027"}
    assert found["ISX010"].figures == {"bad": 3, "seen": 100}
    assert "all of class 'cat'" in found["ISX010"].title
    problems[1] = Problem("b.jpg", "the image is truncated", "Restore it", None)
    found = {f.code: f for f in from_problems(problems, 100)}
    assert "class" not in found["ISX010"].title  # of one row nobody knows
