"""Layer 8: a run's figures for an experiment tracker, where one was asked for; else nothing.

No tracker is imported, and nothing is sent anywhere, unless `--track` names it. What is written
lies in the run's own folder: MLflow's and TensorBoard's files, and W&B's in its offline mode. The
environment variables of these libraries (``MLFLOW_TRACKING_URI``, ``WANDB_MODE``) still decide
where their owner wants the figures to go.
"""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from isthmus.errors import UsageError, did_you_mean, need

TRACKERS = ("mlflow", "tensorboard", "wandb")
PROJECT = "isthmus"
FILES = ("results.json", "report.html")  # of a run's folder: what is worth keeping beside figures


class Tracker(Protocol):
    """What an adapter does; called in this order, `metrics` and `artifact` any number of times."""

    def start(self, name: str, settings: Mapping[str, Any]) -> None:
        """Begin a run of that name; `settings` are JSON-ready."""

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Finite numbers by name; `step` counts within a curve."""

    def artifact(self, path: Path) -> None:
        """A file that belongs to the run."""

    def end(self, *, ok: bool) -> None:
        """The run is over; what was logged is on the disk when this returns."""


@contextmanager
def tracking(
    name: str | None, folder: str | Path | None, settings: Mapping[str, Any]
) -> Iterator[Tracker]:
    """A started tracker, ended whatever happens.

    Parameters
    ----------
    name : {"mlflow", "tensorboard", "wandb"}, optional
        None: one that does nothing.
    folder : path
        The run's own; its last part names the run.
    settings : mapping
        What the run was asked for.

    Raises
    ------
    UsageError
        Unknown name, or no folder.
    MissingExtraError
        If the library is not installed.
    """
    tracker = open_tracker(name, folder)
    tracker.start(Path(folder).resolve().name if folder is not None else "", settings)
    try:
        yield tracker
    except BaseException:
        tracker.end(ok=False)
        raise
    tracker.end(ok=True)


def record(tracker: Tracker, results: Mapping[str, Any], folder: str | Path | None) -> None:
    """Hand a finished run's figures and files over."""
    tracker.metrics(figures(results))
    for name in FILES:
        if folder is not None and (Path(folder) / name).is_file():
            tracker.artifact(Path(folder) / name)


def figures(results: Mapping[str, Any]) -> dict[str, float]:
    """Scores with their intervals, gains and costs of ``results.json`` by a flat name.

    >>> figures({"proof": {"headline": {"coral": {"value": 0.9, "low": 0.8, "high": 1.0}}}})
    {'score/coral/value': 0.9, 'score/coral/low': 0.8, 'score/coral/high': 1.0}
    """
    proof = results.get("proof") or {}
    found: dict[str, float] = {}
    for group, short in (("headline", "score"), ("gains", "gain")):
        for name, interval in (proof.get(group) or {}).items():
            if not isinstance(interval, Mapping):
                continue
            for key in ("value", "low", "high"):
                value = interval.get(key)
                if isinstance(value, int | float) and math.isfinite(value):
                    found[f"{short}/{_plain(name)}/{key}"] = float(value)
    return found


def _plain(name: str) -> str:
    """A name of the letters that all three trackers take."""
    return "".join(c if c.isalnum() or c in "-_./ " else "_" for c in str(name))


def open_tracker(name: str | None, folder: str | Path | None) -> Tracker:
    """The adapter of that name, its library imported and nothing begun: refuses before the work.

    Raises
    ------
    UsageError, MissingExtraError
        As `tracking`.
    """
    if name is None:
        return Nothing()
    if name not in TRACKERS:
        raise UsageError(
            f"no tracker {name!r}",
            where="--track",
            remedy=did_you_mean(name, TRACKERS) + "Choose from " + ", ".join(TRACKERS),
        )
    if folder is None:
        raise UsageError(
            "a tracker needs a folder for its files", where="--track", remedy="Add --out DIR"
        )
    kinds: dict[str, Any] = {"mlflow": MLflow, "tensorboard": TensorBoard, "wandb": WandB}
    made: Tracker = kinds[name](Path(folder))
    return made


