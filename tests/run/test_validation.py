"""Validation splits leave the training; folders of photos through the recipe, end to end."""

from __future__ import annotations

import json

import pytest

torch = pytest.importorskip("torch")

from isthmus.run import from_scratch  # noqa: E402
from isthmus.run.finetune import finetune  # noqa: E402


@pytest.fixture
def folders(real_data, tmp_path):
    """train 5, val 3, test 4 photos of two signs."""
    for sign in "01":
        photos = sorted((real_data / "sign_digits" / sign).glob("*.JPG"))[:12]
        if len(photos) < 12:
            pytest.skip("no sign photos")
        for k, photo in enumerate(photos):
            part = "train" if k < 5 else "val" if k < 8 else "test"
            goal = tmp_path / "data" / part / sign
            goal.mkdir(parents=True, exist_ok=True)
            (goal / photo.name).write_bytes(photo.read_bytes())
    return tmp_path / "data"


@pytest.mark.data
def test_the_folders_recipe_watches_val_and_opens_test_once(folders, tmp_path):
    pytest.importorskip("timm")
    said: list[str] = []
    done = finetune(
        target=folders, recipe="folders", backbone="timm:test_efficientnet", weights="random",
        size=32, epochs=3, hidden=(8,), batch_size=4, against_scratch=True, out=tmp_path / "run",
        say=said.append,
    )  # fmt: skip
    told = "6 validation rows are watched and not trained on."
    assert told in said and told in done.results["notes"]
    proof = done.results["proof"]
    assert proof["openings"] == 1 and proof["rows"] == 8
    assert from_scratch.NAME in proof["gains"]
    lines = [json.loads(x) for x in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 3 and all(0 <= x["held_out"] <= 1 < 9 > x["held_out_loss"] for x in lines)
    assert (tmp_path / "run" / "training.png").read_bytes().startswith(b"\x89PNG")

    # frozen means equal to the bit, batch norm statistics included
    untrained = from_scratch.anew(_backbone(), seed=0).state_dict()
    body = done.classifier.network_.body.state_dict()
    assert untrained.keys() == body.keys() and len(body) > 20
    assert all(torch.equal(body[name], untrained[name]) for name in body)


def _backbone():
    from isthmus.backbone import load_backbone

    return load_backbone("timm:test_efficientnet", weights="random", size=32)
