"""Both READMEs are true: each command and the Python example run, and the two agree."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import shutil
from pathlib import Path

import pytest

from isthmus.cli.main import run
from isthmus.demo.cases import DATA

ROOT = Path(__file__).parents[1]
READMES = ("README.md", "README.zh-CN.md")


def commands(name: str) -> list[str]:
    """Every `isthmus ...` command of a README, in order, comments cut off."""
    text = (ROOT / name).read_text(encoding="utf-8")
    found = re.findall(r"^isthmus .*$", text, flags=re.M) + re.findall(
        r"`(isthmus [a-z].*?)`", text
    )
    return [line.split("#")[0].strip() for line in found]


def python_block(name: str) -> str:
    text = (ROOT / name).read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", text, flags=re.S)
    return block


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder that holds what the READMEs speak of: photos/, reviews.csv, labels.csv, S, T, X."""
    folder = tmp_path_factory.mktemp("readme")
    for split, part in (("photos", slice(0, 12)), ("S", slice(12, 20)), ("X", slice(20, 24))):
        for digit in "012":
            (folder / split / digit).mkdir(parents=True)
            for file in sorted((DATA / "signs" / digit).iterdir())[part]:
                shutil.copy(file, folder / split / digit)
    shutil.copytree(folder / "photos", folder / "T")
    lines = (DATA / "reviews" / "sentences.csv").read_text().splitlines()
    few = [lines[0]] + [row for i, row in enumerate(lines[1:]) if i % 15 == 0]
    (folder / "reviews.csv").write_text("\n".join(few))
    rows = [f"{d}/{p.name},{d}" for d in "012" for p in sorted((folder / "T" / d).iterdir())[:3]]
    (folder / "labels.csv").write_text("\n".join(["id,label", *rows]))
    return folder


def call(command: str) -> tuple[int, str]:
    """Exit code and standard output of one command, run in this process."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), pytest.raises(SystemExit) as stop:
        run(shlex.split(command)[1:])
    return int(stop.value.code or 0), out.getvalue()


def test_every_command_of_the_readmes_runs(workplace, tmp_path, monkeypatch):
    shutil.copytree(workplace, tmp_path / "w")
    monkeypatch.chdir(tmp_path / "w")
    # a cache of its own: `isthmus cache verify` would report what other tests damage on purpose
    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path / "cache"))
    seen = commands(READMES[0])  # the other one holds the same, as the next test sees
    assert len(seen) >= 10
    for number, command in enumerate(seen):
        line = command.replace("DIR", f"out{number}").replace("DATA", "reviews.csv")
        if "reviews.csv" in line and "--out run" in line:
            line = line.replace("--out run", "--out run2")
        if line == "isthmus cache prune":
            line += " --older-than 365d"
        code, out = call(line)
        assert code == 0, f"{line}\n{out}"


def test_the_two_readmes_hold_the_same_code():
    english, chinese = (commands(name) for name in READMES)
    assert english == chinese
    english, chinese = (re.sub(r" *#.*", "", python_block(name)) for name in READMES)
    assert english == chinese


def test_the_python_example_runs(capsys):
    exec(compile(python_block(READMES[0]), READMES[0], "exec"), {})
    printed = capsys.readouterr().out
    assert "Verdict" in printed and "Leaderboard" in printed


@pytest.mark.parametrize("name", READMES)
def test_links_lead_somewhere(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert (ROOT / target).exists(), target


def test_make_has_the_targets_that_are_named():
    makefile = (ROOT / "Makefile").read_text()
    for target in ("setup", "demo", "test", "check", "bench", "docs"):
        assert re.search(rf"^{target}:", makefile, flags=re.M), target
