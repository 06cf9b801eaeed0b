"""Every example runs as it stands, is short, and prints what it promises."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
PROMISED = {
    "few_labels": ["transfer bought", "target-only", "sealed"],
    "adapt_features": ["source only: 8", "CORAL(reg=0.001): ", "1000 film reviews"],
    "own_backbone": ["module:Sequential", "timm:tf_efficientnet_lite0"],
}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_it_runs_and_prints(path):
    assert len(path.read_text().splitlines()) < 80
    done = subprocess.run(
        [sys.executable, path], capture_output=True, text=True, env=os.environ, check=False
    )
    assert done.returncode == 0, done.stderr
    for words in PROMISED[path.stem]:
        assert words in done.stdout
