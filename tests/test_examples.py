"""Every example runs as it stands, is short, and prints what it promises."""

import contextlib
import io
import os
import runpy
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

REAL_DATA = Path(os.environ.get("ISTHMUS_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
SCRATCH = ["the same network from scratch", "bought"]
PROMISED = {
    "few_labels": ["transfer bought", "target-only", "sealed"],
    "adapt_features": ["source only: 8", "CORAL(reg=0.001): ", "1000 film reviews"],
    "own_backbone": ["module:Sequential", "timm:tf_efficientnet_lite0"],
    "recipe_vgg16_flatten": ["starts from nothing", "before they were trained on", *SCRATCH],
    "recipe_frozen_dense": ["features of timm:tf_efficientnet_lite0", *SCRATCH],
    "recipe_saved_dense": ["6 of 6 tensors loaded", *SCRATCH],
    "recipe_domain_adversarial": ["domain-adversarial: ", "lambda = 0.5 bought"],
    "recipe_folders": ["head-only", "bytes of PNG", *SCRATCH],
}
# as they stand, the recipes train for minutes; so little is enough to see that they run
QUICK = {
    "recipe_vgg16_flatten": "--rows 60 --epochs 1 --size 32 --shots 2",
    "recipe_frozen_dense": "--size 32 --epochs 1 --shots 2",
    "recipe_saved_dense": "--rows 300 --epochs 2",
    "recipe_domain_adversarial": "--rows 200 --epochs 1 --lambda 0.5",
    "recipe_folders": "--size 32 --epochs 2 --most 6",
}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_it_runs_and_prints(path):
    if "ISTHMUS_TEST_DATA" in path.read_text() and not REAL_DATA.is_dir():
        pytest.skip(f"real data sets not found at {REAL_DATA}; set ISTHMUS_TEST_DATA")
    assert len(path.read_text().splitlines()) < 80
    if path.stem in QUICK:  # in this process: importing torch takes longer than they do
        said = in_this_process(path, QUICK[path.stem].split())
    else:
        done = subprocess.run(
            [sys.executable, path], capture_output=True, text=True, env=os.environ, check=False
        )
        assert done.returncode == 0, done.stderr
        said = done.stdout
    for words in PROMISED[path.stem]:
        assert words in said


def in_this_process(path: Path, words: list[str]) -> str:
    """What an example prints."""
    said = io.StringIO()
    with (
        mock.patch.object(sys, "argv", [str(path), *words]),
        contextlib.redirect_stdout(said),
    ):
        runpy.run_path(str(path), run_name="__main__")
    return said.getvalue()
