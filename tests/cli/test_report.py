"""`isthmus report`: one file, a line for people, keys for machines, refusals with a remedy."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from click.testing import CliRunner

from isthmus.cli.report import command
from isthmus.errors import UsageError
from isthmus.transfer import transfer


@pytest.fixture
def folder(tmp_path):
    frame = pd.DataFrame({"a": range(40), "b": [k % 7 for k in range(40)]})
    frame["y"] = ["low" if k < 20 else "high" for k in range(40)]
    frame.to_csv(tmp_path / "rows.csv", index=False)
    out = tmp_path / "run"
    transfer(target=tmp_path / "rows.csv", label="y", shots=8, head="ridge", method="none",
             out=out, say=lambda line: None)  # fmt: skip
    return out


def test_report_writes_one_file_and_says_so(folder, tmp_path):
    done = CliRunner().invoke(command, [str(folder)], catch_exceptions=False)
    assert done.exit_code == 0 and "report.html" in done.output and "README.md" in done.output
    assert (folder / "report.html").read_text("utf-8").startswith("<!doctype html>")
    told = CliRunner().invoke(
        command,
        [str(folder), "--out", str(tmp_path / "zh.html"), "--lang", "zh", "--format", "json"],
        catch_exceptions=False,
    )
    found = json.loads(told.output)
    assert set(found) == {"bytes", "card", "file", "headline", "lang", "media", "rows", "sections"}
    assert found["lang"] == "zh" and found["rows"] == 40
    assert found["bytes"] == (tmp_path / "zh.html").stat().st_size


def test_refusals_name_the_remedy(folder, tmp_path):
    with pytest.raises(UsageError, match="isthmus transfer"):
        CliRunner().invoke(command, [str(tmp_path)], catch_exceptions=False)
    with pytest.raises(UsageError, match="en, zh"):
        CliRunner().invoke(command, [str(folder), "--lang", "fr"], catch_exceptions=False)
