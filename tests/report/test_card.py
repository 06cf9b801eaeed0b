"""The model card: metadata that YAML reads, figures of the run, and a person's edits kept."""

from __future__ import annotations

import json
import shutil

import yaml

from isthmus.report import write_card
from isthmus.report.card import MARK, _cell


def front(text: str) -> dict:
    return yaml.safe_load(text.split("---\n")[1])


def test_card_lies_beside_the_model(photos_run):
    text = (photos_run / "README.md").read_text("utf-8")
    meta = front(text)
    results = json.loads((photos_run / "results.json").read_text())
    assert meta["library_name"] == "isthmus" and meta["pipeline_tag"] == "image-classification"
    metric = meta["model-index"][0]["results"][0]["metrics"][0]
    score = results["proof"]["headline"][results["chosen"]]["value"]
    assert abs(metric["value"] - score) < 1e-6 and metric["type"] == "accuracy"
    for part in ("Intended use", "Limits", "Labels", "Licences", "Training data"):
        assert f"## {part}" in text
    assert results["proof"]["outcome"] in text
    assert "apache-2.0" in text  # of the backbone's weights
    assert "| `4` |" in text and "4/IMG" in text.replace("\\", "")


def test_text_card_shows_examples_of_each_label(texts_run):
    text = (texts_run / "README.md").read_text("utf-8")
    assert front(text)["pipeline_tag"] == "text-classification"
    assert "accuracy there is unknown" in text
    lines = [line for line in text.splitlines() if line.startswith(("| `0`", "| `1`"))]
    assert len(lines) == 2 and all(len(line) > 40 for line in lines)


def test_an_edited_card_is_kept(table_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(table_run, run)
    assert write_card(run) == run / "README.md"
    mine = (run / "README.md").read_text("utf-8").replace(MARK, "") + "\nmy words\n"
    (run / "README.md").write_text(mine)
    assert write_card(run) is None
    assert (run / "README.md").read_text("utf-8") == mine


def test_cells_hold_no_markup():
    assert _cell("a|b <i>") == "a\\|b \\<i\\>" and "\n" not in _cell("a\nb")
