"""`--allow`: an error of the checks stops a run, an allowed one is shown wherever it is read."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from isthmus import transfer
from isthmus.cli.main import run as command
from isthmus.data.checks import FindingError
from isthmus.report import write_report
from isthmus.run.plan_file import load_plan


@pytest.fixture(scope="module")
def leaky(tmp_path_factory):
    """A test set that is the source once more: ISX001, an error."""
    root = tmp_path_factory.mktemp("leaky")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(160, 4)).round(4), columns=list("abcd"))
    frame["label"] = np.where(frame["a"] + 0.3 * frame["b"] > 0, "yes", "no")
    frame.iloc[:80].to_csv(root / "source.csv", index=False)
    frame.iloc[:80].to_csv(root / "test.csv", index=False)
    frame.iloc[80:].drop(columns="label").to_csv(root / "target.csv", index=False)
    return root


def run(words):
    """Exit code of a command."""
    with pytest.raises(SystemExit) as ended:
        command(words)
    return ended.value.code or 0


def call(root):
    return {
        "source": root / "source.csv",
        "target": root / "target.csv",
        "test": root / "test.csv",
        "label": "label",
        "method": "none",
        "say": lambda line: None,
    }


def test_an_error_stops_and_says_how_to_go_on(leaky, tmp_path):
    with pytest.raises(FindingError, match="--allow ISX001"):
        transfer(**call(leaky), out=tmp_path / "run")
    with pytest.raises(FindingError, match="ISX001"):
        transfer(**call(leaky), out=tmp_path / "run", allow=["ISX012"])
    assert not (tmp_path / "run" / "results.json").exists()


def test_overridden_stands_in_results_text_page_and_card(leaky, tmp_path):
    found = transfer(**call(leaky), out=tmp_path / "run", allow="isx001")
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["settings"]["allow"] == "ISX001"
    marked = [f for f in results["findings"] if f["overridden"]]
    assert [(f["code"], f["severity"]) for f in marked] == [("ISX001", "error")]
    assert "Overridden ISX001: 80 of 80 test rows" in found.text()
    page = write_report(tmp_path / "run").file.read_text("utf-8")
    verdict = page[page.index('<section class="verdict') : page.index('aria-labelledby="data"')]
    assert "Overridden" in verdict and "ISX001" in verdict and "80 of 80 test rows" in verdict
    assert "--allow ISX001" in page  # in the command that repeats the run
    zh = write_report(tmp_path / "run", out=tmp_path / "zh.html", lang="zh").file.read_text("utf-8")
    assert "已越过" in zh and "test rows" not in zh
    assert "an error that was overridden" in (tmp_path / "run" / "README.md").read_text("utf-8")


def test_a_plan_carries_it(leaky, tmp_path, capsys):
    words = [f"--{k}={v}" for k, v in call(leaky).items() if k != "say"]
    plan = tmp_path / "plan.yaml"
    assert run(["plan", *words, "--allow", "ISX001", "--allow", "ISX018", "--out", str(plan)]) == 0
    assert load_plan(plan)["allow"] == ["ISX001", "ISX018"]
    out = tmp_path / "run"
    assert run(["transfer", "--plan", str(plan), "--out", str(out), "--format", "json"]) == 0
    capsys.readouterr()
    assert json.loads((out / "results.json").read_text())["settings"]["allow"] == "ISX001,ISX018"


def test_unknown_codes_are_refused_before_any_work(leaky, tmp_path, capsys):
    words = [f"--{k}={v}" for k, v in call(leaky).items() if k != "say"]
    assert run(["transfer", *words, "--allow", "ISX01", "--out", str(tmp_path / "run")]) == 2
    assert "Did you mean 'ISX0" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert run(["plan", *words, "--allow", "nonsense"]) == 2
