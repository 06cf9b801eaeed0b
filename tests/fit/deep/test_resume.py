"""kill -9 at any step and the same command again: the same bits as the run that was not killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

CASE = Path(__file__).with_name("resume_case.py")


def run(folder, out, workers, kill_at=None):
    call = [sys.executable, str(CASE), str(folder), str(out), str(workers)]
    call += [] if kill_at is None else [str(kill_at)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(call, capture_output=True, text=True, env=env, timeout=300)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run that nobody interrupts, without workers."""
    folder = tmp_path_factory.mktemp("whole")
    done = run(folder / "run", folder / "out.json", 0)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((folder / "out.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize(("kills", "workers"), [((1, 3), 0), ((9,), 2)])
def test_a_killed_run_ends_in_the_same_bits(whole, tmp_path, kills, workers):
    """Killed before the first checkpoint, in mid-epoch, and in the second epoch."""
    for step in kills:
        killed = run(tmp_path / "run", tmp_path / "out.json", workers, step)
        assert killed.returncode == -signal.SIGKILL, killed.stderr[-3000:]
        assert not (tmp_path / "out.json").exists()
    done = run(tmp_path / "run", tmp_path / "out.json", workers)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads((tmp_path / "out.json").read_text())
    resumed_at = found["steps"] - found.pop("made")
    assert resumed_at == kills[-1] // 2 * 2 - (2 if kills[-1] % 2 == 0 else 0)
    assert found == {k: v for k, v in whole.items() if k != "made"}
