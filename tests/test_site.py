"""The documentation site: its commands run, its code runs, it builds without a warning."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from isthmus.cli.main import COMMANDS, run
from isthmus.demo.cases import DATA

SITE = Path(__file__).parents[1] / "docs" / "site"
PAGES = sorted(SITE.glob("*.md"))


def blocks(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.S | re.M)


def commands(page: Path) -> list[str]:
    return [line for block in blocks(page, "sh") for line in block.strip().splitlines()]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """photos/, clips/, reviews.csv, heart.csv, S and T: small parts of the demo's real data."""
    folder = tmp_path_factory.mktemp("site")
    for name, part in (("photos", slice(0, 8)), ("S", slice(8, 14)), ("T", slice(14, 18))):
        for digit in "01":
            (folder / name / digit).mkdir(parents=True)
            for file in sorted((DATA / "signs" / digit).iterdir())[part]:
                shutil.copy(file, folder / name / digit)
    (folder / "clips").mkdir()
    for who in ("george", "theo"):
        for word in "01":
            for file in sorted((DATA / "spoken_digits").rglob(f"{word}_{who}_*"))[:6]:
                shutil.copy(file, folder / "clips")
    frame = pd.read_csv(DATA / "reviews" / "sentences.csv")
    frame.groupby(["domain", "label"]).head(12).to_csv(folder / "reviews.csv", index=False)
    frame = pd.read_csv(DATA / "heart" / "heart.csv")
    column = next(c for c in frame.columns if "cleveland" in set(frame[c]))
    frame.groupby(column).head(60).to_csv(folder / "heart.csv", index=False)
    return folder


def call(line: str) -> tuple[int, str]:
    out = io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(out),
        pytest.raises(SystemExit) as stop,
    ):
        run(shlex.split(line)[1:])
    return int(stop.value.code or 0), out.getvalue()


@pytest.mark.parametrize("page", [p for p in PAGES if commands(p)], ids=lambda p: p.stem)
def test_every_command_runs(page, place, tmp_path, monkeypatch):
    shutil.copytree(place, tmp_path / "w")
    monkeypatch.chdir(tmp_path / "w")
    for line in commands(page):
        assert line.startswith("isthmus "), line
        code, said = call(line)
        assert code == 0, f"{line}\n{said}"


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")], ids=lambda p: p.stem)
def test_the_python_code_runs(page, capsys):
    for block in blocks(page, "python"):
        exec(compile(block, page.name, "exec"), {})
    assert capsys.readouterr().out.strip() in ("target-only", "source-only", "pooled", "blend")


def test_inline_commands_name_what_exists():
    """`isthmus X --option` in running text: the command is one, and so are its options."""
    import click

    from isthmus.cli.main import cli

    top = click.Context(cli)
    for page in PAGES:
        for line in re.findall(r"`(isthmus [a-z].*?)`", page.read_text(encoding="utf-8"), re.S):
            words = line.split()
            assert words[1] in COMMANDS, (page.name, line)
            command = cli.get_command(top, words[1])
            known = {o for p in command.params for o in p.opts}
            for word in words[2:]:
                assert not word.startswith("--") or word in known, (page.name, line)


def test_generated_pages_hold_every_method_command_and_example(tmp_path):
    spec = importlib.util.spec_from_file_location("pages", SITE / "pages.py")
    pages = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pages)
    pages.write(tmp_path, SITE.parents[1])
    from isthmus.select.catalogue import catalogue

    methods = (tmp_path / "methods.md").read_text()
    assert all(f"### {m.name}\n" in methods for m in catalogue())
    line = (tmp_path / "cli.md").read_text()
    assert all(f"## isthmus {name}\n" in line for name in COMMANDS)
    assert "### isthmus cache prune" in line and "Exit codes" in line
    gallery = (tmp_path / "gallery.md").read_text()
    examples = sorted((SITE.parents[1] / "examples").glob("*.py"))
    assert len(examples) == gallery.count("```python") >= 3


def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("sphinx")
    pytest.importorskip("myst_parser")
    pytest.importorskip("furo")
    pytest.importorskip("numpydoc")
    copy = shutil.copytree(SITE, tmp_path / "docs" / "site")
    shutil.copytree(SITE.parents[1] / "examples", tmp_path / "examples")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", copy,
         tmp_path / "html"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    front = (tmp_path / "html" / "index.html").read_text()
    assert "Quick start" in front
    for page in (tmp_path / "html").rglob("*.html"):  # opens without a network
        text = page.read_text()
        assert not re.search(r'(?:src|href)="https?://[^"]+\.(?:js|css|woff2?)"', text), page.name
