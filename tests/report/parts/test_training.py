"""Training curves of a network: nested losses, stages that count from the start, no clutter."""

from __future__ import annotations

from types import SimpleNamespace

from isthmus.report.parts.training import training
from isthmus.report.words import Words


def entry(stage, epoch, **more):
    return {
        "stage": stage, "epoch": epoch, "step": 10 * (epoch + 1),
        "losses": {"task": 1.0 / (epoch + 1), "dann": 0.7, "dann_domain_accuracy": 0.6},
        "per_class": {"a": 0.5}, "words": [], **more,
    }  # fmt: skip


def test_stages_and_losses_of_a_finetune_log():
    steps = [entry("source", e) for e in range(3)]
    steps += [entry("target", e, target_confidence=0.5 + 0.1 * e) for e in range(2)]
    found = training(SimpleNamespace(logs={"metrics": steps}), Words.of("en"))
    assert [log["name"] for log in found] == ["metrics: source", "metrics: target"]
    assert [log["steps"] for log in found] == [3, 2]
    panels = [chart["names"] for chart in found[1]["charts"]]
    assert ["task loss", "dann loss"] in panels
    assert ["target_confidence", "dann_domain_accuracy"] in panels
    head, first, second = found[1]["csv"].splitlines()
    assert head == "epoch,target_confidence,task loss,dann loss,dann_domain_accuracy"
    assert first == "0,0.5,1,0.7,0.6" and second == "1,0.6,0.5,0.7,0.6"


def test_a_plain_log_keeps_its_columns():
    steps = [{"step": k, "loss": 1.0 / (k + 1), "lr": 0.1} for k in range(4)]
    (log,) = training(SimpleNamespace(logs={"run": steps}), Words.of("en"))
    assert log["name"] == "run" and log["csv"].startswith("step,loss,lr\n0,1,0.1\n")
