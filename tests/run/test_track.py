"""Trackers: what is logged is read back with the library itself; nothing without asking."""

from __future__ import annotations

import os
import subprocess
import sys
import types
import warnings

import pytest

from isthmus.errors import MissingExtraError, UsageError
from isthmus.run.track import figures, record, tracking

RESULTS = {
    "proof": {
        "headline": {
            "coral": {"value": 0.9, "low": 0.85, "high": 0.95},
            "source-only": {"value": 0.8, "low": 0.7, "high": 0.85},
        },
        "gains": {"no transfer": {"value": 0.1, "low": float("nan"), "high": 0.2}},
    }
}
WANTED = {
    "score/coral/value": 0.9, "score/coral/low": 0.85, "score/coral/high": 0.95,
    "score/source-only/value": 0.8, "score/source-only/low": 0.7, "score/source-only/high": 0.85,
    "gain/no transfer/value": 0.1, "gain/no transfer/high": 0.2,
}  # fmt: skip


def logged(name, folder):
    folder.mkdir(exist_ok=True)
    (folder / "results.json").write_text("{}")
    with tracking(name, folder, {"seed": 3, "method": ["coral"], "time": None}) as tracker:
        for step, loss in enumerate([1.0, 0.5, 0.25]):
            tracker.metrics({"loss": loss}, step=step)
        record(tracker, RESULTS, folder)


def test_figures_are_flat_and_finite():
    assert figures(RESULTS) == WANTED
    assert figures({}) == {} == figures({"proof": {"headline": {}, "gains": None}})


def test_without_a_name_nothing_happens(tmp_path):
    logged(None, tmp_path / "run")
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["results.json"]
    code = (
        "import sys; from isthmus.run.track import tracking\n"
        "with tracking(None, None, {}): pass\n"
        "assert not {'mlflow', 'wandb', 'tensorboard', 'torch'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_refusals(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="Did you mean 'mlflow'"), tracking("mlflw", tmp_path, {}):
        pass
    with pytest.raises(UsageError, match="--out DIR"), tracking("mlflow", None, {}):
        pass
    monkeypatch.setitem(sys.modules, "wandb", None)
    with (
        pytest.raises(MissingExtraError, match=r"isthmus\[track\]"),
        tracking("wandb", tmp_path, {}),
    ):
        pass


def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    logged("tensorboard", tmp_path / "run")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(0, 1.0), (1, 0.5), (2, 0.25)]
    for name, value in WANTED.items():
        (event,) = events.Scalars(name)
        assert event.value == pytest.approx(value, rel=1e-6)


def test_mlflow(tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    logged("mlflow", tmp_path / "run")
    assert "MLFLOW_ALLOW_FILE_STORE" not in os.environ
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    from mlflow.tracking import MlflowClient

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client = MlflowClient(tracking_uri=(tmp_path / "run" / "mlruns").as_uri())
        (run,) = client.search_runs([client.get_experiment_by_name("isthmus").experiment_id])
        curve = client.get_metric_history(run.info.run_id, "loss")
        files = [f.path for f in client.list_artifacts(run.info.run_id)]
    assert run.info.status == "FINISHED" and run.info.run_name == "run"
    assert run.data.params == {"seed": "3", "method": "['coral']"}
    assert {k: v for k, v in run.data.metrics.items() if k != "loss"} == WANTED
    assert [(m.step, m.value) for m in curve] == [(0, 1.0), (1, 0.5), (2, 0.25)]
    assert files == ["results.json"]


def test_mlflow_marks_a_run_that_failed(tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(ZeroDivisionError), tracking("mlflow", tmp_path, {}):
        raise ZeroDivisionError
    states = [p.read_text() for p in (tmp_path / "mlruns").rglob("meta.yaml")]
    assert any("status: 4" in text for text in states)  # RunStatus.FAILED


def test_wandb_is_offline_unless_its_owner_says_otherwise(tmp_path, monkeypatch):
    calls = []

    class Run:
        def log(self, values, step=None):
            calls.append(("log", values, step))

        def log_artifact(self, path, name, type):
            calls.append(("artifact", name, type))

        def finish(self, exit_code):
            calls.append(("finish", exit_code))

    def init(**given):
        calls.append(("init", given))
        return Run()

    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init))
    monkeypatch.delenv("WANDB_MODE", raising=False)
    logged("wandb", tmp_path / "run")
    kind, given = calls[0]
    assert kind == "init" and given["mode"] == "offline" and given["config"]["seed"] == 3
    assert given["dir"] == str(tmp_path / "run")
    assert calls[1:4] == [("log", {"loss": v}, i) for i, v in enumerate([1.0, 0.5, 0.25])]
    assert calls[4] == ("log", WANTED, None)
    assert calls[5:] == [("artifact", "results.json", "result"), ("finish", 0)]
    monkeypatch.setenv("WANDB_MODE", "online")
    with pytest.raises(ZeroDivisionError), tracking("wandb", tmp_path / "run", {}):
        raise ZeroDivisionError
    assert calls[-2][1]["mode"] == "online" and calls[-1] == ("finish", 1)
