"""What programs rely on: keys of the JSON, exit codes, and that --quiet is quiet."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time

import click
import numpy as np
import pytest

from isthmus.backbone import embed, load_backbone
from isthmus.cli.main import COMMANDS, cli, run
from isthmus.data import read
from isthmus.fit.features import FeatureProcessor
from isthmus.fit.model import FeatureModel
from isthmus.serve import save_model

# A key may be added. One that is here must not go, nor change its meaning.
KEYS = {
    "transfer --target S.npz --shots 3": "backbone chosen classes data evidence findings isthmus "
    "modality notes proof quarantine routes schema settings task verdict",
    "plan --target S.npz --shots 3": "about options",
    "predict model T.npz": "bad predictions rows",
    "evaluate model S.npz": "accuracy balanced_accuracy confusion ece f1_macro findings log_loss n "
    "notes per_class problems rows support task unseen",
    "verify model": "checks folder largest_difference libraries ok replayed",
    "check S.npz": "findings ok suspects",
    "diagnose S.npz T.npz": "backbone drift gaps modality notes per_class prior source summary "
    "target task",
    "rank --target T.npz --source S.npz --source R.npz --measure sliced-wasserstein": "backbones "
    "notes sources",
    "methods coral": "assumption class_name cost fails family kind name needs paper parameters "
    "reason route text title",
    "read S.npz": "classes labelled modality origin quarantine rows task understood",
    "cache info": "bytes damaged leftover networks root spaces",
    "cache verify": "checked damaged",
    "cache prune --dry-run --older-than 999d": "bytes dry_run files kept_bytes",
    "eject model --out plain.py --overwrite": "files lines script",
}
# commands whose keys are pinned elsewhere: too long for here, of another form, or for people only
ELSEWHERE = {"demo", "doctor", "completion", "report", "finetune"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("machine")
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 5)).astype(np.float32), np.array(["a", "b"] * 30)
    X[:, 0] += np.where(y == "a", 1.5, 0)
    np.savez(folder / "S.npz", X=X, y=y)
    np.savez(folder / "R.npz", X=X * 2 + 1, y=y)
    np.savez(folder / "T.npz", X=rng.normal(size=(40, 5)).astype(np.float32) + 0.3)
    samples = read(folder / "S.npz")
    backbone = load_backbone("identity", modality="features").fixed(5)
    got = embed(backbone, samples)
    model = FeatureModel(FeatureProcessor(), "ridge", classes=samples.classes)
    save_model(
        folder / "model",
        model=model.fit(got.features, samples.labels),
        backbone=backbone,
        samples_like=samples,
        task="classification",
        classes=samples.classes,
        examples=samples,
    )
    return folder


@pytest.fixture
def call(place, monkeypatch, capsys):
    """``call("words")`` -> exit code, standard output, standard error."""
    monkeypatch.chdir(place)
    # a cache of its own: other tests damage theirs on purpose
    monkeypatch.setenv("ISTHMUS_CACHE", str(place / "cache"))

    def made(words):
        with pytest.raises(SystemExit) as stop:
            run(shlex.split(words))
        out, err = capsys.readouterr()
        return stop.value.code or 0, out, err

    return made


def test_every_command_is_pinned():
    assert {words.split()[0] for words in KEYS} | ELSEWHERE >= set(COMMANDS)


@pytest.mark.parametrize("words", KEYS)
def test_json_has_its_keys_and_nothing_is_printed_beside_it(words, call):
    code, out, err = call(f"{words} --format json --quiet")
    assert code == 0, err
    found = json.loads(out)  # one value, nothing before or after it
    missing = set(KEYS[words].split()) - set(found)
    assert not missing and err == ""


def test_every_command_takes_the_common_options():
    ctx = click.Context(cli)
    for name in COMMANDS:
        command = cli.get_command(ctx, name)
        parts = command.commands.values() if isinstance(command, click.Group) else [command]
        for part in parts:
            options = {o for p in part.params for o in p.opts}
            assert {"--quiet", "--debug"} <= options, name
            assert "--format" in options or name == "completion", name


@pytest.mark.parametrize("words", ["check S.npz", "predict model T.npz --out q.csv", "read S.npz"])
def test_quiet_leaves_the_result_alone(words, call):
    loud = call(words)
    code, out, err = call(f"{words} --quiet")
    assert (code, out, err) == (loud[0], loud[1], "")


def test_exit_codes_of_refusals(call):
    assert call("read S.npz")[0] == 0
    assert call("read gone.npz")[0] == 1  # the run failed
    assert call("read S.npz --modality pictures")[0] == 2  # the call is wrong
    assert call("read --nope")[0] == 2
    assert call("nope")[0] == 2


@pytest.mark.parametrize(
    "words, code, what",
    [
        ("read gone.npz", 1, "no such file"),
        ("read S.npz --modality pictures", 2, "'pictures'"),
        ("read S.npz --modalty text", 2, "Did you mean '--modality'"),
    ],
)
def test_errors_are_json_where_json_was_asked_for(words, code, what, call):
    found, out, err = call(f"{words} --format json")
    value = json.loads(out)
    assert found == code and set(value) == {"error", "what", "where", "why", "remedy"}
    assert what in value["what"] + value["remedy"] and value["remedy"] and err == ""


def test_an_interrupt_is_130(place):
    code = (
        "import time, sys\nfrom isthmus.cli import read as part\nfrom isthmus.cli.main import run\n"
        "def wait(**given):\n    print('ready', flush=True)\n    time.sleep(60)\n"
        "part.command.callback = wait\nrun(['read', 'S.npz'])"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code], cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdout.readline() == b"ready\n"
    time.sleep(0.1)
    os.kill(child.pid, signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130 and b"Interrupted" in err and b"Traceback" not in err


def test_an_interrupted_command_cleans_up_and_is_130(tmp_path):
    case = tmp_path / "case.py"
    case.write_text(
        "import atexit, sys\nfrom isthmus.cli import read as part\n"
        "from isthmus.cli.main import run\natexit.register(print, 'cleaned up')\n"
        "def stop(**given):\n    raise KeyboardInterrupt\n"
        "part.command.callback = stop\nsys.argv[1:] = ['read', 'S.npz']\nrun()"
    )
    done = subprocess.run([sys.executable, case], capture_output=True, timeout=60)
    assert done.returncode == 130 and b"Interrupted" in done.stderr
    assert done.stdout == b"cleaned up\n"
