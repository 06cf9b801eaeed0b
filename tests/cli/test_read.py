from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from isthmus.cli.main import run
from isthmus.cli.read import command


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("text;mood\none two three;good\nfour five six;bad\n")
    return path


def call(*arguments):
    result = CliRunner().invoke(command, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_text(table):
    output = call(table)
    assert "2 rows of text, classification" in output and "label: mood" in output


def test_json(table):
    found = json.loads(call(table, "--format", "json"))
    assert found["classes"] == {"bad": 1, "good": 1}
    assert found["understood"]["delimiter"]["value"] == "semicolon"


def test_options_reach_the_reader(table):
    assert json.loads(call(table, "--label", "none", "--format", "json"))["classes"] == {}
    found = json.loads(call(table, "--delimiter", "comma", "--no-header", "--format", "json"))
    assert found["rows"] == 3


def test_refusals(table, capsys):
    with pytest.raises(SystemExit) as caught:
        run(["read", str(table), "--label", "modo"])
    assert caught.value.code == 2
    assert "Did you mean 'mood'?" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        run(["read", str(table.parent / "none.csv"), "--format", "json"])
    assert caught.value.code == 1
    assert json.loads(capsys.readouterr().out)["error"] == "DataError"


def test_max_bad(table):
    table.write_text("text,label\na b c,x\n,y\n")
    with pytest.raises(SystemExit):
        run(["read", str(table)])
    assert "set aside: 1 of 2" in call(table, "--max-bad", "0.5")
