"""Shell completion, in the shells themselves where they are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from isthmus.cli.completion import backbone_names, method_names
from isthmus.cli.main import COMMANDS, cli, run

BIN = Path(sys.executable).parent


def script(shell, capsys) -> str:
    with pytest.raises(SystemExit) as stop:
        run(["completion", shell])
    assert not stop.value.code
    return capsys.readouterr().out


def offered(line: str) -> list[str]:
    """What follows `isthmus LINE`, the last word being unfinished."""
    *done, last = line.split(" ")
    found = ShellComplete(cli, {}, "isthmus", "_ISTHMUS_COMPLETE").get_completions(done, last)
    return [item.value for item in found]


def test_commands_and_options():
    assert offered("tra") == ["transfer"]
    assert set(offered("")) == set(COMMANDS)
    assert offered("transfer --target-l") == ["--target-labels"]
    assert {"--quiet", "--debug"} <= set(offered("predict m --"))
    assert offered("cache pr") == ["prune"]
    assert offered("predict model --format js") == ["jsonl", "json"]


def test_names_of_methods_backbones_and_heads():
    from isthmus.select.catalogue import catalogue

    assert {m.name for m in catalogue()} <= set(method_names())
    assert offered("transfer --method cora") == ["coral"]
    assert {"dann", "cdan"} <= set(method_names("align")) and "all" not in method_names("align")
    assert offered("methods emd") == ["emd-transport"]
    assert offered("plan --head near") == ["nearest-mean"]
    assert "timm:" in backbone_names() and offered("rank --backbone torchv") == ["torchvision:"]
    assert offered("read x --modality au") == ["audio"]


def test_files_are_left_to_the_shell():
    found = ShellComplete(cli, {}, "isthmus", "X").get_completions(["transfer", "--source"], "ph")
    assert [(item.value, item.type) for item in found] == [("ph", "file")]


def test_an_unknown_shell(capsys):
    with pytest.raises(SystemExit) as stop:
        run(["completion", "tcsh"])
    assert stop.value.code == 2 and "'bash', 'zsh', 'fish'" in capsys.readouterr().err


def shell(name: str, code: str) -> str:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [name, "-c", code], capture_output=True, text=True, env={**os.environ, "PATH": path}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_bash(tmp_path, capsys):
    (tmp_path / "isthmus.bash").write_text(script("bash", capsys))
    said = shell(
        "bash",
        f"source {tmp_path}/isthmus.bash; complete -p isthmus; COMP_CWORD=3; "
        "COMP_WORDS=(isthmus transfer --method cor); _isthmus_completion isthmus; "
        'echo "got ${COMPREPLY[@]}"',
    )
    assert "_isthmus_completion isthmus" in said and "got coral\n" in said


def test_zsh(tmp_path, capsys):
    (tmp_path / "_isthmus").write_text(script("zsh", capsys))
    said = shell(
        "zsh",
        "autoload -U compinit; compinit -u -D; "
        # what the widget would show
        "compadd() { print -r -- $completions }; "
        "_describe() { print -r -- $completions_with_descriptions }; "
        f"source {tmp_path}/_isthmus; words=(isthmus trans); CURRENT=2; _isthmus_completion",
    )
    assert "transfer" in said


def test_fish(tmp_path, capsys):
    (tmp_path / "isthmus.fish").write_text(script("fish", capsys))
    said = shell("fish", f'source {tmp_path}/isthmus.fish; complete -C "isthmus trans"')
    assert said.split()[0] == "transfer"
