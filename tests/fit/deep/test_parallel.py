"""Two processes under torchrun end where one does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
CASE = Path(__file__).with_name("ranks_case.py")


def test_two_ranks_give_what_one_gives(tmp_path):
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    runs = {
        "one": [sys.executable, str(CASE), str(tmp_path / "one")],
        "two": [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
            str(CASE), str(tmp_path / "two"), str(tmp_path / "folder"),
        ],
    }  # fmt: skip
    for name, words in runs.items():
        done = subprocess.run(words, capture_output=True, text=True, env=env, timeout=300)
        assert done.returncode == 0, f"{name}: {done.stderr[-3000:]}"
    found = {n: json.loads((tmp_path / n).read_text()) for n in ("one.0", "two.0", "two.1")}
    assert found["two.0"]["state"] == found["two.1"]["state"]
    for name, value in found["one.0"]["state"].items():
        np.testing.assert_allclose(found["two.0"]["state"][name], value, rtol=2e-4, atol=2e-6)
    np.testing.assert_allclose(found["two.0"]["losses"], found["one.0"]["losses"], rtol=1e-4)
    assert (tmp_path / "folder" / "checkpoint.json").exists()
