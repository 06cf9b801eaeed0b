"""What the page says of networks that were, or were not, trained."""

from __future__ import annotations

import re

from isthmus.report.folder import load_run
from isthmus.report.parts.routes import routes
from isthmus.report.words import Words

SMALL = "not tried: 40 source and 30 target rows, and networks need 50 a side"
ITSELF = (
    "tried (domain AUC 0.98 [0.97, 0.99]; 3 epochs of lora with mcc): +5.1 points expected over "
    "source-only, +2.0 without it; its features serve"
)


def test_trained_networks_are_spoken_of_in_both_languages(photos_run):
    run = load_run(photos_run)
    assert routes(run, Words.of("en"))["networks"] == []
    run.results["choice"] = {"networks": {"why": SMALL}, "candidates": []}
    run.results["network"] = {"why": ITSELF}
    assert routes(run, Words.of("en"))["networks"] == [
        f"Trained networks among the candidates: {SMALL}.",
        f"The pretrained network itself: {ITSELF}.",
    ]
    small, itself = routes(run, Words.of("zh"))["networks"]
    assert "40" in small and "50" in small and "+5.1" in itself and "0.98 [0.97, 0.99]" in itself
    assert not re.search("[a-z]{5,}", small + itself), "English is left"
