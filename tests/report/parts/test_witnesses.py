"""What stands beside the automatic choice: the diagnosis and the validators' worth."""

from __future__ import annotations

from isthmus.report.parts.witnesses import diagnosis, validators
from isthmus.report.words import Words

WORTH = {
    "rank": {"value": 0.5, "low": 0.4, "high": 0.6, "tasks": 59},
    "gain": 0.0307,
    "hurt": 0.27,
    "worst": -0.177,
}
CHOICE = {
    "diagnosis": {"domain_auc": 0.98, "held_out_accuracy": 0.895, "confidence_drop": 0.021},
    "classes": {
        "absent": ["7"],
        "novel": {"value": 0.1, "low": 0.05, "high": 0.2},
        "false_alarm": 0.05,
    },
    "validators": [
        {"validator": "neighbors", "left_out": "", "picks": "coral", "measured": WORTH},
        {
            "validator": "circular",
            "left_out": "not asked: it would fit every candidate again",
            "measured": None,
        },
    ],
}


def cells(made):
    return [[cell["shown"] for cell in row] for row in made["rows"]]


def test_each_validator_with_its_pick_and_its_worth():
    found = cells(validators(CHOICE, Words.of("en")))
    assert found[0] == [
        "neighbors", "coral", "+0.50 [+0.40, +0.60] · 59", "+3.1", "27 %", "-17.7", "",
    ]  # fmt: skip
    assert found[1][1:3] == ["–", "–"] and found[1][-1].startswith("not asked")
    assert cells(validators(CHOICE, Words.of("zh")))[1][-1].startswith("未询问")


def test_the_diagnosis_in_sentences():
    apart, absent, novel = diagnosis(CHOICE, Words.of("en"))
    assert "wholly apart (domain AUC 0.98)" in apart and "89.5 %" in apart
    assert "changes by -2.1 points" in apart
    assert "absent from the target: 7" in absent
    assert novel.startswith("10.0 % [5.0, 20.0] of the target rows") and "5.0 %" in novel
    near = {"diagnosis": CHOICE["diagnosis"] | {"domain_auc": 0.55}}
    assert "hardly apart" in diagnosis(near, Words.of("en"))[0]


def test_runs_without_an_automatic_choice_have_neither():
    assert validators(None, Words.of("en")) is None and diagnosis(None, Words.of("en")) == []
    assert validators({"candidates": []}, Words.of("en")) is None