class Nothing:
    """No tracker was asked for."""

    def start(self, name: str, settings: Mapping[str, Any]) -> None: ...
    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None: ...
    def artifact(self, path: Path) -> None: ...
    def end(self, *, ok: bool) -> None: ...


class TensorBoard:
    """Event files in ``tensorboard/`` of the run's folder: ``tensorboard --logdir DIR``."""

    def __init__(self, folder: Path) -> None:
        with _calm():
            need("tensorboard", extra="track")
            self._module = need("torch.utils.tensorboard", extra="track")
        self._folder = folder / "tensorboard"

    def start(self, name: str, settings: Mapping[str, Any]) -> None:
        with _calm():
            self._writer = self._module.SummaryWriter(log_dir=str(self._folder))
        text = json.dumps(settings, indent=2, sort_keys=True, default=str, ensure_ascii=False)
        self._writer.add_text("settings", f"```\n{text}\n```")

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, global_step=step)

    def artifact(self, path: Path) -> None:
        self._writer.add_text("files", str(path))

    def end(self, *, ok: bool) -> None:
        self._writer.close()


class MLflow:
    """A file store in ``mlruns/`` of the run's folder, unless MLFLOW_TRACKING_URI names another."""

    def __init__(self, folder: Path) -> None:
        with _calm(), _file_store():
            client = need("mlflow.tracking", extra="track").MlflowClient
        # `mlflow.set_tracking_uri` would change the whole process; a client does not
        place = os.environ.get("MLFLOW_TRACKING_URI") or (folder / "mlruns").resolve().as_uri()
        with _calm(), _file_store():
            self._client = client(tracking_uri=place)

    def start(self, name: str, settings: Mapping[str, Any]) -> None:
        with _calm(), _file_store():
            known = self._client.get_experiment_by_name(PROJECT)
            experiment = known.experiment_id if known else self._client.create_experiment(PROJECT)
            run = self._client.create_run(experiment, run_name=name)
            self._run = run.info.run_id
            for key, value in settings.items():
                if value is not None:
                    self._client.log_param(self._run, key, str(value)[:500])

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        with _calm(), _file_store():
            for name, value in values.items():
                self._client.log_metric(self._run, name, value, step=step or 0)

    def artifact(self, path: Path) -> None:
        with _calm(), _file_store():
            self._client.log_artifact(self._run, str(path))

    def end(self, *, ok: bool) -> None:
        with _calm(), _file_store():
            self._client.set_terminated(self._run, "FINISHED" if ok else "FAILED")


class WandB:
    """An offline run in ``wandb/`` of the run's folder, unless WANDB_MODE says otherwise."""

    def __init__(self, folder: Path) -> None:
        with _calm():
            self._module = need("wandb", extra="track")
        self._folder = folder

    def start(self, name: str, settings: Mapping[str, Any]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        with _calm():
            self._run = self._module.init(
                project=PROJECT,
                name=name,
                config=dict(settings),
                dir=str(self._folder),
                mode=os.environ.get("WANDB_MODE", "offline"),
            )

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        self._run.log(dict(values), step=step)

    def artifact(self, path: Path) -> None:
        self._run.log_artifact(str(path), name=path.name, type="result")

    def end(self, *, ok: bool) -> None:
        self._run.finish(exit_code=0 if ok else 1)


@contextmanager
def _calm() -> Iterator[None]:
    """Trackers warn of their own plans (stores to come, clocks); none concerns the figures."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _file_store() -> Iterator[None]:
    """MLflow's plain files, which newer versions keep behind a variable; the lighter package of
    MLflow has no other store. The variable is put back."""
    name = "MLFLOW_ALLOW_FILE_STORE"
    before = os.environ.get(name)
    os.environ.setdefault(name, "true")
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
