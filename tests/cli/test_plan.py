"""`isthmus plan`, and `isthmus transfer --plan`: the file, the command line, and who wins."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner

from isthmus.cli.main import cli
from isthmus.cli.plan import command as plan_command
from isthmus.cli.transfer import command as transfer_command
from isthmus.run.plan_file import option_names


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plan")
    rng = np.random.default_rng(0)
    for name, n in (("s", 80), ("t", 50)):
        X = rng.normal(size=(n, 3))
        frame = pd.DataFrame(X, columns=list("abc"))
        frame["kind"] = np.where(X[:, 0] > 0, "up", "down")
        frame.to_csv(folder / f"{name}.csv", index=False)
    return folder


def run(*words: object):
    return CliRunner().invoke(cli, list(map(str, words)))


def test_the_page_is_yaml_that_transfer_takes(data, tmp_path):
    out = tmp_path / "plan.yaml"
    both = ["--source", data / "s.csv", "--target", data / "t.csv", "--label", "kind"]
    done = run("plan", *both, "--shots", 4, "--seed", 3, "--out", out)
    assert done.exception is None, done.output
    assert yaml.safe_load(done.stdout) == yaml.safe_load(out.read_text())
    direct = run("transfer", *both, "--shots", 4, "--seed", 3, "--format", "json")
    planned = run("transfer", "--plan", out, "--format", "json")
    assert planned.exception is None, planned.output
    one, two = json.loads(direct.stdout), json.loads(planned.stdout)
    for part in ("data", "routes", "proof", "verdict", "notes"):
        assert one[part] == two[part]


def test_the_command_line_wins(data, tmp_path):
    out = tmp_path / "plan.yaml"
    out.write_text(
        f"options:\n  source: {data / 's.csv'}\n  target: {data / 't.csv'}\n  label: kind\n"
        "  shots: 4\n  head: ridge\n  time: 5m\n  method: [coral]\n"
    )
    done = run("transfer", "--plan", out, "--head", "nearest-mean", "--format", "json")
    assert done.exception is None, done.output
    found = json.loads(done.stdout)["settings"]
    assert found["head"] == "nearest-mean" and found["shots"] == 4
    assert found["time"] == 300 and found["method"] == "coral" and found["label"] == "kind"
    done = run("transfer", "--shots", "2", "--plan", out, "--format", "json")
    assert json.loads(done.stdout)["settings"]["shots"] == 2, "also where it comes first"


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("shot: 3", 2, "Did you mean 'shots'"),
        ("shots: 0", 2, "shots"),
        ("shots: true", 2, "shots"),
        ("time: -4", 2, "duration"),
        ("seed: many", 2, "seed"),
    ],
)
def test_mistakes_in_the_file_are_mistakes_of_use(data, tmp_path, line, code, said):
    from isthmus.errors import UsageError

    out = tmp_path / "plan.yaml"
    out.write_text(f"options:\n  target: {data / 't.csv'}\n  {line}\n")
    done = run("transfer", "--plan", out)
    assert done.exit_code == code or isinstance(done.exception, UsageError)
    assert said in done.output + str(done.exception)


def test_json_for_a_machine(data):
    done = run("plan", "--target", data / "t.csv", "--label", "kind", "--format", "json")
    found = json.loads(done.stdout)
    assert found["options"]["backbone"] == "tabular" and found["about"]["total"]["seconds"] > 0


def test_every_option_of_a_run_can_be_planned_and_filed():
    ours = {p.name for p in plan_command.params}
    theirs = {p.name for p in transfer_command.params}
    assert theirs - {"plan"} <= ours
    names = {"time_budget": "time"}
    of_the_call = {"fmt", "plan", "quiet", "debug"}
    assert {names.get(n, n) for n in theirs} - of_the_call <= set(option_names())


def test_it_is_listed():
    assert "plan" in run("--help").output and "--plan" in run("transfer", "--help").output
