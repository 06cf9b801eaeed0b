"""`isthmus methods`: the list, one method in full, the filter, JSON, and wrong names."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from isthmus.adapt.base import discover
from isthmus.cli.main import run
from isthmus.cli.methods import WIDTH, command
from isthmus.select.catalogue import catalogue
from isthmus.select.methods import deep


def call(*words):
    done = CliRunner().invoke(command, list(words), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_every_method_is_listed_once_and_no_line_is_too_long():
    lines = call().splitlines()
    names = [line[2:].split()[0] for line in lines if line[:2] in ("* ", "  ") and line[2:3] != " "]
    known = [*discover(), *deep()]
    assert sorted(names) == sorted(name.replace("_", "-") for name in known)
    assert max(map(len, lines)) <= WIDTH
    assert f"{len(names)} methods" in lines[-3]
    assert "adabn, t3a, tent (isthmus finetune" in lines[-2]


def test_a_star_marks_the_routes():
    starred = {line.split()[1] for line in call().splitlines() if line.startswith("* ")}
    assert starred == {m.name for m in catalogue() if m.route}
    assert "coral" in starred and "gromov-wasserstein" not in starred


def test_a_family_alone():
    text = call("--family", "label-shift")
    assert "bbse" in text and "coral" not in text and "Label shift" in text


def test_one_in_full():
    text = call("coral")
    for words in (
        "isthmus transfer --method coral",
        "from isthmus.adapt.coral import CORAL",
        "Sun, Feng, Saenko 2016",
        "fails    label shift",
        "Ridge r in units of the features' variance",
    ):
        assert words in text
    assert "no route: it is for domains with different features" in call("gromov_wasserstein")


def test_a_trained_method_in_full():
    text = call("dann")
    for words in ("isthmus transfer --method dann", "serves with NumPy alone", "Ganin et al. 2016"):
        assert words in text
    assert "no route: it compares two views" in call("fixmatch")


def test_json():
    found = json.loads(call("--format", "json"))
    assert [m["name"] for m in found] == [m.name for m in catalogue()]
    one = json.loads(call("coral", "--format", "json"))
    assert one["route"] is True and one["parameters"] == {"reg": 1.0, "mean": True}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["methods", "corall"], "Did you mean coral"),
        (["methods", "--family", "x"], "no family"),
        (["methods", "TENT"], "Use isthmus finetune --method tent"),
    ],
)
def test_wrong_names_are_wrong_usage(words, said, capsys):
    with pytest.raises(SystemExit) as stop:
        run(words)
    assert stop.value.code == 2 and said in capsys.readouterr().err
